"""The command line of the screen: what can be typed after ``:`` and ``/``, read into plain values."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.intervention import Intervention, Positions
from vlmscope.core.base.neuron import Neuron, Numbering
from vlmscope.core.base.spelling import nearest
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.tui.command_values import (
    Check,
    Command,
    CompareGroups,
    DeleteView,
    Do,
    GoTo,
    OwnWords,
    SaveView,
    SetAblating,
    SetAfter,
    SetFilter,
    SetOrder,
    SetPictures,
    SetTheme,
    SetThresholds,
    ShowEffects,
    ShowImage,
    ShowShares,
    ShowView,
)
from vlmscope.tui.views.drawing import Blocks
from vlmscope.tui.views.filters import HIGH_WORDS, LABEL_WORDS, SWITCHES, Decided, Filter, read_filter
from vlmscope.tui.views.state import Ablating, AfterVerdict, Order, SetKind, State

DROP_SHARED = "drop-shared"  #: after two groups
Reader = Callable[[list[str], State, str], Command]  #: from the words after the verb, and its usage for messages


@dataclass(frozen=True)
class Verb:
    """One command: how it is written, what it does, and how its words become a value."""

    usage: str
    help: str
    read: Reader
    line: bool = False  #: what follows is read as one line, with its quotes


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


def _label(words: list[str], state: State, usage: str) -> Command:
    word = _one(words, usage).lower()
    if word == "all":
        return SetFilter(replace(state.filter, label=None, high_confidence=False))
    if word in HIGH_WORDS:
        return SetFilter(replace(state.filter, high_confidence=not state.filter.high_confidence))
    if word not in LABEL_WORDS:
        labels = ", ".join(label.word for label in Label)
        raise UsageError(
            f"{word!r} is not a label.", f"{nearest(word, LABEL_WORDS)}Labels: {labels}; also {HIGH_WORDS[0]} and all."
        )
    return SetFilter(replace(state.filter, label=LABEL_WORDS[word]))


_ONLY = tuple(word for word, name in SWITCHES.items() if word == name)


def _only(words: list[str], state: State, usage: str) -> Command:
    word = _one(words, usage).lower()
    if word == "all":
        return SetFilter(Filter(all_layers=state.filter.all_layers, layers=state.filter.layers))
    if word in _ONLY:
        only: dict[str, Any] = {word: True}
        return SetFilter(replace(state.filter, **only))
    if word in list(Decided):
        return SetFilter(replace(state.filter, verdict=Decided(word)))
    known = (*Decided, *_ONLY)
    raise UsageError(
        f"{word!r} is not a filter.", f"{nearest(word, known)}Filters: {', '.join(known)}; all lifts them."
    )


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
        raise UsageError(f"{word!r} is not an order.", f"{nearest(word, Order)}Orders: {', '.join(Order)}.")
    return SetOrder(found[0])


def _filter(words: list[str], _state: State, _usage: str) -> Command:
    (line,) = words
    return SetFilter(read_filter(line)) if line else Do("filter_line")


def _view(words: list[str], _state: State, usage: str) -> Command:
    return ShowView(_one(words, usage)) if words else Do("views")


def _view_name(make: Callable[[str], Command]) -> Reader:
    return lambda words, _, usage: make(_one(words, usage))


def _after(words: list[str], _state: State, usage: str) -> Command:
    word = _one(words, usage).lower()
    if word not in list(AfterVerdict):
        raise UsageError(f"{word!r} does not follow a verdict.", f"Write one of: {', '.join(AfterVerdict)}.")
    return SetAfter(AfterVerdict(word))


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


def _pictures(words: list[str], _: State, usage: str) -> Command:
    name = _one(words, usage)
    if name not in list(Blocks):
        raise UsageError(
            f"Pictures are not drawn with {name!r}.", f"{nearest(name, Blocks)}One of {', '.join(Blocks)}."
        )
    return SetPictures(Blocks(name))


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
        Verb("filter [LINE]", "the list's filter as one line: apple visual purity>.5", _filter, line=True),
        Verb("layers 3-7", "list a range of layers, all, or this", _layers),
        Verb("sort maximum", "order the list", _sort),
        Verb("after next", "after a verdict: stay, next, or untriaged, the next without one", _after),
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
        Verb("pictures sextant", f"draw pictures with: {', '.join(Blocks)}", _pictures),
        Verb("view [NAME]", "a saved view: its filter, order and thresholds", _view),
        Verb("save-view NAME", "save filter, order and thresholds under a name", _view_name(SaveView)),
        Verb("delete-view NAME", "forget a saved view", _view_name(DeleteView)),
        Verb("messages", "list the messages of this session", _do("messages")),
        Verb("reset", "the scan's thresholds, no filter, by index", _do("reset")),
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
    begin, _, rest = text.strip().partition(" ")
    verb = VERBS.get(_BY_LOWER.get(begin.lower(), ""))
    if verb is not None and verb.line:
        return verb.read([rest.strip()], state, verb.usage)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"The line cannot be read: {error}.", "Close every quote.") from None
    name = _BY_LOWER.get(words[0].lower()) if words else None
    if name is None:
        wrong = f"{words[0]!r} is not a command." if words else "Nothing was typed."
        meant = nearest(words[0], _BY_LOWER) if words else ""
        raise UsageError(wrong, f"{meant}Commands: {', '.join(VERBS)}; or an address such as 27.3900.")
    return VERBS[name].read(words[1:], state, VERBS[name].usage)


_INDEX = re.compile(r"[0-9]{1,9}[+-]?")  #: of the layer on the page, perhaps a pole of it


def read_search(text: str, layer: int, numbering: Numbering) -> Neuron | Filter:
    """What was typed after ``/``: an address, an index of this layer, or else which neurons are meant.

    Raises:
        UsageError: if an address is outside the model or lacks its pole, nothing was typed, or a term cannot be read.
    """
    stripped = text.strip()
    if _INDEX.fullmatch(stripped):
        return numbering.parse(f"{layer}.{stripped}")
    try:
        named = Neuron.parse(stripped)
    except UsageError:
        pass
    else:
        return numbering.checked(named)
    if not stripped:
        raise UsageError("Nothing was typed.", "Search for a word, an address (27.3900), or a label (visual).")
    return read_filter(stripped)
