"""Ask a model what a neuron answers to: one request, its repair if need be, and the bill."""

import asyncio
from dataclasses import dataclass, replace

from vlmscope.core.base.clock import now
from vlmscope.core.base.errors import ApiError, BudgetReached, StopRun
from vlmscope.core.base.text import plain
from vlmscope.core.explain.answer import ExplanationAnswer, read_answer
from vlmscope.core.explain.cache import ExplainCache, cache_key
from vlmscope.core.explain.evidence import Evidence
from vlmscope.core.explain.prompt import PROMPT_VERSION, build_request
from vlmscope.core.llm.access import base_url
from vlmscope.core.llm.answers import WRONG_ANSWER_LENGTH, WrongAnswer
from vlmscope.core.llm.budget import Estimate, Ledger, estimate_request
from vlmscope.core.llm.client import Chat
from vlmscope.core.llm.messages import ChatAnswer, ChatRequest
from vlmscope.core.llm.prices import PriceTag, price_of, undated
from vlmscope.core.llm.retry import REASON_LENGTH
from vlmscope.core.notebook.explanation import Explanation, FailedExplanation, Source


@dataclass(frozen=True)
class Answered:
    """What came of asking.

    Attributes:
        cached: it was paid for earlier; its tokens and cost are 0 now.
        warning: for a person, about the model; may be empty.
    """

    outcome: Explanation | FailedExplanation
    cached: bool = False
    warning: str = ""


class _Bill:
    """What the requests for one neuron cost."""

    def __init__(self, tag: PriceTag | None, model: str) -> None:
        self.model = model
        self.requests = self.input_tokens = self.output_tokens = 0
        self.usd: float | None = 0.0
        self.warning = ""
        self._tag = tag
        self._asked = model

    def add(self, answer: ChatAnswer, wanted: Estimate, ledger: Ledger) -> None:
        """Book an answer; where the server does not say what it used, the budget is charged the estimate."""
        self.requests += 1
        self.input_tokens += answer.input_tokens
        self.output_tokens += answer.output_tokens
        self.warning = self.warning or answer.warning
        # A snapshot's name is kept; a server that answers by another name (a path) would not be known again.
        self.model = answer.model if undated(answer.model) == undated(self._asked) else self._asked
        told = bool(answer.input_tokens or answer.output_tokens)
        usd = self._tag.usd(answer.input_tokens, answer.output_tokens) if told and self._tag else None
        ledger.add(wanted.usd if usd is None else usd)
        self.usd = None if usd is None or self.usd is None else self.usd + usd

    def failed(self, reason: str, refused: bool = False) -> Answered:
        failure = FailedExplanation(
            reason=plain(reason, REASON_LENGTH),
            refused=refused,
            model=self.model,
            created=now(),
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost_usd=self.usd,
        )
        return Answered(failure, warning=self.warning)

    def explained(self, answer: ExplanationAnswer, samples: tuple[int, ...]) -> Explanation:
        return Explanation(
            text=answer.explanation,
            source=Source.API,
            created=now(),
            pattern_found=answer.pattern_found,
            visual_phrases=answer.visual_phrases,
            text_cue=answer.text_cue,
            confidence=answer.confidence,
            model=self.model,
            prompt_version=PROMPT_VERSION,
            samples=samples,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost_usd=self.usd,
        )


async def explain(
    evidence: Evidence, chat: Chat, cache: ExplainCache, ledger: Ledger, *, again: bool = False
) -> Answered:
    """Explain one neuron from complete evidence (``vlmscope.core.explain.evidence.complete``).

    An answer that was cut is asked for once more with twice the room; one that is not of the form that was asked for is
    sent back once to be mended; a refusal is final. Only a validated answer is kept in the cache.

    Args:
        again: ask, and pay, though the cache has the answer.

    Raises:
        StopRun, BudgetReached: if nothing could be asked, and nothing was paid.
        StoreError: if a crop of the scan cannot be decoded.
    """
    settings = chat.settings
    samples = tuple(sample.sample for sample in evidence.samples)
    request = await asyncio.to_thread(build_request, evidence, settings)
    key = cache_key(request, base_url(settings), samples)
    known = None if again else cache.read(key)
    if known is not None:
        return Answered(replace(known, input_tokens=0, output_tokens=0, cost_usd=0.0), cached=True)

    answered = await _converse(request, samples, chat, ledger)
    if isinstance(answered.outcome, Explanation):
        cache.write(key, answered.outcome)
    return answered


async def _converse(request: ChatRequest, samples: tuple[int, ...], chat: Chat, ledger: Ledger) -> Answered:
    """Ask until there is a validated answer, or a reason why there will be none."""
    settings = chat.settings
    bill = _Bill(price_of(settings.model, settings.prices), settings.model)
    asked, cut, mended = request, False, False
    while True:
        wanted = estimate_request(asked, settings)
        try:
            with ledger.reserve(wanted):
                answer = await chat.ask(asked)
                bill.add(answer, wanted, ledger)
        except (StopRun, BudgetReached) as error:
            if not bill.requests:
                raise
            return bill.failed(f"The answer was no good, and could not be asked for again: {error.message}")
        except ApiError as error:
            return bill.failed(str(error))
        if answer.refusal:
            return bill.failed(answer.refusal, refused=True)
        if answer.finish_reason == "length":
            if cut:
                return bill.failed(f"The answer was cut at {asked.max_output_tokens} tokens, twice.")
            asked, cut = replace(asked, max_output_tokens=2 * asked.max_output_tokens), True
            continue
        try:
            return Answered(bill.explained(read_answer(answer.text), samples), warning=bill.warning)
        except WrongAnswer as wrong:
            if mended:
                return bill.failed(f"The answer is not of the form that was asked for: {wrong}.")
            complaint = f"That answer cannot be used: {wrong}. Send the corrected JSON object, and nothing else."
            wrong_answer = answer.text[:WRONG_ANSWER_LENGTH] or "(nothing)"
            asked, mended = replace(asked, wrong_answer=wrong_answer, complaint=complaint), True
