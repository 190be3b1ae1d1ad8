"""Long work reads between its steps whether it should stop."""

from collections.abc import Callable

Stopped = Callable[[], bool]  #: whether the work should end now


def never() -> bool:
    """The ``cancelled`` of work that nobody stops."""
    return False
