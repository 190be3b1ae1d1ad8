"""SAM 2: the mask of the object in each box (Ravi et al., 2024, arXiv 2408.00714).

transformers has SAM 2's image processor only with torchvision, which does not fit every build of torch. So the picture
is preprocessed here, as that processor does it.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from vlmscope.core.base.callbacks import Stopped, check
from vlmscope.core.model.detector import STOPPED
from vlmscope.core.model.load import load_part

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BOXES_AT_ONCE = 32  #: boxes in one pass of SAM 2: a bound on its memory

Masks = NDArray[np.bool_]


class Segmenter:
    """SAM 2. It keeps the embedding of the last picture, so that other boxes in it cost little."""

    def __init__(self, name: str, device: torch.device) -> None:
        """Load it. Arguments and errors as in ``Detector``; the hub's own SAM 2 models are stored as video models."""
        self._model, _ = load_part("segmenter", name, device)
        self._side: int = self._model.config.prompt_encoder_config.image_size
        self._device = device
        self._embedding: tuple[bytes, list[Tensor]] | None = None

    @torch.inference_mode()
    def masks(self, crop: Image.Image, boxes: NDArray[np.float32], stopped: Stopped) -> Masks:
        """The mask of the object in each box.

        Args:
            boxes: float32 (N, 4), x0, y0, x1, y1 in the crop's pixels.

        Returns:
            bool (N, H, W), over the crop.

        Raises:
            Cancelled: when ``stopped`` turns true.
        """
        found = [np.zeros((0, crop.height, crop.width), dtype=np.bool_)]
        if len(boxes):  # without any the model raises
            embedding = self._embed(crop)
            scale = torch.tensor([self._side / crop.width, self._side / crop.height] * 2)
            places = (torch.tensor(boxes) * scale)[None].to(self._device)
            for first in range(0, len(boxes), BOXES_AT_ONCE):
                check(stopped, STOPPED)
                part = places[:, first : first + BOXES_AT_ONCE]
                out = self._model(image_embeddings=embedding, input_boxes=part, multimask_output=False)
                logits = interpolate(out.pred_masks[0], (crop.height, crop.width), mode="bilinear", align_corners=False)
                found.append((logits[:, 0] > 0).cpu().numpy())
        return np.concatenate(found)

    def _embed(self, crop: Image.Image) -> list[Tensor]:
        key = hashlib.sha256(repr(crop.size).encode() + crop.tobytes()).digest()
        if self._embedding is None or self._embedding[0] != key:
            self._embedding = None
            pixels = sam2_pixels(crop, self._side).to(self._device)
            self._embedding = key, self._model.get_image_embeddings(pixels)
        return self._embedding[1]


def sam2_pixels(crop: Image.Image, side: int) -> Tensor:
    """The crop as SAM 2 takes it, bit for bit as ``Sam2ImageProcessor`` makes it: float32 (1, 3, side, side).

    The uint8 picture is resized with antialiasing, its shape not kept, and rounded; then ImageNet's mean and deviation.
    """
    rgb = torch.from_numpy(np.array(crop.convert("RGB"))).permute(2, 0, 1)[None].contiguous()
    resized = interpolate(rgb, (side, side), mode="bilinear", align_corners=False, antialias=True)
    # The processor folds the division by 255 into mean and deviation: another order would round differently.
    mean, std = (torch.tensor(of).view(3, 1, 1) * (1.0 / (1 / 255)) for of in (IMAGENET_MEAN, IMAGENET_STD))
    return (resized.float() - mean) / std
