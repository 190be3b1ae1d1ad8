"""What is known of a neuron as a whole, beside its label."""

from dataclasses import dataclass

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.distribution import Distribution
from vlmscope.core.method.labels import Label


@dataclass(frozen=True, eq=False)
class Facts:
    """Its words and its distributions.

    Attributes:
        peaks: words at the peaks of its top samples, with how many samples have each.
        visual, text: distributions of its activation over patches and over words.
        content_maximum: largest activation over patches and words; the maximum is over all tokens.
    """

    neuron: Neuron
    peaks: tuple[tuple[str, int], ...]
    visual: Distribution
    text: Distribution
    content_maximum: float

    @property
    def distributions(self) -> tuple[tuple[str, Distribution, Label], ...]:
        """Both, with the name of their tokens and the label in whose colour they are drawn."""
        return ("patches", self.visual, Label.VISUAL), ("words", self.text, Label.TEXT)
