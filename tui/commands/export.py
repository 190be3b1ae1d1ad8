"""``vlmscope export``: a report on the neurons that were decided on, as Markdown or JSON with pictures."""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from vlmscope.core.base.errors import ReportError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.report.select import NeuronChoice, chosen
from vlmscope.core.report.write import SAMPLES, Format, check_report_folder, write_report
from vlmscope.tui.commands.shared.notes import Notes, note, progress
from vlmscope.tui.commands.shared.open_arg import kept_notebook, opened
from vlmscope.tui.commands.shared.options import LABEL_WORDS, LabelThresholds, ScanArgument, label_option, number

WHICH = "Which neurons (all that is given must be true)"
ANY = "any"
VERDICTS = {verdict.value: (verdict,) for verdict in Verdict} | {ANY: tuple(Verdict)}
FORMATS = {form.value: form for form in Format}


def export(
    *,
    scan: ScanArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="A folder that is not there yet, or empty.", show_default=False)
    ],
    verdict: Annotated[
        str | None,
        typer.Option("--verdict", help=f"{', '.join(VERDICTS)}.", metavar="VERDICT", rich_help_panel=WHICH),
    ] = None,
    label: Annotated[Label | None, label_option(f"{', '.join(LABEL_WORDS)}.", WHICH)] = None,
    high_confidence_only: Annotated[
        bool, typer.Option("--high-confidence-only", help="Of a high-confidence label.", rich_help_panel=WHICH)
    ] = False,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="TAG", help="With this tag.", rich_help_panel=WHICH)
    ] = None,
    bookmarked: Annotated[bool, typer.Option("--bookmarked", help="With a bookmark.", rich_help_panel=WHICH)] = False,
    checked: Annotated[
        bool, typer.Option("--checked", help="With a causal check of its own.", rich_help_panel=WHICH)
    ] = False,
    neurons: Annotated[
        list[str] | None,
        typer.Option("--neuron", metavar="ADDRESS", help="Such as L3/N17; may be repeated.", rich_help_panel=WHICH),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            "--samples",
            parser=number("--samples", str(SAMPLES), int),
            metavar="COUNT",
            help="Top samples of each neuron, with pictures where the scan keeps maps.",
        ),
    ] = SAMPLES,
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help=f"{', '.join(FORMATS)}.")] = "markdown",
    thresholds: LabelThresholds,
) -> None:
    """Write a report on the neurons that were kept.

    The report is DIR/report.md with its pictures, or DIR/report.json. Without
    --verdict, --tag, --bookmarked, --checked or --neuron it is on those with
    the verdict keep.
    """
    named = [Neuron.parse(address) for address in neurons] if neurons else None
    if verdict is not None and verdict not in VERDICTS:
        raise UsageError(f"--verdict is {verdict!r}, not a verdict.", f"Verdicts: {', '.join(VERDICTS)}.")
    if tag is not None and not tag.strip():
        raise UsageError("--tag is empty.", "Name one of your tags.")
    if verdict is None and tag is None and not (bookmarked or checked) and named is None:
        verdict = Verdict.KEEP.value
    verdicts = None if verdict is None else VERDICTS[verdict]
    choice = NeuronChoice(verdicts, label, high_confidence_only, tag, bookmarked, checked)
    if form not in FORMATS:
        raise UsageError(f"--format is {form!r}, not a format of reports.", f"Formats: {', '.join(FORMATS)}.")
    if samples < 0:
        raise UsageError(f"--samples is {samples}.", "Write --samples 0 for a report without samples.")
    store = opened(scan)
    at = thresholds.of(store)
    check_report_folder(out)
    with kept_notebook(store) as notebook, ExitStack() as bars:
        found = chosen(store, notebook, at, choice, named)
        if not found:
            raise _nothing(scan, choice, named, notebook)
        notes = Notes()
        report = bars.enter_context(progress(notes, hidden=not notes.is_terminal))
        written = write_report(
            out,
            store,
            notebook,
            found,
            at,
            FORMATS[form],
            when=datetime.now(UTC),
            samples=samples,
            progress=lambda done, of: report("neurons", done, of),
        )
    counts = f"{written.neurons} neurons and {written.pictures} pictures, {written.bytes / 1024:,.0f} KiB"
    note(f"wrote {written.file}: {counts}")


def _nothing(scan: str, choice: NeuronChoice, named: list[Neuron] | None, notebook: Notebook | None) -> ReportError:
    """Why there is nothing to report, and what to do."""
    if named is None and (notebook is None or not (notebook.marks() or notebook.checked_neurons())):
        what = "Nothing was noted on this scan yet"
    elif choice == NeuronChoice(verdicts=VERDICTS[Verdict.KEEP]):
        what = "No neuron of this scan is kept"
    else:
        what = "No neuron is all that was asked for"
    return ReportError(
        f"{what}: there is nothing to report.",
        f"Decide on the screen with the keys 1 to 4, or: vlmscope verdict {scan} L3/N17 keep\n"
        "Others than the kept ones: --verdict any, --bookmarked, --checked, --tag TAG or --neuron ADDRESS.",
    )
