"""The command line of the screen: what can be typed after ``:`` and ``/``, read into plain values."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.intervention import Intervention, Positions
from vlmscope.core.base.neuron import Neuron, Numbering
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.tui.command_values import (
    Check,
    Command,
    CompareGroups,
    Do,
    GoTo,
    OwnWords,
    SetAblating,
    SetFilter,
    SetOrder,
    SetTheme,
    SetThresholds,
    ShowEffects,
    ShowImage,
    ShowShares,
)
from vlmscope.tui.views.state import Ablating, Decided, Filter, Order, SetKind, State

DROP_SHARED = "drop-shared"  #: after two groups
Reader = Callable[[list[str], State, str], Command]  #: from the words after the verb, and its usage for messages


@dataclass(frozen=True)
class Verb:
    """One command: how it is written, what it does, and how its words become a value."""

    usage: str
    help: str
    read: Reader


def _one(words: list[str], usage: str) -> str:
    if len(words) != 1:
        raise UsageError(f"{len(words)} words after the command, not one.", f"Write :{usage}.")
    return words[0]


def _threshold(field: str) -> Reader:
    def read(words: list[str], state: State, usage: str) -> Command:
        try:
            (word,) = words
            value = float(word)
        except ValueError:
            raise UsageError(f"{' '.join(words) or 'Nothing'} is not a number.", f"Write :{usage}.") from None
        whole = field.startswith("n_")
        if whole and not value.is_integer():
            raise UsageError(f"{word} is not a whole number.", f"Write :{usage}.")
        values: dict[str, Any] = vars(state.thresholds) | {field: int(value) if whole else value}
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
HIGH_WORDS = ("high-confidence", "high", "firm")  #: the first one is shown; the others may be typed


def _label(words: list[str], state: State, usage: str) -> Command:
    word = _one(words, usage).lower()
    if word == "all":
        return SetFilter(replace(state.filter, label=None, high_confidence=False))
    if word in HIGH_WORDS:
        return SetFilter(replace(state.filter, high_confidence=not state.filter.high_confidence))
    if word not in LABEL_WORDS:
        labels = ", ".join(label.word for label in Label)
        raise UsageError(f"{word!r} is not a label.", f"Labels: {labels}; also {HIGH_WORDS[0]} and all.")
    return SetFilter(replace(state.filter, label=LABEL_WORDS[word]))


_ONLY = ("explained", "scored", "checked", "bookmarked", "fragile")


def _only(words: list[str], state: State, usage: str) -> Command:
    word = _one(words, usage).lower()
    if word == "all":
        return SetFilter(Filter(all_layers=state.filter.all_layers, layers=state.filter.layers))
    if word in _ONLY:
        only: dict[str, Any] = {word: True}
        return SetFilter(replace(state.filter, **only))
    if word in list(Decided):
        return SetFilter(replace(state.filter, verdict=Decided(word)))
    raise UsageError(f"{word!r} is not a filter.", f"Filters: {', '.join((*Decided, *_ONLY))}; all lifts them.")


_RANGE = re.compile(r"(\d{1,5})(?:(?:-|\.\.)(\d{1,5}))?")


def _layers(words: list[str], state: State, usage: str) -> Command:
    word = _one(words, usage).lower()
    if word in ("all", "this"):
        return SetFilter(replace(state.filter, all_layers=word == "all", layers=None))
    found = _RANGE.fullmatch(word)
    if found is None:
        raise UsageError(f"{word!r} is not a range of layers.", "Write :layers 3-7, :layers all or :layers this.")
    first = int(found[1])
    last = int(found[2] or first)
    if first > last:
        raise UsageError(f"Layer {first} comes after {last}.", f"Write :layers {last}-{first}.")
    return SetFilter(replace(state.filter, all_layers=False, layers=(first, last)))


def _sort(words: list[str], _state: State, usage: str) -> Command:
    word = _one(words, usage).lower()
    found = [order for order in Order if order.value.startswith(word)]
    if len(found) != 1:
        raise UsageError(f"{word!r} is not an order.", f"Orders: {', '.join(Order)}.")
    return SetOrder(found[0])


def _image(words: list[str], _state: State, usage: str) -> Command:
    if not words:
        raise UsageError("No picture was named.", f"Write :{usage}; quote a path that has blanks.")
    return ShowImage(words[0], " ".join(words[1:]) or None)


def _own_words(words: list[str], _state: State, usage: str) -> Command:
    if not words:
        raise UsageError("No words were given.", f"Write :{usage}.")
    return OwnWords(" ".join(words))


def _stats(words: list[str], _state: State, _usage: str) -> Command:
    return ShowShares(tuple(words))


ABLATE_WORDS = (
    *("zero", "mean", "x3", "clamp5", "at all", "at answer", "at picture"),
    *("word ", "concept ", "kept", "tag ", "neurons ", "neuron", "caption", "off"),
)
_ABLATE = (
    "zero, mean, x3, clamp5; at all|answer|picture; word W; "
    "concept W [20], kept, tag T, neurons L3/N17 ..., neuron; caption; off"
)


def _ablate(words: list[str], state: State, _usage: str) -> Command:
    if [word.lower() for word in words] == ["off"]:
        return SetAblating(None)
    try:
        return SetAblating(_ablating(words, state.ablating))
    except UsageError as error:
        raise UsageError(error.message, f"Write :ablate and one of: {_ABLATE}.") from None


def _ablating(words: list[str], now: Ablating) -> Ablating:
    """The choices with what was typed.

    Raises:
        UsageError: if it is none of the choices.
    """
    if not words:
        return now
    verb, rest = words[0].lower(), " ".join(words[1:])
    changes: dict[str, Any] | None = None
    if verb == "word":
        changes = {"word": rest}
    elif verb == "at" and rest.lower() in list(Positions):
        changes = {"at": Positions(rest.lower())}
    elif verb in (SetKind.CONCEPT, SetKind.TAG) and rest:
        changes = {"kind": SetKind(verb), "name": rest}
    elif verb == SetKind.NEURONS and rest:
        changes = {"kind": SetKind.NEURONS, "name": " ".join(str(Neuron.parse(word)) for word in words[1:])}
    elif verb in (SetKind.KEPT, SetKind.NEURON) and not rest:
        changes = {"kind": SetKind(verb), "name": ""}
    elif verb == "caption" and not rest:
        changes = {"caption": not now.caption}
    return replace(now, **changes) if changes is not None else replace(now, to=Intervention.parse(" ".join(words)))


def _check(words: list[str], _state: State, _usage: str) -> Command:
    return Check(" ".join(words))


def _effects(words: list[str], _state: State, usage: str) -> Command:
    return ShowEffects(_one(words, usage))


def _contrast(words: list[str], _state: State, usage: str) -> Command:
    drop_shared = words[-1:] == [DROP_SHARED]
    groups = words[:-1] if drop_shared else words
    if len(groups) not in (1, 2):
        raise UsageError(f"{len(groups)} groups, not one or two.", f"Write :{usage}; quote a group that has blanks.")
    return CompareGroups(groups[0], groups[1] if len(groups) == 2 else "rest", drop_shared)


def _do(action: str) -> Reader:
    def read(words: list[str], _state: State, usage: str) -> Command:
        if words:
            raise UsageError(f":{usage} takes no words after it.", f"Write :{usage}.")
        return Do(action)

    return read


VERBS: dict[str, Verb] = {
    verb.usage.split()[0]: verb
    for verb in (
        Verb("Tv 2.5", "norm above which a patch counts", _threshold("T_v")),
        Verb("nv 4", "patches that make a sample visual", _threshold("n_v")),
        Verb("Tt 3", "norm above which a word counts", _threshold("T_t")),
        Verb("nt 2", "words that make a sample text", _threshold("n_t")),
        Verb("high-confidence 0.8", "share of votes above which a label is that", _threshold("high_confidence")),
        Verb("label visual", "keep one label; also high-confidence, all", _label),
        Verb("only untriaged", f"keep by verdict; also {', '.join(_ONLY)}; all lifts it", _only),
        Verb("layers 3-7", "list a range of layers, all, or this", _layers),
        Verb("sort maximum", "order the list", _sort),
        Verb("image PATH [PROMPT]", "your own picture under the neuron", _image),
        Verb("words red trains", "score your own words as its explanation", _own_words),
        Verb("ablate x3", f"change the neuron in the model: {_ABLATE}", _ablate),
        Verb("check [WORD]", "check a word's change against matched neurons", _check),
        Verb("effects WORD", "list the neurons that the word rests on", _effects),
        Verb("contrast GROUP [GROUP]", "neurons that two groups tell apart: word:zebra, field:a=b, rest", _contrast),
        Verb("published", "the paper's neurons (LLaVA-1.5-7B)", _do("published")),
        Verb("stats [SCAN ...]", "label shares by layer; other scans' beside", _stats),
        Verb("restart", "start the model process again", _do("restart_model")),
        Verb("unload", "free the model's memory", _do("unload_model")),
        Verb("theme NAME", "change the theme", lambda words, _, usage: SetTheme(_one(words, usage))),
        Verb("help", "list all keys and commands", _do("help")),
        Verb("quit", "quit vlmscope", _do("app.quit")),
    )
}
_BY_LOWER = {name.lower(): name for name in VERBS} | {"q": "quit", "firm": "high-confidence"}


def read_command(text: str, state: State, numbering: Numbering) -> Command:
    """What was typed after ``:``.

    Args:
        state: the screen's, for commands that change a part of it.
        numbering: of the scan's neurons.

    Raises:
        UsageError: if it is not a command, or its values are wrong; the hint lists the commands.
    """
    try:
        named = Neuron.parse(text)
    except UsageError:
        if text.strip()[:1].isdigit():
            raise
    else:
        return GoTo(numbering.checked(named))
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"The line cannot be read: {error}.", "Close every quote.") from None
    name = _BY_LOWER.get(words[0].lower()) if words else None
    if name is None:
        wrong = f"{words[0]!r} is not a command." if words else "Nothing was typed."
        raise UsageError(wrong, f"Commands: {', '.join(VERBS)}; or an address such as 27.3900.")
    return VERBS[name].read(words[1:], state, VERBS[name].usage)


_INDEX = re.compile(r"[0-9]{1,9}[+-]?")  #: of the layer on the page, perhaps a pole of it


@dataclass(frozen=True)
class Search:
    """What ``/`` looks for: a neuron to go to, neurons of a kind, or a word of their concepts."""

    neuron: Neuron | None = None
    label: Label | None = None
    high_confidence: bool = False
    word: str = ""


def read_search(text: str, layer: int, numbering: Numbering) -> Search:
    """What was typed after ``/``: an address, an index of this layer, label words, or else words of concepts.

    Raises:
        UsageError: if an address is outside the model or lacks its pole, or nothing was typed.
    """
    stripped = text.strip()
    if _INDEX.fullmatch(stripped):
        return Search(numbering.parse(f"{layer}.{stripped}"))
    try:
        named = Neuron.parse(stripped)
    except UsageError:
        pass
    else:
        return Search(numbering.checked(named))
    if not stripped:
        raise UsageError("Nothing was typed.", "Search for a word, an address (27.3900), or a label (visual).")
    labels: list[Label] = []
    high, rest = False, []
    for word in stripped.split():
        if word.lower() in HIGH_WORDS:
            high = True
        elif word.lower() in LABEL_WORDS and not labels:
            labels.append(LABEL_WORDS[word.lower()])
        else:
            rest.append(word)
    return Search(label=labels[0] if labels else None, high_confidence=high, word=" ".join(rest))
