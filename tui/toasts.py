"""Messages to the user: one line in the footer's place, kept for the session, more lines for an answer to a key."""

import time
from collections import deque

from textual.app import App
from textual.notifications import SeverityLevel
from textual.screen import Screen

MESSAGES = 200  #: that ``:messages`` shows
ANSWER_S = 1.0  #: after a key, for a message that answers it: it takes the lines that it needs


class TalkingApp(App[None]):
    """Shows messages; ``vlmscope.tcss`` has how they look."""

    def __init__(self, *, ansi_color: bool | None = None) -> None:
        super().__init__(ansi_color=ansi_color)
        self.messages: deque[tuple[str, str]] = deque(maxlen=MESSAGES)  #: the time of day and the text, oldest first
        self._last_key = 0.0  # when the last key came
        self._until_key = False  # whether the next key closes what is shown
        self._answered: Screen[object] | None = None  # on which a message has more than one line

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Show a message, in one line: an answer to a key in all that it needs, until the next key."""
        self.messages.append((time.strftime("%H:%M:%S"), f"{title}: {message}" if title else message))
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=markup)
        if time.monotonic() - self._last_key < ANSWER_S and self.screen_stack:
            self._answered = self.screen
            self._answered.add_class("-tall")

    def suggest(self, message: str, timeout: float) -> None:
        """Show a message that the next key closes."""
        self.notify(message, timeout=timeout, markup=False)
        self._until_key = True

    def key_came(self) -> None:
        """Where a message has more than one line, it gives the others back: the user reads what is below."""
        if self._until_key:
            self._until_key = False
            self.clear_notifications()
        if self._answered is not None:
            self._answered.remove_class("-tall")
            self._answered = None
