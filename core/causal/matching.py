"""Matched neurons: others of the same layer that write as much on the same pictures, and have another word."""

from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.written import Written
from vlmscope.core.method.concepts import Concepts
from vlmscope.core.method.rank_test import nearest_in_ratio

NEAREST = 8  #: of a set: each member is replaced by a random one of so many
FARTHEST = 64  #: the same where 8 give too few sets
LEAST = 1e-30  #: a size that stands for 0, which has no ratio
MISSES = 200  #: sets drawn in a row that were drawn before: then there are hardly any others

Allowed = NDArray[np.bool_]


def candidates(written: Written, concepts: Concepts | None, neurons: Sequence[Neuron], word: str) -> Allowed:
    """Which neurons may stand for these: not they themselves, without ``word`` among their concepts; bool (L, F).

    F are units here, as in ``written``: what a model runs has no poles, and a matched neuron is a whole unit.
    """
    allowed = written.column > 0
    if concepts is not None and word in concepts.words:
        # Of both poles of a unit each has its words.
        of_units = concepts.word.reshape(*allowed.shape, -1)
        allowed &= ~(of_units == concepts.words.index(word)).any(axis=-1)
    for neuron in neurons:
        allowed[neuron.layer, neuron.unit] = False
    return allowed


def matched_neurons(written: Written, allowed: Allowed, neuron: Neuron, count: int) -> list[tuple[Neuron, ...]]:
    """The ``count`` neurons of the layer that write most nearly as much as ``neuron``, the nearest first."""
    layer = neuron.layer
    wanted = float(written.size[layer, neuron.unit])
    found = nearest_in_ratio(written.size[layer], wanted, allowed[layer], count)
    return [(Neuron(layer, index),) for index in found.tolist()]


def matched_sets(
    written: Written, allowed: Allowed, neurons: Sequence[Neuron], count: int, seed: int
) -> list[tuple[Neuron, ...]]:
    """Sets in the place of ``neurons``: each member is replaced by a random one of its 8 nearest in written size.

    A set has no neuron twice, and no two sets are equal. Where the 8 nearest give no more sets, as of two members,
    others are drawn from the 16 nearest, and so on to 64. So there may be fewer than ``count``; none if a layer has
    fewer candidates than members.
    """
    near = [_near(written, allowed, neurons, member) for member in neurons]
    rng = np.random.default_rng(seed)
    found: dict[frozenset[Neuron], tuple[Neuron, ...]] = {}
    missed, nearest = 0, NEAREST
    while len(found) < count:
        drawn = _draw(neurons, near, nearest, rng)
        if drawn is None:
            break
        if frozenset(drawn) in found:
            missed += 1
        else:
            missed = 0
            found[frozenset(drawn)] = drawn
        if missed == MISSES:
            missed, nearest = 0, 2 * nearest
            if nearest > FARTHEST:
                break
    return list(found.values())


def _draw(
    neurons: Sequence[Neuron], near: Sequence[NDArray[np.int64]], nearest: int, rng: np.random.Generator
) -> tuple[Neuron, ...] | None:
    """A neuron for each member, of its ``nearest`` that no other member has; None if there is none left for one."""
    drawn: list[Neuron] = []
    taken: dict[int, set[int]] = {}
    for member, options in zip(neurons, near, strict=True):
        others = taken.setdefault(member.layer, set())
        free = list(islice((index for index in options.tolist() if index not in others), nearest))
        if not free:
            return None
        index = free[int(rng.integers(len(free)))]
        others.add(index)
        drawn.append(Neuron(member.layer, index))
    return tuple(drawn)


def _near(written: Written, allowed: Allowed, neurons: Sequence[Neuron], member: Neuron) -> NDArray[np.int64]:
    """The nearest of a member: 64, and as many more as the set has members in the layer, as others may take them."""
    layer = member.layer
    count = FARTHEST + sum(other.layer == layer for other in neurons)
    wanted = max(float(written.size[layer, member.unit]), LEAST)
    return nearest_in_ratio(written.size[layer], wanted, allowed[layer], count)
