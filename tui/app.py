"""The Textual app: one scan, one browse screen, one model process that starts when it is first needed."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from textual.actions import ActionParseResult
from textual.app import SystemCommand
from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.dom import DOMNode
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Click, Event, Key, Mount, Paste
from textual.filter import LineFilter
from textual.screen import Screen
from textual.theme import ThemeProvider
from textual.timer import Timer
from textual.widgets import Button, Input, OptionList

from vlmscope.core.base.config import Config, config_file, settings_of
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.signals import Stopped, asked, exit_code
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.notebook.score_order import lead_with
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui import keys
from vlmscope.tui.browse.first_start import first_steps, is_first
from vlmscope.tui.browse.model_link import ClientFactory, start_process
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.browse.screen import BrowseScreen
from vlmscope.tui.command_line import VERBS
from vlmscope.tui.dialogs.ending import is_on_top
from vlmscope.tui.terminal import Dropped, SignalCame, TerminalDriver, fitting, input_of
from vlmscope.tui.toasts import TalkingApp
from vlmscope.tui.views.saved import saved_views
from vlmscope.tui.widgets.lines import PlainLines

KEYS_S = 0.05  #: after a signal, for keys that were typed before it and are still to be read
DROPPED_S = 0.3  #: after the last part of a paste that does not fit, for one message on all of it
SUGGEST_S = 60.0  #: how long a first start's suggestion stands, unless a key is pressed
LEAVE_S = 5.0  #: after a signal, for what is being saved; then the program ends whatever it is doing


class SafeCommandPalette(CommandPalette):
    """Textual's command palette, which takes one choice; a page of no matches does not end the program."""

    def on_mount(self, event: Mount) -> None:
        if not is_on_top(self):  # it was left before it was up: Textual's own handler would look for its list
            event.prevent_default()

    def dismiss(self, result: None = None) -> AwaitComplete:
        # Textual 8.2 leaves, and runs the command, at each of two enters or clicks that arrive together. It searches
        # for what was typed when its list is gone.
        self.disable_messages(Button.Pressed, Input.Submitted, Input.Changed, OptionList.OptionSelected, Click)
        self._stop_no_matches_countdown()
        return super().dismiss(result) if is_on_top(self) else AwaitComplete()

    def _action_command_list(self, action: str) -> None:
        with contextlib.suppress(KeyError):  # of Textual 8.2: its list counts no lines where nothing matches
            super()._action_command_list(action)


class VlmscopeApp(TalkingApp):
    """The screen of vlmscope."""

    CSS_PATH = "vlmscope.tcss"
    TITLE = "vlmscope"
    ENABLE_COMMAND_PALETTE = True
    NOTIFICATION_TIMEOUT: ClassVar[float] = 6

    def __init__(
        self,
        store: ScanStore,
        config: Config,
        start: Neuron | None = None,
        name: str = "demo",
        model_factory: ClientFactory = start_process,
        pace: Pace = Pace(),  # noqa: B008 (frozen)
        first_start: Path | None = None,
    ) -> None:
        """Show ``store``.

        Args:
            start: the neuron to begin with.
            name: what the title calls the scan.
            model_factory: makes the model process's client; tests have one of their own.
            pace: how long the screen waits for what.
            first_start: the file whose absence makes this the first start, at which something is suggested.
        """
        # With NO_COLOR, Textual's grey would still be a colour: native ANSI colours are then removed altogether.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self._config = config
        lead_with(config.leading_score)
        self._plain = PlainLines()
        self._left_by = 0
        self._dropping: Timer | None = None  # until the user is told
        self._dropped = 0
        self._early: list[Key] | None = []
        self._first_start = first_start
        self.typed_ahead = b""  #: what was typed before the driver reads; the driver takes it first
        self.browse = BrowseScreen(
            store, config, start, name, model_factory, pace, self.take_keys, self._suggest, lambda: self.messages
        )

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [self._plain, *super().get_line_filters()]

    def get_default_screen(self) -> Screen[None]:
        return self.browse

    def on_mount(self) -> None:
        if number := asked():
            self.leave(number)
        self.set_keymap(self._config.keys)
        unknown = keys.unknown_ids(self._config.keys)
        if unknown:
            self.notify(
                f"The settings map keys of unknown actions: {', '.join(unknown)}.", severity="warning", markup=False
            )
        if self._config.colour_map not in ["auto", *ColourMap]:
            self.notify(
                f"The settings name an unknown colour map: {self._config.colour_map}.", severity="warning", markup=False
            )
        if self._config.theme in self.available_themes:
            self.theme = self._config.theme
        else:
            self.notify(f"The settings name an unknown theme: {self._config.theme}.", severity="warning", markup=False)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action of the registry that the screen knows, for the command palette."""
        for action in keys.ACTIONS:
            if "." not in action.call and not hasattr(screen, f"action_{action.call.split('(')[0]}"):
                continue
            title = f"{action.short} ({keys.keys_of(action.id, self._config.keys)[0]})"
            call = action.call if "." in action.call else f"screen.{action.call}"
            yield SystemCommand(title, action.tip, lambda call=call: self.call_next(self.run_action, call))
        yield SystemCommand("theme", "Change the theme", self.action_change_theme)
        if screen is self.browse:
            yield from self._typed_commands()
            yield from self._settings()

    def _typed_commands(self) -> Iterable[SystemCommand]:
        """Every ``:`` command, which opens its line, and every saved view."""
        for name, verb in VERBS.items():

            async def begin(name: str = name) -> None:
                await self.browse.typed_lines.command(f"{name} ")

            yield SystemCommand(f":{verb.usage}", verb.help, begin)
        with contextlib.suppress(UsageError):  # the file of views cannot be read: ``:view`` says why
            for name in saved_views():

                async def show(name: str = name) -> None:
                    with self.browse.guard():
                        await self.browse.controllers.view.show(name)

                yield SystemCommand(f":view {name}", "Show this saved view", show)

    def _settings(self) -> Iterable[SystemCommand]:
        """Every setting, with its value, and where it is changed."""
        for name, value, default in settings_of(self._config):
            head, _, key = name.rpartition(".")
            line = f"{f'[{head}] ' if head else ''}{key} = {json.dumps(value)}"
            told = f"{line}, default {json.dumps(default)}. Settings are read from {config_file()} at the next start."

            def show(told: str = told) -> None:
                self.notify(told, title="setting", markup=False)

            yield SystemCommand(f"setting {name} = {json.dumps(value)}", f"Default: {json.dumps(default)}", show, False)

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(SafeCommandPalette(id="--command-palette"))

    def search_themes(self) -> None:
        self.push_screen(SafeCommandPalette(providers=[ThemeProvider], placeholder="Search for themes…"))

    def action_help_quit(self) -> None:
        """ctrl+c stops what runs; where nothing does, the user reads how to quit."""
        if self.browse.controllers.stop():
            return
        quit_key = keys.keys_of("quit", self._config.keys)[0]
        self.notify(f"{quit_key} quits; ctrl+c stops what the model does.", markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's)
        typing = self.screen is self.browse and self.browse.focused is not None
        return not (action == "quit" and typing)

    async def run_action(
        self,
        action: "str | ActionParseResult",
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        with self.browse.guard():
            if self.screen is self.browse:
                self.browse.before_action(action if isinstance(action, str) else action[1])
            return await super().run_action(action, default_namespace, namespaces)
        return True

    def _suggest(self) -> None:
        """At the first start, and at no later one: what to do first."""
        if self._first_start is not None and is_first(self._first_start):
            self.suggest(first_steps(self.browse.session.scene.columns.concepts, self._config.keys), SUGGEST_S)

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key):
            self._last_key = time.monotonic()
            if self._until_key or self._answered is not None:  # else a step passes through one room less
                self.key_came()
        if isinstance(event, Key) and isinstance(self._driver, TerminalDriver):
            self._driver.key_taken()
        if isinstance(event, Paste) and not event.is_forwarded:
            self._bound_paste(event)
            if not event.text:
                return
        # What is typed before there is anything to move waits for it.
        if isinstance(event, Key) and self._early is not None:
            self._early.append(event)
        else:
            await super().on_event(event)

    def _bound_paste(self, event: Paste) -> None:
        """Cut what is pasted to what the input takes."""
        box = input_of(self)
        fit = event.text if box is None else fitting(box, event.text)
        if len(fit) < len(event.text):
            why = "characters of the paste do not fit here, and are left out"
            self.on_dropped(Dropped(len(event.text) - len(fit), why))
            event.text = fit

    def on_dropped(self, message: Dropped) -> None:
        """One toast for all that is dropped within a second, as the parts of one paste are."""
        if self._dropping is not None:
            self._dropping.stop()
            message.count += self._dropped
        self._dropped = message.count
        self._dropping = self.set_timer(DROPPED_S, lambda: self._report_dropped(message))

    def _report_dropped(self, message: Dropped) -> None:
        self._dropping = None
        self.notify(f"{message.count:,} {message.why}.", severity="warning", markup=False)

    def take_keys(self) -> None:
        """The screen is up: what was typed until now comes first, then every key as it comes."""
        self.call_next(self._replay)

    async def _replay(self) -> None:
        early, self._early = self._early or [], None
        for event in early:
            await super().on_event(event)

    def get_driver_class(self) -> type[Driver]:
        usual = super().get_driver_class()
        return TerminalDriver if usual is LinuxDriver else usual

    def leave(self, number: int) -> None:
        """End the program, because of a signal: what is being typed is kept, and the terminal is left as it was.

        Called by the signal's handler, or by ``on_signal_came``. The first signal counts.
        """
        if self._left_by:
            return
        if self._loop is None:
            raise Stopped
        self._left_by = number
        if not (self.is_headless or self.browse.lends_terminal):
            signal.signal(signal.SIGALRM, lambda *_: self._leave_at_once())
            signal.setitimer(signal.ITIMER_REAL, LEAVE_S)
        loop = self._loop
        with contextlib.suppress(RuntimeError):  # the loop has ended, and so does the program
            loop.call_soon_threadsafe(loop.call_later, KEYS_S, self.post_message, SignalCame(number))

    def _leave_at_once(self) -> None:
        with contextlib.suppress(Exception):
            self.browse.keep_typed_now()
        if isinstance(self._driver, TerminalDriver):
            self._driver.restore_at_once()
        os._exit(exit_code(self._left_by))

    async def on_signal_came(self, message: SignalCame) -> None:
        if not self._left_by:  # the terminal is gone, and no signal came
            self.leave(message.number)
            return
        if not self._exit:
            with self.browse.guard():
                await self.browse.keep_typed()
                await self.browse.controllers.close()
            self.exit(return_code=exit_code(self._left_by))

    async def action_quit(self) -> None:
        await self.browse.controllers.close()
        self.exit()
