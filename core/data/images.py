"""Opening pictures, and packing the crop that the model saw."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from vlmscope.core.base.errors import SamplesError
from vlmscope.core.base.text import plain
from vlmscope.core.method.layout import WHOLE, Box, cut

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
#: The longer side over the shorter one, at most: the processor enlarges the shorter one to the model's some 336 pixels,
#: and 1,000 pixels of the ratio take 1.1 GB then.
MAX_ASPECT = 100
CROP_PIXELS, CROP_SIDES = 7, (168, 384)  #: of a kept crop's longer side: for each patch, and within these bounds
_BITS_PER_SAMPLE, _ORIENTATION = 258, 274  #: TIFF's tags


def is_file(path: Path) -> bool:
    """Whether there is a file; False also for a path that is too long or may not be looked up."""
    try:
        return path.is_file()
    except OSError:
        return False


def load_image(path: Path) -> Image.Image:
    """The picture as RGB of 8 bits, rotated by its EXIF data; ``_eight_bits`` scales 16-bit and float pictures.

    Raises:
        SamplesError: if it is missing, not a picture, damaged or far too large.
    """
    try:
        with Image.open(path) as image:
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise SamplesError(
                    f"{path} is too thin: {image.width} x {image.height} pixels.",
                    f"Leave it out, or crop it: one side may be {MAX_ASPECT} times the other at most.",
                )
            return ImageOps.exif_transpose(_eight_bits(image)).convert("RGB")
    except FileNotFoundError:
        raise SamplesError(f"{path} does not exist.", "Check the path.") from None
    except IsADirectoryError:
        raise SamplesError(f"{path} is a folder, not a picture.", "Name a picture in it.") from None
    except PermissionError:
        raise SamplesError(f"{path} may not be read.", "Check who may read the file.") from None
    except UnidentifiedImageError:
        raise SamplesError(f"{path} is not a picture that Pillow can read.", "Use JPEG, PNG or WebP.") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        # Pillow's decoders raise any of these on damaged files.
        raise SamplesError(f"{path} cannot be decoded: {error}.", "Replace the file or leave it out.") from error


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of the picture as ``load_image`` opens it, from its header alone. Raises SamplesError as it."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)  # those that turn it by 90 degrees
            return (image.height, image.width) if turned else image.size
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return load_image(path).size  # raises the reason


def _eight_bits(image: Image.Image) -> Image.Image:
    """``image`` as it is, or, if its values have more than 8 bits, as 8-bit grey.

    Pillow itself cuts such values off at 255, which turns most pictures white. Here black and white are those of the
    format: 0 and 65535 for 16 bits, 4095 for 12. For 32-bit integers white is the first of 255 and 65535 that all
    values are within, for floats the first of 1 and 255. Other values are scaled by their own smallest and largest.
    Values that are not finite become black.
    """
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    exif = image.getexif()
    values = np.asarray(image).astype(np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    if image.mode.startswith("I;16"):
        whites = [4095.0 if exif.get(_BITS_PER_SAMPLE) in (12, (12,)) else 65535.0]
    elif image.mode == "F":
        whites = [1.0, 255.0]
    else:
        whites = [65535.0] if image.format in ("PNG", "PPM") else [255.0, 65535.0]  # those two mean 16 bits by "I"
    white = next((white for white in whites if low >= 0 and high <= white), None)
    black, span = (low, high - low) if white is None else (0.0, white)
    scaled = 255 * (np.where(finite, values, black) - black) / (span or 1.0)
    grey = Image.fromarray(np.rint(scaled).astype(np.uint8))
    grey.getexif().update(exif)
    return grey


def seen_part(image: Image.Image, seen: Box) -> Image.Image:
    """The part of a picture that a model sees: ``seen`` are shares of its width and height."""
    return image.crop(cut(seen, *image.size))


def crop_side(grid: tuple[int, int]) -> int:
    """Pixels of a kept crop's longer side, for a layout's rows and columns: 168 for 24 x 24."""
    return min(max(CROP_PIXELS * max(grid), CROP_SIDES[0]), CROP_SIDES[1])


def fitted(image: Image.Image, side: int) -> Image.Image:
    """The picture made smaller, its shape kept, where its longer side has more than ``side`` pixels."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def crop_jpeg(crop: Image.Image, side: int) -> bytes:
    """The crop as a JPEG, its longer side at most ``side`` pixels."""
    buffer = io.BytesIO()
    fitted(crop, side).save(buffer, "JPEG", quality=85, optimize=True)
    return buffer.getvalue()


def outlined(image: Image.Image, seen: Box, line: tuple[int, int, int]) -> Image.Image:
    """The picture with a frame around the part that a model sees; as it is where that is all of it.

    The frame is wide enough to be seen where the picture is drawn some 24 cells wide.
    """
    if seen == WHOLE:
        return image
    framed = image.copy()
    left, top, right, bottom = cut(seen, *image.size)
    width = max(round(max(image.size) / 22), 1)
    ImageDraw.Draw(framed).rectangle((left, top, right - 1, bottom - 1), outline=line, width=width)
    return framed


def png(image: Image.Image, facts: Mapping[str, str] | None = None, *, optimize: bool = False) -> bytes:
    """The picture as a PNG; ``facts`` become its text chunks."""
    chunks = PngInfo()
    for name, value in (facts or {}).items():
        chunks.add_text(name, plain(value))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=chunks, optimize=optimize)
    return buffer.getvalue()
