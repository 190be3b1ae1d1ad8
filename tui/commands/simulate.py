"""``vlmscope simulate``: predict activations from explanations, and score these by it."""

from typing import Annotated

import typer

from vlmscope.core.base.batch import BatchEnd
from vlmscope.core.base.clock import now
from vlmscope.core.base.config import Config, load_config
from vlmscope.core.base.errors import ApiError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import counted
from vlmscope.core.llm.access import key_problem
from vlmscope.core.llm.budget import CostOffer, Ledger, dollars, total
from vlmscope.core.llm.client import Chat
from vlmscope.core.method.labels import Labels
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.scoring.candidates import borrowed, own_explanation
from vlmscope.core.scoring.held_out import held_out
from vlmscope.core.scoring.protocol import Simulator
from vlmscope.core.scoring.report import OTHERS, WHAT, ScoreReport, score_words
from vlmscope.core.scoring.run import ScoreResult, pick_explanation, run
from vlmscope.core.scoring.simulators.api_text import ApiText, estimate_samples
from vlmscope.core.scoring.simulators.registry import BACKENDS, DEFAULT, Tools, make_simulator
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


def simulate(
    *,
    scan: ScanArgument,
    which: NeuronOptions,
    backend: Annotated[str, typer.Option("--backend", help=f"Who predicts: {', '.join(BACKENDS)}.")] = DEFAULT,
    explanation: ScoredWordsOption = None,
    again: ScoredAgainOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Pay for api-text without asking.")] = False,
    trust: TrustImagesOption = False,
    json: JsonOption = False,
    scanned_model: ScannedModelOptions,
) -> None:
    """Predict neurons' activations from their explanations, and correlate them with the true ones.

    It scores the explanation that leads in the notebook, or else the neuron's
    concept words, on samples that the words do not come from: 20 top ones and
    20 random ones. Scores go into the scan's notebook.
    """
    config = load_config()
    store = opened(scan)
    labels = store.stored_labels()
    neurons = which.pick(store, labels)
    spec = scanned_model.spec(store.manifest, config)
    notes = Notes()
    trust_images(store, neurons, trust, notes)
    agree_to_download(spec, scanned_model.download, notes)
    with open_notebook(store) as notebook:
        wanted = None if explanation is None else wanted_explanation(explanation, neurons, store, notebook, notes)
        if backend == ApiText.name:
            _agree(neurons, store, notebook, wanted, config, yes, notes)
        work = _run(neurons, store, spec, backend, notebook, wanted, again, notes, config)
        end = run_and_keep(work, notes, "goes on")
    _report(end, labels, json, notes)


def wanted_explanation(
    said: str, neurons: list[Neuron], store: ScanStore, notebook: Notebook, notes: Notes
) -> Explanation:
    """What ``--explanation`` stands for."""
    said = said.strip()
    if not said:
        raise UsageError("--explanation is empty.", "Write words, such as --explanation 'red trains'.")
    if said.isdecimal():
        for neuron in notebook.marks():
            for saved in notebook.explanations(neuron):
                if saved.id == int(said):
                    notes.write(f"explanation {said} is of {neuron}")
                    return saved.explanation if neurons == [neuron] else borrowed(saved.explanation, neuron)
        raise UsageError(f"The notebook has no explanation {said}.", "Words in quotes are scored as they are.")
    try:
        other = Neuron.parse(said)
    except UsageError:
        return own_explanation(said, store, now())
    found = pick_explanation(store, notebook, store.numbering.checked(other))
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
    notes: Notes,
) -> None:
    """Ask whether the cost of an API is agreed to."""
    problem = key_problem(config.api)
    if problem:
        raise ApiError(problem, f"The backend {DEFAULT} needs no server.")
    costs = []
    for neuron in neurons:
        said = pick_explanation(store, notebook, neuron, wanted)
        if said is not None and said.pattern_found:
            costs.append(estimate_samples(said, held_out(store, neuron, said.samples, paid=True), config.api))
    offer = CostOffer(total(costs), config.api)
    who = f"{counted(len(costs), 'neuron')} to score with {config.api.model}"
    what = f"{who}, {counted(offer.cost.requests, 'request')}: {offer.short}"
    agree(offer, what, "scored", notes, yes)


def _check(wanted: Explanation, simulator: Simulator, store: ScanStore) -> None:
    """UsageError if the backend can look for nothing in these words."""
    if simulator.search_phrases(wanted):
        return
    similar = () if store.concepts is None else store.concepts.similar(wanted.text)
    raise UsageError(
        f"{simulator.name} can look for nothing in {wanted.text!r}: it has none of these words.",
        f"Similar words: {', '.join(similar)}." if similar else "Use words of the scan's concepts.",
    )


async def _run(
    neurons: list[Neuron],
    store: ScanStore,
    spec: ModelSpec,
    backend: str,
    notebook: Notebook,
    wanted: Explanation | None,
    again: bool,
    notes: Notes,
    config: Config,
) -> BatchEnd[ScoreResult]:
    bar = RunBar(notes, "neurons", len(neurons), parts="samples")
    model = ModelProcess(spec, bar.show_model, idle_unload_s=0)
    chat, ledger = Chat(config.api), Ledger(config.api.budget_usd)
    try:
        simulator = make_simulator(backend, Tools(store, model, config, chat, ledger))
        if wanted is not None:
            _check(wanted, simulator, store)
        with bar.bars:
            return await run(
                neurons,
                store,
                simulator,
                model,
                notebook,
                wanted=wanted,
                again=again,
                on_result=bar.step,
                on_sample=bar.show_part,
            )
    finally:
        if ledger.spent_usd or ledger.unpriced:
            unpriced = f" and {counted(ledger.unpriced, 'request')} of unknown price" if ledger.unpriced else ""
            notes.write(f"billed: {dollars(ledger.spent_usd)}{unpriced}")
        await chat.close()
        await model.close()


def _report(end: BatchEnd[ScoreResult], labels: Labels, as_json: bool, notes: Notes) -> None:
    """Write a run's results."""
    results = [(one, "" if one.report is None else _words(one.report)) for one in end.results]
    undefined = sum(one.report is not None and _undefined(one.report) for one in end.results)
    if not as_json and any(one.report is not None for one in end.results):
        notes.write(f"a score is {WHAT}; {OTHERS}")
    write_scores(results, end.stopped, labels, as_json, notes, undefined)


def _undefined(report: ScoreReport) -> bool:
    """Whether no kind of token has a score."""
    found = (report.headline(kind) for kind in report.pooled)
    return all(pooled is None or pooled.score is None for pooled in found)


def _words(report: ScoreReport) -> str:
    """All scores of a report, and what they are of."""
    found: list[str] = []
    for kind in report.pooled:
        headline = report.headline(kind)
        if headline is not None:
            found.append(f"{kind.value} {score_words(headline, samples=True)}")
        if (second := report.with_concept(kind)) is not None:
            found.append(f"with the concept {score_words(second, samples=True)}")
    return "  ".join([*found, report.explanation])
