"""Text from outside stays text in Markdown: read back by a CommonMark parser with the dialects' extras switched on."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.support.markdown_reading import ALLOWED, PARSERS, flat, hostile, lines_of, safe, shown, words
from vlmscope.core.base.text import plain
from vlmscope.core.report.escape import inline, quote


@pytest.mark.parametrize("parser", PARSERS, ids=["commonmark", "github", "everything"])
@given(text=hostile)
@example("```\n")
@example("`@a`\\`@b`")
@example("a\n=")
@example("a\n-")
@example("at 10.0.0.1 or 10.0.0.1/x")
def test_a_line_says_what_it_said(parser: MarkdownIt, text: str) -> None:
    for where in ("{}", "- {}", "1. {}", "a b {} c", "**x:** {}"):
        tokens = parser.parse(where.replace("{}", inline(text)))
        found = {token.type for token in flat(tokens)}
        own = {"bullet_list_open", "bullet_list_close", "ordered_list_open", "ordered_list_close", "list_item_open"}
        assert found <= ALLOWED | own | {"list_item_close", "strong_open", "strong_close"}, tokens
        before, after = where.split("{}")
        bare = re.sub(r"\*|^- |^1\. ", "", before)
        assert words(shown(tokens)) == words(f"{bare}{plain(text)}{after}")


@pytest.mark.parametrize("parser", PARSERS[1:], ids=["github", "everything"])
@given(text=hostile, other=hostile)
@example("\\", "|")
@example("0|.AC", "a|www.e.com")
@example("a\\|b", "---")
def test_a_cell_stays_a_cell(parser: MarkdownIt, text: str, other: str) -> None:
    tokens = parser.parse(f"| a | b |\n| --- | --- |\n| {inline(text)} | {inline(other)} |\n| c | d |\n")
    found = [token.type for token in flat(tokens)]
    assert found.count("tr_open") == 3
    assert found.count("td_open") == 4
    assert not {"html_inline", "link_open", "image", "em_open", "strong_open", "s_open", "math_inline"} & set(found)
    cells = [token.content for token in tokens if token.type == "inline"]
    assert len(cells) == 6
    content = [words(shown([token])) for token in tokens if token.type == "inline"]
    assert content == [["a"], ["b"], words(plain(text)), words(plain(other)), ["c"], ["d"]]


@pytest.mark.parametrize("parser", PARSERS, ids=["commonmark", "github", "everything"])
@given(text=hostile)
@example("a\n    b\n\n\tc")
@example("a\n\n    b")
@example("[!NOTE]\na")
@example("a\n:-:\nb")
def test_a_quotation_says_what_it_said_line_by_line(parser: MarkdownIt, text: str) -> None:
    tokens = parser.parse(f"before\n\n{quote(text)}\n\nafter")
    found = [token.type for token in flat(tokens)]
    assert set(found) <= ALLOWED | {"blockquote_open", "blockquote_close"}, tokens
    assert found.count("blockquote_open") <= 1
    assert "softbreak" not in found
    assert lines_of(shown(tokens)) == [["before"], *(line.split() for line in safe(text) if line.split()), ["after"]]


@pytest.mark.parametrize("parser", PARSERS, ids=["commonmark", "github", "everything"])
@given(text=hostile, ranges=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=4))
@example("1. a *b* `c` www.d.e - f\n- g", [(0, 1), (3, 1), (20, 5), (28, 1)])
@example("a **b c", [(2, 2)])
def test_marked_words_are_bold_and_nothing_else_changes(
    parser: MarkdownIt, text: str, ranges: list[tuple[int, int]]
) -> None:
    marked, at = list[tuple[int, int]](), 0
    for gap, length in ranges:
        marked.append((at + gap, at + gap + length))
        at = marked[-1][1]
    tokens = parser.parse(f"before\n\n{quote(text, marked)}\n\nafter")
    found = [token.type for token in flat(tokens)]
    assert set(found) <= ALLOWED | {"blockquote_open", "blockquote_close", "strong_open", "strong_close"}, tokens
    assert lines_of(shown(tokens)) == [["before"], *(line.split() for line in safe(text) if line.split()), ["after"]]
    touched = {at for first, last in marked for at in range(first, last)}
    strong, begin = 0, 0
    for line in text.splitlines(keepends=True):
        for match in re.finditer(r"\S+", plain(line.splitlines()[0])):
            strong += "\t" not in line and not touched.isdisjoint(range(begin + match.start(), begin + match.end()))
        begin += len(line)
    assert found.count("strong_open") == strong


@given(text=hostile)
def test_nothing_reaches_a_terminal_or_a_filter(text: str) -> None:
    """What GitHub and others look for in the source, or in the text between backticks and tags."""
    for written in (inline(text), quote(text)):
        assert all(plain(line) == line for line in written.split("\n"))
        assert "<" not in written
        assert "{{" not in written and "{%" not in written
        outside = re.sub(r"(?<!\\)`[^`]*`", "", written.replace("\\\\", "")).replace("\\`", "")
        bare = outside.replace("\\", "")
        assert not re.search(r"@|\$|www\.|://|:[a-z0-9_+-]+:|#\d", bare, re.IGNORECASE), written


def test_ordinary_text_is_left_alone() -> None:
    for text in (
        "The image shows a large pink tulip in the top left corner, and a camera (red) on the right; it's 2.5 m high!",
        "Tom & Jerry, e.g. in the U.S., at 10:30",
        "llava-hf/llava-1.5-7b-hf",
        "snake_case_name, 100 % = all",
        "Züge, 電車 - поезд",
    ):
        assert inline(text) == text
        assert quote(text) == f"> {text}"


def test_what_would_act_without_markup_is_put_between_backticks() -> None:
    written = inline("ask @ann, (see #12) or www.e.com! $5 :cat:")
    assert written == "ask `@ann`, (see `#12`) or `www.e.com`! `$5` `:cat:`"
    assert inline("images/scene_0001.webp") == "`images/scene_0001.webp`"


def test_long_text_is_cut() -> None:
    assert inline("*" * 50, 4) == "\\*\\*\\*…"


def test_line_breaks_and_indents_of_a_note_are_kept() -> None:
    written = quote("\n\nfirst\n  second\\\n\n\nthird\n\n")
    assert written == "> first\\\n> \u00a0\u00a0second\\\\\n>\n>\n> third"
    assert quote("") == quote(" \n\t") == ""


@pytest.mark.parametrize("unit", ["train on a rail. ", "a", "_", "`", ":", "@a ", "\n", "[a](http://b.c) ", "| ", "\\"])
def test_four_megabytes_take_seconds(unit: str) -> None:
    text = unit * (4 * 2**20 // len(unit))
    start = time.process_time()
    quote(text)
    assert time.process_time() - start < 60  # it takes about 5; what is quadratic takes hours
