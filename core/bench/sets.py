"""Sets of neurons ablated at once, chosen by effect on other pictures or by concept, against matched sets."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.matching import candidates, matched_sets
from vlmscope.core.causal.pictures import Described, of_sample
from vlmscope.core.causal.words import leading_words, other_words, place_of
from vlmscope.core.causal.written import Written, WrittenSizes
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.interventions import AttributionRequest, InterventionRequest

SIZES = (1, 5, 20, 50)
RANKED_ON = 8  #: pictures that effects are averaged over
PICTURES = 6  #: other pictures, on which the sets are ablated
MATCHED = 5  #: matched sets of each
SEED = 0

Neurons = tuple[Neuron, ...]


@dataclass(frozen=True)
class SetFigures:
    """Sets of one size, chosen one way, over all words.

    Attributes:
        by: ``effect``, the lowest on other pictures, or ``concept``, those that have the word most strongly.
        size: neurons of a set; fewer where fewer have the word. words: how many.
        change, matched_change: mean change of the word's log-odds.
        others_change, matched_others_change: the same of other concept words of the descriptions.
        first, matched_first: the share of pictures on which the word stays the model's first choice.
        below_all: words that the set lowers more than each of its matched sets.
    """

    by: str
    size: int
    words: int
    change: float
    matched_change: float
    others_change: float
    matched_others_change: float
    first: float
    matched_first: float
    below_all: int


@dataclass(frozen=True, eq=False)
class _OfWord:
    """One set and its matched sets on one word: each array has a row for the set, then one for each matched set.

    Attributes:
        change, others, first: float64 (1 + matched,), means over pictures.
    """

    change: NDArray[np.float64]
    others: NDArray[np.float64]
    first: NDArray[np.float64]


async def bench_sets(
    store: ScanStore,
    model: Asks,
    objects: Collection[str],
    words: int,
    pictures: int,
    on_word: Callable[[int, int], None],
) -> tuple[SetFigures, ...]:
    """Ablate sets for words drawn at random among ``objects``.

    Raises:
        StoreError: if the demo is damaged. WorkerError: as ``Asks.ask``.
    """
    of_word = _described(store, objects)
    enough = sorted(word for word, found in of_word.items() if len(found) >= RANKED_ON + pictures)
    rng = np.random.default_rng(SEED)
    drawn = [enough[at] for at in rng.permutation(len(enough))[:words].tolist()]
    found: dict[tuple[str, int], list[_OfWord]] = {}
    for done, word in enumerate(drawn, start=1):
        order = rng.permutation(len(of_word[word]))[: RANKED_ON + pictures].tolist()
        chosen = [of_sample(store.sample(of_word[word][at]), store.manifest.prompt) for at in order]
        ranked = await _by_effect(model, chosen[:RANKED_ON], word)
        sets = {("effect", size): ranked[:size] for size in SIZES}
        sets |= {("concept", size): _by_concept(store, word)[:size] for size in SIZES}
        for key, measured in (await _measured(store, model, chosen[RANKED_ON:], word, sets)).items():
            found.setdefault(key, []).append(measured)
        on_word(done, len(drawn))
    return tuple(_figures(by, size, measured) for (by, size), measured in found.items())


def _described(store: ScanStore, objects: Collection[str]) -> dict[str, list[int]]:
    """The samples whose description has each word."""
    found: dict[str, list[int]] = {}
    known = frozenset(objects)
    for index in range(store.manifest.samples):
        if store.processed(index):
            for word in other_words(store.sample(index).tokens, known, ""):
                found.setdefault(word, []).append(index)
    return found


async def _by_effect(model: Asks, pictures: Sequence[Described], word: str) -> Neurons:
    """The neurons without which the word's log-odds fall most, to first order, on average."""
    effects = []
    for picture in pictures:
        request = AttributionRequest(picture.ref, _token(picture, word))
        effects.append((await model.ask(request, Lane.BACKGROUND)).effects)
    mean = np.mean(effects, axis=0)
    order = np.argsort(mean, axis=None, kind="stable")[: max(SIZES)]
    return tuple(Neuron(*divmod(at, mean.shape[1])) for at in order.tolist())


def _by_concept(store: ScanStore, word: str) -> Neurons:
    """The neurons that have the word among their concepts, those that have it most strongly first."""
    assert store.concepts is not None  # the demo has concepts
    strength = store.concepts.find(word)
    order = np.argsort(-strength, axis=None, kind="stable")[: np.count_nonzero(strength)]
    return tuple(Neuron(*divmod(at, store.neurons)) for at in order.tolist())


def _token(picture: Described, word: str) -> int:
    place = place_of(picture.tokens, word)
    assert place is not None  # pictures are chosen by their descriptions
    return place.token


async def _measured(
    store: ScanStore,
    model: Asks,
    pictures: Sequence[Described],
    word: str,
    sets: dict[tuple[str, int], Neurons],
) -> dict[tuple[str, int], _OfWord]:
    """Ablate each set and its matched sets at all positions of each picture."""
    sizes = WrittenSizes(model, Lane.BACKGROUND)
    written = Written.mean([await sizes.of(picture, Positions.ALL) for picture in pictures])
    rows: list[tuple[Edit, ...]] = []
    of_set: dict[tuple[str, int], slice] = {}
    for key, neurons in sets.items():
        allowed = candidates(written, store.concepts, neurons, word)
        every = [neurons, *matched_sets(written, allowed, neurons, MATCHED, SEED)]
        of_set[key] = slice(len(rows), len(rows) + len(every))
        rows += [tuple(Edit(neuron) for neuron in those) for those in every]
    known = leading_words(store.concepts)
    changes, others, firsts = [], [], []
    for picture in pictures:
        elsewhere = [place.token for place in other_words(picture.tokens, known, word).values()]
        request = InterventionRequest(picture.ref, tuple(rows), Positions.ALL, (_token(picture, word), *elsewhere))
        answer = await model.ask(request, Lane.BACKGROUND)
        changes.append(answer.changes[:, 0].astype(np.float64))
        firsts.append(answer.first_after[:, 0])
        if elsewhere:
            others.append(answer.changes[:, 1:].mean(axis=1, dtype=np.float64))
    change, first = np.stack(changes).mean(axis=0), np.stack(firsts).mean(axis=0)
    other = np.stack(others).mean(axis=0) if others else np.zeros(len(rows))
    return {key: _OfWord(change[those], other[those], first[those]) for key, those in of_set.items()}


def _figures(by: str, size: int, measured: Sequence[_OfWord]) -> SetFigures:
    return SetFigures(
        by=by,
        size=size,
        words=len(measured),
        change=float(np.mean([one.change[0] for one in measured])),
        matched_change=float(np.mean([one.change[1:].mean() for one in measured])),
        others_change=float(np.mean([one.others[0] for one in measured])),
        matched_others_change=float(np.mean([one.others[1:].mean() for one in measured])),
        first=float(np.mean([one.first[0] for one in measured])),
        matched_first=float(np.mean([one.first[1:].mean() for one in measured])),
        below_all=sum(bool((one.change[0] < one.change[1:]).all()) for one in measured),
    )
