"""Whether scores separate right explanations from shuffled ones, on the demo, whose scenes are known.

Notable:
- Neurons are chosen by label, concept and purity, never by a score: label visual, the leading concept an object of the
  scenes, purity at least ``LEAST_PURITY``. The purest come first, then those with more visual votes, then by address.
- The right explanation is the concept words of the top samples of odd ranks. The samples of even ranks and random ones
  are scored, on visual tokens, both groups together: the headline of ``vlmscope simulate``.
- A shuffled explanation is that of another of these neurons. None of its words is in a description of the neuron's own
  top samples, and no object that it names is in their scenes. But one is in the random samples: otherwise the oracle
  would predict 0 everywhere, and there would be no score to compare.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmscope.core.base.demo import DEMO, scan_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.correlation import ScoredGroup, TokenKind
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.scoring.candidates import concept_explanation
from vlmscope.core.scoring.held_out import held_out, seed_of
from vlmscope.core.scoring.protocol import SCALE, HeldOut, Prediction, Simulator
from vlmscope.core.scoring.search_phrases import known_words
from vlmscope.core.scoring.simulation import pooled_scores
from vlmscope.core.scoring.simulators.lens import Lens
from vlmscope.core.scoring.simulators.oracle import Oracle
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import A, Asks, Lane
from vlmscope.core.worker.messages import MapRequest, ModelStatus, Request

NEURONS = 60
LEAST_PURITY = 0.5
SHUFFLED = 5  #: shuffled explanations of each neuron, at most


@dataclass(frozen=True)
class BackendScores:
    """One backend's scores of right and of other explanations.

    Attributes:
        right, shuffled: mean scores.
        constant: of a prediction that is the same everywhere: None, as that has no correlation.
        auc: the share of pairs of a right and a shuffled explanation, of any two neurons, in which the right one scores
            higher. Ties count half, a right one without a score loses, shuffled ones without a score are left out.
        undefined_right, undefined_shuffled: explanations without a score.
    """

    right: float | None
    shuffled: float | None
    constant: float | None
    auc: float | None
    undefined_right: int
    undefined_shuffled: int


@dataclass(frozen=True)
class BenchScores:
    """The figures of ``vlmscope bench scores``."""

    neurons: int
    backends: dict[str, BackendScores]


class Constant:
    """Predicts the same value everywhere, for any explanation."""

    name = "constant"
    kinds: Collection[TokenKind] = frozenset({TokenKind.VISUAL})
    independent = True
    paid = False

    def search_phrases(self, explanation: Explanation) -> tuple[str, ...]:
        """The whole text."""
        return (explanation.text,)

    async def simulate(self, explanation: Explanation, sample: HeldOut) -> Prediction:  # noqa: ARG002 (the protocol's)
        """See ``Simulator``."""
        return Prediction(visual=np.full(sample.grid, SCALE / 2, dtype=np.float32))


class _CachedMaps:
    """Asks the model for each map once: all backends are scored against the same true activations."""

    def __init__(self, model: Asks) -> None:
        self._model = model
        self._maps: dict[Request[Any], Any] = {}

    @property
    def status(self) -> ModelStatus:
        return self._model.status

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        if not isinstance(request, MapRequest):
            return await self._model.ask(request, lane)
        if request not in self._maps:
            self._maps[request] = await self._model.ask(request, lane)
        answer: A = self._maps[request]
        return answer


def choose_neurons(store: ScanStore, objects: Collection[str], count: int) -> list[Neuron]:
    """The purest visual neurons of objects; there may be fewer than ``count``."""
    concepts, labels = store.concepts, store.stored_labels()
    if concepts is None:
        return []
    purity = concepts.purity()
    layers, indices = np.nonzero((labels.label == Label.VISUAL) & (purity >= np.float32(LEAST_PURITY)))
    found = [
        (-float(purity[at]), -int(labels.votes[at][Label.VISUAL]), at)
        for at in zip(layers.tolist(), indices.tolist(), strict=True)
        if concepts.leading(*at) in objects
    ]
    return [Neuron(*at) for _, _, at in sorted(found)[:count]]


def named_in(store: ScanStore, oracle: Oracle, samples: Sequence[int]) -> frozenset[str]:
    """Everything that is in these samples: the concept words of their descriptions, and the objects of their scenes."""
    assert store.concepts is not None  # the demo has concepts
    found: set[str] = set()
    for at in samples:
        sample = store.sample(at)
        found |= set(known_words(sample.description, store.concepts.words))
        found |= oracle.objects(sample.picture)
    return frozenset(found)


def shuffled_explanations(
    store: ScanStore, oracle: Oracle, neuron: Neuron, right: dict[Neuron, Explanation], samples: Sequence[HeldOut]
) -> list[Explanation]:
    """Explanations of other neurons that name nothing in this one's top samples (see the file's docstring)."""
    top = store.top_samples(neuron)
    own = named_in(store, oracle, top)
    elsewhere = named_in(store, oracle, [sample.sample for sample in samples if sample.rank is None])
    others = [explanation for other, explanation in right.items() if other != neuron]
    order = np.random.default_rng(seed_of(store.manifest.scan_id, neuron, "shuffled")).permutation(len(others))
    found: dict[tuple[str, ...], Explanation] = {}
    for at in order.tolist():
        words = {*others[at].visual_phrases, *oracle.search_phrases(others[at])}
        if not words & own and elsewhere.intersection(oracle.search_phrases(others[at])):
            found.setdefault(others[at].visual_phrases, others[at])
    return list(found.values())[:SHUFFLED]


async def bench_scores(
    model: Asks, count: int = NEURONS, on_neuron: Callable[[int, int], None] = lambda _done, _of: None
) -> BenchScores:
    """Score right, shuffled and constant explanations of the demo's purest visual neurons.

    Raises:
        StoreError: if the demo is damaged.
        WorkerError: if the model process has ended.
    """
    store = ScanStore(scan_folder(DEMO))
    oracle = Oracle.of_demo(store.manifest)
    cached = _CachedMaps(model)
    simulators: list[Simulator] = [oracle, Lens.of(store, cached), Constant()]
    right = {}
    for neuron in choose_neurons(store, oracle.names, count):
        explanation = concept_explanation(store, neuron, "")
        if explanation is not None:
            right[neuron] = explanation
    scores: dict[str, tuple[list[float | None], list[float | None]]] = {one.name: ([], []) for one in simulators}
    for done, (neuron, explanation) in enumerate(right.items(), start=1):
        samples = held_out(store, neuron, explanation.samples)
        explanations = [explanation, *shuffled_explanations(store, oracle, neuron, right, samples)]
        for simulator in simulators:
            found = await pooled_scores(
                store, neuron, explanations, simulator, cached, samples, TokenKind.VISUAL, ScoredGroup.TOP_AND_RANDOM
            )
            scores[simulator.name][0].append(found[0].score)
            scores[simulator.name][1].extend(one.score for one in found[1:])
        on_neuron(done, len(right))
    constant = mean(scores.pop(Constant.name)[0])
    return BenchScores(len(right), {name: summary(*found, constant) for name, found in scores.items()})


def summary(right: Sequence[float | None], shuffled: Sequence[float | None], constant: float | None) -> BackendScores:
    """The figures of one backend from the scores of its explanations."""
    return BackendScores(
        right=mean(right),
        shuffled=mean(shuffled),
        constant=constant,
        auc=area(right, shuffled),
        undefined_right=sum(one is None for one in right),
        undefined_shuffled=sum(one is None for one in shuffled),
    )


def mean(scores: Sequence[float | None]) -> float | None:
    """The mean of the defined scores; None if there are none."""
    found = [score for score in scores if score is not None]
    return float(np.mean(found)) if found else None


def area(right: Sequence[float | None], shuffled: Sequence[float | None]) -> float | None:
    """The probability that a right explanation's score beats a shuffled one (``BackendScores.auc``)."""
    a = np.array([-np.inf if score is None else score for score in right])
    b = np.array([score for score in shuffled if score is not None])
    if not a.size or not b.size:
        return None
    return float(np.mean((a[:, None] > b) + 0.5 * (a[:, None] == b)))
