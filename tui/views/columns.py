"""What the list is filtered and sorted by, beyond labels: from the scan, its concepts, and the notebook.

Everything is indexed by a neuron's flat number, ``layer * F + index``; costly columns are made when first needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Labels
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.views.state import Filter, Order

if TYPE_CHECKING:
    from vlmscope.core.method.concepts import Concepts
    from vlmscope.core.notebook.values import Mark

VERDICTS = ("", "keep", "reject", "unsure")  #: by their number in ``Noted.verdict``


@dataclass(frozen=True, eq=False)
class Noted:
    """What the notebook holds on all neurons, as columns. All of (L * F,).

    Attributes:
        marks: of every neuron in the notebook.
        verdict: uint8, a place in ``VERDICTS``.
        explained, scored, bookmarked: bool.
        score: float32, pooled; nan where there is none.
    """

    marks: "Mapping[Neuron, Mark]"
    verdict: NDArray[np.uint8]
    explained: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    bookmarked: NDArray[np.bool_]
    score: NDArray[np.float32]

    @classmethod
    def of(cls, marks: "Mapping[Neuron, Mark]", scores: Mapping[Neuron, float], layers: int, neurons: int) -> "Noted":
        """Columns from a notebook's marks; neurons that the model does not have are left out."""
        size = layers * neurons
        explained, scored, bookmarked = (np.zeros(size, dtype=np.bool_) for _ in range(3))
        score = np.full(size, np.nan, dtype=np.float32)
        noted = cls(marks, np.zeros(size, dtype=np.uint8), explained, scored, bookmarked, score)
        for neuron, mark in marks.items():
            if neuron.layer < layers and neuron.index < neurons:
                noted._put(neuron.layer * neurons + neuron.index, mark)
        for neuron, value in scores.items():
            if neuron.layer < layers and neuron.index < neurons:
                score[neuron.layer * neurons + neuron.index] = value
        return noted

    def _put(self, at: int, mark: "Mark") -> None:
        self.verdict[at] = 0 if mark.verdict is None else VERDICTS.index(mark.verdict)
        self.explained[at], self.scored[at], self.bookmarked[at] = mark.explained, mark.scored, mark.bookmark

    def with_mark(self, neuron: Neuron, mark: "Mark", neurons: int, score: float | None = None) -> "Noted":
        """The same with another mark of one neuron; its score stays if no other is given."""
        at = neuron.layer * neurons + neuron.index
        changed = Noted(
            {**self.marks, neuron: mark},
            self.verdict.copy(),
            self.explained.copy(),
            self.scored.copy(),
            self.bookmarked.copy(),
            self.score.copy(),
        )
        if score is not None:
            changed.score[at] = score
        changed._put(at, mark)
        return changed

    @cached_property
    def triaged(self) -> tuple[int, int, int]:
        """How many neurons are kept, rejected, unsure."""
        counts = np.bincount(self.verdict, minlength=len(VERDICTS))
        return int(counts[1]), int(counts[2]), int(counts[3])

    @cached_property
    def progress(self) -> str:
        """How far the triage is; empty before the first verdict."""
        keep, reject, unsure = self.triaged
        done = f"triaged {keep + reject + unsure:,} of {len(self.verdict):,} · ✓{keep:,} ✗{reject:,} ?{unsure:,}"
        return done if any(self.triaged) else ""


@dataclass(frozen=True, eq=False)
class Columns:
    """The scan's values of all neurons; made again when the labels change. All of (L * F,)."""

    store: ScanStore
    labels: Labels
    concepts: "Concepts | None"

    @cached_property
    def margin(self) -> NDArray[np.float32]:
        """The leading fraction less the second's."""
        votes = np.sort(self.labels.votes.reshape(-1, 4), axis=-1).astype(np.float32)
        margin: NDArray[np.float32] = (votes[:, 3] - votes[:, 2]) / np.float32(max(self.labels.valid, 1))
        return margin

    @cached_property
    def strength(self) -> NDArray[np.float32]:
        """Strength of the leading concept; 0 without one."""
        if self.concepts is None:
            return np.zeros(self.labels.label.size, dtype=np.float32)
        return self.concepts.strength[..., 0].astype(np.float32).ravel()

    @cached_property
    def clearness(self) -> NDArray[np.float32]:
        """``vlmscope.core.analysis.clearness``."""
        from vlmscope.core.analysis.clearness import clearness

        return clearness(self.store, self.labels).ravel()

    @cached_property
    def fragile(self) -> NDArray[np.bool_]:
        """Whether a threshold moved by a tenth would change the label."""
        from vlmscope.core.analysis.firmness import fragile

        return fragile(self.store, self.labels).ravel()


def compute(columns: Columns, filter_: Filter, order: Order) -> None:
    """Have the columns that a filter or an order reads computed: for a thread."""
    if order is Order.CLEAREST:
        _ = columns.clearness
    if order is Order.FRAGILE or filter_.fragile:
        _ = columns.fragile
