"""The neuron's page: painted as lines from one value, so that a step repaints only the cells that changed."""

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.events import Click
from textual.strip import Strip

from vlmscope.core.analysis.firmness import NeuronFirmness
from vlmscope.core.method.labels import Label
from vlmscope.core.worker.messages import Phase
from vlmscope.tui.messages import PatchChosen, SampleChosen, TokenChosen
from vlmscope.tui.views.pointer import reading
from vlmscope.tui.views.scene import Scene
from vlmscope.tui.views.state import Mode
from vlmscope.tui.widgets.lines import Lines, Span, beside, blank, row, wrapped
from vlmscope.tui.widgets.numbers import activation, against, fraction, ordinal
from vlmscope.tui.widgets.page.compare import address_line, here_line
from vlmscope.tui.widgets.page.facts import facts_below, facts_beside
from vlmscope.tui.widgets.page.frame import GAP, HEAD, SCALE, PageFrame, frame
from vlmscope.tui.widgets.page.meaning import meaning_page
from vlmscope.tui.widgets.page.pixels import Pixels, places
from vlmscope.tui.widgets.page.statistics import statistics
from vlmscope.tui.widgets.page.words import Words, window, window_start, words
from vlmscope.tui.widgets.palette import Palette, faded_style

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView

_CHOSEN = Style(reverse=True, bold=True)
_CACHED = 128  # pictures kept as strips: stepping back and forth decodes nothing
_MEANING_HEAD = 3  # lines above the pages of meanings and of ablation
_PAGE = 3  # lines above a page that has no picture
_WORDS_MARGIN = 4  # at the right of the description, for the arrows that say how much is hidden


class Page(Lines[Scene]):
    """The page of one neuron."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._pictures: OrderedDict[tuple[object, ...], list[Strip]] = OrderedDict()
        self._pixels = Pixels()
        self._scroll = 0
        self._old: tuple[object, list[Strip]] | None = None  # what is below the first lines while a key is held

    def present(self, view: Scene, palette: Palette) -> None:
        """Show ``view``."""
        if self.presented is not None:
            old, old_palette = self.presented
            if _scrolled(old) != _scrolled(view):
                self._scroll = 0
            if palette is not old_palette:
                self._pictures.clear()
        super().present(view, palette)

    def on_click(self, event: Click) -> None:
        """A click on a vote goes to its sample; where the page points, one on a patch or a word points there."""
        at = event.get_content_offset(self)
        if at is None or self.presented is None:
            return
        view, palette = self.presented
        if at.y == 1 and view.state.mode is not Mode.SHEET:
            head, first, count = votes_shown(view, self.size.width)
            if 0 <= at.x - head < count and view.state.own is None:
                self.post_message(SampleChosen(first + at.x - head))
        elif view.state.mode is Mode.POINT and view.picture is not None and not view.stale:
            self._click_place(view, view.picture, palette, at.x, at.y - HEAD)

    def _click_place(self, view: Scene, picture: "PictureView", palette: Palette, x: int, y: int) -> None:
        from vlmscope.tui.widgets.page.pictures import patch_at

        room = frame(*self.size, view.state.mode, view.columns.store.manifest.text_tokens_max)
        cells, lines = room.picture
        if 0 <= y < lines:
            patch = patch_at(picture, room.picture, x if x < cells else x - cells - GAP, y)
            if patch is not None and x < 2 * cells + GAP:
                self.post_message(PatchChosen(*patch))
        elif lines <= y < lines + room.words:
            shown, height = self._long(view, palette)
            line = y - lines + (0 if len(shown.lines) <= height else window_start(shown, height, self._scroll))
            there = [(cell, token) for token, (own, cell) in enumerate(shown.places) if own == line and cell <= x]
            if there:
                self.post_message(TokenChosen(max(there)[1]))

    def on_mouse_scroll_down(self) -> None:
        self.scroll_words(1)

    def on_mouse_scroll_up(self) -> None:
        self.scroll_words(-1)

    def scroll_words(self, lines: int) -> None:
        """Move the description, or the page of meanings, where it is longer than its room."""
        if self.presented is None:
            return
        shown, height = self._long(*self.presented)
        before = window_start(shown, height, self._scroll)
        if window_start(shown, height, self._scroll + lines) != before:
            self._scroll += lines
            self.repaint()

    def _long(self, view: Scene, palette: Palette) -> tuple[Words, int]:
        """What can be scrolled in the view's mode, and the lines that there are for it."""
        room = frame(*self.size, view.state.mode, view.columns.store.manifest.text_tokens_max)
        mode, picture = view.state.mode, view.picture
        if mode is Mode.MEANING and view.meaning is not None:
            return Words(meaning_page(view.meaning, room.width, palette), 0), room.height - _MEANING_HEAD
        if mode is Mode.ABLATION and view.ablation is not None:
            from vlmscope.tui.widgets.page.ablation import ablation_page

            return Words(ablation_page(view.ablation, room.width, palette), 0), room.height - _MEANING_HEAD
        if picture is None or mode in (Mode.STATISTICS, Mode.SCORE, Mode.CHECK, Mode.ABLATION):
            return Words([], 0), room.words
        limit, pointed = picture.thresholds.T_t, None
        if mode is Mode.POINT and view.state.pointer.on_words:
            pointed = view.state.pointer.within(picture).token
        return words(picture.tokens, picture.words, limit, palette, room.width - _WORDS_MARGIN, pointed), room.words

    def token_by_line(self, by: int) -> int:
        """The word that stands ``by`` lines below the one that is pointed at."""
        picture = None if self.presented is None else self.presented[0].picture
        if self.presented is None or picture is None:
            return 0
        pointed = self.presented[0].state.pointer.within(picture).token
        return self._long(*self.presented)[0].token_by_line(pointed, by)

    def paint(self, view: Scene, palette: Palette) -> list[Strip]:
        width, height = self.size
        if width < 8 or height < 2:
            return []
        if not view.stale or view.state.mode is Mode.SHEET:
            self._old = None
            return self._page(view, palette)[:height]
        # While a key is held, only the first lines are another neuron's: what is old is faded once.
        of = (view.picture, view.facts, view.meaning, view.score, view.check, view.ablation, view.beside, palette)
        key = (*map(id, of), view.state.mode, view.state.colour_map, view.state.cover, self.size, self._scroll)
        if self._old is None or self._old[0] != key:
            lines = self._page(view, palette)
            if view.state.mode not in (Mode.PICTURES, Mode.ZOOM, Mode.POINT):
                lines[2:] = [still_line(view, palette, width), *(faded(line, palette) for line in lines[_PAGE:])]
            self._old = key, lines[2:]
        return [neuron_line(view, palette, width), votes_line(view, palette, width), *self._old[1]][:height]

    def _page(self, view: Scene, palette: Palette) -> list[Strip]:
        width, height = self.size
        mode = view.state.mode
        room = frame(width, height, mode, view.columns.store.manifest.text_tokens_max)
        lines = [neuron_line(view, palette, width), votes_line(view, palette, width)]
        if mode is Mode.STATISTICS:
            lines += blank(width)
            if view.facts is not None:
                lines += [*firmness_lines(view.firmness, palette, width), *blank(width)]
                lines += statistics(view.facts, _maximum(view), width, height - len(lines), palette)
        elif mode is Mode.MEANING:
            lines += blank(width)
            if view.meaning is not None:
                lines += window(*self._long(view, palette), self._scroll, palette)
        elif mode is Mode.SCORE:
            from vlmscope.tui.widgets.page.score import score_page

            lines += [*blank(width), *score_page(view, width, height - len(lines) - 1, palette)]
        elif mode is Mode.CHECK:
            from vlmscope.tui.widgets.page.check import check_page

            lines += blank(width)
            if view.check is not None:
                lines += check_page(view.check, width, height - len(lines), palette)
        elif mode is Mode.SHEET:
            from vlmscope.tui.widgets.page.sheet import sheet_page

            lines[1] = _chosen_line(view, palette, width)
            lines += sheet_page(view, width, height - len(lines), palette, partial(self._small, view, palette))
        elif mode is Mode.ABLATION:
            lines.append(_picture_line(view, palette, width))
            lines += window(*self._long(view, palette), self._scroll, palette)
        elif view.picture is None:
            lines.append(row([(view.problem.partition("\n")[0] or "…", palette.muted)], width))
        else:
            lines += self._sample(view, view.picture, room, palette)
        return lines

    @property
    def sheet_columns(self) -> int:
        """Pictures in a row of the contact sheet."""
        from vlmscope.tui.widgets.page.sheet import sheet_frame

        sheet = None if self.presented is None else self.presented[0].sheet
        return 1 if sheet is None else sheet_frame(self.size.width, self.size.height - 3, len(sheet.cells)).columns

    def _small(self, view: Scene, palette: Palette, picture: "PictureView", size: tuple[int, int]) -> list[Strip]:
        """A small picture of the contact sheet, cached; without its map where that is missing, or no patch is above Tv.

        The map of a text neuron would be a blank square: its words are below.
        """
        from vlmscope.tui.widgets.page.pictures import activation_box, origin_box

        sheet, colour_map = view.sheet, view.state.colour_map
        # While a key is held. After a single one the pictures stay, under their own address, for the instant that the
        # next ones take: painting all of them twice would cost twice as much.
        pixels = self._in_pixels(view, palette)
        stale = pixels is None and view.stale and sheet is not None and sheet.key.neuron != view.state.neuron
        maximum = float(view.columns.store.maximum[picture.neuron.layer, picture.neuron.index])
        nothing = picture.visual is None or not (picture.visual > picture.thresholds.T_v).any()
        key = ("small", picture.key, picture.exact, maximum, nothing, colour_map, size, stale, pixels is None)
        strips = self._pictures.pop(key, None)
        if strips is None:
            if nothing and picture.crop is not None:
                strips = origin_box(picture, size, palette, stale=stale, pixels=pixels)
            else:
                strips = activation_box(
                    picture, size, colour_map, palette, stale=stale, waiting="", marked=False, pixels=pixels
                )
        self._keep(key, strips)
        return strips

    def _in_pixels(self, view: Scene, palette: Palette) -> Pixels | None:
        """What shows the view's pictures in true pixels; None where block characters do."""
        return self._pixels if palette.pixels and view.state.mode in (Mode.ZOOM, Mode.SHEET) else None

    def _show(self, lines: list[Strip], base: Style) -> None:
        super()._show(lines, base)
        if self.presented is not None and self.presented[1].pixels:
            self.call_later(self._pixels.put, self, places(lines))

    def _keep(self, key: tuple[object, ...], strips: list[Strip]) -> None:
        self._pictures[key] = strips
        if len(self._pictures) > _CACHED:
            self._pictures.popitem(last=False)

    def _sample(self, view: Scene, picture: "PictureView", room: PageFrame, palette: Palette) -> list[Strip]:
        # Pictures come after the first paint: until then neither Pillow nor rich-pixels is needed.
        from vlmscope.tui.widgets.page.pictures import captions, drawn_map, scale

        width, colour_map = room.width, drawn_map(picture, view.state.colour_map, palette)
        valid = view.columns.labels.valid
        lines = [
            sample_line(picture, valid, palette, width, view.map_key),
            vote_line(picture, waiting(view), palette, width),
        ]
        if view.state.mode is Mode.POINT:
            lines[1] = pointer_line(view, picture, palette, width)
        if view.stale:
            # The numbers are the old picture's: they go at once, the picture stays dimmed under its own address.
            lines = blank(width, 2)
        cells, cover = room.picture[0], view.state.cover
        left, right = captions(picture, room.picture, colour_map, palette, stale=view.stale, cover=cover)
        beside_it = view.beside if view.state.mode in (Mode.PICTURES, Mode.ZOOM) else None
        if beside_it is not None and not view.stale:
            lines = [here_line(beside_it, valid, palette, width, "pinned "), here_line(picture, valid, palette, width)]
            left = address_line(beside_it, cover, palette, cells, "pinned ")
            right = address_line(picture, cover, palette, cells)
        pointed = None
        if view.state.mode is Mode.POINT and not view.state.pointer.on_words and not view.stale:
            pointer = view.state.pointer.within(picture)
            pointed = pointer.row, pointer.column
        first = ("origin", picture) if beside_it is None else ("activation", beside_it)
        boxes = [
            self._box(which, view, shown, room, palette, pointed) for which, shown in (first, ("activation", picture))
        ]
        blocks = [
            (boxes[0], cells),
            (boxes[1], cells),
            (scale(room.picture[1], colour_map, palette, picture.thresholds.T_v), SCALE),
        ]
        heads: list[tuple[list[Strip], int]] = [([left], cells), ([right], cells), (blank(SCALE), SCALE)]
        facts, meaning = view.facts, view.meaning
        if room.beside and facts is not None and meaning is not None:
            column = facts_beside(facts, meaning, room.beside, room.picture[1] + 1, palette)
            if view.stale:
                column = [faded(line, palette) for line in column]
            heads.append((column[:1], room.beside))
            blocks.append((column[1:], room.beside))
        lines += beside(heads, 1, GAP)
        lines += beside(blocks, room.picture[1], GAP)
        text = window(*self._long(view, palette), self._scroll, palette)
        below = [*text, *blank(width, room.words - len(text))]
        if room.facts and facts is not None and meaning is not None:
            below += facts_below(facts, meaning, width, room.facts, palette)
        lines += [faded(line, palette) for line in below] if view.stale else below
        return [line.adjust_cell_length(width) for line in lines]

    def _box(
        self,
        which: str,
        view: Scene,
        picture: "PictureView",
        room: PageFrame,
        palette: Palette,
        pointed: tuple[int, int] | None,
    ) -> list[Strip]:
        """A picture's strips, cached: the same for the same neuron, sample, size and map."""
        from vlmscope.tui.widgets.page.pictures import activation_box, origin_box

        colour_map, reason, pixels = view.state.colour_map, waiting(view, picture), self._in_pixels(view, palette)
        stale = view.stale and pixels is None
        maximum = float(view.columns.store.maximum[picture.neuron.layer, picture.neuron.index])
        problem = (picture.map_problem, reason) if picture.visual is None else None
        # Norms are relative to the maximum, which grows during a scan.
        cover = picture.cover(view.state.cover)
        of_map = (picture.key, picture.exact, maximum, problem, colour_map, cover, picture.thresholds.T_v)
        of_crop = (picture.sample, picture.image, picture.crop is None, id(picture.whole))
        key = (which, of_crop if which == "origin" else of_map, room.picture, stale, pointed, pixels is None)
        strips = self._pictures.pop(key, None)
        if strips is None and which == "origin":
            strips = origin_box(picture, room.picture, palette, stale=stale, pointed=pointed, pixels=pixels)
        elif strips is None:
            strips = activation_box(
                picture,
                room.picture,
                colour_map,
                palette,
                stale=stale,
                waiting=reason,
                cover=cover,
                pointed=pointed,
                pixels=pixels,
            )
        self._keep(key, strips)
        return strips


def still_line(view: Scene, palette: Palette, width: int) -> Strip:
    """Whose what follows still is, while a key is held."""
    old = view.facts.neuron if view.meaning is None and view.facts is not None else None
    neuron = view.meaning.neuron if view.meaning is not None else old
    return row([(f"still {neuron}" if neuron is not None else "…", palette.warning)], width)


def faded(strip: Strip, palette: Palette) -> Strip:
    """A line that is out of date: its colours are as near to the background as those of an old picture."""
    return Strip([Segment(text, faded_style(look or Style(), palette)) for text, look, _ in strip], strip.cell_length)


def _scrolled(view: Scene) -> object:
    """What the text that is scrolled belongs to: it begins at its beginning for another neuron or picture."""
    return None if view.picture is None else view.picture.key


def _at(view: Scene) -> tuple[int, int]:
    return view.state.neuron.layer, view.state.neuron.index


def _maximum(view: Scene) -> float:
    return float(view.columns.store.maximum[_at(view)])


def waiting(view: Scene, picture: "PictureView | None" = None) -> str:
    """What the model is doing about a map that is not there, or which key asks it.

    Args:
        picture: whose map; None for the page's own.
    """
    picture = picture or view.picture
    if picture is not None and picture.visual is not None:
        return ""
    if not view.asking:
        return "" if view.state.own is not None else f"the scan keeps no map here; {view.map_key} asks the model for it"
    loading = view.status.phase in (Phase.STARTING, Phase.LOADING)
    return f"asking the model: {view.status.phase}" if loading else "asking the model"


# -- the lines above the pictures --------------------------------------------------------------------------------------


def neuron_line(view: Scene, palette: Palette, width: int) -> Strip:
    """Address, label, the four fractions, whether the label is high-confidence, a tie or fragile, the maximum."""
    labels, at = view.columns.labels, _at(view)
    own, votes = Label(int(labels.label[at])), labels.votes[at].tolist()
    parts: list[Span] = [(f"{view.state.neuron}  ", palette.strong)]
    if not view.listed:
        parts.append(("not in this filter  ", palette.warning))
    parts.append((f"{own.letter} {own.word}", palette.labels[own] + palette.strong))
    parts.append(("  ", palette.text))
    for label, count in zip(Label, votes, strict=True):
        look = palette.labels[label] if label is own else palette.muted
        parts.append((f"{label.letter} {fraction(count / max(labels.valid, 1))} ", look))
    tie = sorted(votes)[-2] == max(votes)
    rest: list[Span] = []
    if view.firmness is not None and view.firmness.fragile and (labels.high_confidence[at] or not tie):
        rest.append((" fragile", palette.warning))
    rest.append((f"  max {activation(_maximum(view))}", palette.text))
    if labels.high_confidence[at]:
        used = sum(len(text) for text, _ in (*parts, *rest))
        parts.append((" high-confidence" if used + len(" high-confidence") <= width else " high", palette.text))
    elif tie:
        parts.append((" tie", palette.muted))
    return row([*parts, *rest], width)


def firmness_lines(firmness: NeuronFirmness | None, palette: Palette, width: int) -> list[Strip]:
    """Margin, share and sign test of the votes: of the label, not of the neuron (``core/analysis/firmness.py``)."""
    if firmness is None or firmness.share is None:
        return [row([("no votes" if firmness is not None else "…", palette.muted)], width)]
    fragile = "fragile: a threshold moved by a tenth changes it" if firmness.fragile else "not fragile"
    text = (
        f"margin {fraction(firmness.margin)} · share {fraction(firmness.share)}"
        f" (95% {fraction(firmness.low)} to {fraction(firmness.high)}) · sign test p {firmness.sign_p:.2g} · {fragile}"
    )
    head = "label "
    return [
        row([(f"{'' if at else head:<{len(head)}}", palette.muted), (line, palette.text)], width)
        for at, line in enumerate(wrapped(text, width - len(head)))
    ]


def _votes_head(view: Scene) -> str:
    labels = view.columns.labels
    return f"votes {labels.votes[_at(view)].max()}/{labels.valid} "


def votes_shown(view: Scene, width: int) -> tuple[int, int, int]:
    """The cell of the first vote that is shown, its rank, and how many have room."""
    state, valid = view.state, view.columns.labels.valid
    head = len(_votes_head(view))
    room = max(width - head - 2, 1)
    rank = state.rank if state.own is None else 0
    first = min(max(0, rank - room // 2), max(0, valid - room))
    return head + 1, first, min(room, valid - first)


def votes_line(view: Scene, palette: Palette, width: int) -> Strip:
    """Every top sample's vote, best first, the chosen one marked."""
    state = view.state
    votes = [Label(vote) for vote in view.columns.store.votes(state.neuron, state.thresholds).tolist()]
    if not votes:
        return row([("no top samples", palette.muted)], width)
    rank = state.rank if state.own is None else 0
    _, first, room = votes_shown(view, width)
    parts: list[Span] = [(_votes_head(view), palette.muted), ("‹" if first else " ", palette.muted)]
    for at, vote in enumerate(votes[first : first + room], start=first):
        look = palette.labels[vote]
        parts.append((vote.letter, look + _CHOSEN if at == rank and state.own is None else look))
    parts.append(("›" if first + room < len(votes) else "", palette.muted))
    return row(parts, width)


def _picture_line(view: Scene, palette: Palette, width: int) -> Strip:
    """``sample_line`` of the page's picture, if that is there."""
    if view.picture is None or view.stale:
        return row([("…", palette.muted)], width)
    return sample_line(view.picture, view.columns.labels.valid, palette, width, view.map_key)


def _chosen_line(view: Scene, palette: Palette, width: int) -> Strip:
    """``sample_line`` of the picture that is chosen on the contact sheet."""
    sheet = view.sheet
    picture = None
    if sheet is not None and sheet.cells and sheet.key.neuron == view.state.neuron:
        picture = sheet.cells[sheet.place(view.state.rank)].picture
    if picture is None:
        return row([("…", palette.muted)], width)
    return sample_line(picture, view.columns.labels.valid, palette, width, view.map_key)


def sample_line(evidence: "PictureView", valid: int, palette: Palette, width: int, map_key: str = "X") -> Strip:
    """Which picture it is, and which key asks for its exact map."""
    parts: list[Span] = []
    if evidence.across is not None:
        one = evidence.across
        near = "random" if one.quantile is None else f"near {one.quantile:.0%}"
        parts.append((f"panel, {one.place:.0%} are weaker", palette.strong))
        parts.append((f" · {near} · #{evidence.sample}", palette.muted))
    elif evidence.rank is None:
        parts.append(("your picture", palette.strong))
    else:
        parts.append((f"sample {evidence.rank + 1} of {valid}", palette.strong))
        parts.append((f" · #{evidence.sample}", palette.muted))
    if evidence.activation is not None:
        parts.append((f" · activation {activation(evidence.activation)}", palette.text))
    if evidence.small:
        room = width - sum(len(text) for text, _ in parts)
        hints = (f" · ≈ small map, {map_key} exact", " · ≈ small map", " · ≈")
        parts.append((next((hint for hint in hints if len(hint) <= room), ""), palette.muted))
    if sum(len(text) for text, _ in parts) < width:  # else the ellipsis would take the last letter of a hint
        parts.append((f" · {evidence.name}", palette.muted))
        if evidence.question:
            parts.append((f" · asked “{evidence.question}”", palette.text))
    return row(parts, width)


def _kind(value: float | None, threshold: float, number: int, word: str, *, above: bool) -> str:
    if value is None:
        return f"no {ordinal(number)} {word}"
    return f"{ordinal(number)} {word} {against(value, threshold, above=above)}"


def pointer_line(view: Scene, picture: "PictureView", palette: Palette, width: int) -> Strip:
    """The place that is pointed at, and the neuron's value there; ``≈`` is read from 8 bits."""
    found = reading(picture, view.state.pointer, _maximum(view))
    parts: list[Span] = [(found.place, palette.accent)]
    if found.norm is None or found.activation is None:
        parts.append((f"  value: {picture.map_problem or waiting(view) or 'no map yet'}", palette.muted))
        return row(parts, width)
    mark = "" if found.exact else "≈"
    value = "0 or less" if found.norm == 0 and not found.exact else f"{mark}{activation(found.activation)}"
    parts.append((f"  activation {value} · norm {mark}{found.norm:.1f}", palette.text))
    return row(parts, width)


def vote_line(evidence: "PictureView", waiting: str, palette: Palette, width: int) -> Strip:
    """The sample's own vote and the numbers behind it, as norms against the thresholds."""
    if evidence.vote is None:
        return row([(f"no vote yet: {evidence.map_problem or waiting or 'no map'}", palette.muted)], width)
    vote, thresholds = evidence.vote, evidence.thresholds
    text = _kind(
        evidence.text_norm, thresholds.T_t, thresholds.n_t, "word", above=vote in (Label.TEXT, Label.MULTIMODAL)
    )
    said = f"{vote.letter} {vote.word}"

    def numbers(patch: str) -> str:
        above = vote in (Label.VISUAL, Label.MULTIMODAL)
        visual = _kind(evidence.visual_norm, thresholds.T_v, thresholds.n_v, patch, above=above)
        return f"  ({visual} · {text})"

    # n_v is the same number whether a picture has 256 or 3,000 patches: so this is beside it, where there is room.
    shown = numbers(f"of {evidence.visual_tokens} patches")
    if evidence.visual_tokens is None or len("vote ") + len(said) + len(shown) > width:
        shown = numbers("patch")
    return row([("vote ", palette.muted), (said, palette.labels[vote]), (shown, palette.text)], width)
