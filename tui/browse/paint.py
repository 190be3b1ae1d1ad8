"""What the browse screen consists of, and how it is painted from its state; ``StatefulScreen`` changes the state."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import Screen
from textual.timer import Timer

from vlmscope.core.analysis.firmness import neuron_firmness
from vlmscope.core.base.config import Config
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.method.labels import Labels
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import MapAnswer, Phase
from vlmscope.tui.browse.model_link import ClientFactory, ModelLink
from vlmscope.tui.browse.views import LayerCounts, page_view, title_view
from vlmscope.tui.keys import FOOTER, FooterItem
from vlmscope.tui.messages import ControlCounted
from vlmscope.tui.views.columns import Columns, Noted
from vlmscope.tui.views.meaning import Meaning
from vlmscope.tui.views.score import ScoreView
from vlmscope.tui.views.selection import select
from vlmscope.tui.views.state import Mode, Order, Pane, State
from vlmscope.tui.widgets.bars import KeyBar, TitleBar
from vlmscope.tui.widgets.layer_strip import FoldedStrip, LayerStrip, LayersView
from vlmscope.tui.widgets.neuron_list import ListView, NeuronList
from vlmscope.tui.widgets.page.frame import Facts
from vlmscope.tui.widgets.page.page import Page
from vlmscope.tui.widgets.palette import make_palette

if TYPE_CHECKING:
    from vlmscope.core.method.concepts import Concepts
    from vlmscope.tui.views.evidence import PictureView

REST_S = 0.12  #: keys that come faster than this are a held key
SMALL = 20_000  #: neurons that are relabelled at once; more of them in a thread
ANSWERS = 256  #: maps from the model that are kept


class PaintedScreen(Screen[None]):
    """The state and the painting; how one state follows another is in ``StatefulScreen``."""

    AUTO_FOCUS = ""  # else a closed help would put the focus into the hidden prompt line, and keys would be letters
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-folded"), (132, "-wide"), (180, "-huge")]  # noqa: RUF012 (Textual's own form)

    def __init__(
        self, store: ScanStore, config: Config, start: Neuron | None, name: str, factory: ClientFactory
    ) -> None:
        super().__init__()
        self._take_store(store)
        self.config = config
        self.scan_name = name
        self.start = start
        self.labels = store.stored_labels()
        self.state = State(
            neuron=start or Neuron(0, 0),
            thresholds=self.labels.thresholds,
            colour_map=ColourMap(config.colour_map) if config.colour_map in list(ColourMap) else ColourMap.FADE,
            pane=Pane.PAGE if start is not None else Pane.LIST,
        )
        self.link = ModelLink(store.manifest, config, self.post_message, factory)
        self.concepts: Concepts | None = None
        self.noted = Noted.of({}, {}, store.layers, store.neurons)
        self.columns = Columns(store, self.labels, None)
        self._selection = select(self.columns, self.noted, self.state.filter, self.state.order, self.state.neuron.layer)
        self._counts = self._count(self.labels)
        self.control: ControlCounted | None = None
        self._cursor = self._selection.position(self.state.neuron)
        self._wanted = self.state.thresholds
        self._evidence: PictureView | None = None
        self._facts: Facts | None = None
        self.meaning: Meaning | None = None
        self.marks: Mapping[Neuron, str] = {}
        self._stale = True
        self._last_move = 0.0
        self._rest: Timer | None = None
        self._relabelling: set[asyncio.Task[None]] = set()
        self.answers: OrderedDict[tuple[Neuron, int | None, str], MapAnswer] = OrderedDict()
        self.problems: dict[tuple[Neuron, int | None, str], str] = {}

    def _take_store(self, store: ScanStore) -> None:
        """Read from ``store`` from now on."""
        self.store = store
        self.has_concepts = store.has_concepts
        self._firmness = lru_cache(maxsize=64)(lambda neuron, at: neuron_firmness(store, neuron, at))

    def compose(self) -> ComposeResult:
        yield TitleBar(id="title")
        yield FoldedStrip(id="folded")
        with Horizontal(id="body"):
            yield LayerStrip(id="layers")
            yield NeuronList(id="list")
            yield Page(id="page")
        yield KeyBar(self.config.keys, id="keys")

    def on_mount(self) -> None:
        self.palette = make_palette(self.app)
        self.app.theme_changed_signal.subscribe(self, lambda _: self._new_theme())
        self._paint_all()

    def _new_theme(self) -> None:
        self.palette = make_palette(self.app)
        self._paint_all()

    @staticmethod
    def _count(labels: Labels) -> tuple[tuple[int, int, int, int], ...]:
        return tuple((int(v), int(t), int(m), int(u)) for v, t, m, u in labels.counts())

    # -- painting ------------------------------------------------------------------------------------------------

    def _paint_all(self) -> None:
        state = self.state
        self.set_class(state.pane is Pane.PAGE, "-page")
        self.set_class(state.mode is Mode.ZOOM, "-zoom")
        self.paint_title()
        notes = (self.progress, *self._notes()) if self.progress else self._notes()
        layers = LayersView(self._counts, state.neuron.layer, notes, self._control_counts)
        self.query_one(LayerStrip).present(layers, self.palette)
        self.query_one(FoldedStrip).present(layers, self.palette)
        self._paint_list()
        self._paint_page()
        self.query_one(KeyBar).present(self.footer(), self.palette)

    def _notes(self) -> tuple[str, ...]:
        """What the folded strip says of model and data, the longest first."""
        manifest = self.store.manifest
        count = self.how_far[0] if self.how_far else f"{manifest.scanned} samples"
        what = f"{manifest.hook} · {count} · N {manifest.top_n}"
        return (f"{plain(manifest.model.name, 30)} · {what}", what, *self.how_far, str(manifest.hook))

    @property
    def _control_counts(self) -> LayerCounts | None:
        """The control's label counts of each layer: None where there is no control, 0 while they are on their way."""
        if self.control is None:
            return None
        is_now = self.control.thresholds == self.state.thresholds
        return self.control.counts if is_now else ((0, 0, 0, 0),) * self.store.layers

    def paint_title(self) -> None:
        """The title line alone."""
        view = title_view(
            self.store,
            self.scan_name,
            self._counts,
            self._control_counts,
            self.state.thresholds,
            self.link.status,
            self.spent,
            self.how_far,
        )
        self.query_one(TitleBar).present(view, self.palette)

    def _paint_list(self) -> None:
        state = self.state
        where = "all layers" if state.filter.all_layers else f"L{state.neuron.layer}"
        if state.filter.layers is not None:
            where = "L{}-{}".format(*state.filter.layers)
        by = state.order.means if state.order in (Order.CLEAREST, Order.FRAGILE) else f"by {state.order}"
        by += ", largest first" if state.order not in (Order.INDEX, Order.CLEAREST, Order.FRAGILE) else ""
        neurons = self.query_one(NeuronList)
        title = f"{where} · {len(self._selection):,} neurons · {state.filter} · {by}"
        if neurons.border_title != title:  # Textual repaints the whole list for it
            neurons.border_title = title
        if neurons.border_subtitle != self.progress:
            neurons.border_subtitle = self.progress
        neurons.present(
            ListView(
                selection=self._selection,
                labels=self.labels,
                maximum=self.store.maximum,
                cursor=self._cursor,
                cursor_is_page=self.listed,
                all_layers=state.filter.whole,
                has_concepts=self.has_concepts,
                concepts=self.concepts,
                marks=self.marks,
                empty=f"No neuron here is {state.filter}: f changes the filter.",
            ),
            self.palette,
        )

    def _paint_page(self) -> None:
        view = page_view(
            self.store,
            self.labels,
            self.state,
            listed=self.listed,
            # While a key is held the numbers wait, as the picture does.
            firmness=None if self._stale else self._firmness(self.state.neuron, self.state.thresholds),
            evidence=self._evidence,
            facts=self._facts,
            meaning=self.meaning,
            score=self.score_view() if self.state.mode is Mode.SCORE else None,
            stale=self._stale,
            waiting=self.waiting(),
        )
        self.query_one(Page).present(view, self.palette)

    @property
    def listed(self) -> bool:
        """Whether the list holds the neuron on the page."""
        return self._cursor is not None and self._selection.at(self._cursor) == self.state.neuron

    @property
    def progress(self) -> str:
        """How far the triage is; empty before the first verdict."""
        keep, reject, unsure = self.noted.triaged
        done = keep + reject + unsure
        return f"triaged {done:,} of {self.labels.label.size:,} · ✓{keep:,} ✗{reject:,} ?{unsure:,}" if done else ""

    @property
    def how_far(self) -> tuple[str, ...]:
        """How far a scan is that is not whole, the longest words first; the screen that follows it says it."""
        return ()

    @property
    def working(self) -> bool:
        """Whether anything is on its way that esc stops."""
        return self.link.working

    def score_view(self) -> ScoreView | None:
        """The newest score of the neuron of now; the screen that scores has it."""
        return None

    @property
    def spent(self) -> str:
        """What requests to an API have cost; the screen that sends them says it."""
        return ""

    def waiting(self) -> str:
        """What the empty box says while the model works."""
        if not self.link.working:
            return ""
        status = self.link.status
        loading = status.phase in (Phase.STARTING, Phase.LOADING)
        share = f" {100 * status.progress:.0f}%" if loading and status.progress is not None else ""
        return f"asking the model: {status.phase}{share}" if loading else "asking the model"

    def footer(self) -> tuple[FooterItem, ...]:
        """What the footer says first, just now."""
        first: list[FooterItem] = []
        if self.working:
            first.append((("back",), "stop"))
        elif self.state.own is not None:
            first.append((("back",), f"leave {plain(self.state.own.image.rpartition('/')[2], 20)}"))
        if self.has_class("-narrow"):
            first.append((("page",), "page") if self.state.pane is Pane.LIST else (("pane",), "list"))
        return (*first, *FOOTER[:2])
