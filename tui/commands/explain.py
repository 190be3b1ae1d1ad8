"""``vlmscope explain``: ask a model what neurons answer to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vlmscope.core.analysis.statistics import labels_at
from vlmscope.core.base.config import Api, load_config
from vlmscope.core.base.errors import ApiError, UsageError
from vlmscope.core.base.text import plain
from vlmscope.core.explain.cache import ExplainCache
from vlmscope.core.explain.cost import estimate
from vlmscope.core.explain.evidence import Evidence, complete, gather
from vlmscope.core.explain.run import RunEnd, known_explanation, run
from vlmscope.core.llm.access import base_url, key_problem
from vlmscope.core.llm.budget import Ledger, dollars, total
from vlmscope.core.llm.client import Chat
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import ModelSpec, ModelStatus, Phase
from vlmscope.core.worker.process import ModelProcess
from vlmscope.tui.commands.explain_output import DryRun, report
from vlmscope.tui.commands.shared.neuron_args import AddressesArgument, LabelOption, LimitOption, TopKOption, pick
from vlmscope.tui.commands.shared.open_arg import opened
from vlmscope.tui.commands.shared.options import (
    MODEL,
    JsonOption,
    NtOption,
    NvOption,
    ScanArgument,
    TtOption,
    TvOption,
    replaced,
)
from vlmscope.tui.commands.shared.output import may_be_paid
from vlmscope.tui.commands.shared.progress_bars import talk_to_user

INTERRUPTED = "What is finished is in the notebook; the same command again goes on and pays nothing twice."


def explain(
    *,
    scan: ScanArgument,
    addresses: AddressesArgument = None,
    top_k: TopKOption = None,
    label: LabelOption = None,
    limit: LimitOption = None,
    model: Annotated[str | None, typer.Option("--model", help="Who explains, such as gpt-4o.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing: write the requests and the cost.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Where --dry-run writes requests and pictures.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the first paid request.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Ask, and pay, for explained neurons too.")] = False,
    json: JsonOption = False,
    device: Annotated[
        str | None,
        typer.Option("--device", help="Where the scanned model runs: auto, cpu, cuda, mps.", rich_help_panel=MODEL),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="auto, float32, bfloat16, float16.", rich_help_panel=MODEL)
    ] = None,
    Tv: TvOption = None,
    nv: NvOption = None,
    Tt: TtOption = None,
    nt: NtOption = None,
) -> None:
    """Ask GPT-4o, or a model on another server, what neurons answer to.

    It is shown five top samples of each: the picture, where the neuron activates, and the words. The key is read from
    OPENAI_API_KEY; OPENAI_BASE_URL names another server. Answers go into the scan's notebook, and are not paid twice.
    """
    config = load_config()
    settings = _settings(config.api, model)
    if out is not None and not dry_run:
        raise UsageError("--out is for --dry-run.", "Answers go into the notebook; --json writes them to stdout.")
    store = opened(scan)
    labels = labels_at(store, replaced(store.manifest.thresholds.value(), Tv=Tv, nv=nv, Tt=Tt, nt=nt))
    neurons = pick(addresses or [], top_k, label, limit, store, labels)
    evidence = [gather(store, neuron, Label(int(labels.label[neuron.layer, neuron.index]))) for neuron in neurons]
    spec = _spec(store.manifest, device or config.device, dtype or config.dtype)
    talk = talk_to_user()
    if dry_run:
        written = DryRun(settings, out)
        asyncio.run(_dry_run(evidence, store, spec, written, talk))
        written.finish(talk)
        return
    with Notebook.open(
        notebook_path(store.manifest.scan_id, store.folder, config.notebooks), store.manifest.scan_id
    ) as notebook:
        _agree(evidence, notebook, settings, again, yes, talk)
        try:
            end = asyncio.run(_run(evidence, store, spec, settings, notebook, again, talk))
        except KeyboardInterrupt:
            talk.print(INTERRUPTED, soft_wrap=True)
            raise
    report(end, json, talk)


def _settings(api: Api, model: str | None) -> Api:
    if model is None:
        return api
    if not model.strip():
        raise UsageError("--model is empty.", "Name a model, such as --model gpt-4o.")
    return api.model_copy(update={"model": model.strip()})


def _spec(manifest: Manifest, device: str, dtype: str) -> ModelSpec:
    return ModelSpec(manifest.model.name, manifest.model.revision, device, dtype, manifest.hook)


def _agree(
    evidence: Sequence[Evidence], notebook: Notebook, settings: Api, again: bool, yes: bool, talk: Console
) -> None:
    """See that requests can be sent, say what they will cost at most, and ask whether to go on.

    Raises:
        ApiError: if there is no key.
        UsageError: if nobody can be asked.
        typer.Exit: if the answer is no.
    """
    pending = [item for item in evidence if again or not known_explanation(notebook, item.neuron, settings.model)]
    if not pending:
        return
    problem = key_problem(settings)
    if problem:
        raise ApiError(problem, "Concepts need no server: vlmscope search SCAN WORD finds neurons by them.")
    cost = total(estimate(item, settings) for item in pending)
    host = urlsplit(base_url(settings)).netloc.rpartition("@")[2]
    prices = f" (prices: {cost.price_date})" if cost.price_date else ""
    ask = (
        f"{len(pending)} of {len(evidence)} neurons to explain with {settings.model} at {host}: at most about "
        f"{cost.input_tokens:,} tokens in and {cost.output_tokens_at_most:,} out, {dollars(cost.usd)}{prices}"
    )
    talk.print(plain(ask), soft_wrap=True)
    if settings.budget_usd and cost.usd is not None and cost.usd > settings.budget_usd:
        limit = f"budget_usd is {dollars(settings.budget_usd)}: the run may end before all are explained"
        talk.print(limit, soft_wrap=True)
    may_be_paid(talk, yes, ", or look with --dry-run")


class _Bar:
    """How far it is, on stderr."""

    def __init__(self, talk: Console, total: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        # A bar has no place in a log: elsewhere than on a terminal the summary is enough.
        self.bars = Progress(*columns, console=talk, disable=not talk.is_terminal)
        self.task = self.bars.add_task("explaining", total=total)

    def model(self, status: ModelStatus) -> None:
        """Loading takes a while: say so."""
        loading = status.phase in (Phase.STARTING, Phase.LOADING)
        self.bars.update(self.task, description=f"model: {plain(status.detail, 40)}" if loading else "explaining")

    def step(self) -> None:
        self.bars.advance(self.task)


@asynccontextmanager
async def _model(evidence: Sequence[Evidence], spec: ModelSpec, bar: _Bar) -> AsyncIterator[ModelProcess | None]:
    """The scanned model, if there are pictures to show to it; it loads at the first one."""
    if not any(item.wants_model for item in evidence):
        yield None
        return
    process = ModelProcess(spec, bar.model, idle_unload_s=0)
    try:
        yield process
    finally:
        await process.close()


async def _dry_run(
    evidence: Sequence[Evidence], store: ScanStore, spec: ModelSpec, written: DryRun, talk: Console
) -> None:
    bar = _Bar(talk, len(evidence))
    with bar.bars:
        async with _model(evidence, spec, bar) as model:
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
    talk: Console,
) -> RunEnd:
    bar = _Bar(talk, len(evidence))
    with bar.bars:
        async with Chat(settings) as chat, _model(evidence, spec, bar) as model:
            return await run(
                evidence,
                store,
                chat,
                ExplainCache(),
                Ledger(settings.budget_usd),
                notebook,
                model=model,
                at_once=settings.requests_at_once,
                again=again,
                on_result=lambda _: bar.step(),
            )
