"""Text from outside as Markdown that shows it and does nothing else: no markup, links, HTML, mentions or formulas.

What is safe to see as it is stays as it is; what CommonMark or one of its dialects could read as markup gets a
backslash. A backslash does not stop what looks at the finished text: GitHub turns ``@name``, ``#12``, ``:cat:`` and
``www.`` into links and pictures, whatever was escaped in the source. A word with any of these is put between backticks
as a whole, which every renderer leaves alone, and which reads well in an editor too.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence

from vlmscope.core.base.text import plain

NO_BREAK_SPACE = "\u00a0"

# No word between backticks holds one of these: they would end it, or mean something even there (a table's bar, Jekyll's
# braces, the HTML of renderers that look for it first).
_BREAKS = re.compile(r"([\s`|<{}\\]+)")

# What is linked or replaced without any markup around it.
_WORD_AT_WORK = re.compile(
    r"@|\$|//|www\."  # mentions and addresses, formulas, URLs
    r"|(?:^|[^\s.])\.[^\W\d_]{2}"  # example.com, also file.jpg and what follows a bar, a|.com; but not e.g.
    r"|\d\.\d+\.\d+\.\d"  # 10.0.0.1
    r"|[#!]\d|\bGH-\d"  # issues and merge requests
    r"|:(?!\d\d(?:\+\d\d)?:)[\w+-]+:"  # emoji, not the middle of 10:30:00+00:00
    r"|(?<!\w)(?=[a-f]*\d)[0-9a-f]{7,40}(?!\w)",  # commits
    re.IGNORECASE,
)
_ALWAYS = str.maketrans({character: f"\\{character}" for character in "\\`*[]|~^{}#"} | {"<": "&lt;"})
_ENTITY = re.compile(r"&(?=[#\w])")
# Underscores inside of words are harmless, and frequent in names of files.
_RUNS = re.compile(r"_{2,}|(?<![^\W_])_|_(?![^\W_])|={2,}|%{2,}|(?<![^{])%")
_LEAD = re.compile(r"[-+=:>]|\d{1,9}(?=[.)](?:\s|$))")  # what begins a list, a heading, a quotation


def inline(text: str, limit: int | None = None) -> str:
    """``text`` on one line, for a paragraph, a list, a table's cell or a heading; cut at ``limit`` characters."""
    return _escaped(plain(text, limit).strip())


def quote(text: str, marked: Sequence[tuple[int, int]] = ()) -> str:
    """``text`` as a quotation: its line breaks and what its lines are indented by are kept. No line's end at the end.

    Linear in the length: 4 MB take seconds.

    Args:
        marked: first characters, and those after the last, in order: what they touch between two blanks is bold.
    """
    written: list[str] = []
    before = False  # whether the line before is of the same paragraph
    marks, begin = _Marks(marked), 0
    for line, ended in zip(text.splitlines(), text.splitlines(keepends=True), strict=True):
        at, begin = begin, begin + len(ended)
        expanded = plain(line.expandtabs(4)).rstrip()
        words = expanded.lstrip()
        if before and words:
            written[-1] += "\\"
        before = bool(words)
        # An indent of plain spaces would be dropped, or make a block of code.
        indent = NO_BREAK_SPACE * (len(expanded) - len(words))
        # Where tabs are expanded, characters are elsewhere.
        is_marked = marks.touch(at, begin) and "\t" not in line
        shown = _bold(words, at + len(expanded) - len(words), marks) if is_marked else _escaped(words)
        written.append(f"> {indent}{shown}" if words else ">")
    while written and written[-1] == ">":
        written.pop()
    while written and written[0] == ">":
        written.pop(0)
    return "\n".join(written)


class _Marks:
    """Ranges of characters in order, none of which overlap."""

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._ranges, self._ends = ranges, [end for _, end in ranges]

    def touch(self, first: int, last: int) -> bool:
        """Whether one of them has a character from ``first`` to the one before ``last``."""
        at = bisect_right(self._ends, first)
        return at < len(self._ranges) and self._ranges[at][0] < last


def _bold(words: str, at: int, marks: _Marks) -> str:
    """A line that begins at that character, its marked words bold: between blanks two asterisks always mean that."""
    parts: list[str] = []
    rest = 0
    for match in re.finditer(r"\S+", words):
        if marks.touch(at + match.start(), at + match.end()):
            parts += [_unled(words[rest : match.start()]), f"**{_unled(match[0])}**"]
            rest = match.end()
    parts.append(_unled(words[rest:]))
    return _led("".join(parts))


def _escaped(line: str) -> str:
    """One line without control characters, that may stand anywhere, also at the beginning of a block."""
    return _led(_unled(line))


def _unled(line: str) -> str:
    """The same for what does not begin a block."""
    if _WORD_AT_WORK.search(line) is None:
        return _backslashed(line)
    parts = _BREAKS.split(line)  # words at even places, what separates them at odd ones
    for at, part in enumerate(parts):
        works = at % 2 == 0 and _WORD_AT_WORK.search(part) is not None
        parts[at] = _literal(part) if works else _backslashed(part)
    return "".join(parts)


def _literal(word: str) -> str:
    """A word between backticks, without the punctuation around it."""
    inner = word.lstrip("(\"'").rstrip(",.;!?)\"'")
    before, after = word.split(inner, 1)
    return f"{before}`{inner}`{after}"


def _backslashed(text: str) -> str:
    # Not every Markdown takes a backslash before & and <.
    whole = _ENTITY.sub("&amp;", text).translate(_ALWAYS)
    return _RUNS.sub(lambda run: f"\\{run[0][0]}" * len(run[0]), whole)


def _led(line: str) -> str:
    match = _LEAD.match(line)
    if match is None:
        return line
    return f"{match[0]}\\{line[match.end() :]}" if match[0].isdigit() else f"\\{line}"
