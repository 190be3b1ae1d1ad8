"""Markdown read back by a CommonMark parser, also with the dialects' extras switched on; text that would be markup."""

from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.footnote import footnote_plugin
from mdit_py_plugins.tasklists import tasklists_plugin

from vlmscope.core.base.text import plain

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
