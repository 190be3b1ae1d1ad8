"""Grounded SAM 2 in the model process: where the objects that phrases name are in a picture.

The detector finds boxes for the phrases, the segmenter the object in each box, as in method.md, "Activation simulator
and score". How masks become activations (weighted by the box's score, the largest of several, pooled by area) is our
own choice.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vlmscope.core.base.callbacks import Stopped, check
from vlmscope.core.base.text import plain
from vlmscope.core.method.patches import pooled
from vlmscope.core.model.detector import STOPPED, Detector
from vlmscope.core.model.devices import resolve_device
from vlmscope.core.model.segmenter import Masks, Segmenter
from vlmscope.core.worker.messages import SegmentAnswer, SegmentRequest

LABEL_LENGTH = 100


class Segmentation:
    """Both models, each loaded when it is first needed, and kept."""

    def __init__(
        self,
        near: torch.device,
        detector: Callable[[str, torch.device], Detector] = Detector,
        segmenter: Callable[[str, torch.device], Segmenter] = Segmenter,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            near: the inspected model's device, where ``auto`` puts these.
            detector, segmenter: load a model by name; tests have their own.
        """
        self._near = near
        self._load_detector = detector
        self._load_segmenter = segmenter
        self._detector: tuple[tuple[str, torch.device], Detector] | None = None
        self._segmenter: tuple[tuple[str, torch.device], Segmenter] | None = None

    def segment(
        self, request: SegmentRequest, crop: Image.Image, grid: tuple[int, int], stopped: Stopped
    ) -> SegmentAnswer:
        """How much of each patch shows the objects that the phrases name.

        SAM 2 is neither loaded nor run for a picture in which nothing is found.

        Args:
            crop: the part of ``request.image`` that the inspected model sees.
            grid: rows and columns of the sample's layout.

        Raises:
            ModelError: if a model cannot be loaded.
            Cancelled: when ``stopped`` turns true; it is read before and after each model.
            torch.OutOfMemoryError: where memory is short; drop this object then.
        """
        device = self._near if request.device == "auto" else resolve_device(request.device)
        check(stopped, STOPPED)
        key = request.detector, device
        if self._detector is None or self._detector[0] != key:
            self._detector = None  # before the other is loaded: there may not be room for both
            self._detector = key, self._load_detector(*key)
        found = self._detector[1].boxes(crop, request.phrases, request.box_threshold, request.text_threshold, stopped)
        check(stopped, STOPPED)
        masks = np.zeros((0, crop.height, crop.width), dtype=np.bool_)
        if len(found.scores):
            key = request.segmenter, device
            if self._segmenter is None or self._segmenter[0] != key:
                self._segmenter = None
                self._segmenter = key, self._load_segmenter(*key)
            check(stopped, STOPPED)
            masks = self._segmenter[1].masks(crop, found.corners, stopped)
        labels = tuple(plain(label, LABEL_LENGTH) for label in found.labels)
        weights = pooled_masks(masks, found.scores, grid)
        return SegmentAnswer(request.image, request.sample, weights, found.corners, found.scores, labels)


def pooled_masks(masks: Masks, scores: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Masks as one map over patches: each weighted by its score, at each pixel the largest, then the mean by area.

    Args:
        masks: bool (N, H, W), over the crop that the model sees. scores: float32 (N,), 0 to 1.

    Returns:
        float32 (rows, columns), 0 to 1.
    """
    largest = np.zeros(masks.shape[1:], dtype=np.float32)
    for mask, score in zip(masks, scores, strict=True):
        np.maximum(largest, mask * score, out=largest)
    return pooled(largest, grid)
