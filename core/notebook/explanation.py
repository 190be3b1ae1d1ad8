"""Explanations of a neuron, their authors and sources: plain values for notebook, screen and report."""

from dataclasses import dataclass
from enum import StrEnum


class Confidence(StrEnum):
    """The model's own confidence."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Source(StrEnum):
    """The author of an explanation."""

    API = "api"
    USER = "user"
    PAPER = "paper"
    CONCEPTS = "concepts"  #: the neuron's concept words, put together to be scored
    BORROWED = "borrowed"  #: another neuron's, to be scored on this one; ``model`` is that neuron's address

    @property
    def of_the_neuron(self) -> bool:
        """Whether the words explain the neuron itself: the others are there to be scored alone."""
        return self not in (Source.CONCEPTS, Source.BORROWED)


@dataclass(frozen=True)
class Explanation:
    """One reading of a neuron.

    Attributes:
        text: a short phrase or sentence; what was looked for in vain where ``pattern_found`` is false.
        pattern_found: false is an answer too: the samples have nothing in common that the model could name.
        visual_phrases: nouns that a detector can look for; may be empty.
        text_cue: which words the neuron answers to; may be empty.
        confidence: the model's own; None for a person's or a paper's words.
        model: as the API named the model that answered; empty for a person's words.
        prompt_version: of our prompt, e.g. ``explain-1``; empty for a person's words.
        samples: indices in the data of the samples that it was written from, silent ones last: never scored on.
        input_tokens, output_tokens: as billed.
        cost_usd: None where the model's price is not known.
        created: ISO 8601, UTC, whole seconds.
    """

    text: str
    source: Source
    created: str
    pattern_found: bool = True
    visual_phrases: tuple[str, ...] = ()
    text_cue: str = ""
    confidence: Confidence | None = None
    model: str = ""
    prompt_version: str = ""
    samples: tuple[int, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True)
class FailedExplanation:
    """A request that gave no explanation: a refusal, or what went wrong. Never shown as an explanation.

    Attributes:
        reason: what happened, for a person to read.
        refused: the model or its content filter declined; asking again would not help.
        model, input_tokens, output_tokens, cost_usd, created: as in ``Explanation``.
    """

    reason: str
    refused: bool
    model: str
    created: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
