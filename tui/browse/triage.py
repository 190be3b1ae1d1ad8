"""Deciding on neurons: verdicts, notes, tags, bookmarks, undo; where a session goes on; what leaves it as Markdown."""

import asyncio
import contextlib
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from textual.app import SuspendNotSupported

from vlmscope.core.base.errors import NotebookError, UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.tui.browse.find import FindingScreen
from vlmscope.tui.browse.triage_words import drafts, filter_from, what_changed
from vlmscope.tui.keys import keys_of
from vlmscope.tui.views.state import Filter, Order

if TYPE_CHECKING:
    from vlmscope.core.notebook.notebook import Notebook
    from vlmscope.core.notebook.values import Change, Entry, Resume
    from vlmscope.core.report.write import Written

LONG_NOTE = 65_536  #: characters from which a note is for $EDITOR alone
VERDICT_KEYS = {1: "keep", 2: "reject", 3: "unsure", 4: None}


class TriageScreen(FindingScreen):
    """The notebook's own keys."""

    _place: "Resume | None" = None

    # -- changes -------------------------------------------------------------------------------------------------

    def change(self, neuron: Neuron, call: "Callable[[Notebook], Change | None]") -> None:
        """Write to the notebook; the mark appears when it is on the disk."""
        self.chore(self._change(neuron, call))

    async def _change(self, neuron: Neuron, call: "Callable[[Notebook], Change | None]") -> None:
        def write(notebook: "Notebook") -> "Entry":
            call(notebook)
            return notebook.entry(neuron)

        self.take_entry(await self.notebook.write(write))

    def action_verdict(self, number: int) -> None:
        from vlmscope.core.notebook.values import Verdict

        neuron, word = self.state.neuron, VERDICT_KEYS[number]
        verdict = None if word is None else Verdict(word)
        self.change(neuron, lambda notebook: notebook.set_verdict(neuron, verdict))

    def action_bookmark(self) -> None:
        neuron = self.state.neuron

        def switch(notebook: "Notebook") -> "Change | None":
            return notebook.set_bookmark(neuron, not notebook.entry(neuron).bookmark)

        self.change(neuron, switch)

    async def action_tags(self) -> None:
        entry = self._entry
        now = ", ".join(entry.tags) if entry is not None and entry.neuron == self.state.neuron else ""
        await self.ask_line("tags", f"tags of {self.state.neuron} ", "trains, check again", [], now)

    def set_tags(self, neuron: Neuron, text: str) -> None:
        """Take the tags that were typed, separated by commas; none takes all away.

        Raises:
            UsageError: if one is no tag.
        """
        from vlmscope.core.notebook.events import clean_tags

        tags = clean_tags([tag for tag in text.split(",") if tag.strip()])
        self.change(neuron, lambda notebook: notebook.set_tags(neuron, tags))

    def action_undo(self) -> None:
        self.chore(self._back_and_forth(lambda notebook: notebook.undo(), "undone"))

    def action_redo(self) -> None:
        self.chore(self._back_and_forth(lambda notebook: notebook.redo(), "done again"))

    async def _back_and_forth(self, call: "Callable[[Notebook], Change | None]", done: str) -> None:
        def step(notebook: "Notebook") -> "tuple[Change, Entry] | None":
            change = call(notebook)
            return None if change is None else (change, notebook.entry(change.neuron))

        found = await self.notebook.read(step, None)
        if found is None:
            self.say(f"There is nothing to be {done}.")
            return
        change, entry = found
        if change.neuron != self.state.neuron:
            self.go(change.neuron)
        self.take_entry(entry)
        self.say(f"{done}: {what_changed(change)}")

    def action_next_untriaged(self) -> None:
        rows = self._selection.rows
        if not len(rows):
            self.say("The list is empty.")
            return
        open_rows = np.flatnonzero(self.noted.verdict[rows] == 0)
        if not len(open_rows):
            self.say("Every neuron of this list has its verdict.")
            return
        at = self._cursor if self._cursor is not None else -1
        later = open_rows[open_rows > at] if self.listed else open_rows[open_rows >= at]
        if not len(later):
            self.say("From the list's beginning.")
        self.go_row(int(later[0] if len(later) else open_rows[0]))

    # -- notes ---------------------------------------------------------------------------------------------------

    async def action_note(self) -> None:
        # Awaited by the key's own action: what is typed at once is for the note, not keys of the screen.
        from vlmscope.tui.dialogs.note import NoteScreen

        try:
            neuron, text, draft = await self._note_to_edit()
        except VlmscopeError as error:
            self.tell(error)
            return
        if len(text) > LONG_NOTE:
            self.say(f"This note is too long for here: {keys_of('note.editor', self.config.keys)[0]} opens an editor.")
            return

        def written(new: str | None) -> None:
            if new is not None:
                self.chore(self._keep_note(neuron, new, draft))

        await self.app.push_screen(NoteScreen(f"note on {neuron}", text, draft), written)

    async def _note_to_edit(self) -> tuple[Neuron, str, Path]:
        """The neuron of now, its note, and where a draft of it is kept; a draft that was left behind comes first."""
        from vlmscope.core.notebook.values import Entry

        neuron = self.state.neuron
        entry = await self.notebook.read(lambda notebook: notebook.entry(neuron), Entry(neuron))
        draft = drafts(self.store.manifest.scan_id, neuron)
        try:
            left = draft.read_text(encoding="utf-8", errors="surrogatepass")
        except OSError:
            return neuron, entry.note, draft
        if left != entry.note:
            self.say("A draft that was never saved is back.")
        return neuron, left, draft

    async def _keep_note(self, neuron: Neuron, text: str, draft: Path) -> None:
        """Save a note; its draft goes only when the notebook has it."""
        try:
            await self._change(neuron, lambda notebook: notebook.set_note(neuron, text))
        except VlmscopeError as error:
            raise NotebookError(error.message, f"{error.hint} What you wrote is kept in {draft}.") from error
        await asyncio.to_thread(draft.unlink, missing_ok=True)

    def action_note_editor(self) -> None:
        self.chore(self._note_in_editor())

    async def _note_in_editor(self) -> None:
        neuron, text, draft = await self._note_to_edit()
        named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        draft.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{neuron.layer}-{neuron.index}-", suffix=".md", dir=draft.parent)
        path = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass", newline="") as file:
            file.write(text)
        try:
            with self.app.suspend():
                done = subprocess.run([*shlex.split(named), str(path)], check=False)  # noqa: S603
        except SuspendNotSupported:
            path.unlink()
            raise UsageError("This terminal cannot be lent to an editor.", "Write the note here instead.") from None
        except (OSError, ValueError) as error:
            path.unlink()
            raise UsageError(f"{plain(named)} cannot be started: {error}.", "Set EDITOR to your editor.") from None
        self.app.refresh(layout=True)
        new = path.read_text(encoding="utf-8", errors="surrogateescape")
        if done.returncode:
            self.say(f"The editor ended with {done.returncode}: the note is as it was.")
            if new == text:
                path.unlink()
            return
        await self._keep_note(neuron, new.removesuffix("\n") if not text.endswith("\n") else new, path)
        await asyncio.to_thread(draft.unlink, missing_ok=True)

    # -- where the session goes on -------------------------------------------------------------------------------

    async def keep_place(self) -> None:
        """Note where the session is, if there is a notebook."""
        place = self._place_now()
        if place != self._place:
            await self.notebook.read(lambda notebook: notebook.set_resume(place), None)
            self._place = place

    def _place_now(self) -> "Resume":
        from vlmscope.core.notebook.values import Resume

        return Resume(self.state.neuron, json.dumps(asdict(self.state.filter)), str(self.state.order))

    async def read_marks(self) -> None:
        first = not self._notebook_read
        if first and self.start is None:
            await self._resume()
        await super().read_marks()

    async def _resume(self) -> None:
        """Go to where the last session was, if the user has not moved yet."""
        place = await self.notebook.read(lambda notebook: notebook.resume(), None)
        if place is None or self.state.neuron != Neuron(0, 0) or self.state.filter != Filter():
            return
        neuron, kept = place.neuron, filter_from(place.filter)
        if neuron.layer < self.store.layers and neuron.index < self.store.neurons:
            order = Order(place.order) if place.order in list(Order) else Order.INDEX
            self._place = place
            await self.become_when_ready(replace(self.state, neuron=neuron, rank=0, filter=kept, order=order))

    async def close(self) -> None:
        place = self._place_now()
        if self.state.neuron != (self.start or Neuron(0, 0)) and place != self._place:
            with contextlib.suppress(VlmscopeError):  # where no notebook can be, there is none to go on from
                await self.notebook.write(lambda notebook: notebook.set_resume(place))
        await super().close()

    # -- what leaves ---------------------------------------------------------------------------------------------

    def action_copy_markdown(self) -> None:
        self.chore(self._copy_markdown())

    async def _copy_markdown(self) -> None:
        from vlmscope.core.notebook.values import Entry
        from vlmscope.core.report.write import neuron_markdown

        neuron, thresholds = self.state.neuron, self.state.thresholds
        entry = await self.notebook.read(lambda notebook: notebook.entry(neuron), Entry(neuron))
        self.app.copy_to_clipboard(await asyncio.to_thread(neuron_markdown, self.store, entry, neuron, thresholds))
        self.say(f"{neuron} is sent to the clipboard as Markdown.")

    async def action_export(self) -> None:
        await self.ask_line("export", "export the kept neurons to ", "a folder to make", [], "vlmscope-report")

    def export(self, text: str) -> None:
        """Write the report of all kept neurons into a new folder."""
        self.chore(self._export(Path(text.strip()).expanduser()))

    async def _export(self, out: Path) -> None:
        from vlmscope.core.report.write import write_report

        kept = [neuron for neuron, mark in self.noted.marks.items() if mark.verdict == "keep"]
        if not kept:
            key = keys_of("verdict.keep", self.config.keys)[0]
            raise UsageError("No neuron is kept: there is nothing to export.", f"{key} keeps the one on the page.")
        self.say(f"Writing {len(kept)} neurons ...")
        thresholds = self.state.thresholds

        def work() -> "Written":
            # A connection of its own: verdicts need not wait for hundreds of pictures.
            with self.notebook.second() as notebook:
                return write_report(out, self.store, notebook, kept, thresholds, when=datetime.now(UTC))

        written = await asyncio.to_thread(work)
        what = "1 neuron is" if written.neurons == 1 else f"{written.neurons} neurons are"
        self.say(f"{what} in {plain(str(written.file))}.")
