"""Text from outside stays text in Markdown: read back by a CommonMark parser with the dialects' extras switched on."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.footnote import footnote_plugin
from mdit_py_plugins.tasklists import tasklists_plugin

from core.markdown import inline, quote
from core.plain_text import plain

ALLOWED = {"text", "code_inline", "hardbreak", "softbreak", "paragraph_open", "paragraph_close", "inline"}
HOSTILE = (
    *"\\`*_{}[]()<>#+-.!|$~^=%:@&\"'/; \t\n\r\x0b\x1b\x00\x85\u2028\u202e\u2060\u00a0\u3000\ufeff\ud800é☃1a",
    "<b>bold</b>",
    "<!--",
    "<script>alert(1)</script>",
    "<http://e.com>",
    "[x](http://e.com)",
    "![x](y.png)",
    "[x]: http://e.com\n",
    "http://e.com/a_b",
    "//localhost",
    "www.e.com",
    "e.com",
    "mailto:a@b.co",
    "a@b.co",
    "@name",
    "#12",
    "GH-7",
    "o/r#3",
    ":smile:",
    "```",
    "~~~",
    "~~a~~",
    "**a**",
    "__a__",
    "$a$",
    "$$\na\n$$",
    "[^1]",
    "[^1]: note\n",
    "[ ] ",
    "- ",
    "\n1. ",
    "\n---\n",
    "\n===\n",
    "\n| - |\n",
    "\n:-:\n",
    "\n: ",
    "\n    ",
    "> ",
    "&lt;",
    "&#60;",
    "&amp",
    "\x1b[31m",
    "\x1b]0;title\x07",
    "{{ site }}",
    "{% raw %}",
    "word",
)
hostile = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8)), max_size=12).map("".join)


def parsers() -> list[MarkdownIt]:
    """CommonMark alone; GitHub's dialect; that with bare names of hosts as links, and every extra there is."""
    github = MarkdownIt("gfm-like", {"html": True})
    everything = MarkdownIt("gfm-like", {"html": True})
    assert everything.linkify is not None
    everything.linkify.set({"fuzzy_link": True, "fuzzy_email": True, "fuzzy_ip": True})
    everything.use(footnote_plugin).use(dollarmath_plugin).use(tasklists_plugin).use(deflist_plugin)
    return [MarkdownIt("commonmark"), github, everything]


PARSERS = parsers()


def flat(tokens: list[Token]) -> list[Token]:
    return [one for token in tokens for one in (token, *flat(token.children or []))]


def shown(tokens: list[Token]) -> str:
    """The text that a reader sees, line breaks as such."""
    lines = []
    for token in flat(tokens):
        if token.type in ("text", "code_inline"):
            lines.append(token.content)
        elif token.type in ("hardbreak", "softbreak", "paragraph_close", "th_close", "td_close"):
            lines.append("\n")
    return "".join(lines)


def words(text: str) -> list[str]:
    return text.split()


def lines_of(text: str) -> list[list[str]]:
    """The words of each line that has any."""
    return [found for line in text.splitlines() if (found := line.split())]


def safe(text: str) -> list[str]:
    return [plain(line) for line in text.splitlines()]


@pytest.mark.parametrize("parser", PARSERS, ids=["commonmark", "github", "everything"])
@given(text=hostile)
@example("```\n")
@example("`@a`\\`@b`")
@example("a\n=")
@example("a\n-")
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
