"""Callbacks of long work, called between its steps: whether to stop, and progress."""

from collections.abc import Callable
from typing import Protocol

from vlmscope.core.base.errors import Cancelled

Stopped = Callable[[], bool]  #: whether the work should end now
OnCount = Callable[[int, int], None]  #: how many are done, of how many
OnProgress = Callable[[str, int, int], None]  #: what is being done, how many are done, of how many


class OnLoading(Protocol):
    """The progress of loading; ``progress`` is 0 to 1, or None where unknown."""

    def __call__(self, detail: str, progress: float | None = None) -> None: ...


def check(stopped: Stopped, message: str, hint: str = "") -> None:
    """Raise ``Cancelled`` with this message if the work should end now."""
    if stopped():
        raise Cancelled(message, hint)


def not_cancelled() -> bool:
    """The ``stopped`` of work that always runs to its end."""
    return False
