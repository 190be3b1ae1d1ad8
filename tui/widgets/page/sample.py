"""The page of a sample: its picture and map side by side, the description below, and the facts where there is room."""

from typing import TYPE_CHECKING

from textual.strip import Strip

from vlmscope.tui.views.scene import Scene
from vlmscope.tui.views.state import Mode
from vlmscope.tui.widgets.lines import beside, blank
from vlmscope.tui.widgets.page.compare import address_line, here_line
from vlmscope.tui.widgets.page.drawn import DrawnPictures
from vlmscope.tui.widgets.page.facts import facts_below, facts_beside
from vlmscope.tui.widgets.page.fading import faded
from vlmscope.tui.widgets.page.frame import GAP, SCALE, PageFrame
from vlmscope.tui.widgets.page.head import pointer_line, sample_line, vote_line, waiting
from vlmscope.tui.widgets.page.pictures import captions, drawn_map, scale
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView


def sample_page(
    view: Scene, picture: "PictureView", room: PageFrame, palette: Palette, drawn: DrawnPictures, text: list[Strip]
) -> list[Strip]:
    """The lines below the neuron's two; ``text``: what is shown of the description."""
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
    boxes = [drawn.box(which, view, shown, room, palette, pointed) for which, shown in (first, ("activation", picture))]
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
    below = [*text, *blank(width, room.words - len(text))]
    if room.facts and facts is not None and meaning is not None:
        below += facts_below(facts, meaning, width, room.facts, palette)
    lines += [faded(line, palette) for line in below] if view.stale else below
    return [line.adjust_cell_length(width) for line in lines]
