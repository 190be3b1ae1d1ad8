"""A neuron's address and the hook point at which its activation is read (method.md, "What a neuron is")."""

import re
from dataclasses import dataclass
from enum import StrEnum

from vlmscope.core.base.errors import UsageError

_ADDRESS = re.compile(r"\s*[Ll]?(\d{1,6})(?:\s*/\s*|\s*[:.]\s*|\s+)[Nn]?(\d{1,9})\s*")


class HookPoint(StrEnum):
    """Where in a gated FFN the activation is read.

    GATE: ``act_fn(gate_proj(x))``, the paper's. GATE_UP: ``act_fn(gate_proj(x)) * up_proj(x)``, the input of
    ``down_proj``.
    """

    GATE = "gate"
    GATE_UP = "gate_up"


@dataclass(frozen=True, order=True)
class Neuron:
    """One FFN unit: ``layer`` and ``index``, both from 0; written ``L27/N3900``."""

    layer: int
    index: int

    def __str__(self) -> str:
        return f"L{self.layer}/N{self.index}"

    @classmethod
    def parse(cls, text: str) -> "Neuron":
        """Read ``L27/N3900``, ``27:3900``, ``L27 3900`` or ``27.3900``.

        Raises:
            UsageError: if ``text`` is none of these.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise UsageError(
                f"{text!r} is not a neuron address.",
                "Write layer and neuron, both from 0: L27/N3900, 27:3900, 27.3900 or 'L27 3900'.",
            )
        return cls(int(match[1]), int(match[2]))

    def check_within(self, layers: int, neurons: int) -> "Neuron":
        """Return self, or raise UsageError if the address lies outside a model of this size."""
        if self.layer >= layers or self.index >= neurons:
            raise UsageError(
                f"{self} lies outside the model: it has {layers} layers of {neurons} neurons.",
                f"Layers go from 0 to {layers - 1}, neurons from 0 to {neurons - 1}.",
            )
        return self
