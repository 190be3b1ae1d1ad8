"""Grounding DINO: boxes around the objects that phrases name (Liu et al., 2023, arXiv 2303.05499)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vlmscope.core.base.callbacks import Stopped, check
from vlmscope.core.model.load import load_part

STOPPED = "The segmentation was stopped."


@dataclass(frozen=True, eq=False)
class Boxes:
    """The result of a detector: N boxes, in any order.

    Attributes:
        corners: float32 (N, 4), x0, y0, x1, y1 in the crop's pixels, inside it.
        scores: float32 (N,), 0 to 1.
        labels: N texts: the words of the phrases that each box matches, as tokens spell them; may be empty.
    """

    corners: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: tuple[str, ...]


class Detector:
    """Grounding DINO."""

    def __init__(self, name: str, device: torch.device) -> None:
        """Load it.

        Args:
            name: on the hub, or a folder.

        Raises:
            ModelError: if there is no such model, it has no weights, or it is not a Grounding DINO.
        """
        self._model, self._processor = load_part("detector", name, device)
        self._longest: int = self._model.config.max_text_len
        self._no_words = {".", *self._processor.tokenizer.all_special_tokens}
        self._device = device

    @torch.inference_mode()
    def boxes(
        self, crop: Image.Image, phrases: Sequence[str], box_threshold: float, text_threshold: float, stopped: Stopped
    ) -> Boxes:
        """Boxes around the objects that the phrases name.

        Args:
            phrases: without full stops, which separate phrases here.
            box_threshold: least score of a box.
            text_threshold: least score of a token that labels it.

        Raises:
            Cancelled: when ``stopped`` turns true.
        """
        size = (crop.height, crop.width)
        corners, scores, labels = [np.empty((0, 4), np.float32)], [np.empty(0, np.float32)], list[str]()
        for group in self._groups(phrases):
            check(stopped, STOPPED)
            inputs = self._processor(
                images=crop, text=[group], return_tensors="pt", truncation=True, max_length=self._longest
            ).to(self._device)
            out = self._model(**inputs)
            found = self._processor.post_process_grounded_object_detection(
                out, inputs["input_ids"], threshold=box_threshold, text_threshold=text_threshold, target_sizes=[size]
            )[0]
            corners.append(found["boxes"].cpu().numpy())
            scores.append(found["scores"].cpu().numpy())
            for label in found["text_labels"][: len(scores[-1])]:  # without boxes there is one label, an empty one
                labels.append(" ".join(word for word in label.split() if word not in self._no_words))
        return inside(Boxes(np.concatenate(corners), np.concatenate(scores), tuple(labels)), size)

    def _groups(self, phrases: Sequence[str]) -> list[list[str]]:
        """The phrases in as few groups as fit into the length of text that the model takes."""
        groups: list[list[str]] = []
        for phrase in phrases:
            if groups and self._length([*groups[-1], phrase]) <= self._longest:
                groups[-1].append(phrase)
            else:
                groups.append([phrase])
        return groups

    def _length(self, phrases: list[str]) -> int:
        return len(self._processor.tokenizer(". ".join(phrases) + ".")["input_ids"])


def inside(found: Boxes, size: tuple[int, int]) -> Boxes:
    """The boxes clipped at the crop's edges; those outside it, and those that are not finite, are left out.

    Args:
        size: the crop's height and width.
    """
    height, width = size
    edges = np.array([width, height, width, height], dtype=np.float32)
    corners = np.clip(found.corners, 0, edges)
    kept = np.isfinite(found.corners).all(axis=1) & np.isfinite(found.scores)
    kept &= (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    labels = tuple(label for label, keep in zip(found.labels, kept, strict=True) if keep)
    return Boxes(corners[kept], found.scores[kept].astype(np.float32), labels)
