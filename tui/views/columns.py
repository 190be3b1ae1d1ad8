"""What the list is filtered and sorted by, beyond labels: from the scan, its concepts, and the notebook.

Everything is indexed by a neuron's flat number, ``layer * F + index``; costly columns are made when first needed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.preference import Preference
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Labels
from vlmscope.core.notebook.texts import TextKind
from vlmscope.core.notebook.values import VERDICTS, Mark, MarkBit
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.views.filters import Filter
from vlmscope.tui.views.ranges import Value
from vlmscope.tui.views.state import Order

if TYPE_CHECKING:
    from vlmscope.core.method.concepts import Concepts


#: A text of the notebook that a filter asks for; of no kind: of any, or the paper's text on the neuron.
TextTerm = tuple[TextKind | None, str]
#: The flat numbers of the neurons that have each: int64, sorted.
TextHits = Mapping[TextTerm, NDArray[np.int64]]


def text_terms(filter_: Filter) -> tuple[TextTerm, ...]:
    """What a filter asks for in the notebook's texts."""
    return (
        *([(None, filter_.words)] if filter_.words else ()),
        *((TextKind.TAG, tag) for tag in filter_.tags),
        *((TextKind.NOTE, words) for words in filter_.notes),
    )


@dataclass(frozen=True)
class ListScore:
    """The score that the list is sorted by (``core/scoring/preferred.py``)."""

    value: float
    independent: bool


@dataclass(frozen=True, eq=False)
class Noted:
    """What the notebook holds on all neurons, as columns of (L * F,): 6 bytes a neuron.

    Attributes:
        bits: uint8, ``Mark.bits`` of each.
        score: float32, pooled; nan where there is none. independent: bool, whether that score is.
        neurons: F.
        checked: neurons that have causal checks. reviewed: those with other people's notes. No mark has either.
    """

    bits: NDArray[np.uint8]
    score: NDArray[np.float32]
    independent: NDArray[np.bool_]
    neurons: int
    checked: frozenset[Neuron] = frozenset()
    reviewed: frozenset[Neuron] = frozenset()

    @classmethod
    def empty(cls, layers: int, neurons: int) -> "Noted":
        """Those of a notebook in which there is nothing."""
        return cls.of(np.zeros(layers * neurons, dtype=np.uint8), {}, neurons)

    @classmethod
    def of(
        cls,
        bits: NDArray[np.uint8],
        scores: Mapping[int, ListScore],
        neurons: int,
        checked: Iterable[Neuron] = (),
        reviewed: Iterable[Neuron] = (),
    ) -> "Noted":
        """Columns from ``bits`` and the scores of some neurons, by their flat number; the others: as the fields."""
        score, independent = np.full(len(bits), np.nan, dtype=np.float32), np.zeros(len(bits), dtype=np.bool_)
        for at, one in scores.items():
            score[at], independent[at] = one.value, one.independent
        return cls(bits, score, independent, neurons, frozenset(checked), frozenset(reviewed))

    def bits_of(self, neuron: Neuron) -> int:
        """``Mark.bits`` of a neuron; 0 if the notebook has no entry on it."""
        return int(self.bits[neuron.layer * self.neurons + neuron.index])

    def has_entry(self, neuron: Neuron) -> bool:
        """Whether the notebook holds anything on a neuron."""
        return bool(self.bits_of(neuron)) or neuron in self.checked or neuron in self.reviewed

    def with_mark(self, neuron: Neuron, mark: Mark, score: ListScore | None, checked: bool = False) -> "Noted":
        """The same with another mark and score of one neuron, which may be ``checked`` now."""
        at = neuron.layer * self.neurons + neuron.index
        changed = replace(
            self,
            bits=self.bits.copy(),
            score=self.score.copy(),
            independent=self.independent.copy(),
            checked=self.checked | {neuron} if checked else self.checked,
        )
        changed.bits[at] = mark.bits
        changed.score[at] = np.nan if score is None else score.value
        changed.independent[at] = score is not None and score.independent
        return changed

    @cached_property
    def verdict(self) -> NDArray[np.uint8]:
        """Places in ``VERDICTS``."""
        return self.bits & np.uint8(3)

    def has(self, bit: MarkBit) -> NDArray[np.bool_]:
        """Whether a bit is set: bool (L * F,)."""
        found: NDArray[np.bool_] = (self.bits & np.uint8(bit)) != 0
        return found

    @cached_property
    def anything(self) -> bool:
        """Whether there is an entry on any neuron."""
        return bool(self.bits.any())

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
        """``vlmscope.core.analysis.clearness.concept_strength``."""
        from vlmscope.core.analysis.clearness import concept_strength

        return concept_strength(self.store, self.labels).ravel()

    @cached_property
    def z_score(self) -> NDArray[np.float32]:
        """The z-score of the leading concept, as the page shows it; 0 without one."""
        if self.concepts is None:
            return np.zeros(self.labels.label.size, dtype=np.float32)
        return self.concepts.strength[..., 0].astype(np.float32).ravel()

    @cached_property
    def purity(self) -> NDArray[np.float32]:
        """Purity of the leading concept; 0 without one."""
        if self.concepts is None:
            return np.zeros(self.labels.label.size, dtype=np.float32)
        return self.concepts.purity().ravel()

    @cached_property
    def strength_of(self) -> "Callable[[str], NDArray[np.float32]]":
        """How strongly each neuron has some words among its concepts, by a function that keeps a few answers."""

        def find(words: str) -> NDArray[np.float32]:
            if self.concepts is None:
                return np.zeros(self.labels.label.size, dtype=np.float32)
            return self.concepts.find(words).ravel()

        return lru_cache(maxsize=4)(find)

    @cached_property
    def preference(self) -> NDArray[np.uint8]:
        """Each neuron's ``Preference``; all of them undecided where the scan has no panel."""
        return self._preferences[0]

    @cached_property
    def passes(self) -> NDArray[np.int32]:
        """On how many samples of the panel a side of each neuron passes the norm of the preference."""
        return self._preferences[1]

    @cached_property
    def _preferences(self) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        from vlmscope.core.analysis.preference import preferences

        panel = self.store.panel
        if panel is None:
            size = self.labels.label.size
            return np.full(size, Preference.UNDECIDED, dtype=np.uint8), np.zeros(size, dtype=np.int32)
        found = preferences(self.store, panel)
        return found.preference.ravel(), (found.visual_only + found.text_only + found.both).ravel()

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


def value(columns: Columns, noted: Noted, which: Value) -> NDArray[Any]:
    """A number of each neuron, (L * F,); nan where a neuron lacks it."""
    labels = columns.labels
    if which.label is not None:
        return labels.votes.reshape(-1, 4)[:, which.label] / np.float32(max(labels.valid, 1))
    makers: dict[Value, Callable[[], NDArray[Any]]] = {
        Value.MAXIMUM: columns.store.maximum.ravel,
        Value.PURITY: lambda: columns.purity,
        Value.STRENGTH: lambda: columns.z_score,
        Value.SCORE: lambda: noted.score,
        Value.MARGIN: lambda: columns.margin,
        Value.CLEARNESS: lambda: columns.clearness,
    }
    return makers[which]()


def compute(columns: Columns, filter_: Filter, order: Order) -> None:
    """Have the columns that a filter or an order reads computed: for a thread."""
    if order is Order.CLEAREST or any(one.value is Value.CLEARNESS for one in filter_.ranges):
        _ = columns.clearness
    if order is Order.CONCEPT:
        _ = columns.strength
    if order is Order.FRAGILE or filter_.fragile:
        _ = columns.fragile
    if order is Order.PREFERENCE or filter_.preference is not None:
        _ = columns.preference
    if filter_.words:
        columns.strength_of(filter_.words)
