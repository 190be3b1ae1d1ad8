"""Pointing: which neurons fire at a patch of a picture, or at a word of its description.

A scan alone answers for those neurons that have the picture among their top samples, from where their activation peaks
on it. Of all neurons the model answers: ``core/causal/pointing.py`` asks it.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.distribution import BITS_OFFSET, BITS_SHIFT
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.method.place import Place
from vlmscope.core.method.words import NO_WORD
from vlmscope.core.store.arrays import NO_PEAK
from vlmscope.core.store.reader import ScanStore

LIMIT = 20  #: neurons listed unless told otherwise
WORDS_OF = 50  #: first neurons whose leading concepts are counted
WORDS_SHOWN = 3  #: words that are named
LEAST_Z = 3.0  #: of a word that is named
LEAST_COUNT = 2  #: neurons that such a word leads

FloatArray = NDArray[np.float32]


class Rule(StrEnum):
    """What neurons are ordered by."""

    BAR = "bar"  #: activation over the score of the neuron's last top sample: from 1 on it would be a top sample
    MAXIMUM = "maximum"  #: activation over the neuron's maximum
    WRITTEN = "written"  #: how much it adds to the residual stream: ``abs(z) * norm(d)``
    RARE = "rare"  #: of how many tokens one has an activation in this bin of the histogram or in a higher one
    EFFECT = "effect"  #: change of the word's log-odds without the neuron, to first order; the lowest first

    @property
    def needs_model(self) -> bool:
        """Whether no scan holds what it takes."""
        return self in (Rule.WRITTEN, Rule.EFFECT)


@dataclass(frozen=True)
class PointedNeuron:
    """One neuron that fires at a place.

    Attributes:
        value: what the rule orders by.
        activation: there; None where the rule took none. written: ``abs(z) * norm(d)``; None without the model.
        rank: of the picture among the neuron's own top samples, from 1; None if it is not among them.
        label, high_confidence: at the labels' thresholds.
        concept: its leading concept; empty where it or the scan has none.
        exact: change of the word's log-odds without the neuron, measured; None where it was not.
    """

    neuron: Neuron
    value: float
    activation: float | None
    written: float | None
    rank: int | None
    label: Label
    high_confidence: bool
    concept: str
    exact: float | None = None


@dataclass(frozen=True)
class WordHere:
    """A leading concept of more of the first neurons than by chance.

    Attributes:
        count: of the first neurons. chance: how many of as many neurons drawn at random. z: of a binomial.
    """

    word: str
    count: int
    chance: float
    z: float

    def __str__(self) -> str:
        return f"{self.word} x{self.count} (chance {self.chance:.1f})"


@dataclass(frozen=True)
class Pointed:
    """The neurons that fire at a place.

    Attributes:
        by_model: whether all neurons were asked for; else only those that have the picture among their top samples.
        neurons: best first by the rule; of equal ones the lower address first.
        total: how many the rule orders.
        words: leading concepts that stand out among the first 50.
    """

    place: Place
    rule: Rule
    by_model: bool
    neurons: tuple[PointedNeuron, ...]
    total: int
    words: tuple[WordHere, ...]

    @property
    def words_line(self) -> str:
        """``words here: apple x5 (chance 0.2)``; empty where no word stands out."""
        return f"words here: {', '.join(map(str, self.words))}" if self.words else ""

    @property
    def own(self) -> int:
        """How many of ``neurons`` have the picture among their own top samples: for these the list is circular."""
        return sum(one.rank is not None for one in self.neurons)


def bars(store: ScanStore) -> FloatArray:
    """The score of each neuron's last top sample: float32 (L, F); inf for a scan without samples."""
    if not store.valid:
        return np.full((store.layers, store.neurons), np.inf, dtype=np.float32)
    visual, text = (store.arrays[name][0, :, :, store.valid - 1] for name in ("top_visual", "top_text"))
    found: FloatArray = np.maximum(visual, text)
    return found


def own_ranks(store: ScanStore, sample: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The neurons that have a sample among their top samples, as places in (L * F), and its rank there, from 0."""
    top = store.arrays["top_sample"]
    found = []
    for layer in range(store.layers):
        index, rank = np.nonzero(np.asarray(top[layer, :, : store.valid]) == sample)
        found.append((index + layer * store.neurons, rank))
    neurons, ranks = (np.concatenate(part) for part in zip(*found, strict=True))
    return neurons, ranks


def point_in_scan(
    store: ScanStore, labels: Labels, sample: int, place: Place, rule: Rule = Rule.BAR, limit: int = LIMIT
) -> Pointed:
    """The neurons whose activation on a top sample of theirs peaks at a place, or at most one patch away.

    Args:
        labels: of all neurons, to be shown.

    Raises:
        UsageError: if the rule needs the model, or no token is read at the place.
        StoreError: if the scan or its concepts are damaged.
    """
    if rule.needs_model:
        raise UsageError(f"The scan does not hold what {rule.value!r} orders by.", "The model can be asked.")
    if place.before and place.text[0] == 0:
        raise UsageError("The scan holds nothing of the prompt, where the first word is predicted.", "Ask the model.")
    text = np.array(place.text[:1], dtype=np.int64) - 1 if place.before else np.array(place.text, dtype=np.int64)
    kind, wanted = ("text", text) if place.text else ("visual", np.array(place.near, dtype=np.int64))
    neurons, ranks = own_ranks(store, sample)
    layer, index = np.divmod(neurons, store.neurons)
    peak = store.arrays[f"peak_{kind}"][layer, index, ranks]
    here = np.isin(peak, wanted) & (peak != NO_PEAK)
    neurons, ranks, layer, index = neurons[here], ranks[here], layer[here], index[here]
    activation = store.arrays[f"top_{kind}"][0, layer, index, ranks]
    value = _values(store, rule, activation, neurons, kind)
    firing = _Firing(neurons, value, activation, None).where(value > 0)
    return _pointed(store, labels, place, rule, limit, firing, dict(zip(neurons.tolist(), ranks.tolist(), strict=True)))


def point_at_all(
    store: ScanStore,
    labels: Labels,
    sample: int | None,
    place: Place,
    rule: Rule,
    activation: FloatArray | None,
    written: FloatArray | None,
    effects: FloatArray | None,
    limit: int = LIMIT,
) -> Pointed:
    """All neurons ordered by a rule, from what the model answers about a place.

    Args:
        sample: of the scan; None for a picture of the user's own.
        activation, written, effects: float32 (L, F), as in ``core/worker/interventions.py``; those that the rule takes
            are given.

    Raises:
        UsageError: if the model's answer is of another shape than the scan.
        StoreError: if the scan or its concepts are damaged.
    """
    given = {Rule.EFFECT: effects, Rule.WRITTEN: written}.get(rule, activation)
    if given is None or given.shape != (store.layers, store.neurons):
        raise UsageError("The model's answer does not fit the scan: another model made it.")
    neurons = np.arange(given.size)
    if rule is Rule.EFFECT:
        value = given.ravel().astype(np.float64)
        fires = value < 0
    else:
        value = _values(store, rule, given.ravel(), neurons, "text" if place.text else "visual")
        fires = value > 0
        if rule is Rule.WRITTEN and store.numbering.poled and activation is not None:
            fires &= activation.ravel() > 0  # both poles of a unit write as much; one of them is active
    flat = [None if one is None else one.ravel() for one in (activation, written)]
    ranks = {} if sample is None else dict(zip(*(part.tolist() for part in own_ranks(store, sample)), strict=True))
    return _pointed(store, labels, place, rule, limit, _Firing(neurons, value, *flat).where(fires), ranks)


@dataclass(frozen=True, eq=False)
class _Firing:
    """Neurons at a place: int64 (n,), places in (L * F), and their values, each (n,) or None."""

    neurons: NDArray[np.int64]
    value: NDArray[np.float64]
    activation: FloatArray | None
    written: FloatArray | None

    def where(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> "_Firing":
        """Some of them, or all in another order."""
        activation, written = (None if one is None else one[kept] for one in (self.activation, self.written))
        return _Firing(self.neurons[kept], self.value[kept], activation, written)


def _values(
    store: ScanStore, rule: Rule, activation: FloatArray, neurons: NDArray[np.int64], kind: str
) -> NDArray[np.float64]:
    """What a rule orders by: float64 (n,); 0 where the neuron has nothing to compare with, or does not fire."""
    found = activation.astype(np.float64)
    if rule is Rule.WRITTEN:
        return found
    if rule is Rule.RARE:
        return _rarity(store, activation, neurons, kind)
    layer, index = np.divmod(neurons, store.neurons)
    if rule is Rule.MAXIMUM:
        scale = np.asarray(store.maximum)[layer, index].astype(np.float64)
    elif len(neurons) == store.layers * store.neurons:
        scale = bars(store).ravel()[neurons].astype(np.float64)
    else:
        at = (0, layer, index, store.valid - 1)
        scale = np.maximum(store.arrays["top_visual"][at], store.arrays["top_text"][at]).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((scale > 0) & (found > 0), found / scale, 0.0)


def _rarity(store: ScanStore, activation: FloatArray, neurons: NDArray[np.int64], kind: str) -> NDArray[np.float64]:
    """All tokens of the kind over those in the activation's bin or a higher one, of which there is one at least."""
    which = 0 if kind == "visual" else 1
    counted = store.manifest.visual_tokens if kind == "visual" else store.manifest.text_tokens
    histogram = store.arrays["histogram"][which].reshape(-1, store.arrays["histogram"].shape[-1])
    fires = activation > 0
    bins = np.clip((activation[fires].view(np.int32) >> BITS_SHIFT) - BITS_OFFSET, 1, histogram.shape[1] - 1)
    rows = histogram[neurons[fires]].astype(np.int64)
    above = rows[:, ::-1].cumsum(axis=1)[:, ::-1][np.arange(len(rows)), bins]
    value = np.zeros(len(activation))
    value[fires] = counted / np.maximum(above, 1)
    return value


def _pointed(
    store: ScanStore,
    labels: Labels,
    place: Place,
    rule: Rule,
    limit: int,
    firing: _Firing,
    ranks: dict[int, int],
) -> Pointed:
    firing = firing.where(np.argsort(firing.value if rule is Rule.EFFECT else -firing.value, kind="stable"))
    concepts, found = store.concepts, []
    for at, flat in enumerate(firing.neurons[:limit].tolist()):
        layer, index = divmod(flat, store.neurons)
        rank = ranks.get(flat)
        found.append(
            PointedNeuron(
                neuron=store.numbering.at(layer, index),
                value=float(firing.value[at]),
                activation=None if firing.activation is None else float(firing.activation[at]),
                written=None if firing.written is None else float(firing.written[at]),
                rank=None if rank is None else rank + 1,
                label=labels.of(store.numbering.at(layer, index)),
                high_confidence=bool(labels.high_confidence[layer, index]),
                concept="" if concepts is None else concepts.leading(layer, index),
            )
        )
    by_model = firing.written is not None or rule is Rule.EFFECT
    words = _words(store, firing.neurons[:WORDS_OF])
    return Pointed(place, rule, by_model, tuple(found), len(firing.neurons), words)


def _words(store: ScanStore, first: NDArray[np.int64]) -> tuple[WordHere, ...]:
    """The leading concepts that stand out among the first neurons, by the z of a binomial, the highest first."""
    if store.concepts is None or not len(first):
        return ()
    leading = np.asarray(store.concepts.word[..., 0]).ravel()
    everywhere = np.bincount(leading, minlength=NO_WORD + 1) / leading.size
    ids, counts = np.unique(leading[first], return_counts=True)
    chance = len(first) * everywhere[ids]
    z = (counts - chance) / np.sqrt(np.maximum(chance * (1 - everywhere[ids]), 1e-12))
    kept = (ids != NO_WORD) & (counts >= LEAST_COUNT) & (z >= LEAST_Z)
    order = np.flatnonzero(kept)[np.argsort(-z[kept], kind="stable")][:WORDS_SHOWN]
    words = store.concepts.words
    return tuple(WordHere(words[ids[at]], int(counts[at]), float(chance[at]), float(z[at])) for at in order)
