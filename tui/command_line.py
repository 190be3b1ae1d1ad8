"""The command line of the screen: what can be typed after ``:`` and ``/``, read into plain values."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.tui.views.state import Decided, Filter, Order, State


@dataclass(frozen=True)
class GoTo:
    """Go to a neuron."""

    neuron: Neuron


@dataclass(frozen=True)
class SetThresholds:
    """Label all neurons anew."""

    thresholds: Thresholds


@dataclass(frozen=True)
class SetFilter:
    """Keep other neurons in the list."""

    filter: Filter


@dataclass(frozen=True)
class SetOrder:
    """Sort the list otherwise."""

    order: Order


@dataclass(frozen=True)
class ShowImage:
    """Put the user's own picture under the neuron."""

    path: str
    question: str | None


@dataclass(frozen=True)
class SetTheme:
    """Change the theme."""

    name: str


@dataclass(frozen=True)
class OwnWords:
    """Score the user's own words."""

    text: str


@dataclass(frozen=True)
class ShowPublished:
    """Choose one of the paper's neurons."""


@dataclass(frozen=True)
class ShowShares:
    """Show the label shares, and those of other scans beside."""

    scans: tuple[str, ...]


@dataclass(frozen=True)
class Do:
    """Run an action that has no values of its own."""

    action: str


Command = (
    GoTo | SetThresholds | SetFilter | SetOrder | ShowImage | SetTheme | OwnWords | ShowPublished | ShowShares | Do
)


@dataclass(frozen=True)
class Verb:
    """One command: how it is written, what it does, and how its words become a value."""

    usage: str
    help: str
    read: Callable[[list[str], State], Command]


def _number(words: list[str], usage: str) -> float:
    try:
        (word,) = words
        return float(word)
    except ValueError:
        raise UsageError(f"{' '.join(words) or 'Nothing'} is no number.", f"Write :{usage}.") from None


def _threshold(field: str, usage: str) -> Callable[[list[str], State], Command]:
    def read(words: list[str], state: State) -> Command:
        value = _number(words, usage)
        if field.startswith("n_") and not value.is_integer():
            raise UsageError(f"{words[0]} is no whole number.", f"Write :{usage}.")
        values: dict[str, Any] = vars(state.thresholds) | {field: int(value) if field.startswith("n_") else value}
        return SetThresholds(Thresholds(**values))

    return read


#: What the filter and the search take for labels.
LABEL_WORDS: dict[str, Label] = {label.word: label for label in Label} | {
    "v": Label.VISUAL,
    "t": Label.TEXT,
    "m": Label.MULTIMODAL,
    "u": Label.UNKNOWN,
    "·": Label.UNKNOWN,
}
FIRM_WORDS = ("firm", "high-confidence")


def _one(words: list[str], usage: str) -> str:
    if len(words) != 1:
        raise UsageError(f"{len(words)} words after the command, not one.", f"Write :{usage}.")
    return words[0]


def _label(words: list[str], state: State) -> Command:
    word = _one(words, "label visual").lower()
    if word == "all":
        return SetFilter(replace(state.filter, label=None, high_confidence=False))
    if word in FIRM_WORDS:
        return SetFilter(replace(state.filter, high_confidence=not state.filter.high_confidence))
    if word not in LABEL_WORDS:
        raise UsageError(f"{word!r} is no label.", "Labels: visual, text, multimodal, unknown; also firm and all.")
    return SetFilter(replace(state.filter, label=LABEL_WORDS[word]))


_ONLY = ("explained", "scored", "bookmarked", "fragile")


def _only(words: list[str], state: State) -> Command:
    word = _one(words, "only untriaged").lower()
    if word == "all":
        return SetFilter(Filter(all_layers=state.filter.all_layers, layers=state.filter.layers))
    if word in _ONLY:
        only: dict[str, Any] = {word: True}
        return SetFilter(replace(state.filter, **only))
    if word in list(Decided):
        return SetFilter(replace(state.filter, verdict=Decided(word)))
    raise UsageError(f"{word!r} is nothing to filter by.", f"Known: {', '.join((*Decided, *_ONLY))}; all lifts them.")


_RANGE = re.compile(r"(\d{1,5})(?:(?:-|\.\.)(\d{1,5}))?")


def _layers(words: list[str], state: State) -> Command:
    word = _one(words, "layers 3-7").lower()
    if word in ("all", "this"):
        return SetFilter(replace(state.filter, all_layers=word == "all", layers=None))
    found = _RANGE.fullmatch(word)
    if found is None:
        raise UsageError(f"{word!r} is no range of layers.", "Write :layers 3-7, :layers all or :layers this.")
    first = int(found[1])
    last = int(found[2] or first)
    if first > last:
        raise UsageError(f"Layer {first} comes after {last}.", f"Write :layers {last}-{first}.")
    return SetFilter(replace(state.filter, all_layers=False, layers=(first, last)))


def _sort(words: list[str], _state: State) -> Command:
    word = _one(words, "sort maximum").lower()
    found = [order for order in Order if order.value.startswith(word)]
    if len(found) != 1:
        raise UsageError(f"{word!r} is no order.", f"Orders: {', '.join(Order)}.")
    return SetOrder(found[0])


def _image(words: list[str], _state: State) -> Command:
    if not words:
        raise UsageError("No picture was named.", "Write :image PATH [PROMPT]; quote a path that holds blanks.")
    return ShowImage(words[0], " ".join(words[1:]) or None)


def _theme(words: list[str], _state: State) -> Command:
    return SetTheme(_one(words, "theme textual-light"))


def _own_words(words: list[str], _state: State) -> Command:
    if not words:
        raise UsageError("No words were given.", "Write :words red trains.")
    return OwnWords(" ".join(words))


def _published(words: list[str], _state: State) -> Command:
    if words:
        raise UsageError(":published takes no words after it.", "Write :published.")
    return ShowPublished()


def _stats(words: list[str], _state: State) -> Command:
    return ShowShares(tuple(words))


def _do(action: str, usage: str) -> Callable[[list[str], State], Command]:
    def read(words: list[str], _state: State) -> Command:
        if words:
            raise UsageError(f":{usage} takes no words after it.", f"Write :{usage}.")
        return Do(action)

    return read


VERBS: dict[str, Verb] = {
    "Tv": Verb("Tv 2.5", "norm above which a patch counts", _threshold("T_v", "Tv 2.5")),
    "nv": Verb("nv 4", "patches that make a sample visual", _threshold("n_v", "nv 4")),
    "Tt": Verb("Tt 3", "norm above which a word counts", _threshold("T_t", "Tt 3")),
    "nt": Verb("nt 2", "words that make a sample text", _threshold("n_t", "nt 2")),
    "firm": Verb("firm 0.8", "fraction above which a label is firm", _threshold("high_confidence", "firm 0.8")),
    "label": Verb("label visual", "keep one label; also firm, all", _label),
    "only": Verb("only untriaged", f"keep by verdict; also {', '.join(_ONLY)}; all lifts it", _only),
    "layers": Verb("layers 3-7", "list a range of layers, all, or this", _layers),
    "sort": Verb("sort maximum", "order the list", _sort),
    "image": Verb("image PATH [PROMPT]", "your own picture under the neuron", _image),
    "words": Verb("words red trains", "score your own words as its explanation", _own_words),
    "published": Verb("published", "the paper's neurons (LLaVA-1.5-7B)", _published),
    "stats": Verb("stats [SCAN ...]", "label shares by layer; other scans' beside", _stats),
    "restart": Verb("restart", "start the model process again", _do("restart_model", "restart")),
    "unload": Verb("unload", "free the model's memory", _do("unload_model", "unload")),
    "theme": Verb("theme NAME", "change the theme", _theme),
    "help": Verb("help", "list all keys and commands", _do("help", "help")),
    "quit": Verb("quit", "quit vlmscope", _do("app.quit", "quit")),
}
_BY_LOWER = {name.lower(): name for name in VERBS} | {"q": "quit"}


def read_command(text: str, state: State, layers: int, neurons: int) -> Command:
    """What was typed after ``:``.

    Args:
        state: the screen's, for commands that change a part of it.
        layers, neurons: the model's size.

    Raises:
        UsageError: if it is no command, or its values are wrong; says which commands there are.
    """
    try:
        return GoTo(Neuron.parse(text).check_within(layers, neurons))
    except UsageError as error:
        if text.strip()[:1].isdigit() or "outside" in error.message:
            raise
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"The line cannot be read: {error}.", "Close every quote.") from None
    if not words:
        raise UsageError("Nothing was typed.", f"Commands: {', '.join(VERBS)}; or an address such as 27.3900.")
    name = _BY_LOWER.get(words[0].lower())
    if name is None:
        raise UsageError(
            f"{words[0]!r} is no command.", f"Commands: {', '.join(VERBS)}; or an address such as 27.3900."
        )
    return VERBS[name].read(words[1:], state)


@dataclass(frozen=True)
class Search:
    """What ``/`` looks for: a neuron to go to, neurons of a kind, or a word of their concepts."""

    neuron: Neuron | None = None
    label: Label | None = None
    firm: bool = False
    word: str = ""


def read_search(text: str, layer: int, layers: int, neurons: int) -> Search:
    """What was typed after ``/``: an address, an index of this layer, label words, or else words of concepts.

    Raises:
        UsageError: if an address lies outside the model, or nothing was typed.
    """
    stripped = text.strip()
    if stripped.isdecimal() and stripped.isascii() and len(stripped) < 10:
        return Search(Neuron(layer, int(stripped)).check_within(layers, neurons))
    try:
        return Search(Neuron.parse(stripped).check_within(layers, neurons))
    except UsageError as error:
        if "outside" in error.message:
            raise
    if not stripped:
        raise UsageError("Nothing was typed.", "Search for a word, an address (27.3900), or a label (firm visual).")
    labels: list[Label] = []
    firm, rest = False, []
    for word in stripped.split():
        if word.lower() in FIRM_WORDS:
            firm = True
        elif word.lower() in LABEL_WORDS and not labels:
            labels.append(LABEL_WORDS[word.lower()])
        else:
            rest.append(word)
    return Search(label=labels[0] if labels else None, firm=firm, word=" ".join(rest))
