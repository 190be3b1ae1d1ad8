"""``vlmscope score``: score explanations by one of several methods."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from vlmscope.core.base.batch import BatchEnd
from vlmscope.core.base.config import load_config
from vlmscope.core.base.errors import ApiError, UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.llm.access import host, key_problem
from vlmscope.core.llm.budget import CostOffer, Ledger, dollars
from vlmscope.core.llm.client import Chat
from vlmscope.core.method.labels import COLOURS, Label, Labels
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.scoring.judge import Judge
from vlmscope.core.scoring.judge_report import JudgeMethod, JudgeReport, judged_words
from vlmscope.core.scoring.judge_run import JudgeResult, estimate_judging, run_judge
from vlmscope.core.scoring.run import ScoreStatus
from vlmscope.core.scoring.simulators.registry import BACKENDS, DEFAULT
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.neuron_options import NeuronOptions
from vlmscope.tui.commands.shared.neuron_run import RunBar, agree, counts_text, run_and_keep
from vlmscope.tui.commands.shared.notes import Notes
from vlmscope.tui.commands.shared.open_arg import open_notebook, opened
from vlmscope.tui.commands.shared.options import JsonOption, ScanArgument, ScannedModelOptions, TrustImagesOption
from vlmscope.tui.commands.simulate import simulate, wanted_explanation


class Method(StrEnum):
    """How explanations are scored."""

    SIMULATION = "simulation"
    DETECTION = JudgeMethod.DETECTION.value


def _method(text: str) -> Method:
    try:
        return Method(text.strip().lower())
    except ValueError:
        raise UsageError(f"--method is {text!r}, not a method.", f"Methods: {', '.join(Method)}.") from None


def score(
    *,
    scan: ScanArgument,
    which: NeuronOptions,
    method: Annotated[
        Method,
        typer.Option("--method", parser=_method, metavar="METHOD", help=f"How: {', '.join(Method)}."),
    ] = Method.SIMULATION,
    backend: Annotated[
        str | None, typer.Option("--backend", help=f"Who predicts, for simulation: {', '.join(BACKENDS)}.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Who judges, such as gpt-4o.")] = None,
    explanation: Annotated[
        str | None,
        typer.Option(
            "--explanation",
            metavar="TEXT|ID|ADDRESS",
            help="Words to score, an explanation's number in the notebook, or another neuron's address.",
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Score what has a score already, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Pay for an API without asking.")] = False,
    trust: TrustImagesOption = False,
    json: JsonOption = False,
    scanned_model: ScannedModelOptions,
) -> None:
    """Score neurons' explanations: by simulation, or by a judge that never sees the activations.

    simulation is what `vlmscope simulate` does. detection asks a model behind an
    API of each sample, by its picture, whether the neuron activates on it; half
    of the samples do not. Scores go into the scan's notebook.
    """
    if method is Method.SIMULATION:
        if model is not None:
            raise UsageError("--model names a judge: simulation has none.", "Name a simulator with --backend.")
        simulate(
            scan=scan,
            which=which,
            backend=DEFAULT if backend is None else backend,
            explanation=explanation,
            again=again,
            yes=yes,
            trust=trust,
            json=json,
            scanned_model=scanned_model,
        )
        return
    if backend is not None:
        raise UsageError(f"--backend names a simulator: {method} has a judge.", "Name the judge with --model.")
    if model is not None and not model.strip():
        raise UsageError("--model is empty.", "Name a model, such as --model gpt-4o.")
    config = load_config()
    settings = config.api if model is None else config.api.model_copy(update={"model": model.strip()})
    store = opened(scan)
    labels, notes = store.stored_labels(), Notes()
    neurons = which.pick(store, labels)
    store.panel_for("A judge")
    with open_notebook(store) as notebook:
        wanted = None if explanation is None else wanted_explanation(explanation, neurons, store, notebook, notes)
        cost = estimate_judging(neurons, store, labels, notebook, settings, wanted=wanted, again=again)
        if cost.requests:
            problem = key_problem(settings)
            if problem:
                raise ApiError(problem, f"The simulator {DEFAULT} needs no server.")
            offer = CostOffer(cost, settings)
            what = f"{cost.requests} requests to {settings.model} at {host(settings)}: {offer.short}"
            agree(offer, what, "judged", notes, yes)
        work = _run(
            neurons, store, labels, Judge(Chat(settings), Ledger(settings.budget_usd)), notebook, wanted, again, notes
        )
        end = run_and_keep(work, notes, "goes on and pays nothing twice")
    _report(end, labels, json, notes)


async def _run(
    neurons: list[Neuron],
    store: ScanStore,
    labels: Labels,
    judge: Judge,
    notebook: Notebook,
    wanted: Explanation | None,
    again: bool,
    notes: Notes,
) -> BatchEnd[JudgeResult]:
    bar = RunBar(notes, "judging", len(neurons), parts="samples")
    try:
        with bar.bars:
            return await run_judge(
                neurons,
                store,
                labels,
                judge,
                notebook,
                wanted=wanted,
                again=again,
                on_result=bar.step,
                on_sample=bar.show_part,
            )
    finally:
        ledger = judge.ledger
        if ledger.spent_usd or ledger.unpriced:
            unpriced = f" and {ledger.unpriced} requests of unknown price" if ledger.unpriced else ""
            notes.write(f"billed: {dollars(ledger.spent_usd)}{unpriced}")
        await judge.chat.close()


def _report(end: BatchEnd[JudgeResult], labels: Labels, as_json: bool, notes: Notes) -> None:
    """Write a run's results."""
    if as_json:
        output.write_json([_as_json(result, labels.of(result.neuron)) for result in end.results])
    else:
        output.write_lines(
            [_line(one.neuron, one.report, labels.of(one.neuron)) for one in end.results if one.report is not None]
        )
    for note in dict.fromkeys(one.report.note for one in end.results if one.report is not None):
        if note:
            notes.write(note)
    for result in end.results:
        if result.report is None:
            notes.write(f"{result.neuron} {result.status.value}: {result.reason}")
        elif result.report.failures and result.status is ScoreStatus.SCORED:
            reasons = list(dict.fromkeys(failure.reason for failure in result.report.failures))
            more = f" and {len(reasons) - 1} other reasons" if len(reasons) > 1 else ""
            notes.write(f"{result.neuron}: {len(result.report.failures)} samples left out: {reasons[0]}{more}")
    notes.write(counts_text((result.status for result in end.results), ScoreStatus))
    if end.stopped is not None:
        raise end.stopped
    if all(result.report is None for result in end.results):
        raise VlmscopeError("No neuron was scored.", "The reasons are listed above.")


def _as_json(result: JudgeResult, label: Label) -> dict[str, object]:
    return {
        "neuron": str(result.neuron),
        "label": label.word,
        "status": result.status.value,
        "explanation": None if result.explanation is None else result.explanation.text,
        "reason": result.reason,
        "report": None if result.report is None else result.report.to_json(),
    }


def _line(neuron: Neuron, report: JudgeReport, label: Label) -> Text:
    line = output.row(f"{neuron!s:<12}")
    line.append(f"{label.word:<11}", style=COLOURS[label])
    line.append(f"{report.backend}: {judged_words(report)}  {report.explanation}")
    return line
