"""A command that works on many neurons: its cost agreed to, how far it is, what is kept if it is interrupted."""

import asyncio
import sys
from collections.abc import Coroutine, Iterable, Sequence
from enum import StrEnum
from typing import Any, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.llm.budget import CostOffer, dollars
from vlmscope.core.store.hub import would_download
from vlmscope.core.store.original import UNCHECKED
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import ModelSpec, ModelStatus, Phase
from vlmscope.tui.commands.shared.notes import Notes

R = TypeVar("R")


def agree(offer: CostOffer, what: str, done: str, notes: Notes, yes: bool, instead: str = "") -> None:
    """Write what a run costs at most, and ask whether to go on.

    Args:
        what: the line to write.
        done: what the run does to a neuron, such as "explained".
        yes: --yes was given.
        instead: what else can be typed where nobody can be asked.

    Raises:
        UsageError: if nobody can be asked.
        typer.Exit: if the answer is no.
    """
    notes.write(what)
    if offer.exceeds_budget:
        budget = dollars(offer.settings.budget_usd)
        notes.write(f"budget_usd is {budget}: the run may end before all are {done}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("This costs money, and stdin is not a terminal to ask on.", f"Add --yes{instead}.")
    _ask("nothing was sent", notes)


def agree_to_download(spec: ModelSpec, download: bool, notes: Notes) -> None:
    """Ask before the model that a scan names is downloaded: the scan may be a stranger's.

    Args:
        download: --download was given.

    Raises:
        UsageError: if stdin is not a terminal to ask on.
        typer.Exit: if the answer is no.
    """
    if download or not would_download(spec.name, spec.revision):
        return
    what = f"The scan names the model {plain(spec.name, 100)}, which is not on this disk and would be downloaded"
    if not sys.stdin.isatty():
        raise UsageError(f"{what}.", "Add --download.")
    notes.write(what)
    _ask("nothing was downloaded", notes)


def _ask(otherwise: str, notes: Notes) -> None:
    """Ask whether to continue; after a no write ``otherwise`` and exit."""
    notes.write("Go on? [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        notes.write(otherwise)
        raise typer.Exit(1)


def trust_images(store: ScanStore, neurons: Sequence[Neuron], trust: bool, notes: Notes) -> None:
    """Take the user's word for pictures without a digest; without it, write what would be read with --trust-images.

    Raises:
        StoreError: if the scan is damaged.
    """
    store.images_trusted = trust
    for neuron in neurons[:1]:
        for index in store.top_samples(neuron)[:1]:
            problem = store.sample(index).picture_problem
            if problem.startswith(UNCHECKED):
                notes.write(f"{problem}: such pictures are not read; if you trust the scan, add --trust-images")


def run_and_keep(work: Coroutine[Any, Any, R], notes: Notes, goes_on: str) -> R:
    """Run ``work``, which keeps each result as it comes; after Ctrl-C write how the command ``goes_on``."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        notes.write(f"What is finished is in the notebook; the same command again {goes_on}.")
        raise


class RunBar:
    """How far a run is, on stderr: neurons, and perhaps the parts of the present one, such as its samples."""

    def __init__(self, notes: Notes, what: str, total: int, *, parts: str = "") -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        # A bar has no place in a log: elsewhere than on a terminal the summary is enough.
        self.bars = Progress(*columns, console=notes, disable=not notes.is_terminal)
        self._what = what
        self._neurons = self.bars.add_task(what, total=total)
        self._parts = self.bars.add_task(parts, total=None) if parts else None

    def show_model(self, status: ModelStatus) -> None:
        """Loading takes a while."""
        loading = status.phase in (Phase.STARTING, Phase.LOADING)
        self.bars.update(self._neurons, description=f"model: {plain(status.detail, 40)}" if loading else self._what)

    def show_part(self, done: int, of: int) -> None:
        if self._parts is not None:
            self.bars.update(self._parts, completed=done, total=of)

    def show(self, done: int, of: int) -> None:
        """So many of the things that the bar counts."""
        self.bars.update(self._neurons, completed=done, total=of)

    def step(self, _: object = None) -> None:
        """One more neuron is done."""
        self.bars.advance(self._neurons)


def counts_text(statuses: Iterable[StrEnum], kind: type[StrEnum]) -> str:
    """``3 explained, 1 failed``, in the order of ``kind``."""
    found = list(statuses)
    return ", ".join(f"{found.count(one)} {one.value}" for one in kind if one in found)
