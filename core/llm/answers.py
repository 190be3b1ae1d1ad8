"""A model's answer that should be one JSON object: the object, or what is wrong with it."""

import json
import re
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from vlmscope.core.base.validation import first_problem

WRONG_ANSWER_LENGTH = 4000  #: of an answer that is sent back to be corrected

_THOUGHTS = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"^\s*```[A-Za-z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)

M = TypeVar("M", bound=BaseModel)


class WrongAnswer(ValueError):  # noqa: N818  # it is never shown as an error: the model is asked to correct its answer
    """Says what is wrong with an answer."""


def read_json(text: str, form: type[M]) -> M:
    """A model's answer as a value of ``form``; a code fence around it, and thoughts before it, do no harm.

    Raises:
        WrongAnswer: if it is not JSON, or not of this form.
    """
    text = _THOUGHTS.sub("", text)
    fenced = _FENCE.match(text)
    try:
        found: object = json.loads(fenced[1] if fenced else text)
    except json.JSONDecodeError as error:
        raise WrongAnswer(f"it is not JSON: {error}") from None
    except (RecursionError, ValueError):
        # Nested too deep, or a number of thousands of digits.
        raise WrongAnswer("it is not JSON that could be read") from None
    try:
        return form.model_validate(found)
    except ValidationError as error:
        raise WrongAnswer(first_problem(error)) from None
