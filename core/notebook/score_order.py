"""Which of a neuron's scores is shown first (docs/method.md, "Scores"): the one place that decides it."""

#: The simulators of the paper's protocol: the first one predicts patches, the second one words.
PAPER_BACKENDS = ("grounded-sam2", "api-text")

ScoreOrder = tuple[bool, bool, bool, bool]

_chosen = ""  # the setting ``leading_score``


def lead_with(name: str) -> None:
    """Let a simulator, or a judge's method, lead from here on in this process; an empty name: none."""
    global _chosen  # noqa: PLW0603  # a setting of the program, read where its notebook is opened
    _chosen = name


def is_chosen(backend: str) -> bool:
    """Whether scores by this backend lead because the user has chosen it: a judge's name follows its method's."""
    return bool(_chosen) and backend.partition("/")[0] == _chosen


def score_order(backend: str, *, independent: bool, known: bool) -> ScoreOrder:
    """A sort key; scores with equal keys stay in their order, which is the newest first.

    Simulators and judges follow one rule. A score that exists comes before one that is n/a, then one by what the user
    has chosen, then an independent one before one of the inspected model itself, then the paper's simulators before
    other simulators and judges. What was used last hides no better kind of score.

    Args:
        independent: whether the simulator or judge is not the inspected model itself.
        known: whether the score exists.
    """
    return not known, not is_chosen(backend), not independent, backend not in PAPER_BACKENDS
