"""Heatmaps: the overlay of a picture, colours and glyphs of a norm (core/method/norm.py). Only numpy and Pillow."""

import io
import math
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import StoreError
from vlmscope.core.method.norm import TOP

if TYPE_CHECKING:
    from PIL import Image  # imported late: the screen's first paint needs no picture

MAX_PIXELS = 4_000_000  #: a crop is a few hundred pixels wide; anything near this is not a crop
MAX_SIDE = 4096  #: pixels of its longer side: a thin picture would grow when it is fitted to a page
FAINTEST = 0.5  #: the least norm that few colours show: below it a patch or a word is drawn as 0
GLYPHS = " .:-=+*#%@"  #: one for each whole norm from 0 to 9; 10 counts as 9
RGB = tuple[int, int, int]

WHITE: RGB = (255, 255, 255)
BLACK: RGB = (0, 0, 0)
GREEN: RGB = (46, 160, 67)  #: background of a text token at norm 10

# Eleven evenly spaced anchors of matplotlib's viridis (Smith and van der Walt, 2015; CC0):
# matplotlib/_cm_listed.py, _viridis_data[0::25.5], rounded to 8 bits. Between them: linear.
_VIRIDIS = np.array(
    [
        (68, 1, 84),
        (72, 36, 117),
        (65, 68, 135),
        (53, 95, 141),
        (42, 120, 142),
        (33, 145, 140),
        (34, 168, 132),
        (68, 191, 112),
        (122, 209, 81),
        (189, 223, 38),
        (253, 231, 37),
    ],
    dtype=np.float64,
)


class ColourMap(StrEnum):
    """How a heatmap is drawn.

    DIM: the picture fading to the background of the screen where the neuron does not activate. FADE: the paper's
    overlay, the picture fading to white. VIRIDIS, GREY: the norm alone, by a colour map whose luminance rises with it.
    """

    DIM = "dim"
    FADE = "fade"
    VIRIDIS = "viridis"
    GREY = "grey"


def outline_colour(colour_map: ColourMap, background: RGB = BLACK) -> RGB:
    """The colour of the line around the patches above T_v: it stands out from the patches that it is drawn on.

    Args:
        background: what DIM fades to.
    """
    if colour_map is ColourMap.DIM:
        return (60, 60, 60) if is_light(background) else (200, 200, 200)
    return {ColourMap.FADE: BLACK, ColourMap.VIRIDIS: WHITE, ColourMap.GREY: (230, 60, 40)}[colour_map]


def is_light(colour: RGB) -> bool:
    """Whether black ink reads better than white on ``colour`` (ITU-R BT.601 luma)."""
    return 299 * colour[0] + 587 * colour[1] + 114 * colour[2] > 127_500


def shares(norms: NDArray[np.float32], least: float = 0) -> NDArray[np.float32]:
    """How much of the picture remains at each norm, 0 to 1: a tenth of the norm.

    Args:
        least: what remains at the smallest norm that is shown, ``FAINTEST``: few colours show no less.
    """
    share: NDArray[np.float32] = np.clip(norms / np.float32(TOP), 0, 1)
    return share if not least else np.where(norms >= FAINTEST, least + (1 - least) * share, 0).astype(np.float32)


def colours(
    norms: NDArray[np.float32], colour_map: ColourMap, background: RGB = BLACK, least: float = 0
) -> NDArray[np.uint8]:
    """The colour of each norm by itself: uint8 (..., 3).

    DIM and FADE have no colours of their own: theirs are those of the part of a picture that the background hides
    most, white on a dark one and black on a light one.

    Args:
        background, least: as ``overlay`` has them.
    """
    share = shares(norms, least)
    if colour_map is ColourMap.VIRIDIS:
        at = np.linspace(0, 1, len(_VIRIDIS))
        channels = [np.interp(share, at, _VIRIDIS[:, channel]) for channel in range(3)]
    else:
        towards = BLACK if colour_map is ColourMap.GREY else WHITE if colour_map is ColourMap.FADE else background
        full = BLACK if is_light(towards) else WHITE
        channels = [low + (high - low) * share.astype(np.float64) for low, high in zip(towards, full, strict=True)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def spread(norms: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Each patch's norm over its share of ``height`` x ``width`` pixels (nearest): float32 (height, width)."""
    rows = np.arange(height) * norms.shape[0] // height
    columns = np.arange(width) * norms.shape[1] // width
    result: NDArray[np.float32] = norms[rows[:, None], columns[None, :]]
    return result


def overlay(
    crop: "Image.Image",
    norms: NDArray[np.float32],
    colour_map: ColourMap,
    background: RGB = BLACK,
    least: float = 0,
) -> "Image.Image":
    """The heatmap of one sample.

    FADE is the paper's ``pixel * (a / 10) + 255 * (1 - a / 10)`` for each patch, DIM the same with the background's
    colour for 255; VIRIDIS and GREY show the map alone.

    Args:
        crop: what the model saw, any size.
        norms: float32 (rows, columns), 0 to 10.
        background: what DIM fades to.
        least: as ``shares`` has it.

    Returns:
        An RGB picture of the crop's size.
    """
    from PIL import Image

    spread_norms = spread(norms, crop.width, crop.height)
    if colour_map in (ColourMap.VIRIDIS, ColourMap.GREY):
        return Image.fromarray(colours(spread_norms, colour_map, least=least))
    towards = np.array(WHITE if colour_map is ColourMap.FADE else background, dtype=np.float32)
    share = shares(spread_norms, least)[..., None]
    pixels = np.asarray(crop.convert("RGB"), dtype=np.float32)
    return Image.fromarray(np.rint(pixels * share + towards * (1 - share)).astype(np.uint8))


def outlined(
    image: "Image.Image", norms: NDArray[np.float32], threshold: float, colour: RGB, width: int = 1
) -> "Image.Image":
    """``image`` with a line around the patches whose norm is above ``threshold``: those that count for a visual vote.

    The line is drawn on the patches that are not, so that it hides nothing of those that are.

    Args:
        image: RGB, any size. norms: float32 (rows, columns).
        width: of the line, in pixels.
    """
    from PIL import Image

    active = spread(norms, image.width, image.height) > threshold
    near = active
    for _ in range(width):
        framed = np.pad(near, 1)
        rows = framed[:-2] | framed[1:-1] | framed[2:]
        near = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    line = near & ~active
    if not line.any():
        return image
    pixels = np.array(image)
    pixels[line] = colour
    return Image.fromarray(pixels)


def open_crop(data: bytes) -> "Image.Image":
    """Decode a crop: RGB.

    Raises:
        StoreError: if none was kept, it is not a JPEG or PNG, is damaged, or is too large to be a crop.
    """
    from PIL import Image

    if not data:  # of a skipped sample, and in the control that comes with the demo
        raise StoreError(
            "A crop cannot be decoded: the scan keeps none of this sample.", "Look at the scan that it is a control of."
        )
    hint = "Copy the scan again from where it was made."
    try:
        # Naming the formats keeps Pillow from trying (and importing) its many other decoders on bytes from outside.
        image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
            raise StoreError(f"A crop of {image.width} x {image.height} pixels is not a crop: it is too large.", hint)
        return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise StoreError(f"A crop cannot be decoded: {error}.", hint) from error


def shade(norm: float, base: RGB = WHITE, full: RGB = GREEN) -> RGB:
    """Background of a text token: ``base`` at norm 0, ``full`` (the paper's green) at 10, linear in between."""
    share = min(max(norm / TOP, 0.0), 1.0) if math.isfinite(norm) else 0.0
    red, green, blue = (round(low + (high - low) * share) for low, high in zip(base, full, strict=True))
    return red, green, blue


def glyph(norm: float) -> str:
    """One character for a norm, heavier where it is larger: readable without colour."""
    if not norm > 0:  # also nan
        return GLYPHS[0]
    return GLYPHS[min(int(norm), len(GLYPHS) - 1)]


def glyph_rows(norms: NDArray[np.float32], width: int, height: int) -> list[str]:
    """The heatmap as ``height`` lines of ``width`` glyphs."""
    return ["".join(glyph(float(value)) for value in row) for row in spread(norms, width, height)]
