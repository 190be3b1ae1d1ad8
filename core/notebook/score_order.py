"""Which of a neuron's scores is shown first (docs/method.md, "Scores")."""

#: The simulators of the paper's protocol: the first one predicts patches, the second one words.
PAPER_BACKENDS = ("grounded-sam2", "api-text")


def score_order(backend: str, *, independent: bool, known: bool) -> tuple[bool, bool, bool]:
    """A sort key; scores with equal keys stay in their order, which is the newest first.

    Simulators and judges follow one rule. A score that exists comes before one that is n/a, then an independent one
    before one of the inspected model itself, then the paper's simulators before other simulators and judges. What was
    used last hides no better kind of score.

    Args:
        independent: whether the simulator or judge is not the inspected model itself.
        known: whether the score exists.
    """
    return not known, not independent, backend not in PAPER_BACKENDS
