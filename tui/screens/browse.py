"""The main screen: what every key and every command does."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import numpy as np
from textual import on
from textual.binding import BindingType

from core.errors import UsageError, VlmscopeError
from core.heatmap import ColourMap
from core.labels import Label
from core.neuron import Neuron
from core.plain_text import plain
from tui import keys
from tui.messages import LayerChosen, LineEntered, LineLeft, Relabelled, RowChosen
from tui.screens import commands
from tui.screens.commands import Command, read_command, read_search
from tui.screens.model_talk import ModelTalkScreen
from tui.screens.state import Filter, Mode, Order, Pane
from tui.widgets.neuron_list import NeuronList
from tui.widgets.page import Page


class BrowseScreen(ModelTalkScreen):
    """Browse a scan."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings()]

    # -- moving --------------------------------------------------------------------------------------------------

    def go(self, neuron: Neuron) -> None:
        """Go to any neuron of the model; its first top sample, or the user's picture, comes with it."""
        self.become(replace(self.state, neuron=neuron, rank=0))

    def go_row(self, position: int) -> None:
        """Go to a row of the list."""
        if len(self._selection):
            self.go(self._selection.at(min(max(position, 0), len(self._selection) - 1)))

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
        if not self.state.filter.all_layers:
            self.go(neuron)
            return
        inside = np.flatnonzero(self._selection.rows // self.store.neurons == layer)
        if len(inside):
            self.go_row(int(inside[0]))
        else:
            self.say(f"No neuron of layer {layer} is in this list.")

    def action_sample(self, by: int) -> None:
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

    # -- finding -------------------------------------------------------------------------------------------------

    async def action_search(self) -> None:
        await self.ask_line("search", "/", "27.3900, an index of this layer, or a label: firm visual", [])

    def search(self, text: str) -> None:
        """Go to what ``text`` means, or to the next neuron of its kind.

        Raises:
            UsageError: if it means nothing.
        """
        state = self.state
        found = read_search(text, state.neuron.layer, self.store.layers, self.store.neurons)
        if found.neuron is not None:
            self.go(found.neuron)
            return
        self.become(replace(state, search=text))
        self.action_match(1)

    def action_match(self, by: int) -> None:
        state = self.state
        if not state.search:
            self.say("Nothing was searched for: / searches.")
            return
        found = read_search(state.search, state.neuron.layer, self.store.layers, self.store.neurons)
        rows = self._selection.rows
        hits = np.ones(len(rows), dtype=np.bool_)
        if found.label is not None:
            hits &= self.labels.label.ravel()[rows] == found.label
        if found.firm:
            hits &= self.labels.high_confidence.ravel()[rows]
        positions = np.flatnonzero(hits)
        if not len(positions):
            self.say(f"No neuron of this list is {plain(state.search)}.")
            return
        at = self._cursor if self._cursor is not None else 0
        later = positions[positions > at] if by > 0 else positions[positions < at][::-1]
        if not len(later):
            self.say("From the list's other end." if len(positions) > 1 else "That is the only match.")
        self.go_row(int(later[0] if len(later) else positions[0 if by > 0 else -1]))

    def action_filter(self) -> None:
        from tui.screens.choice import ChoiceScreen, filter_choices

        self.app.push_screen(ChoiceScreen("filter", filter_choices(self.state.filter)), self._filter_chosen)

    def _filter_chosen(self, letter: str | None) -> None:
        from tui.screens.choice import filter_after

        if letter is not None:
            self.set_filter(filter_after(self.state.filter, letter))

    def set_filter(self, kept: Filter) -> None:
        """Keep other neurons; the one on the page stays if it is among them, else the nearest one comes."""
        self.become(replace(self.state, filter=kept))
        if not self.listed and self._cursor is not None:
            self.go_row(self._cursor)

    def action_sort(self) -> None:
        from tui.screens.choice import ORDERS, ChoiceScreen, order_choices

        def chosen(letter: str | None) -> None:
            if letter is not None:
                self.become(replace(self.state, order=ORDERS[letter]))

        self.app.push_screen(ChoiceScreen("sort by", order_choices(self.state.order)), chosen)

    # -- looking -------------------------------------------------------------------------------------------------

    def action_colour_map(self) -> None:
        maps = list(ColourMap)
        self.become(replace(self.state, colour_map=maps[(maps.index(self.state.colour_map) + 1) % len(maps)]))

    def action_statistics(self) -> None:
        self._toggle(Mode.STATISTICS)

    def action_zoom(self) -> None:
        self._toggle(Mode.ZOOM)

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
        if self.link.working:
            self.run_worker(self.link.stop(), group="stop")
        elif state.own is not None:
            self.leave_image()
        elif state.mode is not Mode.PICTURES:
            self.become(replace(state, mode=Mode.PICTURES))
        elif state.pane is Pane.PAGE:
            self.become(replace(state, pane=Pane.LIST))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's)
        return not (action in keys.LINE_CALLS and self.focused is not None)

    # -- commands ------------------------------------------------------------------------------------------------

    async def action_command(self) -> None:
        names = [f"{verb.usage.split()[0]} " for verb in commands.VERBS.values()]
        names += [f"theme {name}" for name in sorted(self.app.available_themes)]
        names += [f"label {word}" for word in (*(label.word for label in Label), "firm", "all")]
        names += [f"sort {order}" for order in Order]
        await self.ask_line("command", ":", "27.3900 · Tv 2.5 · label visual · image PATH · help", names)

    async def ask_line(self, prompt: str, word: str, placeholder: str, suggestions: list[str]) -> None:
        # Awaited by the key's own action: whoever types on at once must not lose a letter to the keys of the screen.
        from tui.widgets.prompt_line import PromptLine

        lines = self.query(PromptLine)
        line = lines.first() if lines else PromptLine(id="prompt")
        if not lines:
            await self.mount(line, after="#keys")
        self.query_one("#keys").display = False
        line.open(prompt, word, placeholder, suggestions)

    def _close_line(self) -> None:
        from tui.widgets.prompt_line import PromptLine

        self.query_one(PromptLine).close()
        self.query_one("#keys").display = True

    @on(LineLeft)
    def _line_left(self) -> None:
        self._close_line()

    @on(LineEntered)
    async def _line_entered(self, message: LineEntered) -> None:
        self._close_line()
        readers: dict[str, Callable[[str], None]] = {"search": self.search, "picture": self._picture_line}
        try:
            if message.prompt in readers:
                readers[message.prompt](message.text)
            else:
                await self.obey(read_command(message.text, self.wanted, self.store.layers, self.store.neurons))
        except VlmscopeError as error:
            self.tell(error)

    def _picture_line(self, text: str) -> None:
        command = read_command(f"image {text}", self.state, self.store.layers, self.store.neurons)
        assert isinstance(command, commands.ShowImage)
        self.show_image(command.path, command.question)

    async def obey(self, command: Command) -> None:
        """Do what a command says.

        Raises:
            VlmscopeError: if it cannot be done.
        """
        match command:
            case commands.GoTo(neuron):
                self.go(neuron)
            case commands.SetThresholds(thresholds):
                self.relabel(thresholds)
            case commands.SetFilter(kept):
                self.set_filter(kept)
            case commands.SetOrder(order):
                self.become(replace(self.state, order=order))
            case commands.ShowImage(path, question):
                self.show_image(path, question)
            case commands.SetTheme(name):
                self._set_theme(name)
            case commands.Do(action):
                await self.run_action(action)

    def _set_theme(self, name: str) -> None:
        if name not in self.app.available_themes:
            raise UsageError(f"{name!r} is no theme.", f"Themes: {', '.join(sorted(self.app.available_themes))}.")
        self.app.theme = name

    @on(Relabelled)
    def _relabelled(self, message: Relabelled) -> None:
        self.take_labels(message.labels)

    # -- the program ---------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """A short word to the user."""
        self.app.notify(text, markup=False, timeout=3)

    def action_help(self) -> None:
        from tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self.config.keys, self.palette))

    def action_not_yet(self, action_id: str) -> None:
        """An action of a later version."""
        action = keys.BY_ID[action_id]
        self.say(f"{action.short}: not in this version.")
