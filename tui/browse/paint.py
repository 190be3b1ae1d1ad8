"""From the scene to the values that the widgets are painted from."""

from functools import lru_cache

from vlmscope.core.method.labels import Label
from vlmscope.core.store.progress import progress_title
from vlmscope.core.worker.messages import Phase
from vlmscope.tui.browse.session import waits_for_map
from vlmscope.tui.keys import FOOTER, FooterItem
from vlmscope.tui.views.columns import Noted
from vlmscope.tui.views.layers import LayersView
from vlmscope.tui.views.page import PageView
from vlmscope.tui.views.rows import ListView
from vlmscope.tui.views.scene import Scene
from vlmscope.tui.views.state import Filter, Order, Pane
from vlmscope.tui.views.title import Counts, LayerCounts, TitleView


def title_view(scene: Scene) -> TitleView:
    """The title line."""
    manifest, control = scene.columns.store.manifest, control_counts(scene)
    return TitleView(
        name=scene.scan_name,
        model=manifest.model.name,
        hook=str(manifest.hook),
        scanned=manifest.scanned,
        skipped=len(manifest.skipped),
        top_n=manifest.top_n,
        counts=_sum(scene.counts),
        control=None if control is None else _sum(control),
        thresholds=scene.state.thresholds,
        status=scene.status,
        spent=scene.spent,
        scan_progress=scan_progress(scene),
    )


def _sum(counts: LayerCounts) -> Counts:
    v, t, m, u = (sum(column) for column in zip(*counts, strict=True))
    return v, t, m, u


def control_counts(scene: Scene) -> LayerCounts | None:
    """The control's label counts of each layer: None where there is no control, 0 while they are on their way."""
    if scene.control is None:
        return None
    is_now = scene.control.thresholds == scene.state.thresholds
    return scene.control.counts if is_now else ((0, 0, 0, 0),) * len(scene.counts)


def scan_progress(scene: Scene) -> tuple[str, ...]:
    """How far a scan is that is not whole, the longest words first."""
    progress = scene.columns.store.manifest.progress
    return () if progress is None else progress_title(progress, scene.scanning)


def layers_view(scene: Scene) -> LayersView:
    """The layer strip, in both its shapes."""
    manifest, progress = scene.columns.store.manifest, scan_progress(scene)
    count = progress[0] if progress else f"{manifest.scanned} samples"
    what = f"{manifest.hook} · {count} · N {manifest.top_n}"
    notes = (f"{manifest.model.name[:30]} · {what}", what, *progress, str(manifest.hook))
    triaged = triage_progress(scene.noted, scene.columns.labels.label.size)
    return LayersView(
        counts=scene.counts,
        layer=scene.state.neuron.layer,
        notes=(triaged, *notes) if triaged else notes,
        control=control_counts(scene),
    )


@lru_cache(maxsize=1)
def triage_progress(noted: Noted, neurons: int) -> str:
    """How far the triage is; empty before the first verdict."""
    keep, reject, unsure = noted.triaged
    done = keep + reject + unsure
    return f"triaged {done:,} of {neurons:,} · ✓{keep:,} ✗{reject:,} ?{unsure:,}" if done else ""


@lru_cache(maxsize=16)
def list_title(filter_: Filter, order: Order, layer: int, rows: int) -> str:
    """What the list holds."""
    where = "all layers" if filter_.all_layers else f"L{layer}"
    if filter_.layers is not None:
        where = "L{}-{}".format(*filter_.layers)
    by = order.means if order in (Order.CLEAREST, Order.FRAGILE) else f"by {order}"
    by += ", largest first" if order not in (Order.INDEX, Order.CLEAREST, Order.FRAGILE) else ""
    return f"{where} · {rows:,} neurons · {filter_} · {by}"


@lru_cache(maxsize=1)
def _empty(filter_: Filter) -> str:
    return f"No neuron here is {filter_}: f changes the filter."


def list_view(scene: Scene) -> ListView:
    """The list of neurons."""
    state, columns = scene.state, scene.columns
    return ListView(
        title=list_title(state.filter, state.order, state.neuron.layer, len(scene.selection.rows)),
        subtitle=triage_progress(scene.noted, columns.labels.label.size),
        selection=scene.selection,
        labels=columns.labels,
        maximum=columns.store.maximum,
        cursor=scene.cursor,
        cursor_is_page=scene.listed,
        all_layers=state.filter.all_layers or state.filter.layers is not None,
        has_concepts=scene.has_concepts,
        concepts=columns.concepts,
        marks=scene.marks,
        empty=_empty(state.filter),
    )


def page_view(scene: Scene) -> PageView:
    """The neuron's page."""
    state, store, labels = scene.state, scene.columns.store, scene.columns.labels
    at = (state.neuron.layer, state.neuron.index)
    v, t, m, u = labels.votes[at].tolist()
    return PageView(
        neuron=state.neuron,
        label=Label(int(labels.label[at])),
        counts=(v, t, m, u),
        valid=labels.valid,
        firm=bool(labels.high_confidence[at]),
        firmness=scene.firmness,
        maximum=float(store.maximum[at]),
        votes=tuple(map(Label, store.votes(state.neuron, state.thresholds).tolist())),
        rank=state.rank if state.own is None else None,
        colour_map=state.colour_map,
        mode=state.mode,
        listed=scene.listed,
        evidence=scene.picture,
        facts=scene.facts,
        meaning=scene.meaning,
        score=scene.score,
        stale=scene.stale,
        waiting=_waiting(scene) if waits_for_map(scene) else "",
        problem=scene.problem,
        tokens=store.manifest.text_tokens_max,
    )


def _waiting(scene: Scene) -> str:
    """What the empty box says while the model works."""
    loading = scene.status.phase in (Phase.STARTING, Phase.LOADING)
    return f"asking the model: {scene.status.phase}" if loading else "asking the model"


def footer(scene: Scene, *, narrow: bool) -> tuple[FooterItem, ...]:
    """What the footer shows first; ``narrow``: list and page take turns."""
    first: list[FooterItem] = []
    if scene.working:
        first.append((("back",), "stop"))
    elif scene.state.own is not None:
        first.append((("back",), f"leave {scene.state.own.image.rpartition('/')[2][:20]}"))
    if narrow:
        first.append((("page",), "page") if scene.state.pane is Pane.LIST else (("pane",), "list"))
    return (*first, *FOOTER[:2])
