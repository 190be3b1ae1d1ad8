"""``vlmscope explain``: ask a model what neurons respond to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from vlmscope.core.analysis.statistics import labels_at
from vlmscope.core.base.batch import BatchEnd
from vlmscope.core.base.config import Api, load_config
from vlmscope.core.base.errors import ApiError, UsageError
from vlmscope.core.explain.evidence import Evidence, complete, gather
from vlmscope.core.explain.prompt import estimate
from vlmscope.core.explain.run import ExplainResult, known_explanation, run
from vlmscope.core.explain.silent import contrast_problem
from vlmscope.core.llm.access import host, key_problem
from vlmscope.core.llm.budget import CostOffer, Ledger, total
from vlmscope.core.llm.client import Chat
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.core.worker.process import ModelProcess
from vlmscope.tui.commands.explain_output import DryRun, report
from vlmscope.tui.commands.shared.neuron_options import NeuronOptions
from vlmscope.tui.commands.shared.neuron_run import RunBar, agree, agree_to_download, run_and_keep, trust_images
from vlmscope.tui.commands.shared.notes import Notes
from vlmscope.tui.commands.shared.open_arg import open_notebook, opened
from vlmscope.tui.commands.shared.options import (
    JsonOption,
    ScanArgument,
    ScannedModelOptions,
    ThresholdOptions,
    TrustImagesOption,
)


def explain(
    *,
    scan: ScanArgument,
    which: NeuronOptions,
    model: Annotated[str | None, typer.Option("--model", help="Who explains, such as gpt-4o.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing: write the requests and the cost.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Where --dry-run writes requests and pictures.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the first paid request.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Ask, and pay, for explained neurons too.")] = False,
    contrast: Annotated[
        bool | None,
        typer.Option("--contrast/--no-contrast", help="Show panel samples too on which the neuron stays silent."),
    ] = None,
    trust: TrustImagesOption = False,
    json: JsonOption = False,
    scanned_model: ScannedModelOptions,
    thresholds: ThresholdOptions,
) -> None:
    """Ask GPT-4o, or a model on another server, what neurons respond to.

    The model sees five top samples of each neuron: the picture, where the
    neuron activates, and the words. The key is read from OPENAI_API_KEY;
    OPENAI_BASE_URL names another server. Answers go into the scan's notebook,
    and are not paid twice.
    """
    config = load_config()
    if model is not None and not model.strip():
        raise UsageError("--model is empty.", "Name a model, such as --model gpt-4o.")
    settings = config.api if model is None else config.api.model_copy(update={"model": model.strip()})
    if out is not None and not dry_run:
        raise UsageError("--out is for --dry-run.", "Answers go into the notebook; --json writes them to stdout.")
    store = opened(scan)
    chosen = thresholds.of(store)
    labels = labels_at(store, chosen)
    neurons, notes = which.pick(store, labels), Notes()
    silent = _silent(store, contrast, settings, notes)
    trust_images(store, neurons, trust, notes)
    evidence = [gather(store, neuron, labels.of(neuron), silent, chosen) for neuron in neurons]
    spec = scanned_model.spec(store.manifest, config)
    if dry_run:
        if any(item.wants_model for item in evidence):
            agree_to_download(spec, scanned_model.download, notes)
        written = DryRun(settings, out)
        asyncio.run(_dry_run(evidence, store, spec, written, notes))
        written.finish(notes)
        return
    with open_notebook(store) as notebook:
        pending = [item for item in evidence if again or not known_explanation(notebook, item, settings.model)]
        if pending:
            _agree(pending, len(evidence), settings, yes, notes)
        if any(item.wants_model for item in pending):
            agree_to_download(spec, scanned_model.download, notes)
        work = _run(evidence, store, spec, settings, notebook, again, notes)
        end = run_and_keep(work, notes, "goes on and pays nothing twice")
    report(end, json, notes)


def _silent(store: ScanStore, asked: bool | None, settings: Api, notes: Notes) -> int:
    """How many silent samples are shown at most; where only the settings ask for what the scan lacks, none.

    Raises:
        StoreError: if the command line asks for what the scan lacks.
    """
    if not (settings.contrast if asked is None else asked):
        return 0
    problem = contrast_problem(store)
    if problem is None:
        return settings.contrast_samples
    if asked:
        raise problem
    notes.write(f"No contrast: {problem}")
    return 0


def _agree(pending: Sequence[Evidence], of: int, settings: Api, yes: bool, notes: Notes) -> None:
    """Check that requests can be sent, and ask whether the user agrees to their cost."""
    problem = key_problem(settings)
    if problem:
        raise ApiError(problem, "Concepts need no server: vlmscope search SCAN WORD finds neurons by them.")
    offer = CostOffer(total(estimate(item, settings) for item in pending), settings)
    prices = f" (prices: {offer.cost.price_date})" if offer.cost.price_date else ""
    neurons = f"{len(pending)} of {of} neurons to explain with {settings.model} at {host(settings)}"
    agree(offer, f"{neurons}: {offer.short}{prices}", "explained", notes, yes, ", or look with --dry-run")


@asynccontextmanager
async def _at_work(
    evidence: Sequence[Evidence], spec: ModelSpec, notes: Notes
) -> AsyncIterator[tuple[RunBar, ModelProcess | None]]:
    """A bar, and the scanned model if there are pictures to show to it; it loads at the first one."""
    bar = RunBar(notes, "explaining", len(evidence))
    process = None
    if any(item.wants_model for item in evidence):
        process = ModelProcess(spec, bar.show_model, idle_unload_s=0)
    with bar.bars:
        try:
            yield bar, process
        finally:
            if process is not None:
                await process.close()


async def _dry_run(
    evidence: Sequence[Evidence], store: ScanStore, spec: ModelSpec, written: DryRun, notes: Notes
) -> None:
    async with _at_work(evidence, spec, notes) as (bar, model):
        for item in evidence:
            try:
                whole = await complete(item, store, model)
            except ApiError as error:
                written.fail(item, error)
            else:
                written.add(whole)
            bar.step()


async def _run(
    evidence: Sequence[Evidence],
    store: ScanStore,
    spec: ModelSpec,
    settings: Api,
    notebook: Notebook,
    again: bool,
    notes: Notes,
) -> BatchEnd[ExplainResult]:
    async with Chat(settings) as chat, _at_work(evidence, spec, notes) as (bar, model):
        return await run(
            evidence,
            store,
            chat,
            Ledger(settings.budget_usd),
            notebook,
            model=model,
            at_once=settings.requests_at_once,
            again=again,
            on_result=bar.step,
        )
