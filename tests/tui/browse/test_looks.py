"""Sizes, themes, no colour, hostile text: what the screen looks like where it is hardest."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.color import Color, ColorSystem
from rich.style import Style
from textual.strip import Strip

import vlmscope.core.store.synthetic
from tests.support.screen_app import Driver, running
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import RGB
from vlmscope.core.method.labels import COLOURS, Label, Thresholds
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.tui.views.drawing import Blocks, Drawing
from vlmscope.tui.views.evidence import PictureView
from vlmscope.tui.views.state import Mode
from vlmscope.tui.widgets.layer_strip import LayerStrip
from vlmscope.tui.widgets.page.frame import frame
from vlmscope.tui.widgets.page.head import sample_line
from vlmscope.tui.widgets.page.page import Page
from vlmscope.tui.widgets.page.pictures import activation_box
from vlmscope.tui.widgets.palette import contrast, make_palette, readable, rgb


def assert_fits(on: Driver, width: int, height: int) -> None:
    lines = on.screen.split("\n")
    assert len(lines) == height
    assert {len(line) for line in lines} == {width}


async def test_80x24_list_and_page_take_turns(scan: Path) -> None:
    async with running(scan, size=(80, 24)) as on:
        assert_fits(on, 80, 24)
        lines = on.screen.split("\n")
        assert re.search(r"small +V \d+%  T \d+%  M \d+%", lines[0])
        assert lines[1].startswith(" layers ")
        assert "gate · 12 samples · N 8" in lines[1]
        assert "N     label" in on.screen
        assert "origin" not in on.screen
        assert on.keys.lstrip().startswith("enter page")
        await on.press("enter")
        await on.settled()
        assert "N     label" not in on.screen
        assert "origin" in on.screen
        assert on.keys.lstrip().startswith("tab list")
        assert_fits(on, 80, 24)
        await on.press("tab")
        assert "N     label" in on.screen
        await on.press("tab")
        assert "origin" in on.screen
        await on.press("escape")
        assert "N     label" in on.screen


async def test_80x24_pictures_are_24x12_side_by_side() -> None:
    room = frame(78, 21, Mode.PICTURES, 40)
    assert room.picture == (24, 12)
    assert room.beside >= 20
    assert room.words >= 4


async def test_140x40_shows_all_three_panes(scan: Path) -> None:
    async with running(scan, size=(140, 40)) as on:
        assert_fits(on, 140, 40)
        for word in ("by layer", "N     label", "origin", "activation", "peaks", "patches"):
            assert word in on.screen
        assert "vlmscope  small · synthetic · gate · 12 samples · N 8" in on.title
        assert "model: not loaded" in on.title
        assert " layers " not in on.screen


async def test_200x60_uses_the_room(scan: Path) -> None:
    async with running(scan, size=(200, 60)) as on:
        assert_fits(on, 200, 60)
        assert " V   T   M   · " in on.screen.replace("    ", "   ")
        page = on.browse.query_one(Page)
        room = frame(page.size.width, page.size.height, Mode.PICTURES, 40)
        assert room.picture[0] >= 48
        assert room.facts >= 9


@pytest.mark.parametrize("size", [(60, 15), (100, 30), (118, 35), (30, 8)])
async def test_odd_sizes_break_nothing(scan: Path, size: tuple[int, int]) -> None:
    async with running(scan, size=size) as on:
        assert_fits(on, *size)
        for key in ("enter", "z", "v", "v", "m", "tab"):
            await on.press(key)
        await on.settled()
        assert_fits(on, *size)


async def test_a_resize_lays_everything_out_anew(scan: Path) -> None:
    async with running(scan, size=(140, 40)) as on:
        await on.pilot.resize_terminal(80, 24)
        await on.until(lambda: "by layer" not in on.screen)
        assert_fits(on, 80, 24)
        await on.pilot.resize_terminal(140, 40)
        await on.until(lambda: "by layer" in on.screen)
        assert_fits(on, 140, 40)


async def test_zoom_gives_the_pictures_the_screen_and_back(scan: Path) -> None:
    async with running(scan) as on:
        before = on.page
        await on.press("Z")
        await on.settled()
        assert "N     label" not in on.screen
        assert "origin" in on.screen
        await on.press("j")
        await on.settled()
        assert "L0/N1 " in on.screen
        await on.press("k", "escape")
        await on.settled()
        assert on.page == before


async def test_statistics_show_both_kinds_and_follow_the_neuron(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("v")
        await on.settled()
        assert "origin" not in on.page
        for word in ("patches 192 ·", "words 480 ·", "active", "mean", "sd", "max "):
            assert word in on.page
        before = on.page
        await on.press("j")
        await on.settled()
        assert on.page != before
        await on.press("v")
        await on.settled()
        assert "origin" in on.page


async def test_m_goes_through_the_colour_maps(scan: Path) -> None:
    async with running(scan) as on:
        seen = []
        for _ in range(5):
            seen.append(next(word for word in ("dim", "fade", "viridis", "grey") if f" {word} " in on.page))
            await on.press("m")
            await on.settled()
        assert seen == ["dim", "fade", "viridis", "grey", "dim"], "the paper's fade is one key away"


async def test_no_colour_is_readable_without_any(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with running(scan) as on:
        assert on.browse.palette.colourless
        assert re.search(r"\[\w+\]\d", on.page), "words bear their norms"
        assert re.search(r"[:=+*#%@]{8,}", on.page), "pictures are glyphs"
        assert "▄" not in "".join(on.page.splitlines()[5:20])
        assert re.search(r"1 +[VTM·] .{9}[VTM·]{10,}", on.list.line_text(1)), "bars are letters"
        for strip in on.app.screen._compositor.render_strips(on.app.size):
            for segment in strip:
                assert segment.style is None or segment.style.color is None or segment.style.color.is_default


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "solarized-light", "nord", "textual-ansi"])
async def test_themes(scan: Path, theme: str) -> None:
    async with running(scan) as on:
        if theme not in on.app.available_themes:
            theme = "ansi-dark"
        await on.type(f":theme {theme}")
        await on.until(lambda: on.app.theme == theme)
        await on.pilot.pause()
        palette = on.browse.palette
        assert palette.dark == on.app.current_theme.dark
        for label in Label:
            colour = palette.labels[label].color
            assert colour is not None
            assert colour.triplet is not None
            assert contrast((colour.triplet.red, colour.triplet.green, colour.triplet.blue), palette.background) >= 4


def test_label_colours_are_kept_where_they_can_be_read() -> None:
    colours = [rgb(colour) for colour in COLOURS.values()]
    assert [readable(colour, (0, 0, 0)) for colour in colours] == colours
    assert all(contrast(readable(colour, (255, 255, 255)), (255, 255, 255)) >= 4.5 for colour in colours)


async def test_a_line_changes_what_pictures_are_drawn_with(scan: Path) -> None:
    async with running(scan) as on:
        on.browse.drawing = Drawing(lacks=frozenset({Blocks.OCTANT}))
        for blocks in (Blocks.SEXTANT, Blocks.QUADRANT):
            await on.type(f":pictures {blocks}")
            await on.settled()
            assert on.browse.palette.blocks is blocks
            assert set(on.page) & (set(blocks.glyphs) - set(Blocks.HALF.glyphs))
        await on.type(":pictures octant")
        await on.until(lambda: "does not draw octants" in on.notes)
        await on.type(":pictures sextants")
        await on.until(lambda: "not drawn with 'sextants'" in on.notes)
        assert on.browse.palette.blocks is Blocks.QUADRANT


@pytest.mark.parametrize("theme", ["textual-light", "solarized-light", "catppuccin-latte"])
async def test_the_labels_of_bars_differ_in_light_themes(scan: Path, theme: str) -> None:
    async with running(scan) as on:
        on.app.theme = theme
        await on.pilot.pause()
        palette = on.browse.palette
        bars = [_rgb(palette.bars[label]) for label in Label if label is not Label.UNKNOWN]
        for one, other in combinations(bars, 2):
            assert contrast(one, other) > 1.6, "readable in grey"
        assert all(contrast(bar, palette.background) > 2 for bar in bars)
        lines = on.browse.query_one(LayerStrip).lines
        drawn = {segment.style.color for strip in lines for segment in strip if segment.style is not None}
        assert drawn & {palette.bars[label].color for label in Label}


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "nord", "gruvbox"])
async def test_256_colours_keep_weak_words_and_patches_visible(scan: Path, theme: str) -> None:
    async with running(scan) as on:
        on.app.theme = theme
        await on.pilot.pause()
        palette = make_palette(on.app, Drawing(few_colours=True))
        system = ColorSystem.EIGHT_BIT
        shown = [one.bgcolor.downgrade(system) for one in palette.shades if one.bgcolor is not None]
        background = Color.from_rgb(*palette.background).downgrade(system)
        assert len(shown) == len(palette.shades)
        assert background not in shown, "a weak word's shade is not the background's"
        assert len(set(shown)) == 3
        crop = Image.new("RGB", (24, 24), (150, 120, 60) if palette.dark else (60, 90, 120))
        layout, norms = VisualLayout.plain(2, 2), np.array([0.6, 0, 0, 10], dtype=np.float32)
        picture = PictureView(Neuron(0, 0), Thresholds(), 0, 0, "x", crop=crop, visual=norms, layout=layout)
        box = activation_box(picture, (4, 2), None, palette, stale=False, waiting="")
        cells = [[cell.bgcolor.downgrade(system) for cell in _cells(strip) if cell.bgcolor] for strip in box]
        assert cells[0][0] != cells[1][0], "a weak patch is not the background's colour"
        assert cells[1][3] not in (cells[0][0], cells[1][0])


def _rgb(look: Style) -> RGB:
    assert look.color is not None and look.color.triplet is not None
    return look.color.triplet.red, look.color.triplet.green, look.color.triplet.blue


def _cells(strip: Strip) -> list[Style]:
    return [segment.style or Style() for segment in strip for _ in segment.text]


HOSTILE = ("[/bold]", "[red]x", "\x1b[31mESC", "\x07bell", "\u202egnp.exe", "שלום", "\ttab", "a\nb", "漢字")


async def test_hostile_captions_show_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlmscope.core.store.synthetic, "WORDS", HOSTILE)
    folder = tmp_path / "[b]hostile[/b]"
    write_synthetic_scan(folder, layers=2, neurons=8, samples=6, top_n=4, maps=2, grid=(4, 4), image=32)
    async with running(folder, name="[b]\x1b[31mhostile[/b]") as on:
        page = on.page
        for word in ("[/bold]", "[red]x", "[31mESC", "gnp.exe", "שלום", "a↵b", "漢字"):
            assert word in page
        for bad in ("\x1b", "\x07", "\u202e", "\t"):
            assert bad not in on.screen
        assert "[b] [31mhostile[/b]" in on.title
        for key in ("j", "l", "v", "v", "z", "]"):
            await on.press(key)
        await on.settled()
        for bad in ("\x1b", "\x07", "\u202e"):
            assert bad not in on.screen


async def test_hostile_file_names_show_as_text(scan: Path) -> None:
    async with running(scan) as on:
        evidence = PictureView(
            Neuron(0, 0), on.state.thresholds, 0, 1, "pics/[b]\x1b]0;title\x07\u202ex.jpg", activation=1.0
        )
        line = sample_line(evidence, 8, on.browse.palette, 80).text
        assert "[b] ]0;title  x.jpg" in line


async def test_hostile_typing_is_answered_as_text(scan: Path) -> None:
    async with running(scan) as on:
        await on.type(":[/b]\u202e[red]")
        await on.until(lambda: "is not a command" in on.notes)
        assert "[red]" in on.notes
        assert "\u202e" not in on.screen


async def test_a_damaged_crop_is_said_where_the_picture_would_be(scan_copy: Path) -> None:
    (scan_copy / "crops.bin").write_bytes(b"\0" * (scan_copy / "crops.bin").stat().st_size)
    async with running(scan_copy) as on:
        assert "no picture" in on.page
        await on.press("j", "l")
        await on.settled()
        assert "L0/N1 " in on.page


async def test_a_damaged_line_is_told_and_the_screen_lives(scan_copy: Path) -> None:
    path = scan_copy / "samples.jsonl"
    path.write_bytes(b"x" * path.stat().st_size)
    async with running(scan_copy) as on:
        await on.until(lambda: "damaged" in on.notes)
        await on.press("j", "]")
        assert on.neuron == Neuron(1, 1)
