"""A neuron's address, the hook point at which its activation is read, and its poles (method.md, "Both poles")."""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from vlmscope.core.base.errors import UsageError

_ADDRESS = re.compile(r"\s*[Ll]?(\d{1,6})(?:\s*/\s*|\s*[:.]\s*|\s+)[Nn]?(\d{1,9})([+-]?)\s*")


class HookPoint(StrEnum):
    """Where in a gated FFN the activation is read.

    GATE: ``act_fn(gate_proj(x))``, the paper's. GATE_UP: ``act_fn(gate_proj(x)) * up_proj(x)``, the input of
    ``down_proj``.
    """

    GATE = "gate"
    GATE_UP = "gate_up"


class Poles(StrEnum):
    """Which signs of an activation a scan keeps apart.

    ONE: a neuron is an FFN unit, and negative activations count as 0. BOTH: a unit is two neurons, its poles. The
    activation of the positive one is the unit's, of the negative one the unit's times -1.
    """

    ONE = "one"
    BOTH = "both"


def read_at(hook: HookPoint, poles: Poles) -> str:
    """The hook point, and whether both poles are kept, in words."""
    return f"{hook}, both poles" if poles is Poles.BOTH else str(hook)


@dataclass(frozen=True, order=True)
class Neuron:
    """One FFN unit, written ``L27/N3900``, or one of its two poles, ``L27/N3900+`` and ``L27/N3900-``.

    Attributes:
        layer: from 0.
        index: the row of the scan's arrays, from 0. Of a scan with one pole a neuron that is the unit; with both poles
            it is 2 * unit for the positive pole, and 2 * unit + 1 for the negative one.
        poled: whether it is a pole. It does not count in comparisons: rows of one scan are poles all, or none is.
    """

    layer: int
    index: int
    poled: bool = field(default=False, compare=False)

    @property
    def unit(self) -> int:
        """The FFN unit, from 0: what the model knows."""
        return self.index // 2 if self.poled else self.index

    @property
    def sign(self) -> int:
        """1, or -1 for a negative pole: its activation is the unit's times this."""
        return -1 if self.poled and self.index % 2 else 1

    @property
    def pole(self) -> str:
        """``+`` or ``-``; empty for a whole unit."""
        return ("-" if self.sign < 0 else "+") if self.poled else ""

    @property
    def whole(self) -> "Neuron":
        """The unit, without a sign."""
        return Neuron(self.layer, self.unit)

    @property
    def name(self) -> str:
        """The address within its layer, without the letter: ``3900``, ``3900+``."""
        return f"{self.unit}{self.pole}"

    def __str__(self) -> str:
        return f"L{self.layer}/N{self.name}"

    @classmethod
    def of_pole(cls, layer: int, unit: int, sign: int) -> "Neuron":
        """A pole of a unit: the negative one where ``sign`` is negative."""
        return cls(layer, 2 * unit + (sign < 0), poled=True)

    @classmethod
    def parse(cls, text: str) -> "Neuron":
        """Read ``L27/N3900``, ``27:3900``, ``L27 3900`` or ``27.3900``; with ``+`` or ``-`` at its end it is a pole.

        Raises:
            UsageError: if ``text`` is none of these.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise UsageError(
                f"{text!r} is not a neuron address.",
                "Write layer and neuron, both from 0: L27/N3900, 27:3900, 27.3900 or 'L27 3900'.",
            )
        layer, unit = int(match[1]), int(match[2])
        return cls.of_pole(layer, unit, -1 if match[3] == "-" else 1) if match[3] else cls(layer, unit)

    def check_within(self, layers: int, neurons: int) -> "Neuron":
        """Return self, or raise UsageError if its unit lies outside a model of this size."""
        if self.layer >= layers or self.unit >= neurons:
            raise UsageError(
                f"{self} lies outside the model: it has {layers} layers of {neurons} neurons.",
                f"Layers go from 0 to {layers - 1}, neurons from 0 to {neurons - 1}.",
            )
        return self


@dataclass(frozen=True)
class Numbering:
    """How the rows of a scan's arrays (L, F) are neurons.

    Attributes:
        layers: L. neurons: F, rows of one layer: its units, or twice as many where each has both poles.
    """

    layers: int
    neurons: int
    poles: Poles = Poles.ONE

    @property
    def poled(self) -> bool:
        """Whether its neurons are poles."""
        return self.poles is Poles.BOTH

    @property
    def units(self) -> int:
        """FFN units of one layer."""
        return self.neurons // 2 if self.poled else self.neurons

    def at(self, layer: int, index: int) -> Neuron:
        """The neuron of a row. It is not checked whether the scan has it."""
        return Neuron(layer, index, self.poled)

    def of_flat(self, flat: int) -> Neuron:
        """The neuron of the flat number ``layer * F + index``."""
        return self.at(*divmod(int(flat), self.neurons))

    def flat(self, neuron: Neuron) -> int:
        """``layer * F + index``."""
        return neuron.layer * self.neurons + neuron.index

    def has(self, neuron: Neuron) -> bool:
        """Whether it is a row, whatever its address is: of a notebook, which belongs to one scan."""
        return neuron.layer < self.layers and neuron.index < self.neurons

    def checked(self, neuron: Neuron) -> Neuron:
        """Return ``neuron``, or raise UsageError if the scan does not have it.

        Raises:
            UsageError: if it lies outside the model; if it has a pole and the scan keeps one a neuron, or the other way
                round.
        """
        neuron.check_within(self.layers, self.units)
        if neuron.poled and not self.poled:
            raise UsageError(
                f"{neuron} names a pole; this scan keeps one pole of each neuron.",
                f"Write {neuron.whole}, or scan with --hook gate_up --poles both.",
            )
        if self.poled and not neuron.poled:
            plus, minus = self.both(neuron)
            raise UsageError(f"{neuron} has two poles in this scan.", f"Write {plus} or {minus}.")
        return neuron

    def each(self, neuron: Neuron) -> tuple[Neuron, ...]:
        """Where a list is meant: ``neuron``, or both poles of a whole unit in a scan of both poles.

        Raises:
            UsageError: as ``checked``, but for a unit without a pole.
        """
        if self.poled and not neuron.poled:
            return self.both(neuron.check_within(self.layers, self.units))
        return (self.checked(neuron),)

    def parse(self, text: str) -> Neuron:
        """The neuron of an address. Raises UsageError as ``Neuron.parse`` and ``checked``."""
        return self.checked(Neuron.parse(text))

    def row(self, neuron: Neuron) -> Neuron:
        """The row that has the unit's activation as it is: of both poles the positive one."""
        return Neuron.of_pole(neuron.layer, neuron.unit, 1) if self.poled else neuron

    def both(self, neuron: Neuron) -> tuple[Neuron, Neuron]:
        """The positive and the negative pole of its unit."""
        return Neuron.of_pole(neuron.layer, neuron.unit, 1), Neuron.of_pole(neuron.layer, neuron.unit, -1)
