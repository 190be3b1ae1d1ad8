"""Pixels in, cells out: the right characters, the right colours, and few bytes."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len
from rich.color import Color as RichColor
from rich.console import Console
from rich.style import Style
from textual.color import Color
from textual.strip import Strip

from vlmscope.tui.views.drawing import Blocks
from vlmscope.tui.widgets.blocks import NEAR, RUNS, cells_of, draw, fit, snapped
from vlmscope.tui.widgets.lines import PlainLines

FINE = [blocks for blocks in Blocks if blocks is not Blocks.HALF]
CONSOLE = Console(color_system="truecolor", force_terminal=True)


def pixels_of(strips: list[Strip], blocks: Blocks) -> np.ndarray:
    """The picture that a terminal shows: uint8 (rows, columns, 3) of pixels."""
    across, down = blocks.pixels
    shown = np.zeros((len(strips) * down, strips[0].cell_length * across, 3), dtype=np.uint8)
    for y, strip in enumerate(strips):
        x = 0
        for segment in strip:
            assert segment.style is not None and segment.style.bgcolor is not None
            back, fore = segment.style.bgcolor.triplet, (segment.style.color or segment.style.bgcolor).triplet
            assert back is not None and fore is not None
            for glyph in segment.text:
                bits = blocks.glyphs.index(glyph)
                for pixel in range(across * down):
                    row, column = divmod(pixel, across)
                    shown[y * down + row, x * across + column] = fore if bits >> pixel & 1 else back
                x += 1
    return shown


@pytest.mark.parametrize("blocks", list(Blocks))
def test_every_division_of_a_cell_has_a_character_of_its_own(blocks: Blocks) -> None:
    across, down = blocks.pixels
    assert len(blocks.glyphs) == len(set(blocks.glyphs)) == 2 ** (across * down)
    assert {cell_len(glyph) for glyph in blocks.glyphs} == {1}


def test_sextants_and_quadrants_are_where_unicode_has_them() -> None:
    for bits, glyph in enumerate(Blocks.SEXTANT.glyphs):
        if bits not in (0, 21, 42, 63):
            digits = "".join(str(pixel + 1) for pixel in range(6) if bits >> pixel & 1)
            assert unicodedata.name(glyph) == f"BLOCK SEXTANT-{digits}"
    corners = ("UPPER LEFT", "UPPER RIGHT", "LOWER LEFT", "LOWER RIGHT")
    for bits, glyph in enumerate(Blocks.QUADRANT.glyphs):
        name = unicodedata.name(glyph)
        if name.startswith("QUADRANT"):
            assert [corner in name for corner in corners] == [bool(bits >> at & 1) for at in range(4)]
    # Unicode 16 is not in this Python: BLOCK OCTANT-3, -5, -1235 and -2345678 of its list of names.
    octants = {4: 0x1CD00, 16: 0x1CD09, 23: 0x1CD0F, 254: 0x1CDE5}
    assert {bits: ord(Blocks.OCTANT.glyphs[bits]) for bits in octants} == octants


@pytest.mark.parametrize("blocks", FINE)
def test_a_picture_of_two_colours_a_cell_is_drawn_as_it_is(blocks: Blocks) -> None:
    across, down = blocks.pixels
    random = np.random.default_rng(3)
    ink = random.integers(0, 2, (4 * down, 9 * across, 1))
    pixels = np.where(ink, (255, 200, 0), (10, 30, 90)).astype(np.uint8)
    strips = draw(Image.fromarray(pixels), blocks)
    np.testing.assert_array_equal(pixels_of(strips, blocks), pixels)
    # Two colours alone: a line changes them at its ends and at cells of one colour, never at others.
    assert max(len(list(strip)) for strip in strips) <= 4
    lines = PlainLines().apply(list(strips[0]), Color(0, 0, 0))
    assert [segment.text for segment in lines] == [segment.text for segment in strips[0]], (
        "nothing is taken for hostile"
    )


@given(st.sampled_from(list(Blocks)), st.integers(1, 40), st.integers(1, 20), st.integers(1, 90), st.integers(1, 90))
def test_any_picture_has_the_cells_that_were_asked_for(
    blocks: Blocks, width: int, height: int, wide: int, high: int
) -> None:
    noise = np.random.default_rng(wide * 91 + high).integers(0, 256, (high, wide, 3)).astype(np.uint8)
    image = fit(Image.fromarray(noise), width, height, blocks)
    columns, rows = cells_of(image, blocks)
    assert 1 <= columns <= width and 1 <= rows <= height
    strips = draw(image, blocks)
    assert [strip.cell_length for strip in strips] == [columns] * rows
    assert [cell_len(strip.text) for strip in strips] == [columns] * rows


def test_neighbours_that_are_nearly_equal_are_one_run_and_keep_their_colours() -> None:
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[:2, :3] = (250, 0, 0)
    pixels[2:, :] = (0, 120, 250)
    pixels[3, 2] = (4, 118, 250)
    lines = draw(Image.fromarray(pixels), Blocks.HALF)
    assert [line.cell_length for line in lines] == [6, 6]
    assert [len(list(line)) for line in lines] == [2, 1]
    for blocks in Blocks:
        image = fit(Image.fromarray(pixels), 6, 3, blocks)
        shown = pixels_of(draw(image, blocks), blocks).astype(int) if blocks is not Blocks.HALF else None
        if shown is not None:
            assert np.abs(shown - np.asarray(image).astype(int)).max() <= NEAR


@pytest.mark.parametrize("blocks", FINE)
def test_even_noise_takes_no_more_bytes_than_a_step_has(blocks: Blocks) -> None:
    random = np.random.default_rng(1)
    noise = Image.fromarray(
        random.integers(90, 166, (336, 336, 3)).astype(np.uint8).repeat(7, 0).repeat(7, 1)[:336, :336]
    )
    strips = draw(fit(noise, 24, 12, blocks), blocks)
    assert sum(len(list(strip)) for strip in strips) <= RUNS * 24 * 12
    assert sum(len(strip.render(CONSOLE).encode()) for strip in strips) < 7 * 1024


@pytest.mark.parametrize("blocks", list(Blocks))
def test_few_colours_are_those_that_the_terminal_has(blocks: Blocks) -> None:
    """Rich takes each for itself: what it would make of others is not what a faint patch needs."""
    noise = np.random.default_rng(2).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    strips = draw(fit(Image.fromarray(noise), 12, 6, blocks), blocks, few_colours=True)
    drawn = {colour.get_truecolor() for strip in strips for segment in strip for colour in _colours(segment.style)}
    assert len(drawn) > 10
    fixed = {RichColor.from_ansi(number).get_truecolor() for number in range(16, 256)}
    assert drawn <= fixed


def test_a_faint_patch_is_lighter_than_the_dark_it_stands_on_in_few_colours() -> None:
    faint, background = snapped(np.array([[38, 31, 24], [18, 18, 18]], dtype=np.uint8)).astype(int)
    assert faint.sum() > background.sum()
    fixed = np.array([RichColor.from_ansi(number).get_truecolor() for number in range(16, 256)])
    colours = np.random.default_rng(4).integers(0, 256, (500, 3)).astype(np.uint8)
    off = np.abs(fixed[None] - colours[:, None].astype(int)).max(axis=2).min(axis=1)
    assert (np.abs(snapped(colours).astype(int) - colours).max(axis=1) <= 2 * off + 8).all()


def _colours(style: Style | None) -> list[RichColor]:
    return [one for one in (style.color, style.bgcolor) if one is not None] if style is not None else []
