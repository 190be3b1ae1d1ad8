"""What only the two sides of the process boundary say to each other, beside the requests and answers.

The screen opens with a ``ModelSpec`` and the worker's first answer is ``Loaded`` or ``Failed``, both numbered 0.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cancel:
    """Stop the request of this frame's number at the next layer or token."""


@dataclass(frozen=True)
class Loading:
    """How far loading is; ``progress`` is 0 to 1, or None where unknown."""

    detail: str
    progress: float | None


@dataclass(frozen=True)
class Loaded:
    """The model answers from now on."""


@dataclass(frozen=True)
class Failed:
    """The request of this frame's number failed: a ``VlmscopeError``'s fields.

    Attributes:
        stopped: it was cancelled, as asked.
    """

    title: str
    message: str
    hint: str
    stopped: bool = False
