"""Requests that change neurons, or measure all of them, during a pass over one sample: see ``messages.py``.

L: layers, F: neurons of a layer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.worker.messages import Message, Request, picture_name

CLEAN_BYTES = 2 << 30  #: of clean passes that the model process keeps, those of the last pictures


@dataclass(frozen=True)
class SampleRef:
    """A sample as the model process takes it.

    Attributes:
        image: path of the picture. prompt: the exact text before the description, with one image token.
        description: the teacher-forced description. sample: its index in the data; None for the user's own picture.
    """

    image: str
    prompt: str
    description: str
    sample: int | None

    def __str__(self) -> str:
        return picture_name(self.image, self.sample)


class InterventionAnswer(Message, frozen=True):
    """What rows of edits do to tokens of the description. R: rows of the request, K: its tokens.

    The log-odds of a token is ``logit - logsumexp(all other logits)``, one position before it.

    Attributes:
        log_odds, p: float32 (K,), without edits.
        first: uint8 (K,), 1 where the token is the model's first choice, without edits.
        changes: float32 (R, K), log-odds with the edits, less ``log_odds``.
        p_after: float32 (R, K). first_after: uint8 (R, K).
        kl: float32 (R, K), in nats, ``sum_v p_v log(p_v / p'_v)`` over the vocabulary; p' is with the edits.
    """

    log_odds: NDArray[np.float32]
    p: NDArray[np.float32]
    first: NDArray[np.uint8]
    changes: NDArray[np.float32]
    p_after: NDArray[np.float32]
    first_after: NDArray[np.uint8]
    kl: NDArray[np.float32]


class InterventionRequest(Request[InterventionAnswer], frozen=True):
    """Run a sample once without edits, and once with each row of them.

    Attributes:
        rows: each is one run; its neurons may be of several layers, each neuron once.
        at: where z is replaced.
        tokens: places in the description's tokens; empty for all of them.
    """

    sample: SampleRef
    rows: tuple[tuple[Edit, ...], ...]
    at: Positions
    tokens: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        return f"{len(self.rows)} interventions on {self.sample}"


class CaptionAnswer(Message, frozen=True):
    """The model's own words for the picture, greedily, with the edits in every step."""

    description: str


class CaptionRequest(Request[CaptionAnswer], frozen=True):
    """Let the model describe a picture with these edits; none for its own caption.

    Attributes:
        image, prompt, sample: as in ``SampleRef``.
    """

    image: str
    prompt: str
    sample: int | None
    edits: tuple[Edit, ...]
    at: Positions

    @property
    def title(self) -> str:
        return f"describing {picture_name(self.image, self.sample)} with {len(self.edits)} edits"


class WrittenAnswer(Message, frozen=True):
    """How much every neuron writes.

    Attributes:
        size: float32 (L, F), ``sqrt(mean_t z(t)^2) * norm(d)`` over the positions.
        mean: float32 (L, F), the mean of z over the positions, with its sign.
        column: float32 (L, F), ``norm(d)``.
    """

    size: NDArray[np.float32]
    mean: NDArray[np.float32]
    column: NDArray[np.float32]


class WrittenRequest(Request[WrittenAnswer], frozen=True):
    """The written size of every neuron on a sample, over the positions ``at``."""

    sample: SampleRef
    at: Positions

    @property
    def title(self) -> str:
        return f"written sizes on {self.sample}"


class PeakAnswer(Message, frozen=True):
    """``z``: the neuron's z at the position, with its sign."""

    z: float


class PeakRequest(Request[PeakAnswer], frozen=True):
    """One neuron's z at one token.

    Attributes:
        visual: a visual token of the sample, by its number. text: a token of the description; one of the two is None.
    """

    sample: SampleRef
    neuron: Neuron
    visual: int | None
    text: int | None

    @property
    def title(self) -> str:
        return f"{self.neuron} at its peak on {self.sample}"


class AttributionAnswer(Message, frozen=True):
    """How much the log-odds of a token change without each neuron, to first order.

    Attributes:
        effects: float32 (L, F), ``-sum_t z(t) * dlo/dz(t)``.
    """

    effects: NDArray[np.float32]


class AttributionRequest(Request[AttributionAnswer], frozen=True):
    """What the removal of each neuron does to one token's log-odds, to first order: one forward and one backward pass.

    Attributes:
        token: a place in the description's tokens.
    """

    sample: SampleRef
    token: int

    @property
    def title(self) -> str:
        return f"effects of all neurons on {self.sample}"


class FiringAnswer(Message, frozen=True):
    """Every neuron at one place.

    Attributes:
        activation: float32 (L, F), at the scan's hook point; the largest where the place has several tokens.
        lowest: float32 (L, F), the smallest of them: a negative pole's largest is this times -1.
        written: float32 (L, F), ``abs(z) * norm(d)``, the largest.
    """

    activation: NDArray[np.float32]
    lowest: NDArray[np.float32]
    written: NDArray[np.float32]


class FiringRequest(Request[FiringAnswer], frozen=True):
    """The activations of all neurons at one place of a sample: visual tokens, or positions of text tokens.

    Attributes:
        visual: visual tokens of the sample, by their number; empty if the place is in the description.
        text: tokens of the description, by their number.
        before: whether text is read one position earlier, where the token is predicted.
    """

    sample: SampleRef
    visual: tuple[int, ...]
    text: tuple[int, ...] = ()
    before: bool = False

    @property
    def title(self) -> str:
        return f"all neurons at one place of {self.sample}"
