"""A model's answer that should be one JSON object: the object, or what is wrong with it."""

import json
import re

WRONG_ANSWER_LENGTH = 4000  #: of an answer that is sent back to be corrected

_THOUGHTS = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"^\s*```[A-Za-z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)


class WrongAnswer(ValueError):  # noqa: N818  # never shown as an error: it is asked to be mended
    """Says what is wrong with an answer."""


def read_json(text: str) -> object:
    """The JSON of a model's answer; a code fence around it, and thoughts before it, do no harm.

    Raises:
        WrongAnswer: if it is none.
    """
    text = _THOUGHTS.sub("", text)
    fenced = _FENCE.match(text)
    try:
        found: object = json.loads(fenced[1] if fenced else text)
        return found
    except json.JSONDecodeError as error:
        raise WrongAnswer(f"it is no JSON: {error}") from None
    except (RecursionError, ValueError):
        # Nested too deep, or a number of thousands of digits.
        raise WrongAnswer("it is no JSON that could be read") from None
