"""Every action of the screen, in one registry: its id, keys, words for the footer, the help and the palette.

Bindings, footer, help and command palette are made from here; the user's ``keys`` setting maps an id to other keys.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from textual.binding import Binding


class KeyGroup(StrEnum):
    """Where the help lists an action."""

    MOVE = "Move"
    FIND = "Find"
    LOOK = "Look"
    MODEL = "Model"
    TRIAGE = "Decide"
    PROGRAM = "Program"


@dataclass(frozen=True)
class Action:
    """One thing that a key does.

    Attributes:
        id: names it in the user's ``keys`` setting.
        keys: comma-separated, as Textual writes them.
        call: Textual's action on the browse screen.
        short: two words for footer and palette.
        tip: one sentence for help and tooltip.
    """

    id: str
    keys: str
    call: str
    short: str
    tip: str
    group: KeyGroup

    def binding(self) -> Binding:
        # A priority binding runs before the next key is dispatched. Others run when their event has bubbled up: of keys
        # that arrive together (a slow line, quick fingers) one that opens a box would overtake the steps before it.
        return Binding(self.keys, self.call, self.short, tooltip=self.tip, id=self.id, show=False, priority=True)


ACTIONS: tuple[Action, ...] = (
    Action("neuron.next", "j,down", "step(1)", "next neuron", "Go to the next neuron of the list", KeyGroup.MOVE),
    Action("neuron.previous", "k,up", "step(-1)", "previous neuron", "Go to the previous neuron", KeyGroup.MOVE),
    Action("layer.next", "]", "layer(1)", "next layer", "Go to the next layer, same index", KeyGroup.MOVE),
    Action("layer.previous", "[", "layer(-1)", "previous layer", "Go to the previous layer, same index", KeyGroup.MOVE),
    Action("sample.next", "l,right", "sample(1)", "next sample", "Show the neuron's next top sample", KeyGroup.MOVE),
    Action("sample.previous", "h,left", "sample(-1)", "previous sample", "Show the previous top sample", KeyGroup.MOVE),
    Action("list.first", "g,home", "end(-1)", "first neuron", "Go to the list's first neuron", KeyGroup.MOVE),
    Action("list.last", "G,end", "end(1)", "last neuron", "Go to the list's last neuron", KeyGroup.MOVE),
    Action("list.down", "ctrl+d,pagedown", "half_page(1)", "half page down", "Go half a page down", KeyGroup.MOVE),
    Action("list.up", "ctrl+u,pageup", "half_page(-1)", "half page up", "Go half a page up", KeyGroup.MOVE),
    Action(
        "search",
        "/",
        "search",
        "search",
        "Find words (of concepts, notes ...), an address, a label",
        KeyGroup.FIND,
    ),
    Action("match.next", "n", "match(1)", "next match", "Go to the next neuron that the search means", KeyGroup.FIND),
    Action("match.previous", "N", "match(-1)", "previous match", "Go to the previous match", KeyGroup.FIND),
    Action(
        "filter",
        "f",
        "filter",
        "filter",
        "Keep neurons by label, verdict, firmness ...; all layers",
        KeyGroup.FIND,
    ),
    Action("sort", "o", "sort", "sort", "Order: clearest or fragile first, by score, maximum ...", KeyGroup.FIND),
    Action("map", "m", "colour_map", "colour map", "Draw heatmaps as fade, viridis or grey", KeyGroup.LOOK),
    Action("statistics", "v", "statistics", "statistics", "Show the activation's distribution by kind", KeyGroup.LOOK),
    Action("shares", "V", "shares", "label shares", "Show label shares by layer, the control's beside", KeyGroup.LOOK),
    Action("meaning", "e", "meaning", "meaning", "Show concepts, tokens and every explanation in full", KeyGroup.LOOK),
    Action("zoom", "z", "zoom", "zoom", "Give the pictures the whole screen", KeyGroup.LOOK),
    Action("text.down", "J,shift+down", "scroll_text(1)", "words down", "Scroll the description down", KeyGroup.LOOK),
    Action("text.up", "K,shift+up", "scroll_text(-1)", "words up", "Scroll the description up", KeyGroup.LOOK),
    Action("pane", "tab", "pane", "other pane", "Change between list and page (small screens)", KeyGroup.LOOK),
    Action("page", "enter", "page", "open the page", "Show the neuron's page (small screens)", KeyGroup.LOOK),
    Action("score", "s", "score_page", "score page", "Show truth and prediction side by side; h l step", KeyGroup.LOOK),
    Action("choose", "c", "choose", "choose explanation", "Choose which explanation leads", KeyGroup.LOOK),
    Action("copy_address", "y", "copy_address", "copy address", "Copy the address to the clipboard", KeyGroup.LOOK),
    Action(
        "explain", "E", "explain", "explain", "Ask the API what the neuron responds to (costs money)", KeyGroup.MODEL
    ),
    Action(
        "simulate",
        "S",
        "simulate",
        "score",
        "Score the explanation by simulating (an API costs money)",
        KeyGroup.MODEL,
    ),
    Action("writes", "w", "writes", "what it writes", "Ask the model which tokens the neuron promotes", KeyGroup.MODEL),
    Action("own_picture", "p", "own_picture", "own picture", "Put your own picture under the neuron", KeyGroup.MODEL),
    Action("verdict.keep", "1", "verdict(1)", "keep", "Verdict: keep", KeyGroup.TRIAGE),
    Action("verdict.reject", "2", "verdict(2)", "reject", "Verdict: reject", KeyGroup.TRIAGE),
    Action("verdict.unsure", "3", "verdict(3)", "unsure", "Verdict: unsure", KeyGroup.TRIAGE),
    Action("verdict.clear", "4", "verdict(4)", "clear verdict", "Take the verdict back", KeyGroup.TRIAGE),
    Action(
        "next_untriaged",
        "full_stop",
        "next_untriaged",
        "next untriaged",
        "Go to the next neuron without a verdict",
        KeyGroup.TRIAGE,
    ),
    Action("note", "i", "note", "note", "Write a note", KeyGroup.TRIAGE),
    Action("note.editor", "I", "note_editor", "note in $EDITOR", "Write the note in $EDITOR", KeyGroup.TRIAGE),
    Action("tags", "t", "tags", "tags", "Tag the neuron; tags are separated by commas", KeyGroup.TRIAGE),
    Action("bookmark", "b", "bookmark", "bookmark", "Set or take away a bookmark", KeyGroup.TRIAGE),
    Action(
        "undo",
        "u",
        "undo",
        "undo",
        "Undo the last verdict, note, tags, bookmark or choice",
        KeyGroup.TRIAGE,
    ),
    Action("redo", "ctrl+r", "redo", "redo", "Do again what was undone", KeyGroup.TRIAGE),
    Action("copy_markdown", "Y", "copy_markdown", "copy as Markdown", "Copy the neuron as Markdown", KeyGroup.TRIAGE),
    Action("export", "x", "export", "export", "Export the kept neurons as Markdown with pictures", KeyGroup.TRIAGE),
    Action("command", ":", "command", "command", "Type a command: :27.3900, :Tv 2.5, :label visual", KeyGroup.PROGRAM),
    Action(
        "back", "escape", "back", "stop or back", "Stop the model, leave your picture, or go back", KeyGroup.PROGRAM
    ),
    Action("help", "?", "help", "help", "List all keys and commands", KeyGroup.PROGRAM),
    Action("quit", "q", "app.quit", "quit", "Quit vlmscope", KeyGroup.PROGRAM),
)

BY_ID: dict[str, Action] = {action.id: action for action in ACTIONS}

#: The footer, first things first: as many as fit are shown. Each entry: ids whose keys stand together, and a word.
FooterItem = tuple[tuple[str, ...], str]
FOOTER: tuple[FooterItem, ...] = (
    (("neuron.next", "neuron.previous"), "neuron"),
    (("layer.previous", "layer.next"), "layer"),
    (("sample.previous", "sample.next"), "sample"),
    (("search",), "search"),
    (("verdict.keep", "verdict.reject", "verdict.unsure"), "verdict"),
    (("note",), "note"),
    (("explain",), "explain"),
    (("simulate",), "score"),
    (("meaning",), "meaning"),
    (("filter",), "filter"),
    (("sort",), "sort"),
    (("map",), "map"),
    (("zoom",), "zoom"),
    (("statistics",), "stats"),
    (("shares",), "shares"),
    (("own_picture",), "own picture"),
    (("command",), "command"),
    (("copy_address",), "copy"),
)
#: Always there, at the footer's end.
FOOTER_END: tuple[FooterItem, ...] = ((("help",), "help"), (("quit",), "quit"))

_NAMES = {
    "escape": "esc",
    "pagedown": "pgdn",
    "pageup": "pgup",
    "down": "↓",
    "up": "↑",
    "left": "←",
    "right": "→",
    "shift+down": "shift+↓",
    "shift+up": "shift+↑",
    "slash": "/",
    "colon": ":",
    "full_stop": ".",
    "question_mark": "?",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}


def bindings() -> list[Binding]:
    """All actions as Textual takes them."""
    return [action.binding() for action in ACTIONS]


def keys_of(action_id: str, remapped: Mapping[str, str]) -> list[str]:
    """The keys of an action as people write them, the user's own mapping first."""
    keys = remapped.get(action_id) or BY_ID[action_id].keys
    return [_NAMES.get(key.strip(), key.strip()) for key in keys.split(",")]


def footer_keys(ids: Iterable[str], remapped: Mapping[str, str]) -> str:
    """What the footer shows for actions that stand together: ``j/k``, ``[ ]``."""
    firsts = [keys_of(action_id, remapped)[0] for action_id in ids]
    return (" " if firsts[0] == "[" else "/").join(firsts)


def unknown_ids(remapped: Mapping[str, str]) -> list[str]:
    """Ids in the user's ``keys`` setting that name no action."""
    return sorted(set(remapped) - set(BY_ID))


#: What all actions call: while a line is being typed in, their keys are letters.
CALLS: frozenset[str] = frozenset(action.call.split("(")[0] for action in ACTIONS)
