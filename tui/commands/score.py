"""``vlmscope score``: score explanations by one of several methods."""

from enum import StrEnum
from typing import Annotated

import typer

from vlmscope.core.base.batch import BatchEnd
from vlmscope.core.base.config import load_config
from vlmscope.core.base.errors import ApiError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.spelling import nearest
from vlmscope.core.base.text import counted
from vlmscope.core.llm.access import host, key_problem
from vlmscope.core.llm.budget import CostOffer, Ledger, dollars
from vlmscope.core.llm.client import Chat
from vlmscope.core.method.labels import Labels
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.scoring.judge import Judge
from vlmscope.core.scoring.judge_report import JudgeMethod, JudgeReport, judged_words
from vlmscope.core.scoring.judge_run import JudgeResult, estimate_judging, run_judge
from vlmscope.core.scoring.simulators.registry import BACKENDS, DEFAULT
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.core.worker.process import ModelProcess
from vlmscope.tui.commands.shared.neuron_options import NeuronOptions
from vlmscope.tui.commands.shared.neuron_run import (
    RunBar,
    agree,
    agree_to_download,
    run_and_keep,
    trust_images,
)
from vlmscope.tui.commands.shared.notes import Notes
from vlmscope.tui.commands.shared.open_arg import open_notebook, opened
from vlmscope.tui.commands.shared.options import JsonOption, ScanArgument, ScannedModelOptions, TrustImagesOption
from vlmscope.tui.commands.shared.scored import ScoredAgainOption, ScoredWordsOption, write_scores
from vlmscope.tui.commands.simulate import simulate, wanted_explanation


class Method(StrEnum):
    """How explanations are scored."""

    SIMULATION = "simulation"
    DETECTION = JudgeMethod.DETECTION.value
    FUZZING = JudgeMethod.FUZZING.value
    INTRUDER = JudgeMethod.INTRUDER.value


def _method(text: str) -> Method:
    try:
        return Method(text.strip().lower())
    except ValueError:
        raise UsageError(
            f"--method is {text!r}, not a method.", f"{nearest(text, Method)}Methods: {', '.join(Method)}."
        ) from None


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
    explanation: ScoredWordsOption = None,
    again: ScoredAgainOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Pay for an API without asking.")] = False,
    trust: TrustImagesOption = False,
    json: JsonOption = False,
    scanned_model: ScannedModelOptions,
) -> None:
    """Score neurons' explanations: by simulation, or by a judge that never sees the activations.

    simulation is what `vlmscope simulate` does. detection asks a model behind an
    API of each sample, by its picture, whether the neuron activates on it; half
    of the samples do not. fuzzing asks whether the marked patches of a picture
    are the neuron's; half are another's. intruder needs no explanation: it asks
    which of five samples does not belong. Scores go into the scan's notebook.
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
    judged_by = JudgeMethod(method)
    spec = scanned_model.spec(store.manifest, config)
    if judged_by is JudgeMethod.INTRUDER and explanation is not None:
        raise UsageError("Intruder judges the neuron itself: it takes no --explanation.", "Leave it out.")
    if judged_by is not JudgeMethod.FUZZING:
        store.panel_for(judged_by.value.capitalize())
    else:
        trust_images(store, neurons, trust, notes)
        agree_to_download(spec, scanned_model.download, notes)
    with open_notebook(store) as notebook:
        wanted = None if explanation is None else wanted_explanation(explanation, neurons, store, notebook, notes)
        cost = estimate_judging(
            neurons, store, labels, notebook, settings, method=judged_by, wanted=wanted, again=again
        )
        if cost.requests:
            problem = key_problem(settings)
            if problem:
                raise ApiError(problem, f"The simulator {DEFAULT} needs no server.")
            offer = CostOffer(cost, settings)
            what = f"{counted(cost.requests, 'request')} to {settings.model} at {host(settings)}: {offer.short}"
            agree(offer, what, "judged", notes, yes)
        judge = Judge(Chat(settings), Ledger(settings.budget_usd))
        work = _run(neurons, store, labels, judge, notebook, wanted, again, notes, judged_by, spec)
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
    method: JudgeMethod,
    spec: ModelSpec,
) -> BatchEnd[JudgeResult]:
    bar = RunBar(notes, "judging", len(neurons), parts="rounds" if method is JudgeMethod.INTRUDER else "samples")
    model = ModelProcess(spec, bar.show_model, idle_unload_s=0) if method is JudgeMethod.FUZZING else None
    try:
        with bar.bars:
            return await run_judge(
                neurons,
                store,
                labels,
                judge,
                notebook,
                method=method,
                model=model,
                wanted=wanted,
                again=again,
                on_result=bar.step,
                on_sample=bar.show_part,
            )
    finally:
        ledger = judge.ledger
        if ledger.spent_usd or ledger.unpriced:
            unpriced = f" and {counted(ledger.unpriced, 'request')} of unknown price" if ledger.unpriced else ""
            notes.write(f"billed: {dollars(ledger.spent_usd)}{unpriced}")
        await judge.chat.close()
        if model is not None:
            await model.close()


def _report(end: BatchEnd[JudgeResult], labels: Labels, as_json: bool, notes: Notes) -> None:
    """Write a run's results."""
    results = [(one, "" if one.report is None else _words(one.report)) for one in end.results]
    write_scores(results, end.stopped, labels, as_json, notes)


def _words(report: JudgeReport) -> str:
    return f"{report.backend}: {judged_words(report)}  {report.explanation}".rstrip()
