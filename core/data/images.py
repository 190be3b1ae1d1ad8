"""Opening pictures, and packing the crop that the model saw."""

import io
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from vlmscope.core.base.errors import SamplesError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
#: The longer side over the shorter one, at most: the processor enlarges the shorter one to the model's some 336 pixels,
#: and 1,000 pixels of the ratio take 1.1 GB then.
MAX_ASPECT = 100


def load_image(path: Path) -> Image.Image:
    """The picture as RGB, rotated by its EXIF data.

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
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        raise SamplesError(f"{path} does not exist.", "Check the path.") from None
    except UnidentifiedImageError:
        raise SamplesError(f"{path} is not a picture that Pillow can read.", "Use JPEG, PNG or WebP.") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        # Pillow's decoders raise any of these on damaged files.
        raise SamplesError(f"{path} cannot be decoded: {error}.", "Replace the file or leave it out.") from error


def crop_jpeg(crop: Image.Image, side: int = 168) -> bytes:
    """The crop as a JPEG, its longer side at most ``side`` pixels."""
    small = crop.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85, optimize=True)
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    """The picture as a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
