"""Intruder: which of five samples does not belong? It asks of the neuron itself, without an explanation.

A neuron whose samples have something in common gives its intruders away. So the score needs no explanation, and says
whether there is something to explain.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vlmscope.core.base.batch import run_batch
from vlmscope.core.base.errors import BudgetReached, StopRun, StoreError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.llm.conversation import NoAnswer
from vlmscope.core.method.judged import picked
from vlmscope.core.method.labels import Label
from vlmscope.core.scoring.held_out import seed_of
from vlmscope.core.scoring.intruder_prompt import intruder_request, read_pick
from vlmscope.core.scoring.judge import Judge, same_model
from vlmscope.core.scoring.judge_prompt import PROMPT_VERSION
from vlmscope.core.scoring.judge_report import IntruderRound, JudgeMethod, JudgeReport, Metric
from vlmscope.core.scoring.judge_samples import activations_of_top, detection_samples
from vlmscope.core.scoring.report import Failure
from vlmscope.core.store.reader import ScanStore

ROUNDS = 10  #: at most
SHOWN = 5  #: samples of a round, one of them the intruder
LEAST = 5  #: rounds that a score needs
NOT_INDEPENDENT = "not independent: the judge is the inspected model"


@dataclass(frozen=True)
class Round:
    """One question: the samples in the order in which they are shown, and the place of the intruder, from 0."""

    samples: tuple[int, ...]
    place: int

    @property
    def intruder(self) -> int:
        return self.samples[self.place]


def intruder_rounds(store: ScanStore, neuron: Neuron, label: Label) -> tuple[Round, ...]:
    """Rounds of four top samples and one silent panel sample; no sample is in two of them.

    Silent samples are those of detection. Top samples are drawn over the whole list, by the scan's identity and the
    address; one that activates the neuron no more than a silent one is left out.

    Raises:
        StoreError: if the scan has no panel, or is damaged.
    """
    silent = [one for one in detection_samples(store, neuron, label, (), "Intruder") if not one.activates]
    most = max((one.norm for one in silent), default=0.0)
    norms = activations_of_top(store, neuron, label)
    top = [sample for sample, norm in zip(store.top_samples(neuron), norms.tolist(), strict=True) if norm > most]
    rng = np.random.default_rng(seed_of(store.manifest.scan_id, neuron, "intruder"))
    drawn = [top[at] for at in rng.permutation(len(top)).tolist()]
    outside = [silent[at].sample for at in rng.permutation(len(silent)).tolist()]
    each, rounds = SHOWN - 1, list[Round]()
    for at in range(min(ROUNDS, len(outside), len(drawn) // each)):
        place, inside = int(rng.integers(SHOWN)), drawn[at * each : (at + 1) * each]
        rounds.append(Round((*inside[:place], outside[at], *inside[place:]), place))
    return tuple(rounds)


def too_few_rounds(rounds: Sequence[Round]) -> str:
    """Why these rounds are no score; empty if they are enough."""
    if len(rounds) >= LEAST:
        return ""
    return f"its samples make {len(rounds)} rounds of {SHOWN}, of which intruder needs {LEAST}"


async def judge_rounds(
    store: ScanStore,
    neuron: Neuron,
    label: Label,
    rounds: Sequence[Round],
    judge: Judge,
    *,
    on_sample: Callable[[int, int], None] = lambda _done, _of: None,
) -> JudgeReport:
    """Ask each round; those without an answer are left out and counted.

    Raises:
        StopRun, BudgetReached: if no further request would be answered. Answers so far are in the cache.
    """
    settings, done = judge.chat.settings, 0

    async def one(of: Round) -> IntruderRound | Failure:
        try:
            request = await asyncio.to_thread(intruder_request, store, label, of.samples, settings)
        except StoreError as error:
            return Failure(of.intruder, None, None, error.message)
        answer = await judge.ask(request, read_pick)
        if isinstance(answer, NoAnswer):
            return Failure(of.intruder, None, None, f"refused: {answer.reason}" if answer.refused else answer.reason)
        return IntruderRound(of.samples, of.intruder, of.samples[answer - 1])

    def missed(of: Round, _: VlmscopeError | None) -> IntruderRound | Failure:
        return Failure(of.intruder, None, None, "the run was stopped")

    def step(_: object) -> None:
        nonlocal done
        done += 1
        on_sample(done, len(rounds))

    ends = (StopRun, BudgetReached)
    end = await run_batch(rounds, one, missed, ends=ends, at_once=settings.requests_at_once, on_result=step)
    if end.stopped is not None:
        raise end.stopped
    found = tuple(result for result in end.results if isinstance(result, IntruderRound))
    places = [one.samples.index(one.intruder) for one in found]
    answers = [one.samples.index(one.answer) for one in found]
    seed = seed_of(store.manifest.scan_id, neuron, "fakes")
    independent = not same_model(store.manifest.model.name, settings.model)
    return JudgeReport(
        method=JudgeMethod.INTRUDER,
        model=settings.model,
        independent=independent,
        explanation="",
        prompt_version=PROMPT_VERSION,
        figures={Metric.ACCURACY: picked(places, answers, SHOWN, len(rounds), seed)},
        samples=(),
        failures=tuple(result for result in end.results if isinstance(result, Failure)),
        note="" if independent else NOT_INDEPENDENT,
        rounds=found,
    )
