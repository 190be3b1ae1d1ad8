"""A causal check as the notebook keeps it: what an intervention on neurons does to a word, against matched neurons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.intervention import Intervention, Positions
from vlmscope.core.base.neuron import Neuron

LEVEL = 0.05  #: of p


def _address(value: object) -> object:
    """A neuron of its address."""
    if not isinstance(value, str):
        return value
    try:
        return Neuron.parse(value)
    except UsageError as error:
        raise ValueError(error.message) from error


def _intervention(text: str) -> str:
    try:
        Intervention.parse(text)
    except UsageError as error:
        raise ValueError(error.message) from error
    return text


# As they are stored in JSON: a neuron is its address, a number is finite.
_Address = Annotated[Neuron, BeforeValidator(_address), PlainSerializer(str)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class CheckSettings:
    """How a check is made.

    Attributes:
        intervention: as ``Intervention`` spells it. at: where.
        control: ``neurons``: matched neurons get the same intervention; ``direction``: the neuron's own z is written
            along their columns.
        pictures: how many at most. controls: K, how many matched neurons or sets at most.
        seed: of what is drawn at random.
    """

    intervention: Annotated[str, AfterValidator(_intervention)] = "zero"
    at: Positions = Positions.ALL
    control: str = "neurons"
    pictures: int = 10
    controls: int = 39
    seed: int = 0


@dataclass(frozen=True)
class MatchedNeurons:
    """One control: matched neurons in the place of the checked ones.

    Attributes:
        neurons: one for each checked neuron, of the same layer.
        effect: mean change over the pictures.
        written: their written size over that of the checked ones (of a set: of the sums).
    """

    neurons: tuple[_Address, ...]
    effect: _Finite
    written: _Finite


@dataclass(frozen=True)
class CheckedPicture:
    """One picture of a check.

    Attributes:
        sample: its index; None for a picture of the user's own. image: its name in the data, or its file.
        change: of the word's log-odds. p, p_after: of the word's first token.
        first, first_after: whether that token is the model's first choice.
        others: mean change of the log-odds of the description's other concept words; None where there are none.
        kl: over the description, in nats.
        baseline: mean change over the controls on this picture; None without controls.
    """

    sample: int | None
    image: str
    change: _Finite
    p: _Share
    p_after: _Share
    first: bool
    first_after: bool
    others: _Finite | None
    kl: _Finite
    baseline: _Finite | None


@dataclass(frozen=True)
class CausalCheck:
    """A check's result. It is not an explanation.

    Attributes:
        neurons: the checked one, or a set. name: of a set, such as ``concept apple``; empty for one neuron.
        word: whose log-odds are read. token: its first token, as spelled.
        pictures: each with its own values.
        matched: the controls, in the order in which they were chosen.
        effect: mean change over the pictures; None without pictures.
        p: two-sided, ``min(1, 2 * min((1 + #{D_j <= D}) / (K + 1), (1 + #{D_j >= D}) / (K + 1)))``; None below 19
            controls or 3 pictures, or where the neuron is silent.
        low, high: 95 % interval over pictures of the change less its controls' mean; below 6 pictures the range of
            these values; None below 3.
        interval: ``t`` or ``range``; ``bootstrap`` in checks that an earlier vlmscope stored; empty without one.
        match: median of the controls' ``written``; None without controls.
        note: why there is no p, or what limits it; empty if there is nothing to say.
    """

    neurons: tuple[_Address, ...]
    name: str
    word: str
    token: str
    settings: CheckSettings
    created: str
    pictures: tuple[CheckedPicture, ...]
    matched: tuple[MatchedNeurons, ...]
    effect: _Finite | None
    p: _Share | None
    low: _Finite | None
    high: _Finite | None
    interval: str
    match: _Finite | None
    note: str = ""

    @property
    def values(self) -> Sequence[float]:
        """Each picture's change."""
        return [picture.change for picture in self.pictures]

    @property
    def of_set(self) -> bool:
        """Whether neurons are checked together, as a set; a set of one is a set."""
        return bool(self.name)

    @property
    def subject(self) -> str:
        """The address of one neuron; a set's name and size."""
        return str(self.neurons[0]) if not self.name else f"{self.name} ({len(self.neurons)} neurons)"

    @property
    def least_p(self) -> float:
        """The least p that so many controls allow."""
        return min(1.0, 2 / (len(self.matched) + 1))

    @property
    def beyond_all(self) -> bool:
        """Whether the effect is larger than all controls', or smaller than all: p is the least that there can be."""
        return self.p is not None and self.p <= self.least_p

    @property
    def found(self) -> bool:
        """Whether this counts as an effect: beyond all controls, or p of at most ``LEVEL``."""
        return self.beyond_all or (self.p is not None and self.p <= LEVEL)
