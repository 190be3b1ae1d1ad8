"""stderr is talk: notes to whoever waits, and how far a command is."""

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


def talk_to_user() -> Console:
    """Where progress and notes go."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


@contextlib.contextmanager
def progress(talk: Console, *, who: str = "", hidden: bool = False) -> Iterator[OnProgress]:
    """Bars, one for each thing that is done; ``who`` is put before each."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=talk, disable=hidden) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(f"{who}{what}", total=total or None, completed=done)  # None: not known yet
                return
            bars.update(tasks[what], completed=done, total=total)

        yield report
