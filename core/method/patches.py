"""From pixels of the picture to patches of the crop that the model sees: transforms of boxes, and pooling by area."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import ModelError

Box = tuple[float, float, float, float]  #: x0, y0, x1, y1; x1 and y1 are exclusive


@dataclass(frozen=True)
class CropView:
    """How the processor makes the crop: a resize, then a crop of the centre (as ``CLIPImageProcessor`` does).

    Attributes:
        shortest: pixels of the shorter edge after the resize, or None.
        size: height and width after the resize, where it does not keep the shape; or None.
        crop: height and width of the crop of the centre, or None.
    """

    shortest: int | None = None
    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None

    @classmethod
    def read(cls, model: Path) -> "CropView":
        """From a model's folder.

        Raises:
            ModelError: if its processor's files cannot be read.
        """
        try:
            path = model / "processor_config.json"
            if path.is_file():
                config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["image_processor"]
            else:
                config = json.loads((model / "preprocessor_config.json").read_text(encoding="utf-8"))
            size = config["size"] if config.get("do_resize", True) else {}
            crop = config["crop_size"] if config.get("do_center_crop", True) else {}
            if isinstance(size, int):
                size = {"shortest_edge": size}
            if isinstance(crop, int):
                crop = {"height": crop, "width": crop}
            return cls(
                shortest=size.get("shortest_edge"),
                size=(size["height"], size["width"]) if "height" in size else None,
                crop=(crop["height"], crop["width"]) if crop else None,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"The crop settings of {model} cannot be read: {error}.") from error

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the resize."""
        if self.size is not None:
            return self.size
        if self.shortest is None:
            return height, width
        longer = int(self.shortest * max(height, width) / min(height, width))
        return (self.shortest, longer) if height <= width else (longer, self.shortest)

    def box(self, box: Box, height: int, width: int) -> tuple[Box, tuple[int, int]]:
        """A box of a picture of ``height`` x ``width`` in the crop's pixels (it may be outside), and the crop's
        height and width."""
        new_height, new_width = self.resized(height, width)
        crop = self.crop or (new_height, new_width)
        x, y = new_width / width, new_height / height
        left, top = (new_width - crop[1]) // 2, (new_height - crop[0]) // 2
        return (box[0] * x - left, box[1] * y - top, box[2] * x - left, box[3] * y - top), crop


def covered(boxes: Sequence[Box], size: tuple[int, int], grid: tuple[int, int]) -> NDArray[np.float32]:
    """The share of each patch's area that is in any of ``boxes``, exactly: float32 (rows, columns), 0 to 1.

    Args:
        boxes: in the crop's pixels. size: the crop's height and width. grid: rows and columns of patches.
    """
    (height, width), (rows, columns) = size, grid
    xs = _edges([x for box in boxes for x in (box[0], box[2])], width, columns)
    ys = _edges([y for box in boxes for y in (box[1], box[3])], height, rows)
    inside = np.zeros((len(ys) - 1, len(xs) - 1), dtype=np.bool_)
    middle_x, middle_y = (xs[:-1] + xs[1:]) / 2, (ys[:-1] + ys[1:]) / 2
    for x0, y0, x1, y1 in boxes:
        inside |= ((middle_y > y0) & (middle_y < y1))[:, None] & ((middle_x > x0) & (middle_x < x1))
    area = inside * np.diff(ys)[:, None] * np.diff(xs)
    found = np.zeros(grid)
    at_y = (middle_y * rows / height).astype(np.int64)
    at_x = (middle_x * columns / width).astype(np.int64)
    np.add.at(found, (at_y[:, None], at_x[None, :]), area)
    return (found * rows * columns / (height * width)).clip(0, 1).astype(np.float32)


def _edges(found: Sequence[float], length: int, cells: int) -> NDArray[np.float64]:
    """All coordinates inside the crop at which a box or a patch begins or ends."""
    grid = np.arange(cells + 1) * (length / cells)
    return np.unique(np.concatenate([grid, np.clip(np.array(found, dtype=np.float64), 0, length)]))


def pooled(mask: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """The mean of a picture's pixels over each patch, weighted by area where a patch's edge divides a pixel.

    Args:
        mask: float32 (H, W), over the crop that the model sees.

    Returns:
        float32 (rows, columns).
    """
    weights = [_overlap(pixels, cells) for pixels, cells in zip(mask.shape, grid, strict=True)]
    return (weights[0] @ mask.astype(np.float64) @ weights[1].T).astype(np.float32)


def _overlap(pixels: int, cells: int) -> NDArray[np.float64]:
    """What share of each cell each pixel fills: float64 (cells, pixels), rows sum to 1."""
    begin = np.arange(cells)[:, None] * pixels / cells
    end = (np.arange(cells)[:, None] + 1) * pixels / cells
    at = np.arange(pixels)
    lengths = np.clip(np.minimum(end, at + 1) - np.maximum(begin, at), 0, None)
    shares: NDArray[np.float64] = lengths * cells / pixels
    return shares
