"""A neuron as one figure for papers and slides, as the paper draws its own: PDF, SVG or PNG, two columns wide.

From the top: address, label and its fractions; the best four samples, each with its picture and its map; the scale; the
descriptions, their words shaded; concepts, explanation and score; what it was made from. Patches above Tv are outlined
and words above Tt are bold, and labels have letters and hatches, so that nothing rests on colour. A map without a patch
above Tv would be a blank square: the words are the picture then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.method.heatmap import ColourMap, colours, open_crop, overlay, shade
from vlmscope.core.method.labels import COLOURS, Label, Thresholds
from vlmscope.core.report.drawing import INK, POINTS, SOFT, FigureFormat, Page, file_bytes, text_width, wrapped
from vlmscope.core.report.method_line import method_line
from vlmscope.core.report.pictures import facts
from vlmscope.core.report.schema import NeuronPart, ScanPart
from vlmscope.core.report.scores import leading_figures, score_text
from vlmscope.core.store.example import Example
from vlmscope.core.store.manifest import Manifest, ThresholdsInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLES = 4  #: drawn, at most
WIDTH = 7.2 * POINTS  #: two columns of most journals
EDGE, GAP = 6.0, 8.0  #: points around, and between samples
COLUMN = (WIDTH - 2 * EDGE - (SAMPLES - 1) * GAP) / SAMPLES
BIG, BODY, SMALL = 11.0, 7.5, 6.5  #: font sizes in points
LINE = 10.5  #: points from line to line of the body
SIDE = 336  #: pixels of a picture's longer side, about: a small crop is enlarged by a whole factor
TOKENS, TOKEN = 300, 40  #: of a description, and characters of one, at most
WORD_LINES, TEXT_LINES = 6, 4  #: of a description, and of an explanation
STRIP = 96.0  #: points of a scale
HATCH = {Label.VISUAL: "", Label.TEXT: "////", Label.MULTIMODAL: "....", Label.UNKNOWN: "xxxx"}


@dataclass(frozen=True)
class Card:
    """What a card is made from.

    Attributes:
        part: what is known of the neuron.
        examples: its best samples, the first of which are drawn.
    """

    manifest: Manifest
    neuron: Neuron
    part: NeuronPart
    examples: tuple[Example, ...]
    thresholds: Thresholds
    colour_map: ColourMap = ColourMap.FADE


def card_bytes(card: Card, form: FigureFormat) -> bytes:
    """The card as a file's content. A PNG's text chunks name the neuron, its best sample, activation and scale.

    Raises:
        StoreError: if a crop cannot be decoded.
    """
    title = f"{card.part.neuron}: {card.part.label} neuron of {card.manifest.model.name}"
    about = {"Title": title, "Subject": _method(card), "Description": _method(card)}
    if form is FigureFormat.PNG and card.examples:
        best = facts(card.manifest, card.neuron, card.examples[0], card.colour_map)
        about = {"Title": title, **best, "Label": card.part.label}
    return file_bytes(lambda: draw_card(card), form, about)


def draw_card(card: Card) -> "Figure":
    """The figure itself."""
    drawn = [_Drawn(card, example) for example in card.examples[:SAMPLES]]
    blocks: list[_Block] = [_Head(card), _Samples(drawn), _Scale(card, drawn)]
    blocks += [*_descriptions(card, drawn), *_texts(card)]
    page = Page(WIDTH, 2 * EDGE + sum(block.height for block in blocks))
    y = EDGE
    for block in blocks:
        block.draw(page, y)
        y += block.height
    return page.figure


class _Block(Protocol):
    """A part of the card over its whole width."""

    @property
    def height(self) -> float:
        """In points."""

    def draw(self, page: Page, y: float) -> None:
        """Draw it below ``y``."""


class _Drawn:
    """One sample as it is drawn: its pictures in points, and whether it has a map worth drawing."""

    def __init__(self, card: Card, example: Example) -> None:
        self.example, self._card = example, card
        crop = open_crop(example.read_crop())
        factor = max(1, round(SIDE / max(crop.size)))
        self._crop = crop.resize((crop.width * factor, crop.height * factor), resample=0)  # nearest: patches stay sharp
        shrink = COLUMN / max(crop.size)
        self.width, self.height = crop.width * shrink, crop.height * shrink
        norms = example.visual_norms
        self.largest = None if norms is None else float(norms.max(initial=0))
        self.has_map = self.largest is not None and self.largest > card.thresholds.T_v
        self.words = example.text_norms
        self.has_words = self.words is not None and bool((self.words > card.thresholds.T_t).any())

    def draw_origin(self, page: Page, x: float, y: float) -> None:
        page.picture(x, y, self.width, self.height, np.asarray(self._crop.convert("RGB")))

    def draw_map(self, page: Page, x: float, y: float) -> None:
        """The map, or why there is none."""
        norms, at = self.example.visual_norms, self._card.thresholds
        if norms is None:
            page.text(x, y + BODY, "the scan keeps no map of it", SMALL, colour=SOFT)
        elif not self.has_map:
            page.text(x, y + BODY, f"no patch above Tv {at.T_v:g}", SMALL, colour=SOFT)
            page.text(x, y + BODY + 9, f"(largest norm {self.largest:.1f})", SMALL, colour=SOFT)
        else:
            shown = overlay(self._crop, norms, self._card.colour_map)
            page.picture(x, y, self.width, self.height, np.asarray(shown))
            page.box(x, y, self.width, self.height, edge="#BBBBBB", line=0.4)
            page.outline(x, y, self.width, self.height, norms > at.T_v)


@dataclass(frozen=True)
class _Head:
    """Address, label and the fractions of the votes."""

    card: Card
    height: float = 32.0

    def draw(self, page: Page, y: float) -> None:
        part = self.card.part
        label = _LABELS[part.label]
        page.text(EDGE, y + BIG, part.neuron, BIG, bold=True)
        x = EDGE + text_width(part.neuron, BIG, bold=True) + 10
        page.box(x, y + 2, 9, 9, fill=COLOURS[label], edge=INK, hatch=HATCH[label])
        words = f"{label.letter}  {label.word}{', high-confidence' if part.high_confidence else ''}"
        page.text(x + 14, y + BIG - 1, words, BODY + 1.5, bold=True)
        maximum = "" if part.maximum is None else f"maximum activation {part.maximum:.4g}"
        page.text(EDGE, y + BIG + 11.5, maximum, SMALL, colour=SOFT)
        self._fractions(page, y)

    def _fractions(self, page: Page, y: float) -> None:
        """A bar of the votes, with hatches, and each fraction below it by the label's letter."""
        width = 2 * COLUMN + GAP
        left = WIDTH - EDGE - width
        for which in Label:
            share = vars(self.card.part.fractions)[which.word] or 0.0
            if share:
                page.box(left, y + 2, width * share, 9, fill=COLOURS[which], edge=INK, hatch=HATCH[which], line=0.4)
            left += width * share
        known = {which: vars(self.card.part.fractions)[which.word] for which in Label}
        texts = [f"{which.letter} {'n/a' if known[which] is None else format(known[which], '.2f')}" for which in Label]
        of = f"votes of {self.card.part.top_samples} top samples:  {'   '.join(texts)}"
        page.text(WIDTH - EDGE, y + BIG + 11.5, of, SMALL, align="right")


class _Samples:
    """The samples side by side: origin, map where one has any, rank, activation and vote."""

    def __init__(self, drawn: Sequence[_Drawn]) -> None:
        self._drawn = drawn
        self._origin = max((one.height for one in drawn), default=0.0)
        self._maps = any(one.has_map for one in drawn)
        rows = 2 if self._maps else 1
        self.height = rows * (self._origin + 4) + 14 if drawn else 0.0

    def draw(self, page: Page, y: float) -> None:
        for at, one in enumerate(self._drawn):
            x = EDGE + at * (COLUMN + GAP)
            one.draw_origin(page, x, y)
            if self._maps:
                one.draw_map(page, x, y + self._origin + 4)
            example = one.example
            vote = f"{example.vote.letter} {example.vote.word}"
            said = f"{example.rank + 1}   activation {example.activation:.4g}   {vote}"
            page.text(x, y + self.height - 6, said, SMALL)


class _Scale:
    """The colours of the maps and of the words, from norm 0 to 10, with their thresholds."""

    def __init__(self, card: Card, drawn: Sequence[_Drawn]) -> None:
        ramp = np.linspace(0, 10, 101, dtype=np.float32)
        part, at = card.part, card.thresholds
        ten = "" if part.maximum is None else f"; 10 is an activation of {part.maximum:.4g}"
        self._rows = []
        if any(one.has_map for one in drawn):
            ends = {ColourMap.FADE: "white", ColourMap.DIM: "black"}.get(card.colour_map)
            fades = f"; at 0 the picture is {ends}" if ends else ""
            said = f"norm of a patch{ten}{fades}; outlined: above Tv {at.T_v:g}"
            self._rows.append((colours(ramp, card.colour_map), at.T_v, said))
        if any(one.words is not None for one in drawn):
            greens = np.array([shade(float(norm)) for norm in ramp], dtype=np.uint8)
            said = f"norm of a word{'' if self._rows else ten}; bold: above Tt {at.T_t:g}"
            self._rows.append((greens, at.T_t, said))
        self.height = 15.0 * len(self._rows) + 4 * bool(self._rows)

    def draw(self, page: Page, y: float) -> None:
        for pixels, threshold, said in self._rows:
            page.text(EDGE, y + 7, "0", SMALL)
            page.picture(EDGE + 7, y + 1, STRIP, 7, pixels[None])
            page.box(EDGE + 7, y + 1, STRIP, 7, edge=SOFT, line=0.4)
            tick = EDGE + 7 + STRIP * threshold / 10
            page.line((tick, tick), (y - 1, y + 10), width=0.9)
            page.text(EDGE + 10 + STRIP, y + 7, "10", SMALL)
            page.text(EDGE + 26 + STRIP, y + 7, said, SMALL, colour=SOFT)
            y += 15


class _Description:
    """A description with its words on their shades; those above Tt are bold."""

    def __init__(self, card: Card, one: _Drawn) -> None:
        self._rank, self._limit = one.example.rank + 1, card.thresholds.T_t
        tokens = one.example.sample.tokens
        norms = np.zeros(len(tokens)) if one.words is None else one.words
        self._lines: list[list[tuple[float, float, str, float]]] = [[]]
        x, right = 0.0, WIDTH - 2 * EDGE - 16
        for token, norm in list(zip(tokens, norms.tolist(), strict=True))[:TOKENS]:
            word = plain(token, TOKEN)
            width = text_width(word, BODY, bold=norm > self._limit)
            if x + width > right and self._lines[-1]:
                self._lines.append([])
                word, x = word.lstrip() or word, 0.0
                width = text_width(word, BODY, bold=norm > self._limit)
            self._lines[-1].append((x, width, word, norm))
            x += width
        if len(self._lines) > WORD_LINES:
            self._lines = [*self._lines[: WORD_LINES - 1], [(0.0, 0.0, "…", 0.0)]]
        self.height = LINE * len(self._lines) + 4

    def draw(self, page: Page, y: float) -> None:
        page.text(EDGE, y + BODY, str(self._rank), SMALL, colour=SOFT)
        for at, line in enumerate(self._lines):
            top = y + at * LINE
            for x, width, word, norm in line:
                left = EDGE + 16 + x
                blank = text_width(word[: len(word) - len(word.lstrip())], BODY) if word.strip() else 0.0
                red, green, blue = shade(norm)
                if norm > 0:
                    page.box(left + blank, top - 1, width - blank, LINE - 1, fill=(red / 255, green / 255, blue / 255))
            for x, _, word, norm in line:
                page.text(EDGE + 16 + x, top + BODY - 0.5, word, BODY, bold=norm > self._limit)


def _descriptions(card: Card, drawn: Sequence[_Drawn]) -> list[_Description]:
    """The best sample's, and those of others whose words are the picture."""
    shown = [one for at, one in enumerate(drawn) if at == 0 or (one.has_words and not one.has_map)]
    return [_Description(card, one) for one in shown if one.example.sample.tokens]


class _Lines:
    """Lines of text with a head before them."""

    def __init__(self, head: str, text: str, lines: int, size: float = BODY) -> None:
        self._head, self._size = head, size
        self._left = 60.0 if head else 0.0
        self._lines = wrapped(plain(text), WIDTH - 2 * EDGE - self._left, size, lines)
        self.height = (size + 3) * len(self._lines) + 3

    def draw(self, page: Page, y: float) -> None:
        page.text(EDGE, y + self._size, self._head, self._size, bold=True)
        for at, line in enumerate(self._lines):
            colour = INK if self._head else SOFT
            page.text(EDGE + self._left, y + self._size + at * (self._size + 3), line, self._size, colour=colour)


def _texts(card: Card) -> list[_Lines]:
    """Concepts, the leading explanation, its scores, and what all of it was made from."""
    part, found = card.part, []
    if part.concepts is not None and part.concepts.words:
        words = ", ".join(f"{one.word} {_number(one.strength, '.1f')}" for one in part.concepts.words)
        rate = f"purity {_number(part.concepts.purity)} (base rate {_number(part.concepts.base_rate)})"
        found.append(_Lines("concepts", f"{words}; {rate}", 2))
    if part.explanations:
        lead = part.explanations[0]
        text = lead.text if lead.pattern_found else f"no pattern found: {lead.text}"
        by = f" ({lead.model})" if lead.model else ""
        found.append(_Lines("explanation", f"{text}{by}", TEXT_LINES))
        scores = "; ".join(score_text(*pair) for pair in leading_figures(lead.scores))
        if scores:
            found.append(_Lines("score", scores, 3))
    return [*found, _Lines("", _method(card), 4, SMALL - 1)]


def _method(card: Card) -> str:
    scan = ScanPart.model_validate(card.manifest)
    return f"{method_line(scan, ThresholdsInfo.of(card.thresholds))} Scan {scan.scan_id[:16]}."


def _number(value: float | None, how: str = ".2f") -> str:
    return "n/a" if value is None else format(value, how)


_LABELS = {label.word: label for label in Label}
