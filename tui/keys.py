"""Every action of the screen, in one registry: its id, keys, and words for the footer, the help and the palette.

Bindings, footer, help and command palette are made from here; the user's ``keys`` setting maps an id to other keys.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

from textual.binding import Binding


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

    def binding(self) -> Binding:
        # A priority binding runs before the next key is dispatched. Others run when their event has bubbled up: of keys
        # that arrive together (a slow line, quick fingers) one that opens a box would overtake the steps before it.
        return Binding(self.keys, self.call, self.short, tooltip=self.tip, id=self.id, show=False, priority=True)


#: All actions, by the head under which the help lists them.
GROUPS: dict[str, tuple[Action, ...]] = {
    "Move": (
        Action("neuron.next", "j,down", "step(1)", "next neuron", "Go to the next neuron of the list"),
        Action("neuron.previous", "k,up", "step(-1)", "previous neuron", "Go to the previous neuron"),
        Action("layer.next", "]", "layer(1)", "next layer", "Go to the next layer, same index"),
        Action("layer.previous", "[", "layer(-1)", "previous layer", "Go to the previous layer, same index"),
        Action("sample.next", "l,right", "sample(1)", "next sample", "Show the neuron's next top sample"),
        Action("sample.previous", "h,left", "sample(-1)", "previous sample", "Show the previous top sample"),
        Action("place.back", "ctrl+o,backspace", "places(-1)", "back", "Go back to the place before the last jump"),
        Action("place.forward", "ctrl+n,ctrl+i", "places(1)", "forward", "Go forward to the place that was left"),
        Action("list.first", "g,home", "end(-1)", "first neuron", "Go to the list's first neuron"),
        Action("list.last", "G,end", "end(1)", "last neuron", "Go to the list's last neuron"),
        Action("list.down", "ctrl+d,pagedown", "half_page(1)", "half page down", "Go half a page down"),
        Action("list.up", "ctrl+u,pageup", "half_page(-1)", "half page up", "Go half a page up"),
        Action("count", "5,6,7,8,9,0", "count", "count", "Begin a count: 5j, 60]; a 0 after 1 to 4 does, too: 10j"),
    ),
    "Find": (
        Action("search", "/", "search", "search", "List neurons as you type: words, labels, purity>.5 ..."),
        Action("match.next", "n", "match(1)", "next match", "Go to the next neuron that the search means"),
        Action("match.previous", "N", "match(-1)", "previous match", "Go to the previous match"),
        Action("filter", "f", "filter", "filter", "Keep neurons by label, verdict, high-confidence ...; all layers"),
        Action("filter.line", "F", "filter_line", "filter as a line", "Edit the list's whole filter in one line"),
        Action("views", "W", "views", "saved views", "Show a saved view: a filter, an order, thresholds"),
        Action("sort", "o", "sort", "sort", "Order: clearest or fragile first, by score, maximum ..."),
    ),
    "Look": (
        Action("map", "m", "colour_map", "colour map", "Draw heatmaps as dim, fade, viridis or grey"),
        Action("cover", "M", "cover", "thumbnail or tiles", "Draw all covers of the picture, or each alone"),
        Action("statistics", "v", "mode('statistics')", "statistics", "Show the activation's distribution by kind"),
        Action("shares", "L", "shares", "label shares", "Show label shares by layer, the control's beside"),
        Action("meaning", "e", "mode('meaning')", "meaning", "Show concepts, tokens and every explanation in full"),
        Action("sheet", "z", "mode('sheet')", "contact sheet", "Show top samples as small pictures; J K: neuron"),
        Action("zoom", "Z", "mode('zoom')", "zoom", "Give one sample's pictures the whole screen"),
        Action("pin", "equals_sign", "pin", "compare", "Pin the neuron: the next ones stand beside it, same picture"),
        Action(
            "text.down",
            "J,shift+down",
            "scroll_text(1)",
            "words down",
            "Scroll the description; on the sheet: next neuron",
        ),
        Action(
            "text.up",
            "K,shift+up",
            "scroll_text(-1)",
            "words up",
            "Scroll it up; on the sheet: previous neuron",
        ),
        Action("pane", "tab", "pane", "other pane", "Change between list and page (small screens)"),
        Action("page", "enter", "page", "open the page", "Show the neuron's page (small screens)"),
        Action("score", "s", "mode('score')", "score page", "Show truth and prediction side by side; h l step"),
        Action("choose", "c", "choose", "choose explanation", "Choose which explanation leads"),
        Action("copy_address", "y", "copy_address", "copy address", "Copy the address to the clipboard"),
    ),
    "Model": (
        Action("explain", "E", "explain", "explain", "Ask the API what the neuron responds to (costs money)"),
        Action("simulate", "S", "simulate", "score", "Score by a simulator or a judge (an API costs money)"),
        Action("writes", "w", "writes", "what it writes", "Ask the model which tokens the neuron promotes"),
        Action("exact_map", "X", "exact_map", "exact map", "Ask the model for the exact map of this sample"),
        Action("allow", "a", "allow", "allow", "Allow the scan's model to be downloaded, its pictures to be read"),
        Action("own_picture", "p", "own_picture", "own picture", "Put your own picture under the neuron"),
    ),
    "Intervene": (
        Action("ablate", "A", "mode('ablation')", "ablate", "Show what the words become without the neuron"),
        Action("check", "C", "check", "causal check", "Check its effect against matched neurons"),
        Action("point", "P", "point", "point", "Point at a patch or a word; enter lists neurons"),
        Action("related", "r", "related", "related", "List the neurons that share its top samples"),
    ),
    "Decide": (
        Action("verdict.keep", "1", "verdict(1)", "keep", "Verdict: keep"),
        Action("verdict.reject", "2", "verdict(2)", "reject", "Verdict: reject"),
        Action("verdict.unsure", "3", "verdict(3)", "unsure", "Verdict: unsure"),
        Action("verdict.clear", "4", "verdict(4)", "clear verdict", "Take the verdict back"),
        Action(
            "next_untriaged", "full_stop", "next_untriaged", "next untriaged", "Go to the next neuron with no verdict"
        ),
        Action("pick", "space", "pick", "pick", "Pick or unpick the neuron; verdicts, tags, E, S, C take all picked"),
        Action("pick.range", "V", "pick_range", "pick a range", "Begin or end a range of the list to be picked"),
        Action("note", "i", "note", "note", "Write a note"),
        Action("note.editor", "I", "note_editor", "note in $EDITOR", "Write the note in $EDITOR"),
        Action("tags", "t", "tags", "tags", "Tag the neuron; tags are separated by commas"),
        Action("bookmark", "b", "bookmark", "bookmark", "Set or take away a bookmark"),
        Action("undo", "u", "undo", "undo", "Undo the last verdict, note, tags, bookmark or choice"),
        Action("redo", "ctrl+r", "redo", "redo", "Do again what was undone"),
        Action("copy_markdown", "Y", "copy_markdown", "copy as Markdown", "Copy the neuron as Markdown"),
        Action("export", "x", "export", "export", "Export the kept neurons as Markdown with pictures"),
    ),
    "Program": (
        Action("command", ":", "command", "command", "Type a command: :27.3900, :Tv 2.5, :label visual"),
        Action(
            "back",
            "escape",
            "back",
            "back or stop",
            "Leave your picture or a view, or stop what runs (ctrl+c: at once)",
        ),
        Action("help", "?", "help", "help", "List all keys and commands"),
        Action("quit", "q", "app.quit", "quit", "Quit vlmscope"),
    ),
}
ACTIONS: tuple[Action, ...] = tuple(chain.from_iterable(GROUPS.values()))
BY_ID: dict[str, Action] = {action.id: action for action in ACTIONS}

#: The digits of a count. They are bound one by one, and cannot be remapped.
DIGITS = "0123456789"

#: What all actions call: while a line is being typed, their keys are letters.
CALLS: frozenset[str] = frozenset(action.call.split("(")[0] for action in ACTIONS) | {"digit"}

#: The footer, first things first: as many as fit are shown. Each entry: ids whose keys stand together, and a word.
#: An entry without ids is its word alone, which cannot be clicked.
FooterItem = tuple[tuple[str, ...], str]
FOOTER: tuple[FooterItem, ...] = (
    (("neuron.next", "neuron.previous"), "neuron"),
    (("layer.previous", "layer.next"), "layer"),
    (("sample.previous", "sample.next"), "sample"),
    (("search",), "search"),
    (("verdict.keep", "verdict.reject", "verdict.unsure"), "verdict"),
    (("pick",), "pick"),
    (("note",), "note"),
    (("explain",), "explain"),
    (("simulate",), "score"),
    (("meaning",), "meaning"),
    (("filter",), "filter"),
    (("sort",), "sort"),
    (("map",), "map"),
    (("cover",), "covers"),
    (("sheet",), "sheet"),
    (("zoom",), "zoom"),
    (("statistics",), "stats"),
    (("shares",), "shares"),
    (("point",), "point"),
    (("related",), "related"),
    (("ablate",), "ablate"),
    (("check",), "check"),
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
    "equals_sign": "=",
    "colon": ":",
    "full_stop": ".",
    "question_mark": "?",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}


def bindings() -> list[Binding]:
    """All actions as Textual takes them. Of a count each digit is bound by itself, but those that verdicts have."""
    free = set(DIGITS) - {action.keys for action in GROUPS["Decide"]}
    digits = [Binding(one, f"digit({one})", "count", show=False, priority=True) for one in sorted(free)]
    return [*(action.binding() for action in ACTIONS if action.id != "count"), *digits]


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
