"""From the scan and the state to the values that widgets are painted from."""

from typing import TYPE_CHECKING

from vlmscope.core.analysis.firmness import NeuronFirmness
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Labels, Thresholds
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import ModelStatus
from vlmscope.tui.views.meaning import Meaning
from vlmscope.tui.views.score import ScoreView
from vlmscope.tui.views.state import State
from vlmscope.tui.widgets.bars import TitleView
from vlmscope.tui.widgets.page.frame import Facts, PageView

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView

    pass

LayerCounts = tuple[tuple[int, int, int, int], ...]


def gather_facts(store: ScanStore, neuron: Neuron) -> Facts:
    """What is known of the neuron as a whole; no peaks if a sample's line is damaged (the page says so elsewhere)."""
    try:
        peaks = tuple(store.peak_tokens(neuron))
    except StoreError:  # a damaged line, or a peak that lies outside its description
        peaks = ()
    return Facts(
        neuron=neuron,
        peaks=peaks,
        visual=store.distribution(neuron, Label.VISUAL),
        text=store.distribution(neuron, Label.TEXT),
        content_maximum=float(store.arrays["content_maximum"][neuron.layer, neuron.index]),
    )


def title_view(
    store: ScanStore,
    name: str,
    counts: LayerCounts,
    control: LayerCounts | None,
    thresholds: Thresholds,
    status: ModelStatus,
    spent: str,
    how_far: tuple[str, ...],
) -> TitleView:
    """The title line; ``counts`` are those of each layer, ``control`` the control's, ``spent`` what was paid.

    ``how_far`` are ``vlmscope.core.store.progress``'s words for a scan that is not whole.
    """
    manifest = store.manifest
    return TitleView(
        name=name,
        model=manifest.model.name,
        hook=str(manifest.hook),
        scanned=manifest.scanned,
        skipped=len(manifest.skipped),
        top_n=manifest.top_n,
        counts=_sum(counts),
        control=None if control is None else _sum(control),
        thresholds=thresholds,
        status=status,
        spent=spent,
        how_far=how_far,
    )


def _sum(counts: LayerCounts) -> tuple[int, int, int, int]:
    v, t, m, u = (sum(column) for column in zip(*counts, strict=True))
    return v, t, m, u


def page_view(
    store: ScanStore,
    labels: Labels,
    state: State,
    *,
    listed: bool,
    firmness: NeuronFirmness | None,
    evidence: "PictureView | None",
    facts: Facts | None,
    meaning: Meaning | None,
    score: ScoreView | None,
    stale: bool,
    waiting: str,
) -> PageView:
    """The page of the state's neuron; the keywords are ``PageView``'s."""
    at = (state.neuron.layer, state.neuron.index)
    v, t, m, u = (int(count) for count in labels.votes[at])
    return PageView(
        neuron=state.neuron,
        label=Label(int(labels.label[at])),
        counts=(v, t, m, u),
        valid=labels.valid,
        firm=bool(labels.high_confidence[at]),
        firmness=firmness,
        maximum=float(store.maximum[at]),
        votes=tuple(Label(int(vote)) for vote in store.votes(state.neuron, state.thresholds)),
        rank=state.rank if state.own is None else None,
        colour_map=state.colour_map,
        mode=state.mode,
        listed=listed,
        evidence=evidence,
        facts=facts,
        meaning=meaning,
        score=score,
        stale=stale,
        waiting=waiting,
        tokens=store.manifest.text_tokens_max,
    )
