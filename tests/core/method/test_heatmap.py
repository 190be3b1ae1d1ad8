"""Norms, overlays, colour maps and glyphs."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from vlmscope.core.base.errors import StoreError
from vlmscope.core.method import heatmap
from vlmscope.core.method.heatmap import ColourMap, colours, glyph, glyph_rows, open_crop, overlay, shade
from vlmscope.core.method.norm import norm


def picture(width: int = 12, height: int = 8) -> Image.Image:
    rng = np.random.default_rng(1)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_norm_maps_the_maximum_to_ten_and_negatives_to_zero() -> None:
    result = norm(np.array([-3.0, 0.0, 2.0, 4.0, 9.0], dtype=np.float32), 4.0)
    assert result.dtype == np.float32
    assert result.tolist() == [0.0, 0.0, 5.0, 10.0, 10.0]


@pytest.mark.parametrize("maximum", [0.0, -1.0, float("nan"), float("inf")])
def test_norm_of_a_neuron_that_never_fires_is_zero(maximum: float) -> None:
    assert norm(np.array([-1.0, 0.0, 5.0], dtype=np.float32), maximum).tolist() == [0.0, 0.0, 0.0]


def test_norm_keeps_nan_out() -> None:
    assert norm(np.array([np.nan, 1.0], dtype=np.float32), 2.0).tolist() == [0.0, 5.0]


def test_fade_is_the_papers_formula_patch_by_patch() -> None:
    crop = picture(12, 8)
    norms = np.array([[0.0, 2.5, 10.0], [5.0, 7.5, 1.0]], dtype=np.float32)
    result = np.asarray(overlay(crop, norms, ColourMap.FADE)).astype(float)
    pixels = np.asarray(crop).astype(float)
    for y in range(8):
        for x in range(12):
            share = norms[y // 4, x // 4] / 10
            assert np.abs(result[y, x] - (pixels[y, x] * share + 255 * (1 - share))).max() <= 0.501


def test_dim_is_the_same_formula_towards_the_background() -> None:
    crop, background = picture(12, 8), (18, 30, 50)
    norms = np.array([[0.0, 0.4, 10.0], [5.0, 7.5, 0.5]], dtype=np.float32)
    for least in (0.0, 0.3):
        result = np.asarray(overlay(crop, norms, ColourMap.DIM, background, least)).astype(float)
        pixels = np.asarray(crop).astype(float)
        for y in range(8):
            for x in range(12):
                share = norms[y // 4, x // 4] / 10
                if least:
                    share = least + (1 - least) * share if norms[y // 4, x // 4] >= 0.5 else 0
                expected = pixels[y, x] * share + np.array(background) * (1 - share)
                assert np.abs(result[y, x] - expected).max() <= 0.501


@pytest.mark.parametrize("background", [(0, 0, 0), (18, 18, 18), (255, 255, 255), (253, 246, 227)])
@pytest.mark.parametrize("colour_map", list(ColourMap))
def test_the_scale_has_the_colours_that_are_drawn(colour_map: ColourMap, background: heatmap.RGB) -> None:
    """A patch of the colour that the background hides most is drawn in the colours of the scale."""
    levels = np.linspace(0, 10, 11, dtype=np.float32)
    hidden = heatmap.WHITE if colour_map is ColourMap.FADE else background
    crop = Image.new("RGB", (11, 1), heatmap.BLACK if heatmap.is_light(hidden) else heatmap.WHITE)
    drawn = np.asarray(overlay(crop, levels[None], colour_map, background))[0]
    scale = colours(levels, colour_map, background)
    assert np.abs(drawn.astype(int) - scale.astype(int)).max() <= 1


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(0, 10, width=32)),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 3),
)
def test_the_line_is_around_the_patches_above_the_threshold_and_hides_none(
    norms: np.ndarray, width: int, height: int, line: int
) -> None:
    image = Image.new("RGB", (width, height), (1, 2, 3))
    result = np.asarray(heatmap.outlined(image, norms, 2.0, (250, 251, 252), line))
    active = heatmap.spread(norms, width, height) > 2
    drawn = (result == (250, 251, 252)).all(axis=2)
    rows, columns = np.nonzero(active)
    for y in range(height):
        for x in range(width):
            near = bool(((np.abs(rows - y) <= line) & (np.abs(columns - x) <= line)).any())
            assert drawn[y, x] == (near and not active[y, x])
            assert drawn[y, x] or tuple(result[y, x]) == (1, 2, 3)


@pytest.mark.parametrize("colour_map", list(ColourMap))
def test_overlay_has_the_crops_size_even_where_patches_do_not_divide_it(colour_map: ColourMap) -> None:
    result = overlay(picture(13, 7), np.ones((3, 5), dtype=np.float32), colour_map)
    assert result.size == (13, 7)
    assert result.mode == "RGB"


@pytest.mark.parametrize("colour_map", [ColourMap.VIRIDIS, ColourMap.GREY])
def test_colour_maps_rise_in_luminance(colour_map: ColourMap) -> None:
    table = colours(np.linspace(0, 10, 101, dtype=np.float32), colour_map).astype(float)
    luminance = table @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) >= 0).all()
    assert luminance[-1] - luminance[0] > 150


def test_viridis_begins_dark_violet_and_ends_yellow() -> None:
    ends = colours(np.array([0.0, 10.0], dtype=np.float32), ColourMap.VIRIDIS)
    assert ends.tolist() == [[68, 1, 84], [253, 231, 37]]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_open_crop_reads_what_a_scan_holds(kind: str) -> None:
    image = open_crop(encoded(picture(), kind))
    assert (image.mode, image.size) == ("RGB", (12, 8))


def test_open_crop_gives_rgb_for_grey_and_palette() -> None:
    assert open_crop(encoded(picture().convert("L"))).mode == "RGB"
    assert open_crop(encoded(picture().convert("P"))).mode == "RGB"


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", encoded(picture(200, 200), "JPEG")[:300], encoded(picture(), "GIF")]
)
def test_open_crop_says_when_bytes_are_no_crop(data: bytes) -> None:
    with pytest.raises(StoreError, match="cannot be decoded"):
        open_crop(data)


def test_open_crop_refuses_a_decompression_bomb_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heatmap, "MAX_PIXELS", 50)
    with pytest.raises(StoreError, match="too large"):
        open_crop(encoded(picture(12, 8)))


def test_open_crop_refuses_what_pillow_calls_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(StoreError, match="cannot be decoded"):
        open_crop(encoded(picture(12, 8)))


def test_shade_runs_from_base_to_green() -> None:
    assert shade(0) == heatmap.WHITE
    assert shade(10) == shade(99) == heatmap.GREEN
    assert shade(float("nan")) == shade(-1) == heatmap.WHITE
    assert shade(5, base=(0, 0, 0), full=(200, 100, 50)) == (100, 50, 25)


def test_glyphs_get_heavier() -> None:
    assert [glyph(value) for value in (0, 0.9, 1, 5.5, 9, 10)] == [" ", " ", ".", "+", "@", "@"]
    assert glyph(float("nan")) == " "


def test_glyph_rows_spread_patches_over_cells() -> None:
    assert glyph_rows(np.array([[0.0, 10.0], [5.0, 0.0]], dtype=np.float32), 4, 2) == ["  @@", "++  "]


def test_a_crop_that_was_not_kept_is_named() -> None:
    with pytest.raises(StoreError, match="the scan keeps none"):
        open_crop(b"")
