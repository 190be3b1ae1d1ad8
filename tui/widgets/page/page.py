"""The neuron's page: painted as lines from one value, so that a step repaints only the cells that changed."""

from functools import partial

from rich.style import Style
from textual.events import Click
from textual.strip import Strip

from vlmscope.tui.messages import PatchChosen, SampleChosen, TokenChosen
from vlmscope.tui.views.scene import Scene
from vlmscope.tui.views.state import Mode
from vlmscope.tui.widgets.lines import Lines, blank, row
from vlmscope.tui.widgets.page.drawn import DrawnPictures
from vlmscope.tui.widgets.page.fading import faded, still_line
from vlmscope.tui.widgets.page.frame import HEAD, PageFrame, frame
from vlmscope.tui.widgets.page.head import maximum_of, neuron_line, picture_line, votes_line
from vlmscope.tui.widgets.page.meaning import meaning_page
from vlmscope.tui.widgets.page.pixels import places
from vlmscope.tui.widgets.page.statistics import firmness_lines, statistics
from vlmscope.tui.widgets.page.words import Words, window, window_start, words
from vlmscope.tui.widgets.palette import Palette

_MEANING_HEAD = 3  # lines above the pages of meanings and of ablation
_PAGE = 3  # lines above a page that has no picture
_WORDS_MARGIN = 4  # at the right of the description, for the arrows that say how much is hidden


class Page(Lines[Scene]):
    """The page of one neuron."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._drawn = DrawnPictures()
        self._scroll = 0
        self._old: tuple[object, list[Strip]] | None = None  # what is below the first lines while a key is held

    def present(self, view: Scene, palette: Palette) -> None:
        """Show ``view``."""
        if self.presented is not None:
            old, old_palette = self.presented
            if _scrolled(old) != _scrolled(view):
                self._scroll = 0
            if palette is not old_palette:
                self._drawn.forget()
        super().present(view, palette)

    def on_click(self, event: Click) -> None:
        """A click on a vote goes to its sample; where the page points, one on a patch or a word points there."""
        from vlmscope.tui.widgets.page.clicks import place_hit, vote_hit

        at = event.get_content_offset(self)
        if at is None or self.presented is None:
            return
        view, palette = self.presented
        hit: SampleChosen | PatchChosen | TokenChosen | None = None
        if at.y == 1 and view.state.mode is not Mode.SHEET:
            hit = vote_hit(view, self.size.width, at.x)
        elif view.state.mode is Mode.POINT and view.picture is not None and not view.stale:
            shown, height = self._long(view, palette)
            first = 0 if len(shown.lines) <= height else window_start(shown, height, self._scroll)
            hit = place_hit(view.picture, self._room(view), shown, first, at.x, at.y - HEAD)
        if hit is not None:
            self.post_message(hit)

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

    def _room(self, view: Scene) -> PageFrame:
        return frame(*self.size, view.state.mode, view.columns.store.manifest.text_tokens_max)

    def _long(self, view: Scene, palette: Palette) -> tuple[Words, int]:
        """What can be scrolled in the view's mode, and the lines that there are for it."""
        room = self._room(view)
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
        room = self._room(view)
        lines = [neuron_line(view, palette, width), votes_line(view, palette, width)]
        if mode is Mode.STATISTICS:
            lines += blank(width)
            if view.facts is not None:
                lines += [*firmness_lines(view.firmness, palette, width), *blank(width)]
                lines += statistics(view.facts, maximum_of(view), width, height - len(lines), palette)
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
            from vlmscope.tui.widgets.page.sheet import chosen_line, sheet_page

            lines[1] = chosen_line(view, palette, width)
            box = partial(self._drawn.small_box, view, palette)
            lines += sheet_page(view, width, height - len(lines), palette, box)
        elif mode is Mode.ABLATION:
            lines.append(picture_line(view, palette, width))
            lines += window(*self._long(view, palette), self._scroll, palette)
        elif view.picture is None:
            lines.append(row([(view.problem.partition("\n")[0] or "…", palette.muted)], width))
        else:
            # Pictures come after the first paint: until then neither Pillow nor rich-pixels is needed.
            from vlmscope.tui.widgets.page.sample import sample_page

            text = window(*self._long(view, palette), self._scroll, palette)
            lines += sample_page(view, view.picture, room, palette, self._drawn, text)
        return lines

    @property
    def sheet_columns(self) -> int:
        """Pictures in a row of the contact sheet."""
        from vlmscope.tui.widgets.page.sheet import sheet_frame

        sheet = None if self.presented is None else self.presented[0].sheet
        return 1 if sheet is None else sheet_frame(self.size.width, self.size.height - 3, len(sheet.cells)).columns

    def _show(self, lines: list[Strip], base: Style) -> None:
        super()._show(lines, base)
        if self.presented is not None and self.presented[1].pixels:
            self.call_later(self._drawn.pixels.put, self, places(lines))


def _scrolled(view: Scene) -> object:
    """What the text that is scrolled belongs to: it begins at its beginning for another neuron or picture."""
    return None if view.picture is None else view.picture.key
