"""Deciding on neurons: verdicts, notes, tags, bookmarks, undo; copies and exports as Markdown."""

import asyncio
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vlmscope.core.base.errors import NotebookError, UsageError, VlmscopeError
from vlmscope.core.base.files import user_path
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import written
from vlmscope.core.notebook.values import VERDICTS, Verdict
from vlmscope.tui.browse import incoming, moves, pick
from vlmscope.tui.browse.notebook import NotebookControl
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.dialogs import drafts
from vlmscope.tui.dialogs.drafts import Drafts
from vlmscope.tui.messages import Copy, Notice, Post, Repaint
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.views.state import AfterVerdict, State

if TYPE_CHECKING:
    from vlmscope.core.notebook.notebook import Notebook
    from vlmscope.core.notebook.values import Change, Decision, Entry
    from vlmscope.core.report.write import Written

VERDICT_KEYS = {1: "keep", 2: "reject", 3: "unsure", 4: None}
MOST_PICKED = 20_000  #: that are decided on at once
_SHOWN = 40  # characters of a note that a change quotes


@dataclass(frozen=True)
class TriageKeys:
    """The keys that messages name."""

    keep: str
    undo: str


@dataclass(eq=False)
class TriageControl:
    """Writes to the notebook; a mark is shown when it is on the disk.

    Attributes:
        terminal: lends the terminal to an editor.
        keys: as the user has mapped them.
        marks: shows what the notebook holds.
        after: where the cursor goes after a verdict.
    """

    session: Session
    notebook: NotebookLink
    post: Post
    tasks: Tasks
    terminal: Callable[[], AbstractContextManager[None]]
    keys: TriageKeys
    marks: NotebookControl
    after: AfterVerdict
    _before: State | None = None  # the last verdict
    _decision: "Decision | None" = None  # the last verdict, in the notebook's thread

    @property
    def drafts(self) -> Drafts:
        """The files of what is being typed."""
        return Drafts(self.session.store.manifest.scan_id)

    # -- changes -------------------------------------------------------------------------------------------------

    def _write_later(self, neuron: Neuron, call: "Callable[[Notebook], Change | None]") -> None:
        self.tasks.run_task(self._write(neuron, call))

    async def _write(self, neuron: Neuron, call: "Callable[[Notebook], Change | None]") -> None:
        def write(notebook: "Notebook") -> "Entry":
            call(notebook)
            return notebook.entry(neuron)

        self.post(Repaint(incoming.take_entry(self.session, await self.notebook.write(write))))

    def decide(self, number: int) -> None:
        """Give the picked neurons, or else the page's, the verdict of a key of ``VERDICT_KEYS``; then go ``after``.

        Raises:
            UsageError: if too many are picked.
        """
        word, session = VERDICT_KEYS[number], self.session
        verdict = None if word is None else Verdict(word)
        self._before = session.state
        picked = pick.picked(session)
        self._check_number(picked)
        self.tasks.run_task(self._decide(picked or [session.state.neuron], verdict))
        if picked:
            self.post(Notice(f"{len(picked):,} neurons: {word or 'no verdict'}. {self.keys.undo} undoes all of it."))
        elif verdict is not None and self.after is AfterVerdict.NEXT:
            self.post(Repaint(session.step(1)))
        elif verdict is not None and self.after is AfterVerdict.UNTRIAGED:
            changed, note = moves.to_untriaged(session)
            self.post(Repaint(changed))
            if note:
                self.post(Notice(note))

    def _check_number(self, neurons: Sequence[Neuron]) -> None:
        if len(neurons) > MOST_PICKED:
            raise UsageError(
                f"{len(neurons):,} neurons are picked, more than {MOST_PICKED:,}.", "Pick a smaller range, or filter."
            )

    def add_tags(self, neurons: Sequence[Neuron], text: str) -> None:
        """Add the tags that were typed, separated by commas, to all of these neurons.

        Raises:
            UsageError: if one is not a valid tag, or there are too many neurons.
        """
        from vlmscope.core.notebook.events import clean_tags

        self._check_number(neurons)
        tags = clean_tags([tag for tag in text.split(",") if tag.strip()])

        async def add() -> None:
            await self.notebook.write(lambda notebook: notebook.add_tags(neurons, tags))
            await self.marks.show_entries(neurons)

        self.tasks.run_task(add())

    async def _decide(self, neurons: Sequence[Neuron], verdict: Verdict | None) -> None:
        def decide(notebook: "Notebook") -> None:
            self._decision = None
            self._decision = notebook.decide(neurons, verdict)

        await self.notebook.write(decide)
        await self.marks.show_entries(neurons)

    def undecide(self) -> None:
        """Make it as if the last verdict had not been given, in the notebook too."""
        if self._before is not None and self._before.neuron != self.session.state.neuron:
            self.post(Repaint(self.session.change_state(neuron=self._before.neuron, rank=self._before.rank)))
        self.tasks.run_task(self._undecide())

    async def _undecide(self) -> None:
        def withdraw(notebook: "Notebook") -> list[Neuron]:
            # The notebook's calls run in their order: the verdict was written before this.
            back = () if self._decision is None else notebook.withdraw(self._decision)
            return [change.neuron for change in back]

        await self.marks.show_entries(await self.notebook.read(withdraw, []))

    def switch_bookmark(self) -> None:
        """Set or remove the bookmark of the page's neuron."""
        neuron = self.session.state.neuron

        def switch(notebook: "Notebook") -> "Change | None":
            return notebook.set_bookmark(neuron, not notebook.entry(neuron).bookmark)

        self._write_later(neuron, switch)

    @property
    def tags(self) -> str:
        """The tags of the page's neuron, as they are typed."""
        entry = self.session.scene.entry
        return ", ".join(entry.tags) if entry is not None and entry.neuron == self.session.state.neuron else ""

    def set_tags(self, neuron: Neuron, text: str) -> None:
        """Take the tags that were typed, separated by commas; an empty text removes all.

        Raises:
            UsageError: if one is not a valid tag.
        """
        from vlmscope.core.notebook.events import clean_tags

        tags = clean_tags([tag for tag in text.split(",") if tag.strip()])
        self._write_later(neuron, lambda notebook: notebook.set_tags(neuron, tags))

    async def undo(self) -> None:
        """Undo the last change."""
        await self._back_and_forth(lambda notebook: notebook.undo(), "undone")

    async def redo(self) -> None:
        """Do again what was undone last."""
        await self._back_and_forth(lambda notebook: notebook.redo(), "done again")

    async def _back_and_forth(self, call: "Callable[[Notebook], Change | None]", done: str) -> None:
        def step(notebook: "Notebook") -> "tuple[Change, Entry] | None":
            change = call(notebook)
            return None if change is None else (change, notebook.entry(change.neuron))

        found = await self.notebook.read(step, None)
        if found is None:
            self.post(Notice(f"There is nothing to be {done}."))
            return
        change, entry = found
        changed = Changed.NOTHING
        if change.neuron != self.session.state.neuron:
            changed = self.session.go(change.neuron)
        self.post(Repaint(changed | incoming.take_entry(self.session, entry)))
        await self.marks.show_entries(change.others)
        more = f", and {len(change.others):,} more" if change.others else ""
        self.post(Notice(f"{done}: {what_changed(change)}{more}"))

    # -- notes ---------------------------------------------------------------------------------------------------

    async def note_to_edit(self) -> tuple[Neuron, str, Path]:
        """The page's neuron, its note, and where a draft of it is kept; a draft that was never saved comes first.

        Raises:
            NotebookError: if the notebook cannot be read.
        """
        from vlmscope.core.notebook.values import Entry

        neuron = self.session.state.neuron
        entry = await self.notebook.read(lambda notebook: notebook.entry(neuron), Entry(neuron))
        draft = self.drafts.note(neuron)
        left = drafts.kept(draft)
        if left is None:
            return neuron, entry.note, draft
        if left != entry.note:
            self.post(Notice("A draft that was never saved is back."))
        return neuron, left, draft

    async def keep_note(self, neuron: Neuron, text: str, draft: Path) -> None:
        """Save a note; its draft goes only when the notebook has it."""
        try:
            await self._write(neuron, lambda notebook: notebook.set_note(neuron, text))
        except VlmscopeError as error:
            raise NotebookError(error.message, f"{error.hint} What you wrote is kept in {draft}.") from error
        await asyncio.to_thread(draft.unlink, missing_ok=True)

    async def edit_note(self) -> None:
        """Write the note in the user's editor."""
        neuron, text, draft = await self.note_to_edit()
        named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        draft.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{neuron.layer}-{neuron.index}-", suffix=".md", dir=draft.parent)
        path = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass", newline="") as file:
            file.write(text)
        try:
            with self.terminal():
                done = subprocess.run([*shlex.split(named), str(path)], check=False)  # noqa: S603
        except VlmscopeError:
            path.unlink()
            raise
        except (OSError, ValueError) as error:
            path.unlink()
            raise UsageError(f"{named} cannot be started: {error}.", "Set EDITOR to your editor.") from None
        new = path.read_text(encoding="utf-8", errors="surrogateescape")
        if done.returncode:
            self.post(Notice(f"The editor ended with {done.returncode}: the note is as it was."))
            if new == text:
                path.unlink()
            return
        edited = new.removesuffix("\n") if not text.endswith("\n") else new
        await self.keep_note(neuron, edited if edited == text else written(edited), path)
        await asyncio.to_thread(draft.unlink, missing_ok=True)

    # -- Markdown -----------------------------------------------------------------------------------------------

    async def copy_markdown(self) -> None:
        """Copy the page's neuron as Markdown."""
        from vlmscope.core.notebook.values import Entry
        from vlmscope.core.report.write import neuron_markdown

        neuron, thresholds = self.session.state.neuron, self.session.state.thresholds
        entry = await self.notebook.read(lambda notebook: notebook.entry(neuron), Entry(neuron))
        self.post(Copy(await asyncio.to_thread(neuron_markdown, self.session.store, entry, neuron, thresholds)))
        self.post(Notice(f"{neuron} is sent to the clipboard as Markdown."))

    async def export(self, text: str) -> None:
        """Write the report of all kept neurons into a new folder."""
        from vlmscope.core.report.write import write_report

        verdict = self.session.scene.noted.verdict
        flat = np.flatnonzero(verdict == VERDICTS.index(Verdict.KEEP)).tolist()
        kept = [self.session.store.numbering.of_flat(at) for at in flat]
        if not kept:
            raise UsageError(
                "No neuron is kept: there is nothing to export.", f"{self.keys.keep} keeps the one on the page."
            )
        self.post(Notice(f"Writing {len(kept)} neurons ..."))
        store, thresholds = self.session.store, self.session.state.thresholds
        out = user_path(text.strip())

        def work() -> "Written":
            # A connection of its own: verdicts do not wait for hundreds of pictures.
            with self.notebook.second() as notebook:
                return write_report(out, store, notebook, kept, thresholds, when=datetime.now(UTC))

        written = await asyncio.to_thread(work)
        what = "1 neuron is" if written.neurons == 1 else f"{written.neurons} neurons are"
        self.post(Notice(f"{what} in {written.file}."))


def what_changed(change: "Change") -> str:
    """A change for the user, in one line: what holds after it."""
    from vlmscope.core.notebook.values import Kind

    neuron, after = change.neuron, change.after
    match change.kind:
        case Kind.VERDICT:
            return f"{neuron} has no verdict" if after is None else f"{neuron} is {after}"
        case Kind.NOTE:
            return f"the note of {neuron} is {_short(repr(after))}" if after else f"{neuron} has no note"
        case Kind.TAGS:
            tags = ", ".join(str(tag) for tag in after) if isinstance(after, tuple) else ""
            return f"{neuron} has {f'the tags {_short(tags)}' if tags else 'no tags'}"
        case Kind.BOOKMARK:
            return f"{neuron} has {'a' if after else 'no'} bookmark"
        case Kind.LEAD:
            return f"another explanation of {neuron} leads"
        case kind:
            person = _short(str(after or change.before))
            whose = f"the notes of {person} are" if kind is Kind.COLLEAGUE else f"your explanation of {neuron} is"
            return f"{whose} {'there' if after else 'gone'}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
