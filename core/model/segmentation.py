"""Grounded SAM 2 in the model process: where the objects that phrases name are in a picture.

Grounding DINO finds boxes for the phrases (Liu et al., 2023, arXiv 2303.05499), SAM 2 segments the object in each box
(Ravi et al., 2024, arXiv 2408.00714), as in method.md, "Activation simulator and score". How masks become activations
(weighted by the box's score, the largest of several, pooled by area) is our own choice.

Notable:
- Only this file and ``load.py`` load transformers' model classes: these models share nothing with a VLM.
- transformers has SAM 2's image processor only with torchvision, which does not fit every build of torch. So the
  picture is preprocessed here, as that processor does it.
- Both run in float32: together they are small (0.5 billion parameters), and deformable attention loses much in half
  precision.
- Code from a model's repository is never run.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import AutoConfig, AutoProcessor, GroundingDinoForObjectDetection, Sam2Model
from transformers.utils import logging as transformers_logging

from vlmscope.core.base.errors import Cancelled, ModelError
from vlmscope.core.base.text import plain
from vlmscope.core.method.patches import pooled
from vlmscope.core.model.devices import resolve_device
from vlmscope.core.worker.messages import SegmentAnswer, SegmentRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vlmscope.core.base.callbacks import Stopped

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BOXES_AT_ONCE = 32  #: boxes in one pass of SAM 2: a bound on its memory
LABEL_LENGTH = 100

Masks = NDArray[np.bool_]


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


class Finds(Protocol):
    """Finds boxes: ``Detector``, or a stand-in with known boxes."""

    def boxes(
        self, crop: Image.Image, phrases: Sequence[str], box_threshold: float, text_threshold: float, stopped: "Stopped"
    ) -> Boxes: ...


class Cuts(Protocol):
    """Segments the objects in boxes: ``Segmenter``, or a stand-in."""

    def masks(self, crop: Image.Image, boxes: NDArray[np.float32], stopped: "Stopped") -> Masks: ...


class Detector:
    """Grounding DINO."""

    def __init__(self, name: str, device: torch.device) -> None:
        """Load it.

        Args:
            name: on the hub, or a folder.

        Raises:
            ModelError: if there is no such model, it has no weights, or it is not a Grounding DINO.
        """
        with _loading(name, "detector"):
            _check_kind(name, "detector", ("grounding-dino",))
            self._model: Any = _read_weights(GroundingDinoForObjectDetection, name, "detector", device)
            auto: Any = AutoProcessor  # untyped in transformers
            self._processor = auto.from_pretrained(_source(name), trust_remote_code=False)
        self._longest: int = self._model.config.max_text_len
        self._no_words = {".", *self._processor.tokenizer.all_special_tokens}
        self._device = device

    @torch.inference_mode()
    def boxes(
        self, crop: Image.Image, phrases: Sequence[str], box_threshold: float, text_threshold: float, stopped: "Stopped"
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
            _check(stopped)
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


class Segmenter:
    """SAM 2. It keeps the embedding of the last picture, so that other boxes in it cost little."""

    def __init__(self, name: str, device: torch.device) -> None:
        """Load it. Arguments and errors as in ``Detector``; the hub's own SAM 2 models are stored as video models."""
        with _loading(name, "segmenter"):
            _check_kind(name, "segmenter", ("sam2", "sam2_video"))
            self._model: Any = _read_weights(Sam2Model, name, "segmenter", device)
        self._side: int = self._model.config.prompt_encoder_config.image_size
        self._device = device
        self._embedding: tuple[bytes, list[Tensor]] | None = None

    @torch.inference_mode()
    def masks(self, crop: Image.Image, boxes: NDArray[np.float32], stopped: "Stopped") -> Masks:
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
                _check(stopped)
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


class Segmentation:
    """Both models, each loaded when it is first needed, and kept."""

    def __init__(
        self,
        near: torch.device,
        detector: Callable[[str, torch.device], Finds] = Detector,
        segmenter: Callable[[str, torch.device], Cuts] = Segmenter,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            near: the inspected model's device, where ``auto`` puts these.
            detector, segmenter: load a model by name; tests have their own.
        """
        self._near = near
        self._load_detector = detector
        self._load_segmenter = segmenter
        self._detector: tuple[tuple[str, torch.device], Finds] | None = None
        self._segmenter: tuple[tuple[str, torch.device], Cuts] | None = None

    def segment(
        self, request: SegmentRequest, crop: Image.Image, grid: tuple[int, int], stopped: "Stopped"
    ) -> SegmentAnswer:
        """How much of each patch shows the objects that the phrases name.

        SAM 2 is neither loaded nor run for a picture in which nothing is found.

        Args:
            crop: the part of ``request.image`` that the inspected model sees.
            grid: rows and columns of its patches.

        Raises:
            ModelError: if a model cannot be loaded.
            Cancelled: when ``stopped`` turns true; it is read before and after each model.
            torch.OutOfMemoryError: where memory is short; drop this object then.
        """
        device = self._near if request.device == "auto" else resolve_device(request.device)
        _check(stopped)
        key = request.detector, device
        if self._detector is None or self._detector[0] != key:
            self._detector = None  # before the other is loaded: there may not be room for both
            self._detector = key, self._load_detector(*key)
        found = self._detector[1].boxes(crop, request.phrases, request.box_threshold, request.text_threshold, stopped)
        _check(stopped)
        masks = np.zeros((0, crop.height, crop.width), dtype=np.bool_)
        if len(found.scores):
            key = request.segmenter, device
            if self._segmenter is None or self._segmenter[0] != key:
                self._segmenter = None
                self._segmenter = key, self._load_segmenter(*key)
            _check(stopped)
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


def sam2_pixels(crop: Image.Image, side: int) -> Tensor:
    """The crop as SAM 2 takes it, bit for bit as ``Sam2ImageProcessor`` makes it: float32 (1, 3, side, side).

    The uint8 picture is resized with antialiasing, its shape not kept, and rounded; then ImageNet's mean and deviation.
    """
    rgb = torch.from_numpy(np.array(crop.convert("RGB"))).permute(2, 0, 1)[None].contiguous()
    resized = interpolate(rgb, (side, side), mode="bilinear", align_corners=False, antialias=True)
    # The processor folds the division by 255 into mean and deviation: another order would round differently.
    mean, std = (torch.tensor(of).view(3, 1, 1) * (1.0 / (1 / 255)) for of in (IMAGENET_MEAN, IMAGENET_STD))
    return (resized.float() - mean) / std


def _check(stopped: "Stopped") -> None:
    if stopped():
        raise Cancelled("The segmentation was stopped.")


def _source(name: str) -> str:
    return str(Path(name).expanduser()) if name.startswith("~") else name


def _hint(role: str) -> str:
    return (
        f"Download it, or name another model of the hub or a folder as '{role}' under [simulate] in the settings. "
        "--backend lens needs neither."
    )


@contextmanager
def _loading(name: str, role: str) -> "Iterator[None]":
    """What transformers raises while a model is loaded, as ``ModelError``."""
    transformers_logging.set_verbosity(logging.ERROR)  # its hints are for its own callers
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        # For a missing folder, file or weights, for broken ones, and where the hub cannot be reached.
        reason = plain((str(error).splitlines() or [type(error).__name__])[0], 300).rstrip(".")
        raise ModelError(f"{name} cannot be loaded as the {role}: {reason}.", _hint(role)) from error


def _check_kind(name: str, role: str, kinds: Sequence[str]) -> None:
    """Refuse a model of another kind: transformers would give it random weights.

    Raises:
        ModelError: if its type is none of ``kinds``.
    """
    kind = AutoConfig.from_pretrained(_source(name), trust_remote_code=False).model_type
    if kind not in kinds:
        raise ModelError(f"{name} cannot be the {role}: it is of type {kind!r}, not {kinds[0]!r}.", _hint(role))


def _read_weights(kind: Any, name: str, role: str, device: torch.device) -> Any:
    model, info = kind.from_pretrained(
        _source(name),
        dtype=torch.float32,
        device_map={"": device},
        output_loading_info=True,
        trust_remote_code=False,
    )
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelError(f"{name} cannot be the {role}: {len(missing)} weights are missing: {missing[0]}.", _hint(role))
    return model.train(False)
