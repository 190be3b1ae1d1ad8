"""Which neurons the list holds, as a value and as one line that is shown, typed and kept.

A line's terms stand between blanks, and all of them must hold. What is none of the others, or stands in quotes, is a
word. A line lists all layers, unless it names some: ``L3``, ``L3-7``, or ``here`` for the layer of the page's neuron.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from vlmscope.core.analysis.preference import Preference
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.spelling import nearest
from vlmscope.core.method.labels import Label
from vlmscope.tui.views.ranges import Range, Value, number_of


class Decided(StrEnum):
    """Which verdicts the list holds."""

    KEEP = "keep"
    REJECT = "reject"
    UNSURE = "unsure"
    NONE = "untriaged"
    ANY = "triaged"


#: Fields of ``Filter`` that are on or off, by the word that turns each on.
SWITCHES: dict[str, str] = {
    "high-confidence": "high_confidence",
    **{name: name for name in ("explained", "scored", "checked", "bookmarked", "fragile")},
}


@dataclass(frozen=True)
class Filter:
    """Which neurons the list holds: those for which all of it is true.

    ``layers``: first and last layer of a range, which is listed whole; None for the layer of the neuron on the page, or
    all of them if ``all_layers``.

    Attributes:
        words: among its concepts or in one of its texts, as a search finds them.
        tags: it has each. notes: its note has each.
        preference: its modality preference.
    """

    label: Label | None = None
    high_confidence: bool = False
    all_layers: bool = False
    verdict: Decided | None = None
    explained: bool = False
    scored: bool = False
    checked: bool = False
    bookmarked: bool = False
    fragile: bool = False
    layers: tuple[int, int] | None = None
    words: str = ""
    tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    preference: Preference | None = None

    @cached_property
    def whole(self) -> bool:
        """Whether the list is the same whichever layer is on the page."""
        return self.all_layers or self.layers is not None

    @cached_property
    def of_notebook(self) -> bool:
        """Whether it depends on what is in the notebook."""
        marks = self.verdict or self.explained or self.scored or self.checked or self.bookmarked
        scored = any(one.value is Value.SCORE for one in self.ranges)
        return bool(marks or scored or self.words or self.tags or self.notes)

    def among(self, base: "Filter") -> "Filter":
        """This filter within ``base``, whose layers stay unless this one names some."""
        of_both = {name: getattr(self, name) or getattr(base, name) for name in SWITCHES.values()}
        return replace(
            base,
            **of_both,
            label=base.label if self.label is None else self.label,
            verdict=self.verdict or base.verdict,
            preference=base.preference if self.preference is None else self.preference,
            all_layers=self.layers is None and base.layers is None and self.all_layers,
            layers=self.layers or (base.layers if self.all_layers else None),
            words=" ".join(word for word in (base.words, self.words) if word),
            tags=(*base.tags, *self.tags),
            notes=(*base.notes, *self.notes),
            ranges=(*base.ranges, *self.ranges),
        )

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """All but the layers, each as it is typed."""
        return (
            *(map(_word, self.words.split())),
            *([self.label.word] if self.label is not None else ()),
            *(word for word, name in SWITCHES.items() if getattr(self, name)),
            *([str(self.verdict)] if self.verdict is not None else ()),
            *([f"prefers:{self.preference.word}"] if self.preference is not None else ()),
            *(f"tag:{_text(tag)}" for tag in self.tags),
            *(f"note:{_text(words)}" for words in self.notes),
            *map(str, self.ranges),
        )

    def __str__(self) -> str:
        return " ".join(self.terms) or "all"

    @property
    def line(self) -> str:
        """All of it, as ``read_filter`` reads it."""
        first, last = self.layers or (0, 0)
        where = "" if self.layers is None else f"L{first}" if first == last else f"L{first}-{last}"
        return " ".join(term for term in (where or (HERE if not self.all_layers else ""), *self.terms) if term)


#: What the filter and the search take for labels.
LABEL_WORDS: dict[str, Label] = {label.word: label for label in Label} | {
    "v": Label.VISUAL,
    "t": Label.TEXT,
    "m": Label.MULTIMODAL,
    "u": Label.UNKNOWN,
    "·": Label.UNKNOWN,
}
HIGH_WORDS = ("high-confidence", "high", "firm")  #: the first one is shown; the others may be typed
EXAMPLES = "apple visual untriaged purity>.5 tag:check note:odd prefers:text L3-7"
HERE = "here"
#: The terms that are always written alike: the field of ``Filter`` that each sets, and its value.
_FIXED: dict[str, tuple[str, Any]] = {
    **{f"prefers:{which.word}": ("preference", which) for which in Preference},
    **{word: ("label", label) for word, label in LABEL_WORDS.items()},
    **{word: (name, True) for word, name in SWITCHES.items()},
    **dict.fromkeys(HIGH_WORDS, ("high_confidence", True)),
    **{str(which): ("verdict", which) for which in Decided},
    HERE: ("all_layers", False),
}
# Quotes may enclose blanks; those that are not closed end with the line.
_TERM = re.compile(r'(?:"(?:[^"\\]|\\.)*"?|[^\s"])+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"?')
_LAYERS = re.compile(r"l(\d{1,5})(?:(?:-|\.\.)l?(\d{1,5}))?", re.IGNORECASE)
_RANGE = re.compile(r"([\w-]*)(>=|<=|>|<|=)(.*)")


def read_filter(text: str) -> Filter:
    """The filter that a line asks for.

    Raises:
        UsageError: if a term cannot be read.
    """
    found: dict[str, Any] = {"all_layers": True, "words": "", "tags": (), "notes": (), "ranges": ()}
    for term in _TERM.findall(text):
        name, value = _read_term(term)
        if name == "words":
            found["words"] = " ".join([*found["words"].split(), *value.split()])
        elif name == "layers":
            found |= {"layers": value, "all_layers": False}
        else:
            found[name] = (*found[name], value) if isinstance(found.get(name), tuple) else value
    return Filter(**found)


def _read_term(term: str) -> tuple[str, Any]:
    """The field of ``Filter`` that a term sets, and its value."""
    word = term.lower()
    for prefix, name in (("tag:", "tags"), ("note:", "notes")):
        if word.startswith(prefix):
            value = _unquoted(term[len(prefix) :]).strip()
            if not value:
                raise UsageError(f"{prefix} names nothing.", f'Write {prefix}check, or {prefix}"check again".')
            return name, value
    if word in _FIXED:
        return _FIXED[word]
    if word.startswith("prefers:"):
        known = [name for name in _FIXED if name.startswith("prefers:")]
        hint = f"{nearest(word, known)}Preferences: {', '.join(known)}."
        raise UsageError(f"{word.removeprefix('prefers:')!r} is not a modality preference.", hint)
    if layers := _LAYERS.fullmatch(word):
        first, last = int(layers[1]), int(layers[2] or layers[1])
        if first > last:
            raise UsageError(f"Layer {first} comes after {last}.", f"Write L{last}-{first}.")
        return "layers", (first, last)
    if compared := _RANGE.fullmatch(word):
        return "ranges", _read_range(*compared.groups())
    return "words", _unquoted(term)


def _read_range(name: str, comparison: str, typed: str) -> Range:
    """A number range from its three parts.

    Raises:
        UsageError: if there is no such number of a neuron, or what it is compared with is not a number.
    """
    if name not in list(Value):
        hint = f"{nearest(name, Value)}Numbers: {', '.join(Value)}. In quotes it is a word."
        raise UsageError(f"{name!r} is not a number of a neuron.", hint)
    number = number_of(typed)
    if number is None:
        raise UsageError(f"{name}{comparison} needs a number.", f"Write {name}{comparison}0.5.")
    return Range(Value(name), comparison, number)


def _unquoted(term: str) -> str:
    return _QUOTED.sub(lambda found: re.sub(r"\\(.)", r"\1", found[1]), term)


def _text(text: str) -> str:
    """A text behind ``tag:`` or ``note:``, in quotes where it needs them."""
    if text and not re.search(r'[\s"]', text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _word(word: str) -> str:
    """A word, in quotes where it would be read as something else."""
    try:
        plain = '"' not in word and _read_term(word)[0] == "words"
    except UsageError:
        plain = False
    return word if plain else '"' + re.sub(r'(["\\])', r"\\\1", word) + '"'
