"""The one file that knows the ``openai`` client: a question to a server that speaks Chat Completions, and its answer.

Notable:
- The client's own retries are off: it would retry ``insufficient_quota`` and wait as long as a server says.
- ``temperature`` is sent for greedy answers alone, ``logprobs`` never: newer models refuse or restrict both.
- The answer's JSON is read here, not by the client's ``parse``, which throws away text and usage on bad content.
- Importing openai takes a second: it happens in a thread, at the first question.
- A server that refuses a field is asked without it, and so from then on, for as long as this process lives.
- The key goes into the client alone, and is cut out of every message.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from vlmscope.core.base.config import Api
from vlmscope.core.base.errors import ApiError, NoResponse, StopRun
from vlmscope.core.base.text import plain
from vlmscope.core.llm.access import (
    PLACEHOLDER,
    api_key,
    asked_url,
    base_url,
    environment_hint,
    host,
    key_problem,
    redacted,
)
from vlmscope.core.llm.completion import read_completion
from vlmscope.core.llm.messages import ChatAnswer, ChatRequest, Dialect, wire_body
from vlmscope.core.llm.retry import REASON_LENGTH, ApiFailure, NextStep, classify_error, wait_s
from vlmscope.core.llm.server_error import read_error

if TYPE_CHECKING:
    from openai import AsyncOpenAI

TRIES = 4

#: Endpoint and model: the dialect that got an answer there, if it is not the first one.
_dialects: dict[tuple[str, str], Dialect] = {}


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
            The server's answer, also a refusal or a cut answer: see ``finish_reason`` and ``refusal``.

        Raises:
            StopRun: if no further request would succeed.
            NoResponse: if there was no answer in four tries.
            ApiError: if the server rejects this request.
        """
        problem = key_problem(self.settings)
        if problem:
            raise StopRun(problem)
        endpoint = (base_url(self.settings), request.model)
        client = await self._open()
        dialect, tried = _dialects.get(endpoint, Dialect()), 0
        while True:
            outcome = await self._once(client, request, dialect)
            if isinstance(outcome, ChatAnswer):
                if dialect != Dialect():
                    _dialects[endpoint] = dialect
                return outcome
            if outcome.remedy is NextStep.STOP:
                raise StopRun(outcome.reason, outcome.hint)
            if outcome.remedy is NextStep.ADAPT and outcome.dialect is not None:
                dialect = outcome.dialect
                continue
            if outcome.remedy is not NextStep.TRY_AGAIN:
                raise ApiError(f"{outcome.reason}.", outcome.hint)
            tried += 1
            if tried == TRIES:
                raise NoResponse(f"No answer in {TRIES} tries: {outcome.reason}.", outcome.hint)
            if tried == TRIES - 1:
                dialect = outcome.dialect or dialect
            await self._sleep(wait_s(tried, outcome.wait_s, self._chance()))

    async def _open(self) -> "AsyncOpenAI":
        """The client.

        Raises:
            StopRun: if it cannot be set up.
        """
        problem: StopRun | None = None
        async with self._opening:
            if self._client is None:
                url, timeout_s = base_url(self.settings), self.settings.timeout_s
                try:
                    self._client = await asyncio.to_thread(_make_client, url, timeout_s)
                except Exception as error:  # noqa: BLE001  # whatever a missing package or the environment leads to
                    problem = _setup_problem(error)
            if self._client is not None:
                return self._client
        assert problem is not None
        raise problem

    async def _once(self, client: "AsyncOpenAI", request: ChatRequest, dialect: Dialect) -> ChatAnswer | ApiFailure:
        """One HTTP request. What went wrong is returned, so that no exception carries what the server echoed."""
        import openai

        from vlmscope.core.llm.connection import BadResponse

        url, body = asked_url(self.settings), wire_body(request, dialect)
        outcome: ChatAnswer | ApiFailure
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                raw = await client.chat.completions.with_raw_response.create(**body)
        except (TimeoutError, openai.APITimeoutError):
            return ApiFailure(NextStep.TRY_AGAIN, f"no answer within {self.settings.timeout_s:g} s")
        except openai.APIConnectionError as error:
            server = host(self.settings)
            return ApiFailure(NextStep.TRY_AGAIN, f"no connection to {server} ({_reason(error.__cause__ or error)})")
        except openai.APIStatusError as error:
            found, headers = read_error(redacted(_text(error.response.content))), error.response.headers
            outcome = classify_error(error.status_code, found, headers, dialect, asked_url=url)
        except BadResponse as error:
            return ApiFailure(NextStep.STOP, f"{_reason(error)}.", error.hint)
        except Exception as error:  # noqa: BLE001  # what else the library raises: nothing of ours is in the try
            return ApiFailure(NextStep.FAIL, _reason(error))
        else:
            outcome = read_completion(redacted(_text(raw.http_response.content)), request, dialect, url)
        if isinstance(outcome, ApiFailure) and outcome.remedy is NextStep.REFUSED:
            return ChatAnswer("", "content_filter", outcome.reason, request.model, 0, 0)
        return outcome


def _make_client(url: str, timeout_s: float) -> "AsyncOpenAI":
    from openai import AsyncOpenAI

    from vlmscope.core.llm.connection import open_http

    parts = urlsplit(url)
    return AsyncOpenAI(
        base_url=urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")),
        default_query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        api_key=api_key() or PLACEHOLDER,
        max_retries=0,
        timeout=timeout_s,
        http_client=open_http(timeout_s),
    )


def _setup_problem(error: Exception) -> StopRun:
    """Why no client can be made; addresses of proxies are shown without user and password."""
    reason = re.sub(r"//[^/@\s]*@", "//", _reason(error))
    return StopRun(f"The connection to the server cannot be set up: {reason}.", environment_hint(error))


def _text(body: bytes) -> str:
    """JSON is UTF-8, whatever a header says (RFC 8259, 8.1)."""
    return body.decode("utf-8", "replace")


def _reason(error: BaseException) -> str:
    return plain(redacted(str(error)), REASON_LENGTH).rstrip(".") or type(error).__name__
