"""Which of a neuron's scores is shown first (docs/method.md, "Scores")."""

#: The simulators of the paper's protocol: the first one predicts patches, the second one words.
PAPER_BACKENDS = ("grounded-sam2", "api-text")


def score_order(backend: str, *, independent: bool, known: bool) -> tuple[bool, bool, bool]:
    """A sort key; scores with equal keys stay in their order, which is the newest first.

    A score that exists comes before one that is n/a, then an independent one before one of the inspected model itself,
    then the paper's simulators before the others. A simulator that was used last hides no better kind of score.

    Args:
        independent: whether the simulator does not ask the inspected model about itself.
        known: whether the score exists.
    """
    return not known, not independent, backend not in PAPER_BACKENDS
