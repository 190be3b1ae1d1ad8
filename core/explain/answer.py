"""The form of the model's answer about a neuron."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vlmscope.core.base.text import plain
from vlmscope.core.notebook.explanation import Confidence

TEXT_LENGTH = 1000
PHRASE_LENGTH = 100
PHRASES = 20


def _clean(value: object) -> object:
    """Text from outside, on one line."""
    return plain(value).strip() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


Sentence = Annotated[str, BeforeValidator(_clean), Field(max_length=TEXT_LENGTH)]
Phrase = Annotated[str, BeforeValidator(_clean), Field(min_length=1, max_length=PHRASE_LENGTH)]


class ExplanationAnswer(BaseModel):
    """The fields of ``vlmscope.core.explain.prompt.SCHEMA``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pattern_found: bool
    explanation: Annotated[Sentence, Field(min_length=1)]
    visual_phrases: Annotated[tuple[Phrase, ...], Field(max_length=PHRASES)]
    text_cue: Sentence
    confidence: Annotated[Confidence, BeforeValidator(_lower)]
