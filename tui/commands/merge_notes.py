"""``vlmscope merge-notes``: a colleague's verdicts and notes beside one's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from vlmscope.core.analysis.agreement import Agreement, Pair, agreements
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.files import user_path
from vlmscope.core.base.text import counted, plain
from vlmscope.core.notebook.events import clean_person
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Review
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.open_arg import open_notebook, opened, path_of_notebook
from vlmscope.tui.commands.shared.options import JsonOption, ScanArgument
from vlmscope.tui.commands.stats_agreement import agreement_json, agreement_line

SHOWN = 40  #: characters of a note that are shown


def merge_notes(
    *,
    scan: ScanArgument,
    notebook: Annotated[
        str, typer.Argument(metavar="NOTEBOOK", help="The notebook of another person.", show_default=False)
    ],
    person: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="That person's name; default: the file's.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Take in a colleague's verdicts, notes, tags and bookmarks beside your own.

    NOTEBOOK is the file of a notebook of the same scan; it is only read. Your
    own verdicts and notes stay as they are: both are kept, and shown side by
    side. u on the screen takes it back as a whole. Where both of you decided
    and not alike is listed; vlmscope stats has how far you agree.
    """
    store = opened(scan)
    path = user_path(notebook)
    own_path = path_of_notebook(store)
    if path.exists() and own_path.exists() and path.samefile(own_path):
        raise UsageError(f"{path} is your own notebook of this scan.", "Name the notebook of another person.")
    name = clean_person(_name(path, own_path) if person is None else person)
    with Notebook.open_copy(path, store.manifest.scan_id, poled=store.numbering.poled) as theirs:
        found = theirs.own_reviews(name)
    reviews = {at: one for at, one in found.items() if store.numbering.has(at)}
    with open_notebook(store) as own:
        taken = own.take_in(name, reviews, str(path))
        agreement = next(one for one in agreements(own) if one.colleague.person == name)
    note(f"nothing new in {path}" if taken is None else f"took in {name}'s notes on {counted(taken, 'neuron')}")
    if json:
        output.write_json(agreement_json(agreement) | {"neurons": [_pair_json(pair) for pair in agreement.pairs]})
    else:
        output.write_lines(list(_text(agreement)))


def _name(path: Path, own: Path) -> str:
    """A person's name of a file's: ``ana.notebook.sqlite`` is ana's.

    Raises:
        UsageError: if the file has the name that vlmscope gives to notebooks of this scan.
    """
    if path.name == own.name:
        raise UsageError(f"{path} does not name a person.", "Name the person: --as NAME")
    return path.name.split(".")[0] or path.name


def _pair_json(pair: Pair) -> dict[str, object]:
    sides = {"own": _review_json(pair.own), "other": _review_json(pair.other)}
    return {"neuron": str(pair.neuron), "conflict": pair.is_conflict, **sides}


def _review_json(one: Review | None) -> dict[str, object] | None:
    if one is None:
        return None
    verdict = None if one.verdict is None else one.verdict.value
    return {"verdict": verdict, "bookmark": one.bookmark, "tags": one.tags, "note": one.note}


def _text(found: Agreement) -> Iterator[Text]:
    """How far both agree, then every conflict."""
    yield output.row(agreement_line(found))
    person = plain(found.colleague.person, 12)
    rows = [(str(pair.neuron), _side(pair.own), _side(pair.other)) for pair in found.conflicts]
    if not rows:
        yield output.row("No conflict.")
        return
    width = max(len("neuron"), *(len(address) for address, _, _ in rows)) + 2
    yield output.row()
    yield output.row(f"{'neuron':<{width}}{'you':<{SHOWN + 12}}{person}")
    for address, own, other in rows:
        yield output.row(f"{address:<{width}}{own:<{SHOWN + 12}}{other}")


def _side(one: Review | None) -> str:
    if one is None or one.verdict is None:
        return ""
    return f"{one.verdict.value:<8}{plain(one.note, SHOWN)}"
