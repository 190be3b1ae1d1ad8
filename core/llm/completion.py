"""The body of an answer: a completion of any server's form, or the error that it holds in place of one."""

import json
import math

from vlmscope.core.base.text import plain
from vlmscope.core.llm.messages import ChatAnswer, ChatRequest, Dialect, Json
from vlmscope.core.llm.retry import REASON_LENGTH, ApiFailure, NextStep, classify_error
from vlmscope.core.llm.server_error import read_error

MOST_TOKENS = 10_000_000  #: of one request; the longest contexts that are sold hold some millions
_DIGITS = 30  #: a longer whole number is read as infinite
_CUT = (
    "length",
    "max_tokens",
    "max_output_tokens",
    "model_length",
)  #: names that servers have for an answer that was cut
_FILTERED = ("content_filter", "safety")


def read_completion(text: str, request: ChatRequest, dialect: Dialect, asked_url: str) -> ChatAnswer | ApiFailure:
    """Read a body that came with HTTP 200.

    Args:
        text: the body, the key already cut out.
        dialect: how the request was written.
        asked_url: for a message about a body that is not a completion.
    """
    try:
        body: object = json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError):
        body = None
    body = body if isinstance(body, dict) else {}
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    inner = body if body.get("error") or body.get("object") == "error" else choice
    if inner.get("error") or inner.get("object") == "error":
        error = read_error(json.dumps(inner))
        return classify_error(error.status, error, {}, dialect, label="The server answered with an error")
    if not isinstance(message, dict):
        seen = plain(text[:1000], 80).strip()
        return ApiFailure(
            NextStep.FAIL,
            f"{asked_url} answered something else than a completion: {seen or 'nothing'}",
            "Check that OPENAI_BASE_URL, or base_url in the settings, ends as the server needs it, often in /v1.",
        )
    return _answer(body, choice, message, request)


def _answer(body: Json, choice: Json, message: Json, request: ChatRequest) -> ChatAnswer:
    finish, model = choice.get("finish_reason"), body.get("model")
    finish = finish.lower() if isinstance(finish, str) and finish else "stop"
    refusal = _text(message.get("refusal"))
    if not refusal and finish in _FILTERED:
        refusal = "the content filter stopped it"
    said = _text(message.get("content"))
    if not said.strip():  # some servers take the whole answer for a thought
        said = _text(message.get("reasoning_content")) or _text(message.get("reasoning")) or said
    used_in, used_out = _tokens(body.get("usage"))
    return ChatAnswer(
        text=said,
        finish_reason="length" if finish in _CUT else finish,
        refusal=plain(refusal, REASON_LENGTH),
        model=plain(model if isinstance(model, str) and model else request.model, 100),
        input_tokens=used_in,
        output_tokens=used_out,
    )


def _text(content: object) -> str:
    """Words of a message: a string, a list of parts, or the answer's JSON as an object."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_text(part) for part in content if not _is_thought(part))
    if not isinstance(content, dict):
        return ""
    words = content.get("text")
    return words if isinstance(words, str) else "" if "type" in content else json.dumps(content)


def _is_thought(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") in ("thinking", "reasoning")


def _tokens(usage: object) -> tuple[int, int]:
    """Tokens in and out, as billed; (0, 0) if either is missing or cannot be true."""
    if not isinstance(usage, dict):
        return 0, 0
    first = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    second = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    return (0, 0) if first is None or second is None else (first, second)


def _count(value: object) -> int | None:
    """A number of tokens, or None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_TOKENS:
        return None
    return int(value)


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS else math.inf
