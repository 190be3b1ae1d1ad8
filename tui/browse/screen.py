"""The main screen: it composes the widgets, binds the keys, and paints what a change of the session asks for."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import BindingType
from textual.containers import Container, Horizontal
from textual.timer import Timer

from vlmscope.core.base.config import Config
from vlmscope.core.base.errors import NotebookError, StoreError, UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import Phase
from vlmscope.tui import keys
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.actions import DelegatedActions
from vlmscope.tui.browse.controllers import Controllers
from vlmscope.tui.browse.count import Count
from vlmscope.tui.browse.looking import FOLDED, LookingActions
from vlmscope.tui.browse.model_link import ClientFactory
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.browse.page_words import AskKeys
from vlmscope.tui.browse.posts import Posts
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import UnexpectedError
from vlmscope.tui.browse.typed_lines import TypedLines
from vlmscope.tui.messages import (
    Ask,
    LineChanged,
    LineEntered,
    LineLeft,
    Notice,
)
from vlmscope.tui.views.drawing import Blocks, Drawing
from vlmscope.tui.views.scene import Changed, Scene
from vlmscope.tui.views.state import Mode, OwnPicture, Pane, Pinned, State
from vlmscope.tui.widgets.bars import KeyBar, TitleBar, footer
from vlmscope.tui.widgets.layer_strip import FoldedStrip, LayerStrip
from vlmscope.tui.widgets.lines import Lines
from vlmscope.tui.widgets.neuron_list import NeuronList
from vlmscope.tui.widgets.page.page import Page
from vlmscope.tui.widgets.palette import make_palette

BORDERS = 2  #: lines, or cells, of a pane's border
AROUND = 2  #: lines of title and footer


_PARTS: dict[Changed, tuple[type[Lines[Scene] | NeuronList], ...]] = {
    Changed.TITLE: (TitleBar,),
    Changed.LAYERS: (LayerStrip, FoldedStrip),
    Changed.LIST: (NeuronList,),
    Changed.PAGE: (Page,),
}


class BrowseScreen(LookingActions, DelegatedActions):
    """Browse a scan."""

    AUTO_FOCUS = ""  # else a closed help would focus the hidden prompt line, and keys would be letters
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (FOLDED, "-folded"), (132, "-wide"), (180, "-huge")]  # noqa: RUF012 (Textual's own form)
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings()]

    def __init__(
        self,
        store: ScanStore,
        config: Config,
        start: Neuron | None,
        name: str,
        factory: ClientFactory,
        pace: Pace,
        up: Callable[[], None],
        begun: Callable[[], None],
        messages: Callable[[], Sequence[tuple[str, str]]],
    ) -> None:
        """Nothing is read yet.

        Args:
            up: called when the screen can take keys. begun: called when it has read what it begins with.
            messages: those of this session, the oldest first.
        """
        super().__init__()
        self._up = up
        self._begun = begun
        self.messages = messages
        self.config = config
        self.pace = pace
        ids = ("explain", "writes", "choose", "score", "check", "exact_map")
        asks = AskKeys(*(keys.keys_of(name, config.keys)[0] for name in ids))
        colour_map = ColourMap(config.colour_map) if config.colour_map in list(ColourMap) else None
        self.session = Session(store, start, name, colour_map, asks)
        self.drawing = Drawing()  #: what the terminal can draw; the program sets it before the screen is up
        self.posts = Posts(self)
        self.controllers = Controllers(
            self.session, config, factory, pace, self.posts.take, self.guard, self._lend_terminal
        )
        self.count = Count(self.session, self.show, self.controllers.triage.undecide, pace.count_s)
        self.typed_lines = TypedLines(self)
        self._place: tuple[Neuron, int, OwnPicture | None, Pinned | None] | None = None
        self._last_move = 0.0
        self._rest: Timer | None = None
        self._looks: Timer | None = None
        self._ablates = False
        self.lends_terminal = False  #: to an editor

    def compose(self) -> ComposeResult:
        yield TitleBar(id="title")
        yield FoldedStrip(id="folded")
        with Horizontal(id="body"):
            with Container(id="left"):
                yield LayerStrip(id="layers")
                yield NeuronList(id="list")
            yield Page(id="page")
        yield KeyBar(self.config.keys, id="keys")

    # -- beginning and end ---------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._new_theme())
        self._new_theme()
        # The first paint needs the labels alone; pictures follow it, then everything that no key waits for.
        self.call_after_refresh(self._begin)

    def _new_theme(self) -> None:
        self.palette = make_palette(self.app, self.drawing)
        self._paint(Changed.ALL)

    def draw_with(self, blocks: Blocks) -> None:
        """Draw pictures with other characters, until the program ends.

        Raises:
            UsageError: if the terminal does not draw them.
        """
        if blocks in self.drawing.lacks:
            raise UsageError(f"This terminal does not draw {blocks}s on one cell each.", "vlmscope doctor shows them.")
        self.drawing = replace(self.drawing, blocks=blocks)
        self._new_theme()

    def _begin(self) -> None:
        self.show(Changed.NOTHING)
        # Objects made so far live as long as the program: later collections do not walk over them.
        if not self.app.is_headless:  # many apps share a test's process
            gc.collect()
            gc.freeze()
        self._up()
        self.call_after_refresh(self._begin_reading)

    def _begin_reading(self) -> None:
        with self.guard():
            self.show(incoming.take_concepts(self.session))
            self._begun()
        controllers = self.controllers
        controllers.read_notebook()
        controllers.tasks.run_task(controllers.follow.find_control())
        self.set_interval(self.pace.look_s, controllers.look)
        if controllers.follow.following:
            self._looks = self.set_interval(self.pace.follow_s, self._follow)

    def _follow(self) -> None:
        if self.controllers.follow.following:
            self.controllers.tasks.run_task(self.controllers.follow.look())
        elif self._looks is not None:
            self._looks.stop()

    async def keep_typed(self) -> None:
        """Write what is being typed to its draft, with the keys that are still on their way to it."""
        from vlmscope.tui.widgets.prompt_line import drained

        if self.app.focused is not None:
            await drained(self.app.focused)
        await drained(self)
        self.keep_typed_now()

    def keep_typed_now(self) -> None:
        """``keep_typed``, without the last keys."""
        if self.note is not None and self.note.is_current:
            self.note.keep_draft()
        self.typed_lines.keep_draft()

    # -- painting ------------------------------------------------------------------------------------------------

    def show(self, changed: Changed) -> None:
        """Paint parts of the screen; after a move, load its page now, or, while a key is held, when it rests."""
        place = _place_of(self.session.state)
        if place != self._place:
            self._place = place
            if self._rest is not None:
                self._rest.stop()
                self._rest = None
            if time.monotonic() - self._last_move >= self.pace.rest_s:
                changed |= self.load_page()
            else:
                self._rest = self.set_timer(self.pace.rest_s, lambda: self.show(self.load_page()))
            self._last_move = time.monotonic()
        ablates = self.session.state.mode is Mode.ABLATION
        if ablates or self._ablates:  # what a page that was left still asks for is stopped
            self.controllers.ablate.want()
        self._ablates = ablates
        if self.in_sheet:
            self.controllers.sheet.want()
        with self.guard():
            self._paint(changed)
            if Changed.TITLE in changed:
                self.controllers.follow.count_control()

    def load_page(self) -> Changed:
        """Gather the page of the state's neuron, and ask for what it lacks."""
        self._place = _place_of(self.session.state)
        with self.guard():
            changed = self.session.load_page()
            scene, neuron, controllers = self.session.scene, self.session.state.neuron, self.controllers
            if scene.problem:
                self.posts.take(Notice(scene.problem, None, StoreError.title, "error"))
            points = self.session.state.mode is Mode.POINT
            if any(
                one is not None and (one.visual is None or one.small or points) for one in (scene.picture, scene.beside)
            ):
                controllers.model.want_map()
            if scene.entry is None:
                controllers.read_entry()
            if scene.status.phase in (Phase.READY, Phase.BUSY) and neuron not in self.session.answers.promoted:
                controllers.promoted.ask_when_rested()
            return changed
        return Changed.PAGE

    def _paint(self, changed: Changed) -> None:
        scene, palette = self.session.scene, self.palette
        for part, widgets in _PARTS.items():
            if part in changed:
                for widget in widgets:
                    self.query_one(widget).present(scene, palette)
        if Changed.KEYS in changed:
            self.set_class(scene.state.pane is Pane.PAGE, "-page")
            self.set_class(scene.state.mode in (Mode.ZOOM, Mode.SHEET), "-zoom")
            self.query_one(KeyBar).present(footer(scene, narrow=self.app.size.width < FOLDED), palette)

    def on_resize(self) -> None:
        self._divide()
        self._paint(Changed.KEYS)

    def _divide(self) -> None:
        """Put few layers above the list, where they take no columns of the page; many stand beside it."""
        lines = len(self.session.scene.counts) + 1 + BORDERS
        stacked = 3 * lines <= self.app.size.height - AROUND
        self.set_class(stacked, "-stacked")
        self.query_one(LayerStrip).styles.height = lines if stacked else "100%"

    @contextmanager
    def guard(self) -> Iterator[None]:
        """The one place where failures end, of actions, of messages and of background work: the user is notified."""
        try:
            yield
        except VlmscopeError as error:
            self.notify_error(error)
        except Exception as error:  # noqa: BLE001 (data, settings and libraries fail in more ways than a list could hold)
            what = f"{type(error).__name__}: {error}"
            self.notify_error(UnexpectedError(what, "The screen continues. Please report this."))

    def notify_error(self, error: VlmscopeError) -> None:
        """Show a failure with its hint."""
        if isinstance(error, NotebookError):
            self.show(incoming.set_entry_problem(self.session, error.message))
        self.posts.notify(Notice(str(error), None, error.title, "error"))

    # -- what is over the screen ---------------------------------------------------------------------------------

    async def ask(self, question: Ask | None) -> None:
        # Awaited by the key's own action: letters that are typed at once are for the question, not for the screen.
        if question is not None:
            await self.posts.open(question)

    @contextmanager
    def _lend_terminal(self) -> Iterator[None]:
        try:
            with self.app.suspend():
                self.lends_terminal = True
                yield
        except SuspendNotSupported:
            raise UsageError("This terminal cannot be lent to an editor.", "Write the note here instead.") from None
        finally:
            self.lends_terminal = False
        self.app.refresh(layout=True)

    # -- lines that are typed ------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's)
        return self.focused is None or action not in keys.CALLS

    async def action_command(self) -> None:
        await self.typed_lines.command()

    @on(LineLeft)
    def _line_left(self) -> None:
        self.typed_lines.left()

    @on(LineChanged)
    def _line_changed(self, message: LineChanged) -> None:
        self.typed_lines.changed(message.prompt, message.text)

    @on(LineEntered)
    async def _line_entered(self, message: LineEntered) -> None:
        self.typed_lines.ended()
        with self.guard():
            await self.typed_lines.entered(message.prompt, message.text)


def _place_of(state: State) -> tuple[Neuron, int, OwnPicture | None, Pinned | None]:
    """What the page's picture belongs to."""
    return state.neuron, state.rank, state.own, state.pinned
