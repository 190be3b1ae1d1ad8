"""A report's pictures: what the model saw and where the neuron activates, side by side, in a small file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import ColourMap, colours, open_crop, outline_colour, outlined, overlay, shade
from vlmscope.core.method.norm import norm
from vlmscope.core.report.words import Tokens, words_picture
from vlmscope.core.store.example import Example
from vlmscope.core.store.manifest import Manifest

if TYPE_CHECKING:
    from PIL import Image

SIDE = 192  #: pixels that origin and activation have at most, each way
GAP = 8  #: white pixels between them
FONT, STRIP = 12, 96  #: pixels of a font, and of a scale
FRAME = (200, 200, 200)
PALETTE = 128  #: colours
GREYS = 63  #: steps from black to white, of a scale


def facts(
    manifest: Manifest, neuron: Neuron, example: Example, colour_map: ColourMap = ColourMap.FADE
) -> dict[str, str]:
    """What a picture of a top sample shows, for its text chunks: the neuron's address, the activation, the scale."""
    sample = example.sample
    cover = {} if example.cover is None else {"Cover": f"{example.cover + 1} of {sample.layout.covers}"}
    return {
        "Software": "vlmscope",
        "Neuron": str(neuron),
        "Activation": f"{example.activation:.6g}",
        "Scale": f"norm 0 to 10; 10 is the neuron's maximum activation, {example.maximum:.6g}",
        "Colour map": colour_map.value,
        "Sample": f"rank {example.rank + 1}, number {sample.index}, {sample.image}",
        **cover,
        "Description": sample.description,
        "Model": manifest.model.name,
        "Hook": manifest.hook.value,
        "Scan": manifest.scan_id,
    }


@dataclass(frozen=True)
class Scale:
    """What stands below a picture: a few words, and the colours of norms 0 to 10 with a tick at a threshold.

    Attributes:
        maximum: the activation whose norm is 10.
        threshold: T_v, or T_t where words are the picture.
        of_words: whether the colours are those of words, not of a map.
    """

    said: str
    maximum: float
    threshold: float
    colour_map: ColourMap = ColourMap.FADE
    of_words: bool = False

    def ramp(self, pixels: int) -> NDArray[np.uint8]:
        """The colours from norm 0 to 10: uint8 (pixels, 3)."""
        norms = np.linspace(0, 10, pixels, dtype=np.float32)
        if not self.of_words:
            return colours(norms, self.colour_map)
        return np.array([shade(float(norm)) for norm in norms], dtype=np.uint8)


def with_scale(picture: "Image.Image", scale: Scale, least: int, size: int, strip: int) -> "Image.Image":
    """``picture`` with its scale below, in one line or two.

    Args:
        least: pixels that the whole is wide, at least. size: of the font, in pixels. strip: pixels of the colours.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, line, gap = ImageFont.load_default(size), size * 3 // 2, size // 2
    ends = "0", f"10 = {scale.maximum:.4g}"
    width = max(picture.width, least)
    beside = font.getlength(scale.said) + 8 * gap + strip + sum(map(font.getlength, ends)) <= width
    out = Image.new("RGB", (width, picture.height + gap + (1 if beside else 2) * line), "white")
    out.paste(picture, (0, 0))
    draw, top = ImageDraw.Draw(out), picture.height + gap
    draw.text((0, top), scale.said, fill="black", font=font)
    top += 0 if beside else line
    right = width - round(font.getlength(ends[1]))
    draw.text((right, top), ends[1], fill="black", font=font)
    left = right - gap - strip
    ramp = scale.ramp(strip)
    high = size - 1
    out.paste(Image.fromarray(np.repeat(ramp[None], high, axis=0)), (left, top + 2))
    draw.rectangle((left - 1, top + 1, left + strip, top + 2 + high), outline="grey")
    tick = left + round(scale.threshold / 10 * (strip - 1))
    draw.line((tick, top - 1, tick, top + 4 + high), fill="black", width=2)
    draw.text((left - gap - font.getlength(ends[0]), top), ends[0], fill="black", font=font)
    return out


def picture(
    crop: bytes,
    activation: NDArray[np.float32],
    maximum: float,
    about: Mapping[str, str] | None = None,
    scale: "Scale | None" = None,
    words: Tokens = (),
) -> bytes:
    """A PNG of a crop and of the same crop fading to white where the neuron does not activate.

    The same arguments give the same bytes, with the same Pillow.

    Args:
        crop: JPEG or PNG, as the scan keeps it.
        activation: float32 (rows, columns).
        maximum: gmax of the neuron, the norm of which is 10.
        about: becomes the picture's text chunks (``facts``).
        scale: drawn below, if there is one; patches of a map above its threshold are outlined then.
        words: stand in the place of the second crop, on their shades, where there are any.

    Raises:
        StoreError: if ``crop`` cannot be decoded.
    """
    from PIL import Image, ImageOps

    from vlmscope.core.data.images import png

    origin = _fitted(open_crop(crop))
    if words:
        beside = words_picture(words, max(origin.width, SIDE), FONT)
    else:
        norms = norm(activation, maximum)
        heatmap = overlay(origin, norms, ColourMap.FADE)
        if scale is not None:
            heatmap = outlined(heatmap, norms, scale.threshold, outline_colour(ColourMap.FADE))
        # On a white page nothing else shows where a faded picture ends.
        beside = ImageOps.expand(heatmap, border=1, fill=FRAME)
    framed = ImageOps.expand(origin, border=1, fill=FRAME)
    size = framed.width + GAP + beside.width, max(framed.height, beside.height)
    both = Image.new("RGB", size, "white")
    both.paste(framed, (0, 0))
    both.paste(beside, (framed.width + GAP, 0))
    small = both.quantize(PALETTE, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    if words:  # their shades are read against the scale: they stay as they are
        small = small.convert("RGB")
        small.paste(beside, (framed.width + GAP, 0))
    if scale is not None:
        # The scale has greys of its own, that those of the picture do not change.
        whole = with_scale(small.convert("RGB"), scale, 2 * SIDE + GAP, FONT, STRIP)
        below = whole.crop((0, both.height, whole.width, whole.height))
        whole.paste(
            below.point([round(round(v * GREYS / 255) * 255 / GREYS) for v in range(256)] * 3), (0, both.height)
        )
        small = whole.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return png(small, about, optimize=True)


def _fitted(crop: "Image.Image") -> "Image.Image":
    """``crop`` as large as ``SIDE`` allows: larger by a whole factor, so that pixels stay sharp, or smaller."""
    from PIL import Image

    longest = max(crop.size)
    if longest <= SIDE:
        factor = SIDE // longest
        return crop.resize((crop.width * factor, crop.height * factor), Image.Resampling.NEAREST)
    width, height = (max(1, round(side * SIDE / longest)) for side in crop.size)
    return crop.resize((width, height), Image.Resampling.LANCZOS)
