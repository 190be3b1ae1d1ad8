"""A model's answer that should be one JSON object: the object, or what is wrong with it."""

import json
import re
from collections import deque
from collections.abc import Reversible
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from vlmscope.core.base.validation import first_problem

WRONG_ANSWER_LENGTH = 4000  #: of an answer that is sent back to be corrected

_THOUGHTS_END = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_OBJECTS = 100  #: the last so many of a text are tried
_OBJECT = re.compile(r'\{\s*"')
_WORK = 10_000_000  #: characters that a search for objects reads at most; of some 10 million a second

M = TypeVar("M", bound=BaseModel)


class WrongAnswer(ValueError):  # noqa: N818  # it is never shown as an error: the model is asked to correct its answer
    """Says what is wrong with an answer."""


def read_json(text: str, form: type[M]) -> M:
    """A model's answer as a value of ``form``: all of it, or the last JSON object in it that is of this form.

    Models think aloud, with or without tags, put code fences or tags around the object, and words before and after it.
    What follows the last ``</think>`` counts before the thoughts.

    Raises:
        WrongAnswer: if there is no JSON, or none of this form.
    """
    thoughts_end = max((found.end() for found in _THOUGHTS_END.finditer(text)), default=0)
    said = text[thoughts_end:]
    wrong: WrongAnswer | None = None
    try:
        return _of_form(json.loads(said), form)
    except json.JSONDecodeError as error:
        wrong = WrongAnswer(f"it is not JSON: {error}")
    except (RecursionError, ValueError) as error:
        # Else: nested too deep, or a number of thousands of digits.
        wrong = error if isinstance(error, WrongAnswer) else WrongAnswer("it is not JSON that could be read")
    for part in (said, text[:thoughts_end]):
        complaint = None
        for found in reversed(_objects(part)):
            try:
                return _of_form(found, form)
            except WrongAnswer as error:
                complaint = complaint or error
        wrong = complaint or wrong
    raise wrong from None


def _of_form(found: object, form: type[M]) -> M:
    try:
        return form.model_validate(found)
    except ValidationError as error:
        raise WrongAnswer(first_problem(error)) from None


def _objects(text: str) -> Reversible[object]:
    """The last outermost JSON objects in a text, in order."""
    decoder = json.JSONDecoder()
    found: deque[object] = deque(maxlen=_OBJECTS)
    at, work = 0, 0
    while (start := _OBJECT.search(text, at)) is not None and work < _WORK:
        try:
            value, at = decoder.raw_decode(text, start.start())
            found.append(value)
            work += at - start.start()
        except json.JSONDecodeError as error:
            at = start.end()
            work += error.pos - start.start() + error.pos // 8  # the error counts the lines before it, too
        except (RecursionError, ValueError):
            at = start.end()
            work += len(text) - start.start()
    return found
