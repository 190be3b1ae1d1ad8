"""How many causal checks of a notebook are beyond all their controls, beside how many chance alone gives."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vlmscope.core.notebook.check import CausalCheck
from vlmscope.core.notebook.notebook import Notebook


@dataclass(frozen=True)
class CheckCounts:
    """Counts of checks. Of each neuron, or set, and word the newest check counts, whatever its settings.

    Attributes:
        sets: whether these are checks of sets, not of single neurons.
        layer: of the neurons; None for all layers, and for sets.
        checked: pairs of a neuron, or set, and a word.
        with_p: of these, those that have enough pictures and controls for a p.
        beyond_all: of these, those whose effect is beyond all controls'.
        lower: of these, those without which the word's log-odds are lower; of the others they are higher.
        chance: how many of ``with_p`` would be beyond all controls if no neuron differed from its controls.
    """

    sets: bool
    layer: int | None
    checked: int
    with_p: int
    beyond_all: int
    lower: int
    chance: float


def check_counts(notebook: Notebook, layers: int, neurons: int) -> tuple[CheckCounts, ...]:
    """The counts of all single neurons, of each layer that has any, and of sets; those of none are left out.

    Args:
        layers, neurons: the model's size: checks of other neurons are left out.

    Raises:
        NotebookError: if the notebook cannot be read.
    """
    found = [saved.check for saved in notebook.newest_checks()]
    inside = [one for one in found if one.neurons[0].layer < layers and one.neurons[0].index < neurons]
    newest: dict[tuple[str, str], CausalCheck] = {}
    for saved in notebook.set_checks():
        newest.setdefault((saved.check.name, saved.check.word), saved.check)
    return tuple(_rows(inside, list(newest.values())))


def _rows(single: list[CausalCheck], sets: list[CausalCheck]) -> Iterator[CheckCounts]:
    if single:
        yield _count(single, None)
    for layer in sorted({one.neurons[0].layer for one in single}):
        yield _count([one for one in single if one.neurons[0].layer == layer], layer)
    if sets:
        yield _count(sets, None, sets=True)


def _count(checks: Iterable[CausalCheck], layer: int | None, *, sets: bool = False) -> CheckCounts:
    every = list(checks)
    known = [one for one in every if one.p is not None]
    beyond = [one for one in known if one.beyond_all]
    lower = sum(one.effect is not None and one.effect < 0 for one in beyond)
    chance = sum(one.least_p for one in known)
    return CheckCounts(sets, layer, len(every), len(known), len(beyond), lower, chance)
