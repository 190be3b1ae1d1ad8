"""Ask a model what a neuron responds to, or take its answer from the cache."""

import asyncio
from dataclasses import dataclass, replace
from functools import partial

from vlmscope.core.base.clock import now
from vlmscope.core.explain.answer import ExplanationAnswer
from vlmscope.core.explain.cache import cache_key, read_cached, write_cached
from vlmscope.core.explain.evidence import Evidence
from vlmscope.core.explain.prompt import build_request, prompt_version
from vlmscope.core.llm.access import base_url
from vlmscope.core.llm.answers import read_json
from vlmscope.core.llm.budget import Ledger
from vlmscope.core.llm.client import Chat
from vlmscope.core.llm.conversation import NoAnswer, converse
from vlmscope.core.notebook.explanation import Explanation, FailedExplanation, Source


@dataclass(frozen=True)
class Answered:
    """The outcome of asking."""

    outcome: Explanation | FailedExplanation
    cached: bool = False  #: it was paid for earlier; its tokens and cost are 0 now


async def explain(evidence: Evidence, chat: Chat, ledger: Ledger, *, again: bool = False) -> Answered:
    """Explain one neuron from complete evidence (``vlmscope.core.explain.evidence.complete``).

    Only a validated answer is kept in the cache; ``vlmscope.core.llm.conversation`` has the rules of asking again.

    Args:
        again: ask, and pay, though the cache has the answer.

    Raises:
        StopRun, BudgetReached: if nothing could be asked, and nothing was paid.
        StoreError: if a crop of the scan cannot be read or decoded.
    """
    settings = chat.settings
    version, samples = prompt_version(evidence), evidence.shown
    request = await asyncio.to_thread(build_request, evidence, settings)
    key = cache_key(request, base_url(settings), samples, version)
    known = None if again else read_cached(key)
    if known is not None:
        return Answered(replace(known, input_tokens=0, output_tokens=0, cost_usd=0.0), cached=True)

    found = await converse(request, partial(read_json, form=ExplanationAnswer), chat, ledger)
    answer, bill = found.outcome, (found.input_tokens, found.output_tokens, found.cost_usd)
    if isinstance(answer, NoAnswer):
        return Answered(FailedExplanation(answer.reason, answer.refused, found.model, now(), *bill))
    explanation = Explanation(
        text=answer.explanation,
        source=Source.API,
        created=now(),
        pattern_found=answer.pattern_found,
        visual_phrases=answer.visual_phrases,
        text_cue=answer.text_cue,
        confidence=answer.confidence,
        model=found.model,
        prompt_version=version,
        samples=samples,
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        cost_usd=found.cost_usd,
    )
    write_cached(key, explanation)
    return Answered(explanation)
