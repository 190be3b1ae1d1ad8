"""What the screen asks the model process, what it answers, and how it says how it is: plain values, no torch.

The screen's side is ``core/worker/process.py``, the other is ``core/model/server.py``.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import HookPoint, Neuron


@dataclass(frozen=True)
class ModelSpec:
    """Which model the process loads, and how.

    Attributes:
        name: what ``from_pretrained`` takes (a hub name or a folder), or ``demo``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16``, ``float16``.
    """

    name: str
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    hook: HookPoint = HookPoint.GATE
    trust_remote_code: bool = False


@dataclass(frozen=True)
class MapRequest:
    """One neuron's activation over one sample: a forward pass that ends after the neuron's layer.

    Attributes:
        image: path of the picture.
        prompt: the very text before the description, with one image token, as in the manifest.
        description: the teacher-forced description.
        sample: index in the data, or None for the user's own picture; comes back with the answer.
        crop: whether the answer should hold the very crop that the model sees.
    """

    neuron: Neuron
    image: str
    prompt: str
    description: str
    sample: int | None
    crop: bool = False


@dataclass(frozen=True)
class MapAnswer:
    """Exact activations.

    Attributes:
        visual: float32 (rows, columns).
        text: float32 (tokens,), one for each token of the description.
        crop: a lossless PNG of the crop that the model sees, if it was asked for; else empty.
    """

    neuron: Neuron
    image: str
    sample: int | None
    visual: NDArray[np.float32]
    text: NDArray[np.float32]
    crop: bytes = b""


@dataclass(frozen=True)
class DescribeRequest:
    """Let the model answer ``question`` about a picture, greedily."""

    image: str
    question: str


@dataclass(frozen=True)
class DescribeAnswer:
    """What the model said.

    Attributes:
        prompt: the very text before the description, for later ``MapRequest``s.
        tokens: the description's tokens, spelled; joined they are the description.
        crop: the crop that the model saw, as a JPEG.
    """

    image: str
    question: str
    prompt: str
    description: str
    tokens: tuple[str, ...]
    crop: bytes


@dataclass(frozen=True)
class PromotedRequest:
    """Which tokens a neuron writes: a first-order reading of its output weights."""

    neuron: Neuron
    count: int


@dataclass(frozen=True)
class PromotedAnswer:
    """The tokens whose logits the neuron's output moves most, when it is active.

    Attributes:
        top, bottom: spelled tokens, the most promoted and the most suppressed first.
        top_logits, bottom_logits: float32 (count,), what one unit of the neuron's activation adds to the logit, but for
            the norm's division, which depends on the rest of the residual stream.
    """

    neuron: Neuron
    top: tuple[str, ...]
    top_logits: NDArray[np.float32]
    bottom: tuple[str, ...]
    bottom_logits: NDArray[np.float32]


@dataclass(frozen=True)
class LensRequest:
    """What the model would say at each position of a sample, of a few words: a pass through all layers.

    Attributes:
        image, prompt, description, sample: as in ``MapRequest``.
        words: the words that compete, without a space before them.
    """

    image: str
    prompt: str
    description: str
    sample: int | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class LensAnswer:
    """Probabilities of the words' first tokens, among these tokens alone. C: different first tokens.

    Attributes:
        columns: for each word of the request its first token's place among the C; words may share one.
        visual: float32 (C, rows, columns), read at the patches themselves.
        text: float32 (C, tokens), read one position before each token: the head predicts the next one.
    """

    image: str
    sample: int | None
    columns: tuple[int, ...]
    visual: NDArray[np.float32]
    text: NDArray[np.float32]


@dataclass(frozen=True)
class SegmentRequest:
    """Where in a picture the things are that phrases name.

    Attributes:
        image, sample: as in ``MapRequest``.
        phrases: without a full stop in them, which separates them for the detector.
        detector, segmenter: Grounding DINO and SAM 2, on the hub or in a folder; loaded at the first request, and kept.
        device: of both; ``auto`` is the inspected model's.
        box_threshold: least score of a box. text_threshold: least score of a token that labels one.
    """

    image: str
    sample: int | None
    phrases: tuple[str, ...]
    detector: str
    segmenter: str
    device: str
    box_threshold: float
    text_threshold: float


@dataclass(frozen=True)
class SegmentAnswer:
    """What was found. N: boxes; there may be none.

    Attributes:
        weights: float32 (rows, columns), 0 to 1: how much of each patch of the crop shows it, times the boxes' scores.
        boxes: float32 (N, 4), x0, y0, x1, y1 in pixels of the crop that the model sees.
        scores: float32 (N,), 0 to 1.
        labels: which words of the phrases each box answers to, as the detector's tokens spell them.
    """

    image: str
    sample: int | None
    weights: NDArray[np.float32]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: tuple[str, ...]


class Phase(StrEnum):
    """Where the model process stands."""

    OFF = "not loaded"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    FAILED = "failed"


@dataclass(frozen=True)
class ModelStatus:
    """Shown in the title line.

    Attributes:
        detail: busy with what, or why it failed and what to do next.
        progress: 0 to 1 while loading, where known.
    """

    phase: Phase
    detail: str = ""
    progress: float | None = None
