"""How a dialog ends: once, whatever keys are still on their way to it.

Keys that end a dialog have priority: they are handled before the next key is dispatched, which is for the screen below.
For the same reason a dialog's answer is taken inside the key's action: what it changes is there for the next key.
"""

import asyncio
from typing import Any

from textual.screen import Screen

TAKE_S = 1.0  #: how long the next key waits at most for what an answer has set going


def is_on_top(screen: Screen[Any]) -> bool:
    """Whether ``screen`` takes the keys: a palette may be over it, and Textual's ``is_current`` holds then, too."""
    return screen.is_attached and screen.app.screen is screen


def end(screen: Screen[Any]) -> bool:
    """End ``screen``; False for keys of the same burst, or a key that repeats, which come too late."""
    if not is_on_top(screen):
        return False
    screen.dismiss(None)
    return True


async def taken(work: asyncio.Task[None] | None) -> None:
    """Wait for what an answer has set going."""
    if work is not None:
        await asyncio.wait([work], timeout=TAKE_S)
