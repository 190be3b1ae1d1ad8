"""What travels between the screen and the model process: requests and answers, and what the two sides report.

Plain values, no torch. The screen's side is ``core/worker/process.py``, the other is ``core/model/server.py``.

A new kind of request is:

1. its value and its answer, here: ``class CountRequest(Request[CountAnswer], frozen=True)``, fields and a ``title``;
2. its handler: a method ``(request, stopped) -> answer`` of ``core.model.engine.VlmEngine``, named in ``handlers``.

Then ``await client.ask(CountRequest(...))`` is a ``CountAnswer``. Fields are bool, int, float, str, bytes, enums, our
frozen dataclasses, ``tuple[X, ...]`` of these, ``NDArray`` of float32, uint16 or uint8, or ``| None`` of any.

The screen opens with a ``ModelSpec``. The worker reports ``Loading`` and then ``Loaded`` or ``Failed``, all numbered 0.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar, get_args, get_origin

import msgspec
import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.method.layout import WHOLE, Box, VisualLayout


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whatever travels."""


A = TypeVar("A", bound=Message)


class Request(Message, Generic[A], frozen=True):
    """A question to the model whose answer is an ``A``."""

    @property
    def title(self) -> str:
        """What the model is busy with while it runs: a few words."""
        raise NotImplementedError

    @classmethod
    def answer_type(cls) -> type[A]:
        """The ``A`` of ``class X(Request[A])``."""
        bases = getattr(cls, "__orig_bases__", ())
        found: type[A] = next(get_args(base)[0] for base in bases if get_origin(base) is Request)
        return found


class ModelSpec(Message, frozen=True):
    """Which model the process loads, and how."""

    name: str  #: what ``from_pretrained`` takes (a hub name or a folder), or ``demo``
    revision: str | None = None
    device: str = "auto"  #: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``
    dtype: str = "auto"  #: ``auto``, ``float32``, ``bfloat16``, ``float16``
    hook: HookPoint = HookPoint.GATE
    trust_remote_code: bool = False
    image_options: tuple[str, ...] = ()  #: for the processor's part for pictures, as core/base/options.py writes them
    chat_options: tuple[str, ...] = ()  #: for the chat template
    device_map: str = ""  #: how accelerate spreads the layers over GPUs, such as ``auto``; empty: one device
    weights: str | None = None  #: the fingerprint that the folder's weights must have (core/store/weights.py)
    processor: str | None = None  #: the digest that the processor must have (core/model/processing.py)


class Cancel(Message, frozen=True):
    """Stop the request of this frame's number at the next layer or token."""


class Loading(Message, frozen=True):
    """How far loading is; ``progress`` is 0 to 1, or None where unknown."""

    detail: str
    progress: float | None


class Loaded(Message, frozen=True):
    """The model answers from now on."""


class Failed(Message, frozen=True):
    """The request of this frame's number failed: a ``VlmscopeError``'s fields."""

    title: str
    message: str
    hint: str
    stopped: bool = False  #: it was cancelled, as asked


class MapAnswer(Message, frozen=True):
    """Exact activations. V: visual tokens."""

    neuron: Neuron
    image: str
    sample: int | None
    visual: NDArray[np.float32]  #: float32 (V,)
    text: NDArray[np.float32]  #: float32 (tokens,), one for each token of the description
    edges: NDArray[np.uint16]  #: uint16 (V, 4), of the layout: where each visual token looks
    cover: NDArray[np.uint8]  #: uint8 (V,), of the layout
    crop: bytes = b""  #: a lossless PNG of the crop that the model sees, if it was asked for, made smaller if large

    @classmethod
    def of(
        cls,
        request: "MapRequest",
        visual: NDArray[np.float32],
        layout: VisualLayout,
        text: NDArray[np.float32],
        crop: bytes = b"",
    ) -> "MapAnswer":
        """The answer to ``request``; ``visual``: float32 (V,), ``text``: float32 (tokens,)."""
        return cls(request.neuron, request.image, request.sample, visual, text, layout.edges, layout.cover, crop)

    @property
    def layout(self) -> VisualLayout:
        """Where each visual token looks; the same object for equal layouts, so that its cells are found once."""
        return _layout(self.edges.tobytes(), self.cover.tobytes())

    def fits(self, layout: VisualLayout, tokens: int) -> bool:
        """Whether it is of a sample with this layout and so many tokens in its description."""
        sizes = self.visual.shape == self.cover.shape and self.edges.shape == (*self.cover.shape, 4)
        return sizes and self.layout == layout and self.text.shape == (tokens,)


@lru_cache(maxsize=64)
def _layout(edges: bytes, cover: bytes) -> VisualLayout:
    return VisualLayout(np.frombuffer(edges, np.uint16).reshape(-1, 4), np.frombuffer(cover, np.uint8))


class MapRequest(Request[MapAnswer], frozen=True):
    """One neuron's activation over one sample: a forward pass that ends after the neuron's layer."""

    neuron: Neuron
    image: str  #: path of the picture
    prompt: str  #: the exact text before the description, with one image token, as in the manifest
    description: str  #: the teacher-forced description
    sample: int | None  #: index in the data, or None for the user's own picture; comes back with the answer
    crop: bool = False  #: whether the answer should hold the exact crop that the model sees

    @property
    def title(self) -> str:
        return f"{self.neuron} on {picture_name(self.image, self.sample)}"


class DescribeAnswer(Message, frozen=True):
    """The model's own description."""

    image: str
    question: str
    prompt: str  #: the exact text before the description, for later ``MapRequest``s
    description: str
    tokens: tuple[str, ...]  #: the description's tokens, spelled; joined they are the description
    crop: bytes  #: the crop that the model saw, as a JPEG
    seen: Box = WHOLE  #: where it is in the picture


class DescribeRequest(Request[DescribeAnswer], frozen=True):
    """Let the model answer ``question`` about a picture, greedily."""

    image: str
    question: str

    @property
    def title(self) -> str:
        return f"describing {picture_name(self.image, None)}"


class PromotedAnswer(Message, frozen=True):
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

    def of_pole(self, neuron: Neuron) -> "PromotedAnswer":
        """What was found for a whole unit, for one of its poles; or the other way round."""
        if self.neuron.sign == neuron.sign:
            return PromotedAnswer(neuron, self.top, self.top_logits, self.bottom, self.bottom_logits)
        return PromotedAnswer(neuron, self.bottom, -self.bottom_logits, self.top, -self.top_logits)


class PromotedRequest(Request[PromotedAnswer], frozen=True):
    """Which tokens a neuron writes: a first-order reading of its output weights."""

    neuron: Neuron
    count: int

    @property
    def title(self) -> str:
        return f"what {self.neuron} writes"


class VectorAnswer(Message, frozen=True):
    """What a neuron adds to the residual stream for an activation of 1: float32 (hidden size,)."""

    vector: NDArray[np.float32]


class VectorRequest(Request[VectorAnswer], frozen=True):
    """The column of the down projection that a neuron writes; a negative pole writes its opposite."""

    neuron: Neuron

    @property
    def title(self) -> str:
        return f"the vector of {self.neuron}"


class LensAnswer(Message, frozen=True):
    """Probabilities of the words' first tokens, among these tokens alone. C: different first tokens.

    Attributes:
        columns: for each word of the request its first token's place among the C; words may share one.
        visual: float32 (C, rows, columns), read at the visual tokens themselves, on the grid of the sample's layout.
        text: float32 (C, tokens), read one position before each token: the head predicts the next one.
    """

    image: str
    sample: int | None
    columns: tuple[int, ...]
    visual: NDArray[np.float32]
    text: NDArray[np.float32]


class LensRequest(Request[LensAnswer], frozen=True):
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

    @property
    def title(self) -> str:
        return f"lens on {picture_name(self.image, self.sample)}"


class SegmentAnswer(Message, frozen=True):
    """What was found. N: boxes; there may be none.

    Attributes:
        weights: float32 (rows, columns), 0 to 1: how much of each cell of the layout's grid shows it, times the boxes'
            scores.
        boxes: float32 (N, 4), x0, y0, x1, y1 in pixels of the crop that was searched: what the model sees, made smaller
            if large.
        scores: float32 (N,), 0 to 1.
        labels: which words of the phrases each box answers to, as the detector's tokens spell them.
    """

    image: str
    sample: int | None
    weights: NDArray[np.float32]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: tuple[str, ...]


class SegmentRequest(Request[SegmentAnswer], frozen=True):
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

    @property
    def title(self) -> str:
        return f"segmenting {picture_name(self.image, self.sample)}"


def picture_name(image: str, sample: int | None) -> str:
    """A picture in a few words: its sample, or its file."""
    return plain(Path(image).name, 60) if sample is None else f"#{sample}"


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
    """Shown in the title line."""

    phase: Phase
    detail: str = ""  #: busy with what, or why it failed and what to do next
    progress: float | None = None  #: 0 to 1 while loading, where known
