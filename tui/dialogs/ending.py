"""How a dialog ends: once, whatever keys are still on their way to it.

Keys that end a dialog have priority: they run before the next key is dispatched, which is for the screen below.
"""

from typing import TypeVar

from textual.screen import Screen

Result = TypeVar("Result")


def end(screen: Screen[Result], result: Result | None = None) -> None:
    """End ``screen`` with ``result``; keys of the same burst, or a key that repeats, come too late."""
    if screen.is_attached and screen.is_current:
        screen.dismiss(result)
