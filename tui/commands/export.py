"""``vlmscope export``: a report on the neurons that were decided on, as Markdown or JSON with pictures."""

import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from vlmscope.core.base.config import load_config
from vlmscope.core.base.errors import ReportError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.report.select import NeuronChoice, chosen
from vlmscope.core.report.write import SAMPLES, Format, check_report_folder, write_report
from vlmscope.tui.commands.shared.open_arg import opened
from vlmscope.tui.commands.shared.options import (
    HighConfidenceOption,
    NtOption,
    NvOption,
    ScanArgument,
    TtOption,
    TvOption,
    replaced,
    whole,
)
from vlmscope.tui.commands.shared.progress_bars import talk_to_user

WHICH = "Which neurons (all that is given must be true)"
ANY = "any"
VERDICTS = {verdict.value: (verdict,) for verdict in Verdict} | {ANY: tuple(Verdict)}
LABELS = {which.word: which for which in Label}
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
    label: Annotated[
        str | None, typer.Option("--label", metavar="LABEL", help=f"{', '.join(LABELS)}.", rich_help_panel=WHICH)
    ] = None,
    high_confidence_only: Annotated[
        bool, typer.Option("--high-confidence-only", help="Of a high-confidence label.", rich_help_panel=WHICH)
    ] = False,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="TAG", help="With this tag.", rich_help_panel=WHICH)
    ] = None,
    bookmarked: Annotated[bool, typer.Option("--bookmarked", help="With a bookmark.", rich_help_panel=WHICH)] = False,
    neurons: Annotated[
        list[str] | None,
        typer.Option("--neuron", metavar="ADDRESS", help="Such as L3/N17; may be repeated.", rich_help_panel=WHICH),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            "--samples",
            parser=whole("--samples", str(SAMPLES)),
            metavar="COUNT",
            help="Top samples of each neuron, with pictures where the scan keeps maps.",
        ),
    ] = SAMPLES,
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help=f"{', '.join(FORMATS)}.")] = "markdown",
    Tv: TvOption = None,
    nv: NvOption = None,
    Tt: TtOption = None,
    nt: NtOption = None,
    high_confidence: HighConfidenceOption = None,
) -> None:
    """Write a report on the neurons that were kept.

    The report is DIR/report.md with its pictures, or DIR/report.json. Without
    --verdict, --tag, --bookmarked or --neuron it is on those with the verdict
    keep.
    """
    named = [Neuron.parse(address) for address in neurons] if neurons else None
    choice = _choice(verdict, label, high_confidence_only, tag, bookmarked, named)
    if form not in FORMATS:
        raise UsageError(f"--format is {form!r}, no format of reports.", f"Formats: {', '.join(FORMATS)}.")
    if samples < 0:
        raise UsageError(f"--samples is {samples}.", "Write --samples 0 for a report without samples.")
    store = opened(scan)
    thresholds = replaced(
        store.manifest.thresholds.value(), Tv=Tv, nv=nv, Tt=Tt, nt=nt, high_confidence=high_confidence
    )
    check_report_folder(out)
    path = notebook_path(store.manifest.scan_id, store.folder, load_config().notebooks)
    with ExitStack() as stack:
        notebook = stack.enter_context(Notebook.open(path, store.manifest.scan_id)) if path.exists() else None
        found = chosen(store, notebook, thresholds, choice, named)
        if not found:
            raise _nothing(scan, choice, named, notebook)
        talk = talk_to_user()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        bars = stack.enter_context(Progress(*columns, console=talk, disable=not talk.is_terminal))
        task = bars.add_task("neurons", total=len(found))
        written = write_report(
            out,
            store,
            notebook,
            found,
            thresholds,
            FORMATS[form],
            when=datetime.now(UTC),
            samples=samples,
            progress=lambda done, _: bars.update(task, completed=done),
        )
    counts = f"{written.neurons} neurons and {written.pictures} pictures, {written.bytes / 1024:,.0f} KiB"
    print(f"wrote {plain(str(written.file))}: {counts}", file=sys.stderr)


def _choice(
    verdict: str | None,
    label: str | None,
    high_confidence: bool,
    tag: str | None,
    bookmarked: bool,
    named: list[Neuron] | None,
) -> NeuronChoice:
    if verdict is not None and verdict not in VERDICTS:
        raise UsageError(f"--verdict is {verdict!r}, no verdict.", f"Verdicts: {', '.join(VERDICTS)}.")
    if label is not None and label not in LABELS:
        raise UsageError(f"--label is {label!r}, not a label.", f"Labels: {', '.join(LABELS)}.")
    if tag is not None and not tag.strip():
        raise UsageError("--tag is empty.", "Name one of your tags.")
    if verdict is None and tag is None and not bookmarked and named is None:
        verdict = Verdict.KEEP.value
    return NeuronChoice(
        verdicts=None if verdict is None else VERDICTS[verdict],
        label=None if label is None else LABELS[label],
        high_confidence=high_confidence,
        tag=tag,
        bookmarked=bookmarked,
    )


def _nothing(scan: str, choice: NeuronChoice, named: list[Neuron] | None, notebook: Notebook | None) -> ReportError:
    """Why there is nothing to report, and what to do."""
    if named is None and (notebook is None or not notebook.marks()):
        what = "Nothing was noted on this scan yet"
    elif choice == NeuronChoice(verdicts=VERDICTS[Verdict.KEEP]):
        what = "No neuron of this scan is kept"
    else:
        what = "No neuron is all that was asked for"
    return ReportError(
        f"{what}: there is nothing to report.",
        f"Decide on the screen with the keys 1 to 4, or: vlmscope verdict {scan} L3/N17 keep\n"
        "Others than the kept ones: --verdict any, --bookmarked, --tag TAG or --neuron ADDRESS.",
    )
