"""The description, every token shaded by its activation: the paper's green, or brackets and a digit without colour."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from vlmscope.core.base.text import plain
from vlmscope.core.method.norm import TOP
from vlmscope.tui.widgets.lines import Span, fitted, row
from vlmscope.tui.widgets.palette import SHADES, Palette

POINTED = Style(reverse=True, bold=True)  #: of the token that the user points at
_LEAST = 0.5  # norms below this are shown as 0: without colour, brackets around every word would hide the text


@dataclass(frozen=True)
class Words:
    """Lines of shaded words.

    Attributes:
        peak: the line that holds the largest activation, or the token that is pointed at.
        places: line and first cell of each token.
    """

    lines: list[Strip]
    peak: int
    places: tuple[tuple[int, int], ...] = ()

    def token_by_line(self, token: int, by: int) -> int:
        """The token ``by`` lines further whose place in its line is nearest; ``token`` where there is no such line."""
        if token >= len(self.places):
            return token
        line, cell = self.places[token]
        there = [(abs(other - cell), at) for at, (own, other) in enumerate(self.places) if own == line + by]
        return min(there)[1] if there else token


def spell(token: str) -> str:
    """A token as it is shown: line breaks as ``↵``, everything else harmless."""
    return token if token.isprintable() else plain(token.replace("\r\n", "↵").replace("\n", "↵"))


def _look(norm: float, threshold: float, palette: Palette, *, peak: bool) -> Style:
    strong = Style(bold=True if peak else None, underline=True if norm > threshold else None)
    if palette.colourless:
        return Style(bold=True) + strong if norm >= _LEAST else Style()
    if norm < _LEAST:
        return strong
    return palette.shades[round(min(norm, TOP) * SHADES)] + strong


def _parts(token: str, norm: float | None, threshold: float, palette: Palette, *, peak: bool) -> list[Span]:
    """Leading blanks are not shaded, so that shaded neighbours stay apart."""
    text = spell(token)
    body = text.lstrip()
    lead = text[: len(text) - len(body)]
    if norm is None:
        return [(lead, palette.text), (body, palette.text)]
    if not body:
        body, lead = (lead[-1:] if norm < _LEAST else "␣"), lead[:-1]
    if palette.colourless and norm >= _LEAST:
        body = f"[{body}]{min(round(norm), 10)}"
    return [(lead, palette.text), (body, _look(norm, threshold, palette, peak=peak))]


def shaded(word: str, norm: float, threshold: float, palette: Palette) -> list[Span]:
    """One word by itself, shaded as in the description."""
    return [span for span in _parts(word, norm, threshold, palette, peak=False) if span[0]]


def _pieces(text: str, width: int) -> list[str]:
    """``text`` in pieces of at most ``width`` cells."""
    pieces, piece = [], ""
    for character in text:
        if piece and cell_len(piece + character) > width:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]


def words(
    tokens: tuple[str, ...],
    norms: NDArray[np.float32] | None,
    threshold: float,
    palette: Palette,
    width: int,
    pointed: int | None = None,
) -> Words:
    """Lay tokens out over lines of ``width`` cells; a token that continues a word stays with it where it fits.

    Args:
        norms: float32 (tokens,), or None while there is no map.
        threshold: T_t; tokens above it are underlined, the same that count for the vote.
        pointed: the token that the user points at, which is reversed.
    """
    peak = int(np.argmax(norms)) if norms is not None and norms.size and norms.max() > 0 else -1
    parts = []
    for at, token in enumerate(tokens):
        norm = float(norms[at]) if norms is not None and at < len(norms) else None
        spans = _parts(token, norm, threshold, palette, peak=at == peak)
        if at == pointed:
            spans = [(text, look + POINTED if text.strip() else look) for text, look in spans]
        parts.append(spans)
    return flow(tokens, parts, peak if pointed is None else pointed, width)


def flow(tokens: Sequence[str], parts: Sequence[list[Span]], seen: int, width: int) -> Words:
    """Lay out tokens that are spelled already.

    Args:
        tokens: as the model has them: one that begins with a blank begins a word.
        parts: of each token, its leading blanks first.
        seen: the token whose line is ``peak``; -1 for the first line.
    """
    lines: list[list[Span]] = [[]]
    used, peak_line = 0, 0
    word: list[tuple[int, list[Span]]] = []  # tokens since the last blank, by number: they wrap together
    places: list[tuple[int, int]] = []

    def put() -> None:
        nonlocal used, peak_line
        size = sum(cell_len(text) for _, spans in word for text, _ in spans)
        lead = len(word[0][1][0][0]) if word and word[0][1] and not word[0][1][0][0].strip() else 0
        if used and used + size > width and size - lead <= width:
            lines.append([])
            used = 0
        for token, spans in word:
            places.append((len(lines) - 1, used))
            for text, look in spans:
                if not used and not text.strip():
                    continue  # a line does not begin with the blank it was broken at
                for piece in _pieces(text, width):
                    if used + cell_len(piece) > width:
                        lines.append([])
                        used = 0
                    lines[-1].append((piece, look))
                    used += cell_len(piece)
            if token == seen:
                peak_line = len(lines) - 1
        word.clear()

    for at, (token, spans) in enumerate(zip(tokens, parts, strict=True)):
        if word and token[:1].isspace():
            put()
        word.append((at, spans))
    put()
    return Words([row(line, width) for line in lines], peak_line, tuple(places))


def window(shown: Words, height: int, scroll: int, palette: Palette) -> list[Strip]:
    """``height`` lines around the peak, moved by ``scroll`` lines; its ends show how much is hidden."""
    total = len(shown.lines)
    if total <= height or height < 1:
        return shown.lines[: max(height, 0)]
    first = window_start(shown, height, scroll)
    lines = list(shown.lines[first : first + height])
    hidden_after = total - first - height
    for at, count, arrow in ((0, first, "↑"), (-1, hidden_after, "↓")):
        if count:
            note = f" {arrow}{count}"
            width = lines[at].cell_length
            lines[at] = Strip.join(
                [_without_end(lines[at], width - len(note)), row([(note, palette.muted)], len(note))]
            )
    return lines


def _without_end(strip: Strip, width: int) -> Strip:
    """A line without its last cells, in the room of which something else is written."""
    return strip.crop(0, width) if not strip.text[width:].strip() else fitted(strip, width)


def window_start(shown: Words, height: int, scroll: int) -> int:
    """The first line shown."""
    last = max(len(shown.lines) - height, 0)
    centred = 0 if shown.peak < height - 1 else shown.peak - height // 2
    return min(max(min(max(centred, 0), last) + scroll, 0), last)
