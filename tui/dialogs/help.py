"""All keys and commands, made from the registries, with the user's own keys."""

from collections.abc import Mapping
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from vlmscope.core.method.labels import Label
from vlmscope.tui.command_line import VERBS
from vlmscope.tui.dialogs.ending import end
from vlmscope.tui.keys import GROUPS, keys_of
from vlmscope.tui.widgets.layer_strip import FOOT
from vlmscope.tui.widgets.palette import Palette

_LABEL_HELP = {
    Label.VISUAL: "enough patches above Tv, too few words above Tt",
    Label.TEXT: "enough words above Tt, too few patches above Tv",
    Label.MULTIMODAL: "both",
    Label.UNKNOWN: "neither",
}


def help_text(remapped: Mapping[str, str], palette: Palette) -> Text:
    """The help, one entry a line."""
    text = Text()

    def line(left: str, right: str) -> None:
        text.append(f"  {left:<16}", palette.accent)
        text.append(f" {right}\n", palette.text)

    def head(word: str) -> None:
        text.append(f"\n{word}\n", palette.strong)

    text.append(
        "A sample votes by its norms, 0 to 10, where 10 is the neuron's maximum over all data.\n", palette.muted
    )
    for label in Label:
        text.append(f"  {label.letter} ", palette.labels[label] + palette.strong)
        text.append(f"{label.word:<14}", palette.labels[label])
        text.append(f" {_LABEL_HELP[label]}\n", palette.text)
    line("high-confidence", "more than 80 % of the top samples vote alike (:high-confidence changes that); short: high")
    line("≈", "read from a stored 8-bit map; votes and activations are exact")
    line("concepts", "words that co-occur in its top samples' descriptions; not an explanation by a model")
    line("promotes", "tokens that its output weights promote: a first-order reading")
    line(
        "scanning, stopped",
        "in the title: the scan is not whole; the screen shows its samples so far and follows it",
    )
    line(f"control, {FOOT}", "the same architecture with random weights (vlmscope scan --control), beside the shares")
    line("✓ ✗ ? b * n t + e s !", "in the list: verdict; bookmark, one of the paper's; note, tags, both;")
    line("", "explained, scored, a request for an explanation failed")
    for group, actions in GROUPS.items():
        head(group)
        for action in actions:
            line(" ".join(keys_of(action.id, remapped)), action.tip)
    head("Commands, after :")
    line("27.3900", "go to a neuron; L27/N3900, 27:3900 and '27 3900' too")
    for verb in VERBS.values():
        line(verb.usage, verb.help)
    return text


class HelpScreen(ModalScreen[None]):
    """The help, scrollable."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "leave", "Leave", show=False, priority=True),
        *(
            Binding(keys, f"scroll('{how}')", how.replace("_", " "), show=False)
            for keys, how in {"j": "down", "k": "up", "ctrl+d,space": "page_down", "ctrl+u": "page_up"}.items()
        ),
    ]

    def __init__(self, remapped: Mapping[str, str], palette: Palette) -> None:
        super().__init__()
        self._text = help_text(remapped, palette)

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as box:
            box.border_title = "vlmscope · keys and commands"
            box.border_subtitle = "j k scroll · esc closes"
            yield Static(self._text, markup=False)

    def on_mount(self) -> None:
        self.query_one("#help").focus()

    def action_leave(self) -> None:
        end(self)

    def action_scroll(self, how: str) -> None:
        getattr(self.query_one("#help"), f"scroll_{how}")(animate=False)
