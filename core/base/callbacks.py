"""Callbacks of long work, called between its steps: whether to stop, and progress."""

from collections.abc import Callable

Stopped = Callable[[], bool]  #: whether the work should end now
OnCount = Callable[[int, int], None]  #: how many are done, of how many
OnProgress = Callable[[str, int, int], None]  #: what is being done, how many are done, of how many


def not_cancelled() -> bool:
    """The ``cancelled`` of work that always runs to its end."""
    return False
