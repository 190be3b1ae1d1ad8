"""The main screen: what every key and every command does."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import numpy as np
from textual import on
from textual.binding import BindingType

from vlmscope.core.base.errors import UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.method.labels import Label
from vlmscope.tui import command_line, keys
from vlmscope.tui.browse.follow import FollowingScreen
from vlmscope.tui.command_line import Command, read_command
from vlmscope.tui.messages import LayerChosen, LineEntered, LineLeft, Relabelled, RowChosen
from vlmscope.tui.views.state import Mode, Order, Pane
from vlmscope.tui.widgets.neuron_list import NeuronList
from vlmscope.tui.widgets.page.page import Page


class BrowseScreen(FollowingScreen):
    """Browse a scan."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings()]

    # -- moving --------------------------------------------------------------------------------------------------

    def action_step(self, by: int) -> None:
        if self.listed and self._cursor is not None:
            self.go_row(self._cursor + by)
        else:
            nearest = self._selection.nearest(self.state.neuron, by)
            if nearest is not None:
                self.go_row(nearest)

    def action_end(self, which: int) -> None:
        self.go_row(0 if which < 0 else len(self._selection) - 1)

    def action_half_page(self, which: int) -> None:
        self.action_step(which * max(self.query_one(NeuronList).page_rows // 2, 1))

    def action_layer(self, by: int) -> None:
        layer = self.state.neuron.layer + by
        if 0 <= layer < self.store.layers:
            self._go_layer(layer)

    def _go_layer(self, layer: int) -> None:
        neuron = Neuron(layer, self.state.neuron.index)
        if not self.state.filter.whole:
            self.go(neuron)
            return
        inside = np.flatnonzero(self._selection.rows // self.store.neurons == layer)
        if len(inside):
            self.go_row(int(inside[0]))
        else:
            self.say(f"No neuron of layer {layer} is in this list.")

    def action_sample(self, by: int) -> None:
        if self.state.mode is Mode.SCORE:
            at = min(max(self.state.example + by, 0), max(self.examples - 1, 0))
            self.become(replace(self.state, example=at))
            return
        if self.state.own is not None:
            self.say("Your own picture is shown; esc leaves it.")
            return
        rank = min(max(self.state.rank + by, 0), max(self.store.manifest.valid - 1, 0))
        if rank != self.state.rank:
            self.become(replace(self.state, rank=rank))

    @on(RowChosen)
    def _row_chosen(self, message: RowChosen) -> None:
        self.go_row(message.position)

    @on(LayerChosen)
    def _layer_chosen(self, message: LayerChosen) -> None:
        if 0 <= message.layer < self.store.layers:
            self._go_layer(message.layer)

    # -- looking -------------------------------------------------------------------------------------------------

    def action_colour_map(self) -> None:
        maps = list(ColourMap)
        self.become(replace(self.state, colour_map=maps[(maps.index(self.state.colour_map) + 1) % len(maps)]))

    def action_statistics(self) -> None:
        self._toggle(Mode.STATISTICS)

    def action_shares(self) -> None:
        self.show_shares(())

    def show_shares(self, others: tuple[str, ...]) -> None:
        """Show the label shares by layer, and those of other scans beside."""
        from vlmscope.tui.shares.screen import SharesScreen

        at = self.wanted.thresholds
        labels = self.labels if self.labels.thresholds == at else None
        self.app.push_screen(SharesScreen(self.store, labels, at, self.scan_name, others, self.config))

    def action_zoom(self) -> None:
        self._toggle(Mode.ZOOM)

    def action_meaning(self) -> None:
        self._toggle(Mode.MEANING)

    def _toggle(self, mode: Mode) -> None:
        here = self.state.mode is mode
        self.become(replace(self.state, mode=Mode.PICTURES if here else mode, pane=Pane.PAGE))

    def action_scroll_text(self, by: int) -> None:
        self.query_one(Page).scroll_words(by)

    def action_pane(self) -> None:
        self.become(replace(self.state, pane=Pane.LIST if self.state.pane is Pane.PAGE else Pane.PAGE))

    def action_page(self) -> None:
        self.become(replace(self.state, pane=Pane.PAGE))

    def action_copy_address(self) -> None:
        self.app.copy_to_clipboard(str(self.state.neuron))
        self.say(f"{self.state.neuron} is sent to the clipboard.")

    async def action_back(self) -> None:
        """One step back: stop the model, else leave the picture, the zoom, the statistics, the page."""
        state = self.state
        if self.working:
            self.stop_explaining()
            self.run_worker(self.link.stop(), group="stop")
        elif state.own is not None:
            self.leave_image()
        elif state.mode is not Mode.PICTURES:
            self.become(replace(state, mode=Mode.PICTURES))
        elif state.pane is Pane.PAGE:
            self.become(replace(state, pane=Pane.LIST))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's)
        return self.focused is None or action not in keys.CALLS

    # -- commands ------------------------------------------------------------------------------------------------

    async def action_command(self) -> None:
        names = [f"{verb.usage.split()[0]} " for verb in command_line.VERBS.values()]
        names += [f"theme {name}" for name in sorted(self.app.available_themes)]
        names += [f"label {word}" for word in (*(label.word for label in Label), "firm", "all")]
        names += [f"sort {order}" for order in Order]
        await self.ask_line("command", ":", "27.3900 · Tv 2.5 · label visual · image PATH · help", names)

    async def ask_line(self, prompt: str, word: str, placeholder: str, suggestions: list[str], value: str = "") -> None:
        # Awaited by the key's own action: whoever types on at once must not lose a letter to the keys of the screen.
        from vlmscope.tui.widgets.prompt_line import PromptLine

        lines = self.query(PromptLine)
        line = lines.first() if lines else PromptLine(id="prompt")
        if not lines:
            await self.mount(line, after="#keys")
        self.query_one("#keys").display = False
        line.open(prompt, word, placeholder, suggestions, value)
        self._line_for = self.state.neuron

    @on(LineLeft)
    def _line_left(self) -> None:
        self.query_one("#keys").display = True

    @on(LineEntered)
    async def _line_entered(self, message: LineEntered) -> None:
        self.query_one("#keys").display = True
        readers: dict[str, Callable[[str], None]] = {
            "search": self.search,
            "picture": self._picture_line,
            "export": self.export,
            "tags": lambda text: self.set_tags(self._line_for, text),
        }
        try:
            if message.prompt in readers:
                readers[message.prompt](message.text)
            else:
                await self.obey(read_command(message.text, self.wanted, self.store.layers, self.store.neurons))
        except VlmscopeError as error:
            self.tell(error)

    def _picture_line(self, text: str) -> None:
        command = read_command(f"image {text}", self.state, self.store.layers, self.store.neurons)
        assert isinstance(command, command_line.ShowImage)
        self.show_image(command.path, command.question)

    async def obey(self, command: Command) -> None:
        """Do what a command says.

        Raises:
            VlmscopeError: if it cannot be done.
        """
        match command:
            case command_line.GoTo(neuron):
                self.go(neuron)
            case command_line.SetThresholds(thresholds):
                self.relabel(thresholds)
            case command_line.SetFilter(kept):
                await self.set_filter(kept)
            case command_line.SetOrder(order):
                await self.become_when_ready(replace(self.state, order=order))
            case command_line.ShowImage(path, question):
                self.show_image(path, question)
            case command_line.SetTheme(name):
                self._set_theme(name)
            case command_line.OwnWords(text):
                self.own_words(text)
            case command_line.ShowPublished():
                self.choose_published()
            case command_line.ShowShares(scans):
                self.show_shares(scans)
            case command_line.Do(action):
                await self.run_action(action)

    def _set_theme(self, name: str) -> None:
        if name not in self.app.available_themes:
            raise UsageError(f"{name!r} is no theme.", f"Themes: {', '.join(sorted(self.app.available_themes))}.")
        self.app.theme = name

    @on(Relabelled)
    def _relabelled(self, message: Relabelled) -> None:
        self.take_labels(message.columns)

    # -- the program ---------------------------------------------------------------------------------------------

    def action_help(self) -> None:
        from vlmscope.tui.dialogs.help import HelpScreen

        self.app.push_screen(HelpScreen(self.config.keys, self.palette))
