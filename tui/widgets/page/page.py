"""The neuron's page: painted as lines from one value, so that a step repaints only the cells that changed."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from rich.style import Style
from textual.strip import Strip

from vlmscope.core.analysis.firmness import NeuronFirmness
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.method.labels import Label
from vlmscope.tui.views.page import PageView
from vlmscope.tui.views.state import Mode
from vlmscope.tui.widgets.lines import Lines, Part, beside, blank, row
from vlmscope.tui.widgets.numbers import activation, against, fraction, ordinal
from vlmscope.tui.widgets.page.facts import facts_below, facts_beside
from vlmscope.tui.widgets.page.frame import GAP, SCALE, PageFrame, frame
from vlmscope.tui.widgets.page.meaning import meaning_page
from vlmscope.tui.widgets.page.statistics import statistics
from vlmscope.tui.widgets.page.words import Words, window, window_start, words
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView

    pass

_CHOSEN = Style(reverse=True, bold=True)
_CACHED = 64  # pictures kept as strips: stepping back and forth decodes nothing

_MEANING_HEAD = 3  # lines above the page of meanings

_WORDS_MARGIN = 4  # at the right of the description, for the arrows that say how much is hidden


class Page(Lines):
    """The page of one neuron."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self.view: PageView | None = None
        self._palette: Palette | None = None
        self._pictures: OrderedDict[tuple[object, ...], list[Strip]] = OrderedDict()
        self._scroll = 0

    def present(self, view: PageView, palette: Palette) -> None:
        """Show ``view``."""
        old = self.view
        if old is None or _which(old) != _which(view):
            self._scroll = 0
        if palette is not self._palette:
            self._pictures.clear()
        self.view, self._palette = view, palette
        self.repaint()

    def on_mouse_scroll_down(self) -> None:
        self.scroll_words(1)

    def on_mouse_scroll_up(self) -> None:
        self.scroll_words(-1)

    def scroll_words(self, lines: int) -> None:
        """Move the description, or the page of meanings, where it is longer than its room."""
        view, palette = self.view, self._palette
        if view is None or palette is None:
            return
        shown, height = self._long(view, palette)
        before = window_start(shown, height, self._scroll)
        if window_start(shown, height, self._scroll + lines) != before:
            self._scroll += lines
            self.repaint()

    def _long(self, view: PageView, palette: Palette) -> tuple[Words, int]:
        """What can be scrolled in the view's mode, and the lines that there are for it."""
        room = frame(self.size.width, self.size.height, view.mode, view.tokens)
        if view.mode is Mode.MEANING and view.meaning is not None:
            return Words(meaning_page(view.meaning, room.width, palette), 0), room.height - _MEANING_HEAD
        evidence = view.evidence
        if evidence is None or view.mode in (Mode.STATISTICS, Mode.SCORE):
            return Words([], 0), room.words
        limit = evidence.thresholds.T_t
        return words(evidence.tokens, evidence.words, limit, palette, room.width - _WORDS_MARGIN), room.words

    def paint(self) -> None:
        width, height = self.size
        view, palette = self.view, self._palette
        if view is None or palette is None or width < 8 or height < 2:
            return
        room = frame(width, height, view.mode, view.tokens)
        lines = [neuron_line(view, palette, width), votes_line(view, palette, width)]
        if view.mode is Mode.STATISTICS:
            lines += blank(width)
            if view.facts is not None:
                lines += [firmness_line(view.firmness, palette, width), *blank(width)]
                lines += statistics(view.facts, view.maximum, width, height - len(lines), palette)
        elif view.mode is Mode.MEANING:
            lines += blank(width)
            if view.meaning is not None:
                lines += window(*self._long(view, palette), self._scroll, palette)
        elif view.mode is Mode.SCORE:
            from vlmscope.tui.widgets.page.score import score_page

            lines += [*blank(width), *score_page(view, view.score, width, height - len(lines) - 1, palette)]
        elif view.evidence is None:
            lines.append(row([(view.problem.partition("\n")[0] or "…", palette.muted)], width))
        else:
            lines += self._sample(view, view.evidence, room, palette)
        self.show(lines[:height], palette.base)

    def _sample(self, view: PageView, evidence: "PictureView", room: PageFrame, palette: Palette) -> list[Strip]:
        # Pictures come after the first paint: until then neither Pillow nor rich-pixels is needed.
        from vlmscope.tui.widgets.page.pictures import captions, scale

        width = room.width
        lines = [sample_line(evidence, view.valid, palette, width), vote_line(evidence, view.waiting, palette, width)]
        if view.stale:
            # The numbers are the old picture's: they go at once, the picture stays dimmed under its own address.
            lines = blank(width, 2)
        left, right = captions(evidence, room.picture, view.colour_map, palette, stale=view.stale)
        cells = room.picture[0]
        blocks = [
            (self._box("origin", evidence, room, ColourMap.FADE, palette, stale=view.stale), cells),
            (self._box("activation", evidence, room, view.colour_map, palette, stale=view.stale), cells),
            (scale(room.picture[1], view.colour_map, palette), SCALE),
        ]
        heads: list[tuple[list[Strip], int]] = [([left], cells), ([right], cells), (blank(SCALE), SCALE)]
        if room.beside and view.facts is not None:
            column = facts_beside(view.facts, view.meaning, room.beside, room.picture[1] + 1, palette)
            heads.append((column[:1], room.beside))
            blocks.append((column[1:], room.beside))
        lines += beside(heads, 1, GAP)
        lines += beside(blocks, room.picture[1], GAP)
        if view.stale:
            lines += blank(width, room.words)
        else:
            text = window(*self._long(view, palette), self._scroll, palette)
            lines += [*text, *blank(width, room.words - len(text))]
        if room.facts and view.facts is not None:
            lines += facts_below(view.facts, view.meaning, width, room.facts, palette)
        return [line.adjust_cell_length(width) for line in lines]

    def _box(
        self,
        which: str,
        evidence: "PictureView",
        room: PageFrame,
        colour_map: ColourMap,
        palette: Palette,
        *,
        stale: bool,
    ) -> list[Strip]:
        """A picture's strips, cached: the same for the same neuron, sample, size and map."""
        waiting = self.view.waiting if self.view is not None else ""
        problem = (evidence.map_problem, waiting) if evidence.visual is None else None
        # Norms are relative to the maximum, which grows while a scan goes on.
        maximum = self.view.maximum if self.view is not None else 0.0
        key: tuple[object, ...] = (
            which,
            evidence.key,
            evidence.exact,
            maximum,
            problem,
            room.picture,
            colour_map,
            stale,
        )
        if which == "origin":
            key = (which, evidence.sample, evidence.image, evidence.crop is None, room.picture, stale)
        strips = self._pictures.get(key)
        from vlmscope.tui.widgets.page.pictures import activation_box, origin_box

        if strips is None:
            if which == "origin":
                strips = origin_box(evidence, room.picture, palette, stale=stale)
            else:
                strips = activation_box(evidence, room.picture, colour_map, palette, stale=stale, waiting=waiting)
            self._pictures[key] = strips
            while len(self._pictures) > _CACHED:
                self._pictures.popitem(last=False)
        else:
            self._pictures.move_to_end(key)
        return strips


def _which(view: PageView) -> object:
    """The text that is scrolled: another neuron's or picture's begins at its beginning."""
    return None if view.evidence is None else view.evidence.key


# -- the lines above the pictures --------------------------------------------------------------------------------------


def neuron_line(view: PageView, palette: Palette, width: int) -> Strip:
    """Address, label, the four fractions, how firm, the maximum."""
    parts: list[Part] = [(f"{view.neuron}  ", palette.strong)]
    if not view.listed:
        parts.append(("not in this filter  ", palette.warning))
    parts.append((f"{view.label.letter} {view.label.word}", palette.labels[view.label] + palette.strong))
    parts.append(("  ", palette.text))
    for label, count in zip(Label, view.counts, strict=True):
        look = palette.labels[label] if label is view.label else palette.muted
        parts.append((f"{label.letter} {fraction(count / max(view.valid, 1))} ", look))
    best = max(view.counts)
    firm = "firm" if view.firm else "tie" if sorted(view.counts)[-2] == best else "weak"
    parts.append((f" {firm}", palette.text if view.firm else palette.muted))
    if view.firmness is not None and view.firmness.fragile and firm != "tie":
        parts.append((" fragile", palette.warning))
    parts.append((f"  max {activation(view.maximum)}", palette.text))
    return row(parts, width)


def firmness_line(firmness: NeuronFirmness | None, palette: Palette, width: int) -> Strip:
    """How firm the vote is: of the label, no significance (``core/analysis/firmness.py``)."""
    if firmness is None or firmness.share is None:
        return row([("no votes" if firmness is not None else "…", palette.muted)], width)
    fragile = "fragile: a threshold moved by a tenth changes it" if firmness.fragile else "not fragile"
    text = (
        f"margin {fraction(firmness.margin)} · share {fraction(firmness.share)}"
        f" (95% {fraction(firmness.low)} to {fraction(firmness.high)}) · sign test p {firmness.sign_p:.2g} · {fragile}"
    )
    return row([("label ", palette.muted), (text, palette.text)], width)


def votes_line(view: PageView, palette: Palette, width: int) -> Strip:
    """Every top sample's vote, best first, the chosen one marked."""
    if not view.votes:
        return row([("no top samples", palette.muted)], width)
    head = f"votes {max(view.counts)}/{view.valid} "
    room = max(width - len(head) - 2, 1)
    rank = view.rank if view.rank is not None else 0
    first = min(max(0, rank - room // 2), max(0, len(view.votes) - room))
    parts: list[Part] = [(head, palette.muted), ("‹" if first else " ", palette.muted)]
    for at, vote in enumerate(view.votes[first : first + room], start=first):
        look = palette.labels[vote]
        parts.append((vote.letter, look + _CHOSEN if at == view.rank else look))
    parts.append(("›" if first + room < len(view.votes) else "", palette.muted))
    return row(parts, width)


def sample_line(evidence: "PictureView", valid: int, palette: Palette, width: int) -> Strip:
    """Which picture it is."""
    parts: list[Part] = []
    if evidence.rank is None:
        parts.append(("your picture", palette.strong))
    else:
        parts.append((f"sample {evidence.rank + 1} of {valid}", palette.strong))
        parts.append((f" · #{evidence.sample}", palette.muted))
    if evidence.score is not None:
        parts.append((f" · score {activation(evidence.score)}", palette.text))
    parts.append((f" · {evidence.name}", palette.muted))
    return row(parts, width)


def _kind(value: float | None, threshold: float, number: int, word: str, *, above: bool) -> str:
    if value is None:
        return f"no {ordinal(number)} {word}"
    return f"{ordinal(number)} {word} {against(value, threshold, above=above)}"


def vote_line(evidence: "PictureView", waiting: str, palette: Palette, width: int) -> Strip:
    """The sample's own vote and the numbers behind it, as norms against the thresholds."""
    if evidence.vote is None:
        return row([(f"no vote yet: {evidence.map_problem or waiting or 'no map'}", palette.muted)], width)
    vote, thresholds = evidence.vote, evidence.thresholds
    visual = _kind(
        evidence.visual_norm, thresholds.T_v, thresholds.n_v, "patch", above=vote in (Label.VISUAL, Label.MULTIMODAL)
    )
    text = _kind(
        evidence.text_norm, thresholds.T_t, thresholds.n_t, "word", above=vote in (Label.TEXT, Label.MULTIMODAL)
    )
    return row(
        [
            ("vote ", palette.muted),
            (f"{vote.letter} {vote.word}", palette.labels[vote]),
            (f"  ({visual} · {text})", palette.text),
        ],
        width,
    )
