"""``vlmscope simulate``: predict activations from explanations, and score these by it."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from vlmscope.core.base.clock import now
from vlmscope.core.base.config import Config, load_config
from vlmscope.core.base.errors import ApiError, UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.llm.access import key_problem
from vlmscope.core.llm.budget import Ledger, dollars, total
from vlmscope.core.llm.client import Chat
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.scoring.candidates import borrowed, own_explanation
from vlmscope.core.scoring.held_out import held_out
from vlmscope.core.scoring.protocol import Simulator
from vlmscope.core.scoring.report import ScoreReport, score_words
from vlmscope.core.scoring.run import Result, RunEnd, Status, pick_explanation, run
from vlmscope.core.scoring.simulators.api_text import ApiText, estimate_samples
from vlmscope.core.scoring.simulators.registry import BACKENDS, DEFAULT, Tools, make_simulator
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import ModelSpec, ModelStatus, Phase
from vlmscope.core.worker.process import ModelProcess
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.neuron_args import AddressesArgument, LabelOption, LimitOption, TopKOption, pick
from vlmscope.tui.commands.shared.open_arg import opened
from vlmscope.tui.commands.shared.options import MODEL, JsonOption, ScanArgument
from vlmscope.tui.commands.shared.progress_bars import talk_to_user

INTERRUPTED = "What is finished is in the notebook; the same command again goes on."


def simulate(
    *,
    scan: ScanArgument,
    addresses: AddressesArgument = None,
    top_k: TopKOption = None,
    label: LabelOption = None,
    limit: LimitOption = None,
    backend: Annotated[str, typer.Option("--backend", help=f"Who predicts: {', '.join(BACKENDS)}.")] = DEFAULT,
    explanation: Annotated[
        str | None,
        typer.Option(
            "--explanation",
            metavar="TEXT|ID|ADDRESS",
            help="Words to score, an explanation's number in the notebook, or another neuron's address.",
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Score what has a score already, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Pay for api-text without asking.")] = False,
    json: JsonOption = False,
    device: Annotated[
        str | None,
        typer.Option("--device", help="Where the scanned model runs: auto, cpu, cuda, mps.", rich_help_panel=MODEL),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="auto, float32, bfloat16, float16.", rich_help_panel=MODEL)
    ] = None,
) -> None:
    """Predict neurons' activations from their explanations, and correlate them with the true ones.

    Scored are the explanation that leads in the notebook, or else the neuron's concept words, on samples that it was
    not written from: 20 top ones and 20 random ones. Scores go into the scan's notebook.
    """
    config = load_config()
    store = opened(scan)
    labels = store.stored_labels()
    neurons = pick(addresses or [], top_k, label, limit, store, labels)
    manifest = store.manifest
    spec = ModelSpec(
        manifest.model.name,
        manifest.model.revision,
        device or config.device,
        dtype or config.dtype,
        manifest.hook,
    )
    talk = talk_to_user()
    place = notebook_path(manifest.scan_id, store.folder, config.notebooks)
    with Notebook.open(place, manifest.scan_id) as notebook:
        wanted = None if explanation is None else _wanted(explanation, neurons, store, notebook, talk)
        if backend == ApiText.name:
            _agree(neurons, store, notebook, wanted, config, yes, talk)
        try:
            end = asyncio.run(_run(neurons, store, spec, backend, notebook, wanted, again, talk, config))
        except KeyboardInterrupt:
            talk.print(INTERRUPTED, soft_wrap=True)
            raise
    _report(end, labels, json, talk)


def _wanted(said: str, neurons: list[Neuron], store: ScanStore, notebook: Notebook, talk: Console) -> Explanation:
    """What ``--explanation`` stands for.

    Raises:
        UsageError: if it is empty, or there is no such explanation.
    """
    said = said.strip()
    if not said:
        raise UsageError("--explanation is empty.", "Write words, such as --explanation 'red trains'.")
    if said.isdecimal():
        for neuron in notebook.marks():
            for saved in notebook.explanations(neuron):
                if saved.id == int(said):
                    talk.print(f"explanation {said} is of {neuron}", soft_wrap=True)
                    return saved.explanation if neurons == [neuron] else borrowed(saved.explanation, neuron)
        raise UsageError(f"The notebook has no explanation {said}.", "Words in quotes are scored as they are.")
    try:
        other = Neuron.parse(said)
    except UsageError:
        return own_explanation(said, store, now())
    found = pick_explanation(store, notebook, other.check_within(store.layers, store.neurons))
    if found is None:
        raise UsageError(f"{other} has no explanation and no concept words.", "Name another neuron, or write words.")
    return borrowed(found, other)


def _agree(
    neurons: list[Neuron],
    store: ScanStore,
    notebook: Notebook,
    wanted: Explanation | None,
    config: Config,
    yes: bool,
    talk: Console,
) -> None:
    """Say what an API will cost at most, and ask whether to go on.

    Raises:
        ApiError: if there is no key.
        UsageError: if nobody can be asked.
        typer.Exit: if the answer is no.
    """
    problem = key_problem(config.api)
    if problem:
        raise ApiError(problem, f"The backend {DEFAULT} needs no server.")
    costs = []
    for neuron in neurons:
        said = pick_explanation(store, notebook, neuron, wanted)
        if said is not None and said.pattern_found:
            costs.append(estimate_samples(said, held_out(store, neuron, said.samples, paid=True), config.api))
    cost = total(costs)
    talk.print(
        plain(
            f"{len(costs)} neurons to score with {config.api.model}, {cost.requests} requests: at most about "
            f"{cost.input_tokens:,} tokens in and {cost.output_tokens_at_most:,} out, {dollars(cost.usd)}"
        ),
        soft_wrap=True,
    )
    if config.api.budget_usd and cost.usd is not None and cost.usd > config.api.budget_usd:
        talk.print(
            f"budget_usd is {dollars(config.api.budget_usd)}: the run may end before all are scored", soft_wrap=True
        )
    output.may_be_paid(talk, yes)


def _check(wanted: Explanation, simulator: Simulator, store: ScanStore) -> None:
    """UsageError if the backend can look for nothing in these words."""
    if simulator.search_phrases(wanted):
        return
    similar = () if store.concepts is None else store.concepts.similar(wanted.text)
    raise UsageError(
        f"{simulator.name} can look for nothing in {plain(wanted.text)!r}: it knows none of these words.",
        f"Similar words: {', '.join(map(plain, similar))}." if similar else "Use words of the scan's concepts.",
    )


class _Bar:
    """How far it is, on stderr: neurons, and the samples of the present one."""

    def __init__(self, talk: Console, total: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        # A bar has no place in a log: elsewhere than on a terminal the summary is enough.
        self.bars = Progress(*columns, console=talk, disable=not talk.is_terminal)
        self.neurons = self.bars.add_task("neurons", total=total)
        self.samples = self.bars.add_task("samples", total=None)

    def model(self, status: ModelStatus) -> None:
        """Loading takes a while: say so."""
        loading = status.phase in (Phase.STARTING, Phase.LOADING)
        self.bars.update(self.neurons, description=f"model: {plain(status.detail, 40)}" if loading else "neurons")

    def sample(self, done: int, of: int) -> None:
        self.bars.update(self.samples, completed=done, total=of)

    def step(self, _: Result) -> None:
        self.bars.advance(self.neurons)


async def _run(
    neurons: list[Neuron],
    store: ScanStore,
    spec: ModelSpec,
    backend: str,
    notebook: Notebook,
    wanted: Explanation | None,
    again: bool,
    talk: Console,
    config: Config,
) -> RunEnd:
    bar = _Bar(talk, len(neurons))
    model = ModelProcess(spec, bar.model, idle_unload_s=0)
    chat, ledger = Chat(config.api), Ledger(config.api.budget_usd)
    try:
        simulator = make_simulator(backend, Tools(store, model, config, chat, ledger))
        if wanted is not None:
            _check(wanted, simulator, store)
        with bar.bars:
            end = await run(
                neurons,
                store,
                simulator,
                model,
                notebook,
                wanted=wanted,
                again=again,
                on_result=bar.step,
                on_sample=bar.sample,
            )
        if isinstance(simulator, ApiText) and simulator.warning:
            talk.print(plain(simulator.warning), soft_wrap=True)
        return end
    finally:
        if ledger.spent_usd or ledger.unpriced:
            unpriced = f" and {ledger.unpriced} requests of unknown price" if ledger.unpriced else ""
            talk.print(f"billed: {dollars(ledger.spent_usd)}{unpriced}", soft_wrap=True)
        await chat.close()
        await model.close()


def _report(end: RunEnd, labels: Labels, as_json: bool, talk: Console) -> None:
    """Write a run's results.

    Raises:
        VlmscopeError: what ended the run early, or that nothing was scored at all.
    """
    if as_json:
        output.write_json([_as_json(result, _label(labels, result.neuron)) for result in end.results])
    else:
        lines = [
            _line(result, result.report, _label(labels, result.neuron))
            for result in end.results
            if result.report is not None
        ]
        if lines:
            output.write_lines(output.console(), lines)
    for note in dict.fromkeys(result.report.note for result in end.results if result.report is not None):
        if note:
            talk.print(plain(note), soft_wrap=True)
    for result in end.results:
        if result.report is None:
            talk.print(plain(f"{result.neuron} {result.status.value}: {result.reason}"), soft_wrap=True)
        elif result.report.failures and result.status is Status.SCORED:
            missing = len({failure.sample for failure in result.report.failures})
            reasons = list(dict.fromkeys(failure.reason for failure in result.report.failures))
            more = f" and {len(reasons) - 1} other reasons" if len(reasons) > 1 else ""
            talk.print(plain(f"{result.neuron}: {missing} samples left out: {reasons[0]}{more}"), soft_wrap=True)
    counts = [(status, sum(result.status is status for result in end.results)) for status in Status]
    without = sum(result.report is not None and _undefined(result.report) for result in end.results)
    note = f" ({without} of them n/a)" if without else ""
    talk.print(", ".join(f"{count} {status.value}" for status, count in counts if count) + note, soft_wrap=True)
    if end.stopped is not None:
        raise end.stopped
    if all(result.report is None for result in end.results):
        raise VlmscopeError("No neuron was scored.", "The reasons are listed above.")


def _undefined(report: ScoreReport) -> bool:
    """Whether no kind of token has a score."""
    found = (report.headline(kind) for kind in report.pooled)
    return all(pooled is None or pooled.score is None for pooled in found)


def _label(labels: Labels, neuron: Neuron) -> Label:
    return Label(int(labels.label[neuron.layer, neuron.index]))


def _as_json(result: Result, label: Label) -> dict[str, object]:
    return {
        "neuron": str(result.neuron),
        "label": label.word,
        "status": result.status.value,
        "explanation": None if result.explanation is None else result.explanation.text,
        "reason": result.reason,
        "report": None if result.report is None else result.report.to_json(),
    }


def _line(result: Result, report: ScoreReport, label: Label) -> Text:
    line = Text(f"{result.neuron!s:<12}", no_wrap=True)
    line.append(f"{label.word:<11}", style=output.COLOURS[label])
    for kind in report.pooled:
        found = report.headline(kind)
        if found is not None:
            line.append(f"{kind.value} {score_words(found)}  ")
    line.append(plain(report.explanation))
    return line
