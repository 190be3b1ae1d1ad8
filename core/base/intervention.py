"""What may be done to neurons during a pass: what a user asks for, and the edits of single neurons that it comes to.

Neuron i of layer l adds ``z_i(t) * d_i`` to the residual stream at token t: z is the input of the down projection, d_i
a column of its weights. An intervention replaces z_i at some positions.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron

CHOICES = "zero, mean, x3 (any number), clamp5 (any number)"


class Positions(StrEnum):
    """Where in a sequence z is replaced."""

    ALL = "all"
    ANSWER = "answer"  #: from the position that predicts the description's first token on
    PICTURE = "picture"  #: the visual tokens


class InterventionKind(StrEnum):
    """What becomes of z."""

    ZERO = "zero"  #: 0: an ablation
    MEAN = "mean"  #: the scan's mean over tokens of the position's kind; at the hook point ``gate`` times the up branch
    SCALE = "x"  #: ``amount * z``
    CLAMP = "clamp"  #: ``amount`` times z at the neuron's peak, the mean of its first three top samples, with its sign


@dataclass(frozen=True)
class Intervention:
    """What a user asks for: ``zero``, ``mean``, ``x3``, ``clamp5``."""

    kind: InterventionKind = InterventionKind.ZERO
    amount: float = 0.0  #: of SCALE and CLAMP

    @classmethod
    def parse(cls, text: str) -> "Intervention":
        """Read ``zero``, ``mean``, ``x3``, ``clamp5`` or ``clamp 5``.

        Raises:
            UsageError: if it is none of these, or its number is not finite.
        """
        word = text.strip().lower()
        for kind in (InterventionKind.ZERO, InterventionKind.MEAN):
            if word == kind:
                return cls(kind)
        for kind in (InterventionKind.CLAMP, InterventionKind.SCALE):
            if word.startswith(kind):
                try:
                    amount = float(word.removeprefix(kind))
                except ValueError:
                    break
                if math.isfinite(amount):
                    return cls(kind, amount)
                raise UsageError(f"{text!r} has no finite number.", f"Interventions: {CHOICES}.")
        raise UsageError(f"{text!r} is not an intervention.", f"Interventions: {CHOICES}.")

    def __str__(self) -> str:
        if self.kind in (InterventionKind.ZERO, InterventionKind.MEAN):
            return self.kind.value
        return f"{self.kind}{self.amount:g}"


@dataclass(frozen=True)
class Edit:
    """What replaces one neuron's z: ``factor * z + constant * up``, and what a second neuron of its layer gives.

    Attributes:
        factor: of its own z; 0 for an ablation.
        visual, text: the constant at visual tokens, and at all other positions.
        times_up: whether the constant is multiplied with the up branch at the position (``mean`` of the hook point
            ``gate``); of an FFN without such a branch it is not.
        source, source_factor: an index in the same layer, whose z as it is without edits is added, times the factor;
            None for no such neuron (``--control direction``).
    """

    neuron: Neuron
    factor: float = 0.0
    visual: float = 0.0
    text: float = 0.0
    times_up: bool = False
    source: int | None = None
    source_factor: float = 0.0
