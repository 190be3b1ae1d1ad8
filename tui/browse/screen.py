"""The main screen: it composes the widgets, binds the keys, and paints what a change of the session asks for."""

import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.timer import Timer

from vlmscope.core.base.config import Config
from vlmscope.core.base.errors import NotebookError, StoreError, UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain, written
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.method.labels import Label
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import Phase
from vlmscope.tui import command_line, keys
from vlmscope.tui.browse import incoming, moves
from vlmscope.tui.browse.api_link import ApiLink
from vlmscope.tui.browse.consent import ConsentControl
from vlmscope.tui.browse.explain import ExplainControl
from vlmscope.tui.browse.find import FindControl
from vlmscope.tui.browse.follow import FollowControl
from vlmscope.tui.browse.model import ModelControl
from vlmscope.tui.browse.model_link import ClientFactory, ModelLink
from vlmscope.tui.browse.notebook import NotebookControl
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.browse.place import PlaceControl
from vlmscope.tui.browse.promoted import PromotedControl
from vlmscope.tui.browse.running import Running
from vlmscope.tui.browse.score import ScoreControl
from vlmscope.tui.browse.session import AskKeys, Session
from vlmscope.tui.browse.tasks import Tasks, UnexpectedError
from vlmscope.tui.browse.triage import TriageControl
from vlmscope.tui.command_line import Command, read_command
from vlmscope.tui.dialogs import drafts
from vlmscope.tui.messages import (
    Ask,
    AskConfirm,
    Copy,
    LayerChosen,
    LineEntered,
    LineLeft,
    LoadPage,
    NewCheckpoint,
    Notice,
    Posted,
    Repaint,
    RowChosen,
    Scored,
)
from vlmscope.tui.terminal import NOTE_MOST
from vlmscope.tui.views.scene import Changed, Scene
from vlmscope.tui.views.state import Mode, Order, OwnPicture, Pane, State, place_asked_at
from vlmscope.tui.widgets.bars import KeyBar, TitleBar, footer
from vlmscope.tui.widgets.layer_strip import FoldedStrip, LayerStrip
from vlmscope.tui.widgets.lines import Lines
from vlmscope.tui.widgets.neuron_list import NeuronList
from vlmscope.tui.widgets.page.page import Page
from vlmscope.tui.widgets.palette import make_palette

if TYPE_CHECKING:
    from vlmscope.tui.dialogs.note import NoteScreen
    from vlmscope.tui.widgets.prompt_line import PromptLine

FOLDED = 110  #: cells from which list and page are side by side


_PARTS: dict[Changed, tuple[type[Lines[Scene] | NeuronList], ...]] = {
    Changed.TITLE: (TitleBar,),
    Changed.LAYERS: (LayerStrip, FoldedStrip),
    Changed.LIST: (NeuronList,),
    Changed.PAGE: (Page,),
}


class BrowseScreen(Screen[None]):
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
    ) -> None:
        """``up`` is called when the screen can take keys."""
        super().__init__()
        self._up = up
        self.config = config
        self.pace = pace
        ids = ("explain", "writes", "choose", "score", "verdict.keep", "allow")
        explain, promoted, choose, score, keep, allow = (keys.keys_of(name, config.keys)[0] for name in ids)
        colour_map = ColourMap(config.colour_map) if config.colour_map in list(ColourMap) else ColourMap.FADE
        self.session = Session(store, start, name, colour_map, AskKeys(explain, promoted, choose, score))
        self.tasks = Tasks(self.guard)  #: finished when the program ends
        self.requests = Tasks(self.guard)  #: can be stopped; cancelled when the program ends
        self.model_link = ModelLink(store.manifest, config, factory, allow)
        self.notebook_link = NotebookLink(store.manifest.scan_id, store.folder, config.notebooks)
        self.api_link = ApiLink(config.api)
        session, post, tasks, book = self.session, self.post, self.tasks, self.notebook_link
        model = (session, self.model_link, post, self.requests, pace.ask_after_s)
        asked = (session, post, self.requests, self.api_link)
        api = (session, post, book, self.model_link, self.api_link)
        self.model = ModelControl(*model)
        self.promoted = PromotedControl(*model)
        self.consent = ConsentControl(session, self.model_link, post)
        self.explain = ExplainControl(Running("explain", "explaining", *asked), *api)
        self.score = ScoreControl(Running("score", "scoring", *asked), *api, config)
        self.notebook = NotebookControl(session, book, post, tasks)
        self.find = FindControl(session, book, post, tasks, pace.small)
        self.triage = TriageControl(session, book, post, tasks, self._lend_terminal, keep)
        self.place = PlaceControl(session, book, post)
        self.follow = FollowControl(session, post, tasks)
        self._posted = Changed.NOTHING
        self._place: tuple[Neuron, int, OwnPicture | None] | None = None
        self._last_move = 0.0
        self._rest: Timer | None = None
        self._looks: Timer | None = None
        self._line_for = self.session.state.neuron
        self._line: PromptLine | None = None
        self._line_draft = Path()
        self._note: NoteScreen | None = None
        self.lends_terminal = False  #: to an editor

    def compose(self) -> ComposeResult:
        yield TitleBar(id="title")
        yield FoldedStrip(id="folded")
        with Horizontal(id="body"):
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
        self.palette = make_palette(self.app)
        self._paint(Changed.ALL)

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
        self.tasks.run_task(self.notebook.reported_once(self._read_notebook()))
        self.tasks.run_task(self.follow.find_control())
        self.set_interval(self.pace.look_s, self.look)
        if self.follow.following:
            self._looks = self.set_interval(self.pace.follow_s, self._follow)

    async def _read_notebook(self) -> None:
        await self.place.resume()
        await self.notebook.read_marks()

    def look(self) -> None:
        """Read what others wrote to the notebook, and keep the session's place."""
        self.tasks.run_task(self.notebook.reported_once(self._look()))

    async def _look(self) -> None:
        await self.notebook.look()
        await self.place.keep()

    def _follow(self) -> None:
        if self.follow.following:
            self.tasks.run_task(self.follow.look())
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
        if self._note is not None and self._note.is_current:
            self._note.keep_draft()
        if self._line is not None and self._line.typed:
            drafts.keep(self._line_draft, self._line.typed)

    async def close(self) -> None:
        """Stop the model and the requests, and finish what is being saved."""
        self.requests.cancel()
        await self.place.close()
        await self.requests.finish()
        await self.tasks.finish()
        await self.model_link.close()
        await self.api_link.close()
        await self.notebook_link.close()

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
                changed |= self._load_page()
            else:
                self._rest = self.set_timer(self.pace.rest_s, lambda: self.show(self._load_page()))
            self._last_move = time.monotonic()
        with self.guard():
            self._paint(changed)
            if Changed.TITLE in changed:
                self.follow.count_control()

    def _load_page(self) -> Changed:
        self._place = _place_of(self.session.state)
        with self.guard():
            changed = self.session.load_page()
            scene, neuron = self.session.scene, self.session.state.neuron
            if scene.problem:
                self.post(Notice(scene.problem, None, StoreError.title, "error"))
            if scene.picture is not None and scene.picture.visual is None:
                self.model.want_map()
            if scene.entry is None:
                self.tasks.run_task(self.notebook.reported_once(self.notebook.read_entry()))
            if scene.status.phase in (Phase.READY, Phase.BUSY) and neuron not in self.session.promoted:
                self.promoted.ask_when_rested()
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
            self.set_class(scene.state.mode is Mode.ZOOM, "-zoom")
            self.query_one(KeyBar).present(footer(scene, narrow=self.app.size.width < FOLDED), palette)

    def on_resize(self) -> None:
        self._paint(Changed.KEYS)

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

    # -- what the controllers ask -------------------------------------------------------------------------------

    def post(self, posted: Posted) -> None:
        """Do what a controller asks for. Repaints of one turn of the event loop are one paint."""
        if not self.is_running:
            return
        match posted:
            case Repaint(changed):
                if changed is Changed.NOTHING:
                    return
                if self._posted is Changed.NOTHING:
                    self.call_later(self._paint_posted)
                self._posted |= changed
            case LoadPage():
                if not self.session.scene.stale:
                    self.show(self._load_page())
            case NewCheckpoint(columns):
                neurons, cursor = self.query_one(NeuronList), self.session.scene.cursor
                line = None if cursor is None else cursor - neurons.scroll_offset.y
                self.show(incoming.replace_store(self.session, columns) | self._load_page())
                if line is not None:
                    neurons.put_cursor_on(line)
            case Notice(text, timeout, title, severity):
                self._notify(text, title=title, severity=severity, timeout=timeout)
            case Copy(text):
                self.app.copy_to_clipboard(text)
            case Scored():
                self._take_score(posted)
            case _:
                self._open(posted)

    def _take_score(self, scored: Scored) -> None:
        """Change the page only under a user who waits for that: not elsewhere, nor in a dialog or while typing."""
        there = (
            place_asked_at(self.session.state) == scored.asked_at and self.app.screen is self and self.focused is None
        )
        key = keys.keys_of("score", self.config.keys)[0]
        self._notify(scored.text if there else f"{scored.text} {key} shows it there.", timeout=None)
        if there:
            self.show(self.session.change_state(mode=Mode.SCORE, score=scored.score, example=0, pane=Pane.PAGE))

    def _paint_posted(self) -> None:
        changed, self._posted = self._posted, Changed.NOTHING
        self.show(changed)

    def _notify(self, text: str, title: str = "", severity: str = "information", timeout: float | None = 3) -> None:
        lines = "\n".join(plain(line) for line in text.splitlines())
        self.app.notify(lines, title=title, severity=severity, timeout=timeout, markup=False)  # type: ignore[arg-type]

    def notify_error(self, error: VlmscopeError) -> None:
        """Show a failure with its hint."""
        if isinstance(error, NotebookError):
            self.show(incoming.set_entry_problem(self.session, error.message))
        self._notify(str(error), error.title, "error", None)

    def _open(self, question: Ask) -> Awaitable[None]:
        if isinstance(question, AskConfirm):
            from vlmscope.tui.dialogs.confirm import ConfirmScreen

            return self.app.push_screen(ConfirmScreen(question))
        from vlmscope.tui.dialogs.choice import ChoiceScreen

        return self.app.push_screen(ChoiceScreen(question))

    async def _ask(self, question: Ask | None) -> None:
        # Awaited by the key's own action: letters that are typed at once are for the question, not for the screen.
        if question is not None:
            await self._open(question)

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

    # -- moving --------------------------------------------------------------------------------------------------

    def action_step(self, by: int) -> None:
        self.show(self.session.step(by))

    def action_end(self, which: int) -> None:
        self.show(self.session.go_row(0 if which < 0 else len(self.session.scene.selection) - 1))

    def action_half_page(self, which: int) -> None:
        self.show(self.session.step(which * max(self.query_one(NeuronList).page_rows // 2, 1)))

    def action_layer(self, by: int) -> None:
        self._moved(moves.to_layer(self.session, self.session.state.neuron.layer + by))

    def action_sample(self, by: int) -> None:
        self._moved(moves.to_sample(self.session, by))

    def action_next_untriaged(self) -> None:
        self._moved(moves.to_untriaged(self.session))

    def action_match(self, by: int) -> None:
        self.show(self.find.next_match(by))

    def _moved(self, moved: moves.Moved) -> None:
        changed, note = moved
        if note:
            self._notify(note)
        self.show(changed)

    @on(RowChosen)
    def _row_chosen(self, message: RowChosen) -> None:
        with self.guard():
            self.show(self.session.go_row(message.position))

    @on(LayerChosen)
    def _layer_chosen(self, message: LayerChosen) -> None:
        with self.guard():
            self._moved(moves.to_layer(self.session, message.layer))

    # -- looking -------------------------------------------------------------------------------------------------

    def action_colour_map(self) -> None:
        maps = list(ColourMap)
        after = maps[(maps.index(self.session.state.colour_map) + 1) % len(maps)]
        self.show(self.session.change_state(colour_map=after))

    def action_cover(self) -> None:
        self._moved(moves.to_cover(self.session))

    def action_mode(self, name: str) -> None:
        after = Mode.PICTURES if self.session.state.mode == name else Mode(name)
        self.show(self.session.change_state(mode=after, pane=Pane.PAGE, score=0, example=0))

    async def action_shares(self) -> None:
        await self._show_shares(())

    async def _show_shares(self, others: tuple[str, ...]) -> None:
        """Show the label shares by layer, and those of other scans beside."""
        from vlmscope.tui.shares.screen import SharesScreen

        scene, at = self.session.scene, self.session.wanted
        labels = scene.columns.labels if scene.columns.labels.thresholds == at else None
        await self.app.push_screen(SharesScreen(self.session.store, labels, at, scene.scan_name, others, self.config))

    def action_scroll_text(self, by: int) -> None:
        if self.session.state.mode is Mode.SCORE:
            self.show(moves.to_score(self.session, by))
        else:
            self.query_one(Page).scroll_words(by)

    def action_pane(self) -> None:
        after = Pane.LIST if self.session.state.pane is Pane.PAGE else Pane.PAGE
        self.show(self.session.change_state(pane=after))

    def action_page(self) -> None:
        self.show(self.session.change_state(pane=Pane.PAGE))

    def action_copy_address(self) -> None:
        self.app.copy_to_clipboard(str(self.session.state.neuron))
        self._notify(f"{self.session.state.neuron} is sent to the clipboard.")

    def action_back(self) -> None:
        """One step back: leave the own picture, the zoom, the statistics, the page; after these, stop the work."""
        state, scene = self.session.state, self.session.scene
        if state.own is not None and not state.own.described and not scene.doing:
            self.tasks.run_task(self.model_link.stop())  # it is described for this view alone, which is left then
        elif state.own is not None:
            self.show(self.model.leave_image())
        elif state.mode is not Mode.PICTURES:
            self.show(self.session.change_state(mode=Mode.PICTURES))
        elif state.pane is Pane.PAGE and self.app.size.width < FOLDED:
            self.show(self.session.change_state(pane=Pane.LIST))
        else:
            self.stop_work()

    def stop_work(self) -> bool:
        """Stop all that runs, and notify the user of what that was; False if nothing runs."""
        if not self.session.scene.working:
            return False
        stopped = [*self.explain.running.stop(), *self.score.running.stop()]
        self.tasks.run_task(self.model_link.stop())
        what = ", ".join(stopped) or "what the model did for the page"
        kept = " Nothing of it is kept; what was finished before is." if stopped else ""
        self._notify(f"Stopped: {what}.{kept}", timeout=None)
        return True

    async def action_help(self) -> None:
        from vlmscope.tui.dialogs.help import HelpScreen

        await self.app.push_screen(HelpScreen(self.config.keys, self.palette))

    # -- finding -------------------------------------------------------------------------------------------------

    async def action_filter(self) -> None:
        await self._ask(self.find.choose_filter())

    async def action_sort(self) -> None:
        await self._ask(self.find.choose_order())

    async def action_published(self) -> None:
        await self._ask(self.find.choose_published())

    async def action_search(self) -> None:
        placeholder = "a word of the concepts, 27.3900, an index of this layer, or a label: high-confidence visual"
        await self._ask_line("search", "/", placeholder, [])

    # -- the model and the API -----------------------------------------------------------------------------------

    async def action_explain(self) -> None:
        await self._ask(self.explain.explain())

    async def action_simulate(self) -> None:
        await self._ask(self.score.choose_backend())

    async def action_choose(self) -> None:
        await self._ask(self.notebook.choose_explanation())

    async def action_allow(self) -> None:
        await self._ask(self.consent.ask())

    def action_writes(self) -> None:
        self.promoted.ask()

    def action_restart_model(self) -> None:
        self.requests.run_task(self.model_link.restart())

    def action_unload_model(self) -> None:
        self.requests.run_task(self.model.unload())

    async def action_own_picture(self) -> None:
        placeholder = f"PATH [PROMPT] · {keys.keys_of('back', self.config.keys)[0]} leaves"
        await self._ask_line("picture", "picture ", placeholder, [])

    # -- deciding ------------------------------------------------------------------------------------------------

    def action_verdict(self, number: int) -> None:
        self.triage.decide(number)

    def action_bookmark(self) -> None:
        self.triage.switch_bookmark()

    def action_undo(self) -> None:
        self.tasks.run_task(self.triage.undo())

    def action_redo(self) -> None:
        self.tasks.run_task(self.triage.redo())

    async def action_tags(self) -> None:
        prompt = f"tags of {self.session.state.neuron} "
        await self._ask_line("tags", prompt, "trains, check again", [], self.triage.tags)

    async def action_note(self) -> None:
        from vlmscope.tui.dialogs.note import NoteScreen

        neuron, text, draft = await self.triage.note_to_edit()
        if len(text) > NOTE_MOST:
            editor = keys.keys_of("note.editor", self.config.keys)[0]
            self._notify(f"This note is too long for here: {editor} opens an editor.")
            return

        def keep(new: str) -> None:
            self.tasks.run_task(self.triage.keep_note(neuron, written(new), draft))

        self._note = NoteScreen(f"note on {neuron}", text, draft, keep)
        await self.app.push_screen(self._note)

    def action_note_editor(self) -> None:
        self.tasks.run_task(self.triage.edit_note())

    def action_copy_markdown(self) -> None:
        self.tasks.run_task(self.triage.copy_markdown())

    async def action_export(self) -> None:
        await self._ask_line("export", "export the kept neurons to ", "a folder to make", [], "vlmscope-report")

    # -- lines that are typed ------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's)
        return self.focused is None or action not in keys.CALLS

    async def action_command(self) -> None:
        names = [f"{verb.usage.split()[0]} " for verb in command_line.VERBS.values()]
        names += [f"theme {name}" for name in sorted(self.app.available_themes)]
        names += [f"label {word}" for word in (*(label.word for label in Label), command_line.HIGH_WORDS[0], "all")]
        names += [f"sort {order}" for order in Order]
        await self._ask_line("command", ":", "27.3900 · Tv 2.5 · label visual · image PATH · help", names)

    async def _ask_line(
        self, prompt: str, word: str, placeholder: str, suggestions: list[str], value: str = ""
    ) -> None:
        # Awaited by the key's own action: letters that are typed at once are for the line, not for the screen.
        from vlmscope.tui.widgets.prompt_line import PromptLine

        line = self._line
        if line is None:
            line = self._line = PromptLine(id="prompt")
            await self.mount(line, after="#keys")
        self.query_one("#keys").display = False
        self._line_for = self.session.state.neuron
        self._line_draft = self.triage.drafts.line(prompt, self._line_for)
        left = drafts.kept(self._line_draft)
        if left is not None and prompt == "tags":
            value = left
            self._notify("Tags that were typed and never entered are back.")
        elif left is not None:
            line.remember(prompt, left)
            self._notify("↑ brings back a line that was never entered.")
        line.open(prompt, word, placeholder, suggestions, value)

    @on(LineLeft)
    def _line_left(self) -> None:
        self._line_ended()

    def _line_ended(self) -> None:
        self.query_one("#keys").display = True
        drafts.drop(self._line_draft)

    @on(LineEntered)
    async def _line_entered(self, message: LineEntered) -> None:
        self._line_ended()
        session, text = self.session, message.text
        with self.guard():
            match message.prompt:
                case "search":
                    self.show(self.find.search(text))
                case "export":
                    self.tasks.run_task(self.triage.export(text))
                case "tags":
                    self.triage.set_tags(self._line_for, text)
                case prompt:
                    line = f"image {text}" if prompt == "picture" else text
                    state = replace(session.state, thresholds=session.wanted)
                    await self.run_command(read_command(line, state, session.store.layers, session.store.neurons))

    async def run_command(self, command: Command) -> None:
        """Do what a command asks for.

        Raises:
            VlmscopeError: if it cannot be done.
        """
        match command:
            case command_line.GoTo(neuron):
                self.show(self.session.go(neuron))
            case command_line.SetThresholds(thresholds):
                self.find.relabel(thresholds)
            case command_line.SetFilter(filter_):
                await self.find.set_filter(filter_)
            case command_line.SetOrder(order):
                await self.find.set_order(order)
            case command_line.ShowImage(path, question):
                self.show(self.model.show_image(path, question))
            case command_line.SetTheme(name):
                if name not in self.app.available_themes:
                    raise UsageError(
                        f"{name!r} is not a theme.", f"Themes: {', '.join(sorted(self.app.available_themes))}."
                    )
                self.app.theme = name
            case command_line.OwnWords(text):
                self.score.score_own_words(text)
            case command_line.ShowShares(scans):
                await self._show_shares(scans)
            case command_line.Do(action):
                await self.run_action(action)


def _place_of(state: State) -> tuple[Neuron, int, OwnPicture | None]:
    """What the page's picture belongs to."""
    return state.neuron, state.rank, state.own
