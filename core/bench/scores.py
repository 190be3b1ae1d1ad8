"""Whether scores tell right explanations from wrong ones, on the demo, whose scenes are known.

Notable:
- Neurons, words and labels come from the top samples of odd ranks alone; those of even ranks and random ones are
  scored, on visual tokens, both groups together: the headline of ``vlmscope simulate``.
- Neurons are chosen by label, concept and purity, never by a score: label visual, the leading concept an object of the
  scenes, purity at least ``LEAST_PURITY``. The purest come first, then those with more visual votes, then by address.
- The right explanation is the concept words.
- A shuffled explanation is that of another of these neurons. None of its words is in a description of the neuron's own
  top samples of odd ranks, and no object that it names is in their scenes. But one is in the random samples: otherwise
  the oracle would predict 0 everywhere, and there would be no score to compare.
- A hard explanation is an object that the right one does not name, among the ``HARD`` most frequent in the scenes of
  the neuron's own top samples of odd ranks. Where the neuron's object is, it often is as well.
- Rolled are the right explanation's predictions, each map moved by half of its rows and columns: the right words, and
  how much of each there is, in the wrong place.
- ``present`` predicts the oracle's largest value everywhere in a picture: that an object is there, and no place. It
  cannot be told from its own rolled maps.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vlmscope.core.base.demo import DEMO, scan_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.bench.changed_predictions import Changed, Constant, everywhere, rolled
from vlmscope.core.bench.clearest import Clearest, bench_clearest
from vlmscope.core.bench.coverage import Coverage, bench_coverage
from vlmscope.core.method.concepts import find_concepts
from vlmscope.core.method.correlation import ScoredGroup, TokenKind
from vlmscope.core.method.labels import Label, label_neurons
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.scoring.candidates import concept_explanation
from vlmscope.core.scoring.held_out import held_out, seed_of
from vlmscope.core.scoring.protocol import HeldOut, Simulator
from vlmscope.core.scoring.search_phrases import known_words
from vlmscope.core.scoring.simulation import pooled_scores, score_explanation
from vlmscope.core.scoring.simulators.lens import Lens
from vlmscope.core.scoring.simulators.oracle import Oracle
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import A, Asks, Lane
from vlmscope.core.worker.messages import MapRequest, ModelStatus, Request

NEURONS = 60
LEAST_PURITY = 0.5
SHUFFLED = 5  #: shuffled explanations of each neuron, at most
COVERED = 12  #: neurons whose intervals are tried
HARD = 3  #: hard explanations of each neuron, at most


@dataclass(frozen=True)
class BackendScores:
    """One backend's scores of right and of wrong explanations.

    Attributes:
        right, shuffled, hard, rolled: mean scores.
        constant: of a prediction that is the same everywhere: None, as that has no correlation.
        auc: the share of pairs of a right and a shuffled explanation, of any two neurons, in which the right one scores
            higher. Ties count half, a right one without a score loses, shuffled ones without a score are left out.
        auc_hard, auc_rolled: the same against hard explanations and rolled maps.
        with_concept: the mean of the right explanations' scores on samples that hold the concept.
        ceiling, ceiling_with_concept: the mean correlation that the best weights over all objects reach, on all samples
            and on those that hold the concept; None where no boxes are known.
        undefined_right, undefined_shuffled: explanations without a score.
    """

    right: float | None
    shuffled: float | None
    hard: float | None
    rolled: float | None
    constant: float | None
    auc: float | None
    auc_hard: float | None
    auc_rolled: float | None
    with_concept: float | None
    ceiling: float | None
    ceiling_with_concept: float | None
    undefined_right: int
    undefined_shuffled: int


@dataclass(frozen=True)
class BenchScores:
    """The figures of ``vlmscope bench scores``."""

    neurons: int
    backends: dict[str, BackendScores]
    clearest: Clearest
    coverage: tuple[Coverage, ...]


@dataclass
class Found:
    """The scores of one backend, in any order."""

    right: list[float | None] = field(default_factory=list)
    shuffled: list[float | None] = field(default_factory=list)
    hard: list[float | None] = field(default_factory=list)
    rolled: list[float | None] = field(default_factory=list)
    with_concept: list[float | None] = field(default_factory=list)
    ceiling: list[float | None] = field(default_factory=list)
    ceiling_with_concept: list[float | None] = field(default_factory=list)


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
    """The purest visual neurons of objects, by the top samples of odd ranks; there may be fewer than ``count``.

    Their label, leading concept and purity are found again as the scan found them, from these samples alone.
    """
    arrays, manifest = store.arrays, store.manifest
    thresholds = manifest.thresholds.value()
    odd = slice(0, store.valid, 2)
    skipped = {one.sample for one in manifest.skipped}
    descriptions = [None if at in skipped else store.sample(at).description for at in range(manifest.samples)]
    top = np.asarray(arrays["top_sample"])[..., odd]
    concepts = find_concepts(top, descriptions, lambda _done, _of: None)
    labels = label_neurons(
        np.asarray(arrays["top_visual"][thresholds.n_v - 1])[..., odd],
        np.asarray(arrays["top_text"][thresholds.n_t - 1])[..., odd],
        np.asarray(store.maximum),
        top.shape[-1],
        thresholds,
    )
    purity = concepts.purity()
    layers, indices = np.nonzero((labels.label == Label.VISUAL) & (purity >= np.float32(LEAST_PURITY)))
    found = [
        (-float(purity[at]), -int(labels.votes[at][Label.VISUAL]), at)
        for at in zip(layers.tolist(), indices.tolist(), strict=True)
        if concepts.leading(*at) in objects
    ]
    return [store.numbering.at(*at) for _, _, at in sorted(found)[:count]]


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
    own = named_in(store, oracle, store.top_samples(neuron)[::2])
    elsewhere = named_in(store, oracle, [sample.sample for sample in samples if sample.rank is None])
    others = [explanation for other, explanation in right.items() if other != neuron]
    order = np.random.default_rng(seed_of(store.manifest.scan_id, neuron, "shuffled")).permutation(len(others))
    found: dict[tuple[str, ...], Explanation] = {}
    for at in order.tolist():
        words = {*others[at].visual_phrases, *oracle.search_phrases(others[at])}
        if not words & own and elsewhere.intersection(oracle.search_phrases(others[at])):
            found.setdefault(others[at].visual_phrases, others[at])
    return list(found.values())[:SHUFFLED]


def hard_explanations(store: ScanStore, oracle: Oracle, neuron: Neuron, right: Explanation) -> list[Explanation]:
    """The objects most frequent in the scenes of the neuron's top samples, but for those that ``right`` names."""
    named = {*right.visual_phrases, *oracle.search_phrases(right)}
    scenes = [oracle.objects(store.sample(at).picture) - named for at in store.top_samples(neuron)[::2]]
    counts = Counter(name for scene in scenes for name in scene)
    names = sorted(counts, key=lambda name: (-counts[name], name))[:HARD]
    return [Explanation(name, Source.CONCEPTS, "", visual_phrases=(name,)) for name in names]


async def bench_scores(
    model: Asks, count: int = NEURONS, on_neuron: Callable[[int, int], None] = lambda _done, _of: None
) -> BenchScores:
    """Score right, shuffled, hard, rolled and constant explanations of the demo's purest visual neurons.

    Raises:
        StoreError: if the demo is damaged.
        WorkerError: if the model process has ended.
    """
    store = ScanStore(scan_folder(DEMO))
    oracle = Oracle.of_demo(store.manifest)
    cached = _CachedMaps(model)
    lens = Lens.of(store, cached)
    simulators: dict[str, Simulator] = {
        Oracle.name: oracle,
        "present": Changed("present", oracle, everywhere),
        Lens.name: lens,
        "lens in place": lens.in_place(),
    }
    right = {}
    for neuron in choose_neurons(store, oracle.names, count):
        explanation = concept_explanation(store, neuron, "")
        if explanation is not None:
            right[neuron] = explanation
    found = {name: Found() for name in simulators}
    constant: list[float | None] = []
    for done, (neuron, explanation) in enumerate(right.items(), start=1):
        samples = held_out(store, neuron, explanation.samples)
        shuffled = shuffled_explanations(store, oracle, neuron, right, samples)
        hard = hard_explanations(store, oracle, neuron, explanation)

        async def scores(
            simulator: Simulator,
            explanations: Sequence[Explanation],
            neuron: Neuron = neuron,
            samples: Sequence[HeldOut] = samples,
        ) -> list[float | None]:
            pooled = await pooled_scores(
                store, neuron, explanations, simulator, cached, samples, TokenKind.VISUAL, ScoredGroup.TOP_AND_RANDOM
            )
            return [one.score for one in pooled]

        for name, simulator in simulators.items():
            one = found[name]
            groups = (await score_explanation(store, neuron, explanation, simulator, cached)).report.pooled
            whole, held = (groups[TokenKind.VISUAL][at] for at in (ScoredGroup.TOP_AND_RANDOM, ScoredGroup.CONCEPT))
            one.right.append(whole.score)
            one.with_concept.append(held.score)
            one.ceiling.append(whole.ceiling)
            one.ceiling_with_concept.append(held.ceiling)
            wrong = await scores(simulator, [*shuffled, *hard])
            one.shuffled.extend(wrong[: len(shuffled)])
            one.hard.extend(wrong[len(shuffled) :])
            one.rolled.extend(await scores(Changed("rolled", simulator, rolled), [explanation]))
        constant += await scores(Constant(), [explanation])
        on_neuron(done, len(right))
    figures = {name: summary(one, mean(constant)) for name, one in found.items()}
    coverage = await bench_coverage(store, oracle, cached, list(right)[:COVERED])
    return BenchScores(len(right), figures, bench_clearest(store, oracle.names), tuple(coverage))


def summary(found: Found, constant: float | None) -> BackendScores:
    """The figures of one backend from the scores of its explanations."""
    return BackendScores(
        right=mean(found.right),
        shuffled=mean(found.shuffled),
        hard=mean(found.hard),
        rolled=mean(found.rolled),
        constant=constant,
        auc=area(found.right, found.shuffled),
        auc_hard=area(found.right, found.hard),
        auc_rolled=area(found.right, found.rolled),
        with_concept=mean(found.with_concept),
        ceiling=mean(found.ceiling),
        ceiling_with_concept=mean(found.ceiling_with_concept),
        undefined_right=sum(one is None for one in found.right),
        undefined_shuffled=sum(one is None for one in found.shuffled),
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
