"""Two people's verdicts and notes on one scan, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.agreement import Kappa, cohens_kappa
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Colleague, Review, Verdict


@dataclass(frozen=True)
class Pair:
    """One neuron: what the notebook's owner has on it, and what the other person has; either may be None."""

    neuron: Neuron
    own: Review | None
    other: Review | None

    @property
    def both_decided(self) -> bool:
        return self.own is not None and self.other is not None and None not in (self.own.verdict, self.other.verdict)

    @property
    def is_conflict(self) -> bool:
        """Whether both decided, and not alike."""
        return (
            self.both_decided
            and self.own is not None
            and self.other is not None
            and (self.own.verdict is not self.other.verdict)
        )


@dataclass(frozen=True)
class Agreement:
    """The owner of a notebook and one other person.

    Attributes:
        colleague: the other person.
        pairs: every neuron that either has something on, by layer and index.
        kappa: over the neurons that both decided on.
    """

    colleague: Colleague
    pairs: tuple[Pair, ...]
    kappa: Kappa

    @property
    def conflicts(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if pair.is_conflict)


def agreements(notebook: Notebook) -> tuple[Agreement, ...]:
    """The owner of a notebook with each person whose notes were taken in, by name.

    Raises:
        NotebookError: if the notebook cannot be read.
    """
    people = notebook.colleagues()
    own = notebook.own_reviews("") if people else {}
    return tuple(_agreement(one, own, notebook.reviews(one.person)) for one in people)


def _agreement(colleague: Colleague, own: Mapping[Neuron, Review], other: Mapping[Neuron, Review]) -> Agreement:
    pairs = tuple(Pair(neuron, own.get(neuron), other.get(neuron)) for neuron in sorted({*own, *other}))
    verdicts = list(Verdict)
    table = np.zeros((len(verdicts), len(verdicts)), dtype=np.int64)
    for pair in pairs:
        if pair.both_decided and pair.own is not None and pair.other is not None:
            assert pair.own.verdict is not None and pair.other.verdict is not None
            table[verdicts.index(pair.own.verdict), verdicts.index(pair.other.verdict)] += 1
    return Agreement(colleague, pairs, cohens_kappa(table))
