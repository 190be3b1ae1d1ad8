"""Pictures in true pixels: widgets over the boxes that the page leaves blank, in zoom and contact sheet alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from textual_image.widget import AutoImage

from tests.support.screen_app import Driver, running
from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.widgets.page.page import Page
from vlmscope.tui.widgets.page.pixels import CELL, KEPT, Pixels, places


def test_a_box_is_found_by_its_number_wherever_it_is() -> None:
    pixels = Pixels()
    one, other = (pixels.box(Image.new("RGB", (CELL[0] * 6, CELL[1] * 3))) for _ in range(2))
    assert [strip.cell_length for strip in one] == [6] * 3
    lines = [strip.extend_cell_length(9).join([strip, right]) for strip, right in zip(one, other, strict=True)]
    found = places(lines)
    assert [tuple(region) for region in found.values()] == [(0, 0, 6, 3), (6, 0, 6, 3)]
    for _ in range(KEPT):
        pixels.box(Image.new("RGB", CELL))
    assert len(pixels._images) == KEPT, "no picture is kept for ever"


def shown(on: Driver) -> list[AutoImage]:
    return [one for one in on.browse.query_one(Page).query(AutoImage) if one.display]


def one_size(one: AutoImage) -> tuple[int, int]:
    assert isinstance(one.image, Image.Image)
    return one.image.size


async def test_zoom_and_sheet_are_drawn_in_pixels_and_the_page_is_not(scan: Path) -> None:
    async with running(scan, size=(140, 40), start=Neuron(1, 2)) as on:
        on.browse.drawing = replace(on.browse.drawing, pixels=True)
        on.browse._new_theme()
        await on.settled()
        assert not shown(on)
        await on.press("Z")
        await on.settled()
        page, pictures = on.browse.query_one(Page), shown(on)
        assert len(pictures) == 2, "origin and activation"
        regions = [one.region for one in pictures]
        assert not regions[0].overlaps(regions[1])
        for one, region in zip(pictures, regions, strict=True):
            assert page.content_region.contains_region(region)
            assert isinstance(one.image, Image.Image)
            assert one.image.size == (region.width * CELL[0], region.height * CELL[1])
        crop = on.scene.picture
        assert crop is not None and crop.crop is not None
        origin, activation = (np.asarray(one.image).astype(int) for one in pictures)
        assert np.abs(origin - np.asarray(crop.crop.resize(one_size(pictures[0]), Image.Resampling.BOX))).max() <= 1
        assert np.abs(origin - activation).max() > 50
        before = [one.image for one in pictures]
        await on.press("j")
        await on.settled()
        assert [one.image for one in shown(on)] != before
        await on.press("z")
        await on.settled()
        small = shown(on)
        assert len(small) >= 4
        assert all(page.content_region.contains_region(one.region) for one in small)
        for at, one in enumerate(small):
            assert not any(one.region.overlaps(other.region) for other in small[:at])
        await on.press("escape")
        await on.settled()
        assert not shown(on)
        assert "origin" in on.page
