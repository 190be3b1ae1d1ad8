"""``vlmscope verdict``: decide on a neuron, as the keys on the screen do."""

from typing import Annotated

import typer

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.spelling import nearest
from vlmscope.core.base.text import plain, written
from vlmscope.core.notebook.events import clean_tags
from vlmscope.core.notebook.values import Change, Entry, Kind, Value, Verdict
from vlmscope.core.report.collect import noted
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.open_arg import open_notebook, opened
from vlmscope.tui.commands.shared.options import AddressArgument, JsonOption, ScanArgument

CLEAR = "clear"
WORDS = (*(verdict.value for verdict in Verdict), CLEAR)
SHOWN = 60  #: characters of a note that are shown


def verdict(
    *,
    scan: ScanArgument,
    address: AddressArgument,
    word: Annotated[str, typer.Argument(metavar="VERDICT", help=f"One of: {', '.join(WORDS)}.", show_default=False)],
    note: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help="Replace the note with this; empty: remove it.")
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Add a tag; may be repeated. Empty: remove those that are there."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Decide on a neuron: keep, reject, unsure, or clear.

    It goes into the scan's notebook, where the screen shows it and undoes it.
    What changed goes to stderr.
    """
    clean = word.strip().lower()
    if clean not in WORDS:
        raise UsageError(f"{word!r} is not a verdict.", f"{nearest(word, WORDS)}Verdicts: {', '.join(WORDS)}.")
    neuron = Neuron.parse(address)
    store = opened(scan)
    store.numbering.checked(neuron)
    added = clean_tags(
        [part for tag in tags or [] for part in tag.split(",") if part.strip()]
    )  # before anything is written: one may not be a tag
    with open_notebook(store) as notebook:
        changes = []
        if note is not None:
            changes.append(notebook.set_note(neuron, written(note)))
        if tags:
            kept = notebook.entry(neuron).tags if all(tag.strip() for tag in tags) else ()
            changes.append(notebook.set_tags(neuron, (*kept, *added)))
        changes.append(notebook.set_verdict(neuron, None if clean == CLEAR else Verdict(clean)))
        entry = notebook.entry(neuron)
    _note_changes(entry, [change for change in changes if change is not None])
    if json:
        output.write_json(noted(entry).model_dump(mode="json"))


def _note_changes(entry: Entry, changes: list[Change]) -> None:
    for change in changes:
        before, after = (_shown(change.kind, value) for value in (change.before, change.after))
        note(f"{entry.neuron}: {change.kind} {before} -> {after}")
    if not changes:
        note(f"{entry.neuron}: nothing changed, verdict {entry.verdict or 'none'}")


def _shown(kind: Kind, value: Value) -> str:
    if not value:
        return "none"
    if kind is Kind.NOTE:
        return repr(plain(str(value), SHOWN))
    return ", ".join(value) if isinstance(value, tuple) else str(value)
