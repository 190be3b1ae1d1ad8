"""Messages to the user: one line in the footer's place, kept for the session, more lines for an answer to a key."""

import time
from collections import deque

from rich.style import Style
from textual.app import App
from textual.notifications import Notification, Notify, SeverityLevel
from textual.screen import Screen

from vlmscope.tui.widgets.lines import row

MESSAGES = 200  #: that ``:messages`` shows
ANSWER_S = 1.0  #: after a key, for a message that answers it: it takes the lines that it needs
TALL = "-tall"  #: class of a screen whose messages take the lines that they need
EDGES = 3  #: cells beside a message: a bar in its colour, and two blanks


class WholeNumbers(Notification):
    """A notification whose text, where it has one line, is cut before a number and not within it."""

    def __init__(self, app: App[None], text: str, title: str, severity: SeverityLevel, timeout: float) -> None:
        self._app, self.text = app, text
        super().__init__(text, title, severity, timeout)

    @property
    def message(self) -> str:
        """What is shown on the screen as it is now: Textual asks at each change of size or style."""
        if self.title or self._app.screen.has_class(TALL):
            return self.text
        return row([(self.text, Style())], max(self._app.size.width - EDGES, 1)).text.rstrip()

    @message.setter
    def message(self, _: str) -> None:
        """What the dataclass sets is ``text`` already."""


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
        if markup:
            super().notify(message, title=title, severity=severity, timeout=timeout)
        else:
            seconds = self.NOTIFICATION_TIMEOUT if timeout is None else timeout
            self.post_message(Notify(WholeNumbers(self, message, title, severity, seconds)))
        if time.monotonic() - self._last_key < ANSWER_S and self.screen_stack:
            self._answered = self.screen
            self._answered.add_class(TALL)

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
            self._answered.remove_class(TALL)
            self._answered = None
