"""The help: six words first, what is on the screen now, then all keys and commands, with the user's own keys."""

from collections.abc import Mapping
from typing import Any

from textual.screen import Screen

from vlmscope.core.method.labels import Label
from vlmscope.tui.command_line import VERBS
from vlmscope.tui.dialogs.reading import Entry, ReadScreen, Section
from vlmscope.tui.dialogs.vocabulary import SIX, TERMS, Term
from vlmscope.tui.keys import GROUPS, keys_of
from vlmscope.tui.widgets.layer_strip import FOOT
from vlmscope.tui.widgets.lines import Lines
from vlmscope.tui.widgets.neuron_list import NeuronList
from vlmscope.tui.widgets.palette import Palette

_LABEL_HELP = {
    Label.VISUAL: "enough patches above Tv, too few words above Tt",
    Label.TEXT: "enough words above Tt, too few patches above Tv",
    Label.MULTIMODAL: "both",
    Label.UNKNOWN: "neither",
}


def shown_on(screen: Screen[Any]) -> str:
    """The text of a screen's parts that are visible."""
    texts = [widget.text for widget in screen.query(Lines) if widget.display and widget.size]
    for rows in screen.query(NeuronList):
        if rows.display and rows.size and rows.view is not None:
            top = rows.scroll_offset.y
            last = min(top + rows.page_rows, len(rows.view.selection.rows))
            texts += [str(rows.border_title), *(rows.line_text(at) for at in range(top, last))]
    return "\n".join(texts)


def help_sections(remapped: Mapping[str, str], palette: Palette, shown: str = "") -> list[Section]:
    """The help.

    Args:
        shown: the text of the screen; its words come before those that are not on it.
    """
    here = [term for term in TERMS if term.on(shown)]
    labels = [
        Entry(f"{label.letter} {label.word}", _LABEL_HELP[label], palette.labels[label] + palette.strong)
        for label in Label
    ]
    lines = [Section("Six words", _entries(SIX)), Section("Labels", tuple(labels))]
    if here:
        lines.append(Section("On this screen", _entries(here)))
    for group, actions in GROUPS.items():
        entries = [Entry(" ".join(keys_of(action.id, remapped)), action.tip) for action in actions]
        lines.append(Section(group, tuple(entries)))
    commands = [Entry("27.3900", "go to a neuron; L27/N3900, 27:3900 and '27 3900' too")]
    commands += [Entry(verb.usage, verb.help) for verb in VERBS.values()]
    lines.append(Section("Commands, after :", tuple(commands)))
    more = [*(term for term in TERMS if term not in here)]
    foot = Entry(FOOT, "in the layers: the control's shares, along the foot of a bar")
    lines.append(Section("More words", (*_entries(more), foot)))
    return lines


def _entries(terms: "tuple[Term, ...] | list[Term]") -> tuple[Entry, ...]:
    return tuple(Entry(term.name, term.means) for term in terms)


class HelpScreen(ReadScreen):
    """The help on a screen."""

    def __init__(self, remapped: Mapping[str, str], palette: Palette, below: Screen[Any]) -> None:
        """``below``: the screen that it explains."""
        super().__init__(
            "vlmscope · words, keys and commands", help_sections(remapped, palette, shown_on(below)), palette
        )
