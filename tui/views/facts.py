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
        distributions: of its activation over patches and over words; their name, and the label whose colour they have.
        content_maximum: largest activation over patches and words; the maximum is over all tokens.
    """

    neuron: Neuron
    peaks: tuple[tuple[str, int], ...]
    distributions: tuple[tuple[str, Distribution, Label], ...]
    content_maximum: float
