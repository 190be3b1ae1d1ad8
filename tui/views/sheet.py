"""The contact sheet of a neuron: its top samples, then panel samples across its range, gathered for small pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.method.word_place import words_of_tokens
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import MapAnswer
from vlmscope.tui.views.evidence import PictureView, panel_evidence, range_samples, stored_evidence, with_map

WORDS, LEAST_NORM = 4, 0.5  #: shown below a picture, at most; words below this norm are left out
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
    """One picture.

    Attributes:
        rank: the state's when it is chosen.
        picture: None where ``problem`` is the reason.
        peaks: the words with the largest norms, each with its own; None where no norms are kept.
    """

    rank: int
    picture: PictureView | None
    problem: str = ""
    peaks: tuple[tuple[str, float | None], ...] = ()


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
        across = range_samples(store, neuron)
    except StoreError:
        across = ()
    cells = []
    for rank in chain(range(min(store.valid, TOP)), range(store.valid, store.valid + len(across))):
        try:
            if rank < store.valid:
                picture = stored_evidence(store, neuron, rank, thresholds)
            else:
                picture = panel_evidence(store, neuron, across[rank - store.valid], thresholds)
        except StoreError as error:
            cells.append(SheetCell(rank, None, error.message))
            continue
        if (answer := answers.get(picture.key)) is not None:
            picture = with_map(picture, answer, maximum)
        cells.append(SheetCell(rank, picture, peaks=_peaks(picture)))
    return SheetView(key, tuple(cells))


def _peaks(picture: PictureView) -> tuple[tuple[str, float | None], ...]:
    spelled = words_of_tokens(picture.tokens)
    if picture.words is None:
        at_peak = picture.peak_token is not None and (picture.text_norm or 0) > 0
        return ((spelled[picture.peak_token or 0], None),) if at_peak else ()
    found: dict[str, float | None] = {}
    for at in (-picture.words).argsort(kind="stable")[: 2 * WORDS].tolist():
        norm = float(picture.words[at])
        if norm >= LEAST_NORM and spelled[at]:
            found.setdefault(spelled[at], norm)
    return tuple(found.items())[:WORDS]
