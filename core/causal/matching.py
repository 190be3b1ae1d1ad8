"""Matched neurons: others of the same layer that write as much on the same pictures, and have another word."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.written import Written
from vlmscope.core.method.concepts import Concepts
from vlmscope.core.method.rank_test import nearest_in_ratio

NEAREST = 8  #: of a set: each member is replaced by a random one of so many
LEAST = 1e-30  #: a size that stands for 0, which has no ratio
TRIES = 20  #: sets drawn for each one that is wanted: equal ones are not counted twice

Allowed = NDArray[np.bool_]


def candidates(written: Written, concepts: Concepts | None, neurons: Sequence[Neuron], word: str) -> Allowed:
    """Which neurons may stand for these: not they themselves, without ``word`` among their concepts; bool (L, F)."""
    allowed = written.column > 0
    if concepts is not None and word in concepts.words:
        allowed &= ~(concepts.word == concepts.words.index(word)).any(axis=-1)
    for neuron in neurons:
        allowed[neuron.layer, neuron.index] = False
    return allowed


def matched_neurons(written: Written, allowed: Allowed, neuron: Neuron, count: int) -> list[tuple[Neuron, ...]]:
    """The ``count`` neurons of the layer that write most nearly as much as ``neuron``, the nearest first."""
    layer = neuron.layer
    wanted = float(written.size[layer, neuron.index])
    found = nearest_in_ratio(written.size[layer], wanted, allowed[layer], count)
    return [(Neuron(layer, index),) for index in found.tolist()]


def matched_sets(
    written: Written, allowed: Allowed, neurons: Sequence[Neuron], count: int, seed: int
) -> list[tuple[Neuron, ...]]:
    """Sets in the place of ``neurons``: each member is replaced by a random one of its 8 nearest in written size.

    A set has no neuron twice, and no two sets are equal. So there may be fewer than ``count``; none if a layer has
    fewer candidates than members.
    """
    near = [_near(written, allowed, neurons, member) for member in neurons]
    rng = np.random.default_rng(seed)
    found: dict[frozenset[Neuron], tuple[Neuron, ...]] = {}
    for _ in range(TRIES * count):
        if len(found) == count:
            break
        drawn: list[Neuron] = []
        taken = np.zeros(allowed.shape, dtype=np.bool_)
        for member, options in zip(neurons, near, strict=True):
            free = options[~taken[member.layer, options]][:NEAREST]
            if not free.size:
                return list(found.values())
            index = int(free[rng.integers(free.size)])
            taken[member.layer, index] = True
            drawn.append(Neuron(member.layer, index))
        found.setdefault(frozenset(drawn), tuple(drawn))
    return list(found.values())


def _near(written: Written, allowed: Allowed, neurons: Sequence[Neuron], member: Neuron) -> NDArray[np.int64]:
    """The nearest of a member: 8, and as many more as the set has members in the layer, as others may take them."""
    layer = member.layer
    count = NEAREST + sum(other.layer == layer for other in neurons)
    wanted = max(float(written.size[layer, member.index]), LEAST)
    return nearest_in_ratio(written.size[layer], wanted, allowed[layer], count)
