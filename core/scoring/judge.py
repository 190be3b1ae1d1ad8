"""A judge behind an API: asked about one sample after the other, paid for once, never beyond the budget."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from vlmscope.core.base.batch import run_batch
from vlmscope.core.base.cache import FileCache
from vlmscope.core.base.config import cache_folder
from vlmscope.core.base.errors import ApiError, BudgetReached, StopRun, StoreError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.llm.access import base_url
from vlmscope.core.llm.budget import Ledger
from vlmscope.core.llm.client import Chat
from vlmscope.core.llm.conversation import NoAnswer, converse
from vlmscope.core.llm.messages import ChatRequest, ImagePart, request_key
from vlmscope.core.method.judged import judged
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.scoring.held_out import seed_of
from vlmscope.core.scoring.judge_prompt import (
    PROMPT_VERSION,
    YES,
    detection_request,
    read_rating,
    read_sight,
    sight_request,
)
from vlmscope.core.scoring.judge_report import JudgedSample, JudgeMethod, JudgeReport, Metric
from vlmscope.core.scoring.judge_samples import JudgeSample
from vlmscope.core.scoring.report import Failure
from vlmscope.core.store.reader import ScanStore

CACHE_VERSION = 1
SEES_NOTHING = "does not see pictures: it was shown three coloured stripes and did not name them"
HINT = "Name a model that takes pictures, by --model or in [api]."
OWN_WORDS = "the judge wrote the explanation itself"

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Judge:
    """Who is asked.

    Attributes:
        chat: the connection; the caller closes it. ledger: every answer is booked in it.
    """

    chat: Chat
    ledger: Ledger

    async def ask(self, request: ChatRequest, read: Callable[[str], T]) -> T | NoAnswer:
        """The judge's answer, from the cache where it was paid for earlier.

        Raises:
            StopRun, BudgetReached: if no further request would be answered.
        """
        cache = FileCache(cache_folder() / "judge", private=True)
        key = cache_key(request, base_url(self.chat.settings))
        kept = cache.read(key, lambda data: str(json.loads(data)["answer"]))
        if kept is not None:
            with contextlib.suppress(ValueError):  # a damaged file counts as missing
                return read(kept)
        answer = ""

        def keep(text: str) -> T:
            nonlocal answer
            answer = text
            return read(text)

        found = (await converse(request, keep, self.chat, self.ledger)).outcome
        if isinstance(found, NoAnswer):
            if found.stop is not None:
                raise found.stop
            return found
        cache.write(key, json.dumps({"answer": answer}).encode())
        return found

    async def check_sight(self) -> None:
        """Raises ApiError if the judge does not see pictures."""
        found = await self.ask(sight_request(self.chat.settings), read_sight)
        if isinstance(found, NoAnswer):
            raise ApiError(f"{self.chat.settings.model} {SEES_NOTHING}: {found.reason}", HINT)


def cache_key(request: ChatRequest, base_url: str) -> str:
    """The request's key: explanation and description are in its words, a picture counts by its SHA-256."""
    parts = [part.sha256 if isinstance(part, ImagePart) else {"text": part.text} for part in request.parts]
    return request_key(
        request, cache_version=CACHE_VERSION, prompt_version=PROMPT_VERSION, base_url=base_url, parts=parts
    )


async def detect(
    store: ScanStore,
    neuron: Neuron,
    label: Label,
    explanation: Explanation,
    samples: Sequence[JudgeSample],
    judge: Judge,
    *,
    on_sample: Callable[[int, int], None] = lambda _done, _of: None,
) -> JudgeReport:
    """Ask of each sample whether it activates the neuron; samples without an answer are left out and counted.

    Raises:
        StopRun, BudgetReached: if no further request would be answered. Answers so far are in the cache.
    """
    settings, done = judge.chat.settings, 0

    async def one(sample: JudgeSample) -> JudgedSample | Failure:
        try:
            request = await asyncio.to_thread(detection_request, store, label, explanation, sample.sample, settings)
        except StoreError as error:
            return Failure(sample.sample, sample.rank, None, error.message)
        answer = await judge.ask(request, read_rating)
        if isinstance(answer, NoAnswer):
            reason = f"refused: {answer.reason}" if answer.refused else answer.reason
            return Failure(sample.sample, sample.rank, None, reason)
        return JudgedSample(sample.sample, sample.rank, sample.place, sample.norm, sample.activates, answer)

    def missed(sample: JudgeSample, _: VlmscopeError | None) -> JudgedSample | Failure:
        return Failure(sample.sample, sample.rank, None, "the run was stopped")

    def step(_: object) -> None:
        nonlocal done
        done += 1
        on_sample(done, len(samples))

    ends = (StopRun, BudgetReached)
    end = await run_batch(samples, one, missed, ends=ends, at_once=settings.requests_at_once, on_result=step)
    if end.stopped is not None:
        raise end.stopped
    found = tuple(result for result in end.results if isinstance(result, JudgedSample))
    truth = np.array([one.activates for one in found], dtype=np.bool_)
    rating = np.array([one.rating for one in found], dtype=np.float32)
    active = sum(one.activates for one in samples)
    seed = seed_of(store.manifest.scan_id, neuron, "fakes")
    planned = active, len(samples) - active
    own = explanation.source is Source.API and explanation.model.startswith(settings.model)
    return JudgeReport(
        method=JudgeMethod.DETECTION,
        model=settings.model,
        independent=not same_model(store.manifest.model.name, settings.model),
        explanation=explanation.text,
        prompt_version=PROMPT_VERSION,
        figures={
            Metric.BALANCED_ACCURACY: judged(truth, (rating > YES).astype(np.float32), planned, seed),
            Metric.AUC: judged(truth, rating, planned, seed),
        },
        samples=found,
        failures=tuple(result for result in end.results if isinstance(result, Failure)),
        note=OWN_WORDS if own else "",
    )


def same_model(scanned: str, judge: str) -> bool:
    """Whether a judge's name is that of the scanned model: the last part of either counts, as servers shorten names."""
    return scanned.rstrip("/").rpartition("/")[2].lower() == judge.rstrip("/").rpartition("/")[2].lower()
