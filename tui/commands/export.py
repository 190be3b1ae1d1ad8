"""``vlmscope export``: the neurons that were decided on, as a report, or in the layout of another tool."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from vlmscope.core.analysis.statistics import labels_at
from vlmscope.core.base.callbacks import OnCount
from vlmscope.core.base.config import load_config
from vlmscope.core.base.errors import ReportError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.spelling import nearest
from vlmscope.core.base.text import counted
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.report.folder import check_report_folder
from vlmscope.core.report.select import NeuronChoice, chosen
from vlmscope.core.report.write import SAMPLES, Format, write_report
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Lane
from vlmscope.core.worker.messages import ModelSpec, VectorRequest
from vlmscope.core.worker.process import ModelProcess
from vlmscope.tui.commands.shared.neuron_run import RunBar, agree_to_download
from vlmscope.tui.commands.shared.notes import Notes, note, progress
from vlmscope.tui.commands.shared.open_arg import kept_notebook, opened
from vlmscope.tui.commands.shared.options import (
    LABEL_WORDS,
    LabelThresholds,
    ScanArgument,
    ScannedModelOptions,
    label_option,
    number,
)
from vlmscope.tui.commands.shared.views import neurons_of_view, view_option
from vlmscope.tui.views.saved import saved_view

WHICH = "Which neurons (all that is given must be true)"
ANY = "any"
VERDICTS = {verdict.value: (verdict,) for verdict in Verdict} | {ANY: tuple(Verdict)}
REPORTS = {form.value: form for form in Format}
NEURONPEDIA, DELPHI = "neuronpedia", "delphi"
FORMATS = (*REPORTS, NEURONPEDIA, DELPHI)


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
        typer.Option(
            "--neuron",
            metavar="ADDRESS",
            help="Such as L3/N17; may be repeated. Where a scan has both poles, L3/N17 is both.",
            rich_help_panel=WHICH,
        ),
    ] = None,
    view: Annotated[str | None, view_option("Of a saved view.", WHICH)] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            parser=number("--samples", str(SAMPLES), int),
            metavar="COUNT",
            help="Top samples of each neuron, with pictures where the scan keeps maps; default: "
            f"{SAMPLES}, and for neuronpedia all with maps.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help=f"{', '.join(FORMATS)}.")] = "markdown",
    vectors: Annotated[
        bool,
        typer.Option("--vectors", help="For neuronpedia: with what each neuron writes, for which the model is loaded."),
    ] = False,
    thresholds: LabelThresholds,
    scanned_model: ScannedModelOptions,
) -> None:
    """Write a report on the neurons that were kept, or export them for another tool.

    The report is DIR/report.md with its pictures, or DIR/report.json. With
    --format neuronpedia DIR is what Neuronpedia's importer reads, with
    --format delphi a folder of results as EleutherAI's delphi has them. Without
    --verdict, --tag, --bookmarked, --checked, --neuron or --view it is on those with the
    verdict keep.
    """
    named = [Neuron.parse(address) for address in neurons] if neurons else None
    if verdict is not None and verdict not in VERDICTS:
        raise UsageError(
            f"--verdict is {verdict!r}, not a verdict.", f"{nearest(verdict, VERDICTS)}Verdicts: {', '.join(VERDICTS)}."
        )
    if tag is not None and not tag.strip():
        raise UsageError("--tag is empty.", "Name one of your tags.")
    if verdict is None and tag is None and not (bookmarked or checked or view) and named is None:
        verdict = Verdict.KEEP.value
    verdicts = None if verdict is None else VERDICTS[verdict]
    choice = NeuronChoice(verdicts, label, high_confidence_only, tag, bookmarked, checked)
    if form not in FORMATS:
        raise UsageError(
            f"--format is {form!r}, not a format.", f"{nearest(form, FORMATS)}Formats: {', '.join(FORMATS)}."
        )
    if samples is not None and samples < 0:
        raise UsageError(f"--samples is {samples}.", "Write --samples 0 for a report without samples.")
    if vectors and form != NEURONPEDIA:
        raise UsageError(f"--vectors goes with --format {NEURONPEDIA}.", "Leave it out.")
    store = opened(scan)
    saved = None if view is None else saved_view(view)
    at = thresholds.of(store) if saved is None else thresholds.over(saved.at(store))
    if view is not None:
        listed = neurons_of_view(store, view, labels_at(store, at))
        named = listed if named is None else [one for one in named if one in set(listed)]
    check_report_folder(out)
    with kept_notebook(store) as notebook, ExitStack() as bars:
        each = None if named is None else [one for neuron in named for one in store.numbering.each(neuron)]
        found = chosen(store, notebook, at, choice, each)
        if not found:
            raise _nothing(scan, choice, named, notebook)
        notes = Notes()
        columns: dict[Neuron, list[float]] = {}
        if vectors:
            spec = scanned_model.spec(store.manifest, load_config())
            agree_to_download(spec, scanned_model.download, notes)
            columns = asyncio.run(_columns(spec, found, notes))
        report = bars.enter_context(progress(notes, hidden=not notes.is_terminal))

        def done(so_far: int, of: int) -> None:
            report("neurons", so_far, of)

        counts = _write(out, form, store, notebook, found, at, samples, columns, done)
    note(f"wrote {counts}")


def _write(
    out: Path,
    form: str,
    store: ScanStore,
    notebook: Notebook | None,
    neurons: Sequence[Neuron],
    at: Thresholds,
    samples: int | None,
    vectors: Mapping[Neuron, Sequence[float]],
    progress: OnCount,
) -> str:
    """Write ``out``; return what was written."""
    when = datetime.now(UTC)
    if form == NEURONPEDIA:
        from vlmscope.core.report.neuronpedia import write_neuronpedia

        found = write_neuronpedia(
            out, store, notebook, neurons, at, when=when, samples=samples, vectors=vectors, progress=progress
        )
    elif form == DELPHI:
        from vlmscope.core.report.delphi import write_delphi

        found = write_delphi(out, store, notebook, neurons, at, progress=progress)
    else:
        count = SAMPLES if samples is None else samples
        written = write_report(
            out, store, notebook, neurons, at, REPORTS[form], when=when, samples=count, progress=progress
        )
        found_in = f"{counted(written.neurons, 'neuron')} and {counted(written.pictures, 'picture')}"
        return f"{written.file}: {found_in}, {written.bytes / 1024:,.0f} KiB"
    return f"{out}: {', '.join(f'{count:,} {name}' for name, count in found.items())}"


async def _columns(spec: ModelSpec, neurons: Sequence[Neuron], notes: Notes) -> dict[Neuron, list[float]]:
    """What each neuron adds to the residual stream, by the model."""
    bar = RunBar(notes, "vectors", len(neurons))
    model = ModelProcess(spec, bar.show_model, idle_unload_s=0)
    found: dict[Neuron, list[float]] = {}
    try:
        with bar.bars:
            for neuron in neurons:
                answer = await model.ask(VectorRequest(neuron), Lane.BACKGROUND)
                found[neuron] = [round(value, 6) for value in answer.vector.tolist()]
                bar.step(neuron)
    finally:
        await model.close()
    return found


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
