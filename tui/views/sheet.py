"""The contact sheet of a neuron: its top samples, then panel samples across its range, gathered for small pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import MapAnswer
from vlmscope.tui.views.evidence import PictureView, range_evidence, range_samples, stored_evidence, with_map

TOP = 20  #: top samples, at most: with the default of a scan all of them have a map

AnswerKey = tuple[Neuron, int | None, str]  #: as ``PictureView.key``


@dataclass(frozen=True)
class SheetKey:
    """What a sheet is made from: it is gathered again where one of these is another.

    ``store`` is the scan's checkpoint, by identity; ``answers`` are the model's maps that it has.
    """

    neuron: Neuron
    thresholds: Thresholds
    store: int
    answers: frozenset[AnswerKey]


@dataclass(frozen=True, eq=False)
class SheetCell:
    """One picture. ``rank`` is the state's when it is chosen; ``picture`` is None where ``problem`` is the reason."""

    rank: int
    picture: PictureView | None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class SheetView:
    """The pictures of one neuron, the best first."""

    key: SheetKey
    cells: tuple[SheetCell, ...]

    def place(self, rank: int) -> int:
        """The place of the cell with this rank, or of the last one before it."""
        return max((place for place, cell in enumerate(self.cells) if cell.rank <= rank), default=0)


def gather_sheet(store: ScanStore, key: SheetKey, answers: Mapping[AnswerKey, MapAnswer]) -> SheetView:
    """Read and decode all pictures of a sheet; for a thread. A sample that is damaged has its reason in its place."""
    neuron, thresholds = key.neuron, key.thresholds
    maximum = float(store.maximum[neuron.layer, neuron.index])
    try:
        across = len(range_samples(store, neuron))
    except StoreError:
        across = 0
    cells = []
    for rank in chain(range(min(store.valid, TOP)), range(store.valid, store.valid + across)):
        try:
            if rank < store.valid:
                picture = stored_evidence(store, neuron, rank, thresholds)
            else:
                picture = range_evidence(store, neuron, rank - store.valid, thresholds)
        except StoreError as error:
            cells.append(SheetCell(rank, None, error.message))
            continue
        answer = answers.get(picture.key)
        cells.append(SheetCell(rank, picture if answer is None else with_map(picture, answer, maximum)))
    return SheetView(key, tuple(cells))
