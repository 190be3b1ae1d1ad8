"""Ask until there is a validated answer, or a reason why there is none.

An answer that was cut is asked for once more with twice the room. An answer of the wrong form is sent back once to be
corrected. A refusal is final.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from vlmscope.core.base.errors import ApiError, BudgetReached, StopRun
from vlmscope.core.base.text import plain
from vlmscope.core.llm.answers import WRONG_ANSWER_LENGTH, WrongAnswer
from vlmscope.core.llm.budget import Estimate, Ledger, estimate_request
from vlmscope.core.llm.client import Chat
from vlmscope.core.llm.messages import ChatAnswer, ChatRequest
from vlmscope.core.llm.prices import price_of, undated
from vlmscope.core.llm.retry import REASON_LENGTH

FAILURE_LENGTH = 600  #: a server's words, the address and a hint

A = TypeVar("A")


@dataclass(frozen=True)
class NoAnswer:
    """Why there is no answer.

    Attributes:
        reason: for a person, one line; a sentence, or the model's own words if it refused.
        refused: asking again would not help.
        stop: what ended the conversation after a request was paid, and ends the whole run; else None.
    """

    reason: str
    refused: bool = False
    stop: StopRun | BudgetReached | None = None


@dataclass(frozen=True)
class Conversation(Generic[A]):
    """What came of asking, and its bill.

    Attributes:
        model: the snapshot that answered.
        requests, input_tokens, output_tokens: of all requests together.
        cost_usd: None where the price or the usage of a request is not known.
    """

    outcome: A | NoAnswer
    model: str
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0


async def converse(request: ChatRequest, read: Callable[[str], A], chat: Chat, ledger: Ledger) -> Conversation[A]:
    """Ask ``request`` until ``read`` accepts the answer.

    Args:
        read: reads the text of an answer; raises ``WrongAnswer`` if it is not of the form that was asked for.
        ledger: every answer is booked in it.

    Raises:
        StopRun, BudgetReached: if nothing could be asked, and nothing was paid.
    """
    settings = chat.settings
    spent: Conversation[A] = Conversation(NoAnswer(""), settings.model)
    asked, cut, corrected = request, False, False
    while True:
        wanted = estimate_request(asked, settings)
        try:
            with ledger.reserve(wanted):
                answer = await chat.ask(asked)
                spent = _booked(spent, answer, wanted, chat, ledger)
        except (StopRun, BudgetReached) as error:
            if not spent.requests:
                raise
            reason = f"The answer was wrong, and could not be asked for again: {error.message}"
            return _failed(spent, reason, stop=error)
        except ApiError as error:
            return _failed(spent, str(error))
        if answer.refusal:
            return _failed(spent, answer.refusal, refused=True)
        if answer.finish_reason == "length":
            if cut:
                return _failed(
                    spent,
                    f"The answer was cut at {asked.max_output_tokens} tokens, twice. "
                    "The setting is max_output_tokens under [api].",
                )
            asked, cut = replace(asked, max_output_tokens=2 * asked.max_output_tokens), True
            continue
        try:
            return replace(spent, outcome=read(answer.text))
        except WrongAnswer as wrong:
            what = plain(str(wrong), REASON_LENGTH)
            if corrected:
                return _failed(spent, f"The answer is not of the form that was asked for: {what}.")
            complaint = f"That answer cannot be used: {what}. Send the corrected JSON object, and nothing else."
            wrong_answer = answer.text[:WRONG_ANSWER_LENGTH] or "(nothing)"
            asked, corrected = replace(asked, wrong_answer=wrong_answer, complaint=complaint), True


def _booked(
    spent: Conversation[A], answer: ChatAnswer, wanted: Estimate, chat: Chat, ledger: Ledger
) -> Conversation[A]:
    """``spent`` with one more answer; where the server reports no usage, the budget is charged the estimate."""
    model = chat.settings.model
    tag = price_of(model, chat.settings.prices)
    has_usage = bool(answer.input_tokens or answer.output_tokens)
    usd = tag.usd(answer.input_tokens, answer.output_tokens) if has_usage and tag else None
    ledger.add(wanted.usd if usd is None else usd)
    return replace(
        spent,
        # The snapshot's name is kept. Another name, such as a server's path, would not match the settings later.
        model=answer.model if undated(answer.model) == undated(model) else model,
        requests=spent.requests + 1,
        input_tokens=spent.input_tokens + answer.input_tokens,
        output_tokens=spent.output_tokens + answer.output_tokens,
        cost_usd=None if usd is None or spent.cost_usd is None else spent.cost_usd + usd,
    )


def _failed(
    spent: Conversation[A], reason: str, *, refused: bool = False, stop: StopRun | BudgetReached | None = None
) -> Conversation[A]:
    return replace(spent, outcome=NoAnswer(plain(reason, FAILURE_LENGTH), refused, stop))
