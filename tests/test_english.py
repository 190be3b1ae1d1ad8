"""Docstrings, comments, messages and documents are in plain present-day English: none of the turns below."""

import io
import re
import tokenize
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SWEPT = ("core", "tui", "sample_data", "docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")
OLD = re.compile(
    r"\b(anew|likewise|whoever|whosoever|whatsoever|mend(s|ed|ing)?|of now|is nobody"
    r"|(?<!there )is no (?!longer\b|more\b|less\b)"
    r"|there(of|in|upon|with)|here(in|by|with|upon)|perchance|hitherto|hence(forth)?|forthwith|whilst|amid)\b",
    re.IGNORECASE,
)
NAMES = r"{[^{}\n]*}|``\w+``|^['\"]\w+['\"]$"  #: of an f-string, in double backticks, or a string of one name
TEXT = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))  # from Python 3.12 on


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """The lines to read: the whole of a document, of code the comments and strings; all without names."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(re.sub(r"`\w+`", "", text).splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in TEXT:
            prose = re.sub(NAMES, "", token.string)
            yield from enumerate(prose.splitlines(), token.start[0])


def old_turns(path: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {found[0]!r}"
        for number, line in lines_of(path)
        for found in OLD.finditer(line)
    ]


@pytest.mark.parametrize("name", SWEPT)
def test_plain_english(name: str) -> None:
    place = ROOT / name
    files = [place] if place.is_file() else list(chain(place.rglob("*.py"), place.rglob("*.md")))
    assert files
    assert [turn for path in sorted(files) for turn in old_turns(path)] == []


def test_it_refuses_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_english.ROOT", tmp_path)
    path = tmp_path / "a.py"
    path.write_text(
        '"""It is no label.\n\nThere is no label, it is no longer."""\n'
        'mend = 1  # Whoever mends\nx = f"counted anew {mend}"\n'
    )
    assert old_turns(path) == ["a.py:1: 'is no '", "a.py:4: 'Whoever'", "a.py:4: 'mends'", "a.py:5: 'anew'"]
    document = tmp_path / "a.md"
    document.write_text("As of now, a\nline with `mend`, a field.\n")
    assert old_turns(document) == ["a.md:1: 'of now'"]
