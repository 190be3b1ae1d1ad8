"""stderr is for people: notes, and how far a command is. Text from outside is made harmless here, on its way out."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from vlmscope.core.base.callbacks import OnProgress
from vlmscope.core.base.text import plain


class Notes(Console):
    """stderr, for notes; bars that are drawn on it stay below them."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(stderr=True, markup=False, highlight=False, emoji=False, quiet=quiet)

    def write(self, text: str, end: str = "\n") -> None:
        """Write one line."""
        self.print(plain(text), soft_wrap=True, end=end)


def note(text: str) -> None:
    """Write one line to stderr."""
    Notes().write(text)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


@contextlib.contextmanager
def progress(notes: Notes, *, who: str = "", hidden: bool = False) -> Iterator[OnProgress]:
    """Bars, one for each thing that is done; ``who`` is put before each."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=notes, disable=hidden) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(f"{who}{what}", total=total or None, completed=done)  # None: not known yet
                return
            bars.update(tasks[what], completed=done, total=total)

        yield report
