"""What to make of a server's refusal to answer: try again, ask for less, give up, or stop the whole run."""

import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from vlmscope.core.llm.messages import CAP, OLD_CAP, PLAIN_TEXT, Dialect
from vlmscope.core.llm.server_error import ServerError

REASON_LENGTH = 300
BACK_OFF_S = 0.5  #: before the second try, doubled each time
LONGEST_WAIT_S = 20.0  #: a server may ask for minutes; a person would rather read why

_TRY_AGAIN = (408, 409, 429)
_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_FILTERED = {"content_filter", "content_policy_violation"}
#: Codes of an error without a status that may pass.
_MAY_PASS = {"rate_limit_exceeded", "rate_limit_error", "overloaded_error", "server_error", "internal_server_error"}
_FORMAT = ("format", "schema", "grammar", "json_object", "structured output", "guided")
_REFUSES_FIELDS = (400, 422, 500, 501)  #: statuses that servers send for a field that they do not know


class NextStep(Enum):
    """What follows from a trouble."""

    TRY_AGAIN = auto()
    ADAPT = auto()  #: ask in another dialect: without a field that the server does not know
    FAIL = auto()
    REFUSED = auto()  #: a content filter: asking again would not help
    STOP = auto()


@dataclass(frozen=True)
class ApiFailure:
    """A request that got no answer."""

    remedy: NextStep
    reason: str  #: for a person, one line
    hint: str = ""  #: what to do about it; may be empty
    wait_s: float = 0.0  #: how long the server asks to wait; 0 where it does not say
    dialect: Dialect | None = None  #: to ask in next; with TRY_AGAIN, for the last try


def classify_error(
    status: int,
    error: ServerError,
    headers: Mapping[str, str],
    dialect: Dialect,
    *,
    label: str = "",
    asked_url: str = "",
) -> ApiFailure:
    """What an error means.

    Args:
        status: of HTTP, or what the body of an answer names as such; 0 if neither is known.
        error: the body.
        dialect: how the request was written.
        label: the start of the reason; ``HTTP 429`` if left out.
        asked_url: the address, for errors that may come from a wrong one.
    """
    label = label or f"HTTP {status}"
    reason = f"{label}: {error.words or (f'HTTP {status}' if status else 'no reason given')}"
    if _QUOTA & error.codes or status == 402:
        return ApiFailure(
            NextStep.STOP,
            f"The quota of the key in OPENAI_API_KEY is used up: {error.words or label}.",
            "Add credit to the account, or set OPENAI_API_KEY to another key.",
        )
    if status in (401, 403):
        what = (
            "refuses the key in OPENAI_API_KEY" if status == 401 else "does not allow this to the key in OPENAI_API_KEY"
        )
        return ApiFailure(
            NextStep.STOP,
            f"The server {what}: {error.words or label}.",
            "Set OPENAI_API_KEY to a key with these rights.",
        )
    if _FILTERED & error.codes:
        return ApiFailure(NextStep.REFUSED, error.words or label)
    adapted = _adapted(status, error, dialect)
    if adapted is not None:
        return ApiFailure(NextStep.ADAPT, reason, dialect=adapted)
    return _final_or_passing(status, error, headers, dialect, reason, asked_url)


def _final_or_passing(
    status: int, error: ServerError, headers: Mapping[str, str], dialect: Dialect, reason: str, asked_url: str
) -> ApiFailure:
    """An error that no other request of this run would avoid: it may pass, or not."""
    if status in _TRY_AGAIN or (status >= 500 and status != 501) or (not status and _MAY_PASS & error.codes):
        # Some servers that cannot build a grammar answer 500 without a reason.
        last = replace(dialect, step=PLAIN_TEXT) if status == 500 and dialect.step < PLAIN_TEXT else None
        return ApiFailure(NextStep.TRY_AGAIN, reason, wait_s=retry_after(headers), dialect=last)
    if status in (404, 405):
        return ApiFailure(
            NextStep.FAIL,
            f"{reason} (asked: {asked_url})" if asked_url else reason,
            "Check base_url, which often ends in /v1, and model under [api] in the settings.",  # a model may have gone
        )
    return ApiFailure(NextStep.FAIL, reason)


def _adapted(status: int, error: ServerError, dialect: Dialect) -> Dialect | None:
    """The dialect that an error asks for, or None: its own words count before all else that the body holds."""
    if status not in _REFUSES_FIELDS:
        return None
    for text in (f"{error.param} {error.words}".lower(), error.text.lower()):
        if CAP in text and dialect.cap_field == CAP:
            return replace(dialect, cap_field=OLD_CAP)
        if "temperature" in text and dialect.greedy:
            return replace(dialect, greedy=False)
        if dialect.step < PLAIN_TEXT and any(word in text for word in _FORMAT):
            return replace(dialect, step=dialect.step + 1)
    if status == 501 and dialect.step < PLAIN_TEXT:
        return replace(dialect, step=dialect.step + 1)
    return None


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait (RFC 9110, 10.2.3: seconds or a date), at least 0; 0 if it does not."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return max(0.0, seconds) if seconds < float("inf") else 0.0


def wait_s(tried: int, asked_for: float, chance: float) -> float:
    """How long to wait after ``tried`` tries: doubled each time, with jitter, or as the server asks; never for long.

    Args:
        chance: 0 to 1, drawn for each wait, so that requests that failed together do not return together.
    """
    back_off = BACK_OFF_S * 2.0 ** (tried - 1) * (1 + chance)
    return min(max(back_off, asked_for), LONGEST_WAIT_S)
