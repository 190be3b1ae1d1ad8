"""The one file that knows the ``openai`` client: a question to a server that speaks Chat Completions, and its answer.

Notable:
- The client's own retries are off: it would retry ``insufficient_quota`` and wait as long as a server says.
- Neither ``temperature`` nor ``logprobs`` is sent: newer models refuse or restrict both.
- The answer's JSON is read here, not by the client's ``parse``, which throws away text and usage on bad content.
- Importing openai takes a second: it happens in a thread, at the first question.
- The key goes into the client alone, and is cut out of every message.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, Field, ValidationError

from vlmscope.core.base.config import Api
from vlmscope.core.base.errors import ApiError, StopRun
from vlmscope.core.base.text import plain
from vlmscope.core.llm.access import PLACEHOLDER, api_key, base_url, host, key_problem, redacted
from vlmscope.core.llm.messages import PLAIN_TEXT, ChatAnswer, ChatRequest, wire_body
from vlmscope.core.llm.retry import REASON_LENGTH, ApiFailure, NextStep, classify_error, wait_s

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

TRIES = 4

#: Endpoint and model: how far ``response_format`` was stepped down there. As long as this process lives.
_steps: dict[tuple[str, str], int] = {}


class _Usage(BaseModel):
    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(default=0, ge=0)


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    """As much of a completion as is used."""

    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    usage: _Usage | None = None


class Chat:
    """A connection to the server. Several questions may be asked at once; close it in the end."""

    def __init__(
        self,
        settings: Api,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Nothing is sent or imported before the first question.

        Args:
            sleep, chance: between tries; tests have their own.
        """
        self.settings = settings
        self._sleep = sleep
        self._chance = chance
        self._client: AsyncOpenAI | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; what is still asked fails."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def ask(self, request: ChatRequest) -> ChatAnswer:
        """One question, tried up to four times where another try may help.

        Returns:
            What the server said, a refusal or a cut answer too: ``finish_reason`` and ``refusal`` tell.

        Raises:
            StopRun: if no further request would succeed.
            ApiError: if there was no answer.
        """
        problem = key_problem(self.settings)
        if problem:
            raise StopRun(problem)
        endpoint = (base_url(self.settings), request.model)
        client = await self._open()
        tried = 0
        while True:
            step = _steps.get(endpoint, 0)
            outcome = await self._once(client, request, step)
            if isinstance(outcome, ChatAnswer):
                return outcome
            if outcome.remedy is NextStep.STOP:
                raise StopRun(outcome.reason, outcome.hint)
            if outcome.remedy is NextStep.STEP_DOWN and step < PLAIN_TEXT:
                _steps[endpoint] = max(_steps.get(endpoint, 0), step + 1)
                continue
            if outcome.remedy is not NextStep.TRY_AGAIN:
                raise ApiError(f"{outcome.reason}.", outcome.hint)
            tried += 1
            if tried == TRIES:
                raise ApiError(f"No answer in {TRIES} tries: {outcome.reason}.", outcome.hint)
            await self._sleep(wait_s(tried, outcome.wait_s, self._chance()))

    async def _open(self) -> "AsyncOpenAI":
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(_make_client, base_url(self.settings), self.settings.timeout_s)
            return self._client

    async def _once(self, client: "AsyncOpenAI", request: ChatRequest, step: int) -> ChatAnswer | ApiFailure:
        """One HTTP request. What went wrong is returned, so that no exception carries what the server echoed."""
        import openai

        try:
            async with asyncio.timeout(self.settings.timeout_s):
                raw = await client.chat.completions.with_raw_response.create(**wire_body(request, step))
                return _read(raw.text, request)
        except (TimeoutError, openai.APITimeoutError):
            return ApiFailure(NextStep.TRY_AGAIN, f"no answer within {self.settings.timeout_s:g} s")
        except openai.APIConnectionError as error:
            server = host(self.settings)
            return ApiFailure(NextStep.TRY_AGAIN, f"no connection to {server} ({_reason(error.__cause__ or error)})")
        except openai.APIStatusError as error:
            codes = [str(code) for code in (error.code, error.type) if code]
            trouble = classify_error(error.status_code, codes, error.param or "", _said(error), error.response.headers)
            if trouble.remedy is not NextStep.REFUSED:
                return trouble
            return ChatAnswer("", "content_filter", trouble.reason, request.model, 0, 0)
        except (openai.OpenAIError, ValueError) as error:
            return ApiFailure(NextStep.FAIL, _reason(error))


def _make_client(url: str, timeout_s: float) -> "AsyncOpenAI":
    from openai import AsyncOpenAI

    return AsyncOpenAI(base_url=url, api_key=api_key() or PLACEHOLDER, max_retries=0, timeout=timeout_s)


def _read(text: str, request: ChatRequest) -> ChatAnswer | ApiFailure:
    text = redacted(text)  # a server may echo what it was sent
    try:
        found = _Completion.model_validate_json(text)
    except ValidationError:
        seen = plain(text, 80).strip()
        return ApiFailure(
            NextStep.FAIL,
            f"The server answered something else than a completion: {seen or 'nothing'}",
            "Check that OPENAI_BASE_URL, or base_url in the settings, ends as the server wants it, often in /v1.",
        )
    choice, usage = found.choices[0], found.usage or _Usage()
    finish = choice.finish_reason or "stop"
    refusal = choice.message.refusal or ("the content filter stopped it" if finish == "content_filter" else "")
    return ChatAnswer(
        text=choice.message.content or "",
        finish_reason=finish,
        refusal=plain(refusal, REASON_LENGTH),
        model=plain(found.model or request.model, 100),
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
    )


def _said(error: "APIStatusError") -> str:
    """The server's own words, without the client's frame around them."""
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return redacted(body["message"])
    return redacted(error.message)


def _reason(error: BaseException) -> str:
    return plain(redacted(str(error)), REASON_LENGTH).rstrip(".") or type(error).__name__
