"""What to make of a server's refusal to answer: try again, ask for less, give up, or stop the whole run."""

import email.utils
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from vlmscope.core.base.text import plain

REASON_LENGTH = 300
BACK_OFF_S = 0.5  #: before the second try, doubled each time
LONGEST_WAIT_S = 20.0  #: a server may ask for minutes; a person would rather read why

_TRY_AGAIN = (408, 409, 429)
_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_FILTERED = {"content_filter", "content_policy_violation"}
_FORMAT = ("response_format", "json_schema", "json_object", "structured output", "guided")


class NextStep(Enum):
    """What follows from a trouble."""

    TRY_AGAIN = auto()
    STEP_DOWN = auto()  #: ask without the part of ``response_format`` that the server does not know
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


def classify_error(
    status: int, codes: Collection[str], param: str, message: str, headers: Mapping[str, str]
) -> ApiFailure:
    """What an HTTP error means.

    Args:
        codes: ``code`` and ``type`` of OpenAI's error object, as far as there are any.
        param: its ``param``: which part of the request is meant.
        message: the server's own words.
    """
    said = plain(message, REASON_LENGTH).strip().rstrip(".") or f"HTTP {status}"
    if _QUOTA & set(codes) or status == 402:
        return ApiFailure(
            NextStep.STOP,
            f"The quota of the key in OPENAI_API_KEY is used up: {said}.",
            "Add credit to the account, or set OPENAI_API_KEY to another key.",
        )
    if status in (401, 403):
        what = (
            "refuses the key in OPENAI_API_KEY" if status == 401 else "does not allow this to the key in OPENAI_API_KEY"
        )
        return ApiFailure(
            NextStep.STOP, f"The server {what}: {said}.", "Set OPENAI_API_KEY to a key with these rights."
        )
    if status in _TRY_AGAIN or status >= 500:
        return ApiFailure(NextStep.TRY_AGAIN, f"HTTP {status}: {said}", wait_s=retry_after(headers))
    if _FILTERED & set(codes):
        return ApiFailure(NextStep.REFUSED, said)
    if status in (400, 422) and (param.startswith("response_format") or any(it in message.lower() for it in _FORMAT)):
        return ApiFailure(NextStep.STEP_DOWN, f"HTTP {status}: {said}")
    hint = "Look at model and base_url under [api] in the settings." if status == 404 else ""  # a model may have gone
    return ApiFailure(NextStep.FAIL, f"HTTP {status}: {said}", hint)


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
