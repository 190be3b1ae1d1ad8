"""Score explanations of one neuron: simulate, compute the truth, correlate, and compare with other explanations."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.correlation import (
    Correlation,
    Pooled,
    ScoredGroup,
    ScoredSample,
    TokenKind,
    correlation,
    of_group,
    pool,
)
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.scoring.candidates import concept_explanation
from vlmscope.core.scoring.held_out import held_out, seed_of
from vlmscope.core.scoring.known_boxes import KnowsBoxes, ceiling, holding
from vlmscope.core.scoring.protocol import HeldOut, NoPrediction, Prediction, Simulator
from vlmscope.core.scoring.report import Failure, SampleScore, ScoreReport
from vlmscope.core.scoring.search_phrases import wanted_words
from vlmscope.core.scoring.true_activations import Truth, true_norms
from vlmscope.core.store.progress import progress_text
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks

BASELINES = 10  #: other neurons' explanations at most
CANDIDATES = 300  #: neurons looked at for them
#: Of a person's words, unless they repeat an explanation of the notebook (``pick_explanation``).
SEEN = "not held out: a person's own words, scored on samples that the person may have seen"


@dataclass(frozen=True, eq=False)
class PredictedSample:
    """One sample as it is shown: origin, truth, prediction."""

    sample: HeldOut
    truth: Truth | None  #: None if there is none, or it was not needed, as nothing was predicted
    prediction: Prediction | None
    reason: str = ""  #: why this sample has no score; else empty


@dataclass(frozen=True, eq=False)
class Outcome:
    """A report, and what it was made from."""

    report: ScoreReport
    examples: tuple[PredictedSample, ...]


@dataclass
class _Tally:
    """The results of one explanation, sample by sample."""

    scored: dict[TokenKind, list[ScoredSample]]
    failures: list[Failure] = field(default_factory=list)
    examples: list[PredictedSample] = field(default_factory=list)

    def fail(self, sample: HeldOut, reason: str, truth: Truth | None = None) -> None:
        self.failures.append(Failure(sample.sample, sample.rank, None, reason))
        self.examples.append(PredictedSample(sample, truth, None, reason))

    def add(self, sample: HeldOut, truth: Truth, prediction: Prediction, *, holds: bool) -> None:
        reasons = []
        for kind, scored in self.scored.items():
            true = truth.of(kind)
            found = prediction.visual if kind is TokenKind.VISUAL else prediction.text
            reason = ""
            if found is None:
                reason = f"no {kind} prediction"
            elif found.shape != true.shape:
                reason = f"the {kind} prediction is of shape {found.shape}, not {true.shape}"
            elif not np.isfinite(found).all():
                reason = f"the {kind} prediction is not finite"
            else:
                scored.append(ScoredSample(sample.sample, sample.rank, true, found, holds))
            if reason:
                self.failures.append(Failure(sample.sample, sample.rank, kind, reason))
                reasons.append(reason)
        self.examples.append(PredictedSample(sample, truth, prediction, "; ".join(reasons)))


async def score_explanation(
    store: ScanStore,
    neuron: Neuron,
    explanation: Explanation,
    simulator: Simulator,
    model: Asks,
    *,
    baselines: Sequence[Explanation] = (),
    on_sample: Callable[[int, int], None] = lambda _done, _of: None,
) -> Outcome:
    """Score one explanation of a neuron on its held-out samples.

    Args:
        baselines: other neurons' explanations (``baseline_explanations``), scored on the same samples.
        on_sample: called with how many samples are done, of how many.

    Raises:
        StoreError: if the scan is damaged.
        VlmscopeError: what ends the run: the model process has gone, it was stopped, a quota is used up.
    """
    samples = held_out(store, neuron, explanation.samples, paid=simulator.paid)
    held = holding(explanation, simulator, store.concepts.words if store.concepts else (), samples)
    tallies = await _simulate(store, neuron, [explanation, *baselines], simulator, model, samples, held, on_sample)
    first, *others = tallies
    planned = _planned(samples, held)
    maps = _maps_of_all(simulator, samples)
    pooled: dict[TokenKind, Mapping[ScoredGroup, Pooled]] = {}
    for kind in _ordered(simulator.kinds):
        pooled[kind] = {
            group: _with_ceiling(
                _with_baseline(
                    _explained(pool(first.scored[kind], group, planned), first.failures, kind),
                    [pool(other.scored[kind], group, planned, interval=False).score for other in others],
                ),
                of_group(first.scored[kind], group),
                maps if kind is TokenKind.VISUAL else {},
            )
            for group in ScoredGroup
        }
    report = ScoreReport(
        backend=simulator.name,
        independent=simulator.independent,
        explanation=explanation.text,
        phrases=simulator.search_phrases(explanation),
        pooled=pooled,
        samples=_sample_scores(samples, first),
        failures=tuple(first.failures),
        note=limits(store, explanation, independent=simulator.independent),
    )
    return Outcome(report, tuple(first.examples))


def limits(store: ScanStore, explanation: Explanation, *, independent: bool) -> str:
    """A warning for readers of a simulator's or a judge's score; may be empty."""
    notes = [] if independent else ["not independent: the inspected model is asked about itself"]
    if explanation.source is Source.USER:
        notes.append(SEEN)
    progress = store.manifest.progress
    if progress is not None:  # more samples may bring other top ones, and so another score
        notes.append(f"the scan was not whole, {progress_text(progress)}")
    return "; ".join(notes)


async def pooled_scores(
    store: ScanStore,
    neuron: Neuron,
    explanations: Sequence[Explanation],
    simulator: Simulator,
    model: Asks,
    samples: Sequence[HeldOut],
    kind: TokenKind,
    group: ScoredGroup,
) -> list[Pooled]:
    """The scores of several explanations on the same samples, without intervals. Raises as ``score_explanation``."""
    tallies = await _simulate(store, neuron, explanations, simulator, model, samples, (), lambda _done, _of: None)
    planned = _planned(samples)
    return [pool(tally.scored[kind], group, planned, interval=False) for tally in tallies]


def baseline_explanations(
    store: ScanStore,
    neuron: Neuron,
    explanation: Explanation,
    simulator: Simulator,
    said: Callable[[Neuron], Explanation | None] = lambda _: None,
) -> list[Explanation]:
    """Up to ten other neurons' explanations that share no concept with this one; none for a backend that costs money.

    Which neurons is drawn by the scan and the address; an explanation is what ``said`` returns, or else concept words.

    Raises:
        StoreError: if the scan's concepts are damaged.
    """
    concepts = store.concepts
    if concepts is None or simulator.paid:
        return []
    own = {concept.word for concept in concepts.of(neuron).words} | set(wanted_words(explanation, concepts.words))
    own |= set(simulator.search_phrases(explanation))
    total = store.layers * store.neurons
    drawn = np.random.default_rng(seed_of(store.manifest.scan_id, neuron, "baseline")).permutation(total)
    found: list[Explanation] = []
    for flat in drawn[:CANDIDATES].tolist():
        other = store.numbering.of_flat(flat)
        candidate = None if other == neuron else said(other) or concept_explanation(store, other, explanation.created)
        if candidate is None or not simulator.search_phrases(candidate):
            continue
        words = {*wanted_words(candidate, concepts.words), *simulator.search_phrases(candidate)}
        if not words & own:
            found.append(candidate)
        if len(found) == BASELINES:
            break
    return found


async def _simulate(
    store: ScanStore,
    neuron: Neuron,
    explanations: Sequence[Explanation],
    simulator: Simulator,
    model: Asks,
    samples: Sequence[HeldOut],
    held: Collection[int],
    on_sample: Callable[[int, int], None],
) -> list[_Tally]:
    """All explanations of a sample before the next one, so that a simulator may keep what they share."""
    maximum = float(store.maximum[neuron.layer, neuron.index])
    tallies = [_Tally({kind: [] for kind in _ordered(simulator.kinds)}) for _ in explanations]
    for done, sample in enumerate(samples, start=1):
        predicted = [await simulator.simulate(explanation, sample) for explanation in explanations]
        # Where nothing is predicted, no truth is needed.
        asked = any(isinstance(one, Prediction) for one in predicted)
        truth = await true_norms(model, neuron, maximum, sample) if asked else None
        for tally, one in zip(tallies, predicted, strict=True):
            if isinstance(one, NoPrediction):
                tally.fail(sample, one.reason, truth if isinstance(truth, Truth) else None)
            elif isinstance(truth, Truth):
                tally.add(sample, truth, one, holds=sample.sample in held)
            else:
                tally.fail(sample, truth or "")
        on_sample(done, len(samples))
    return tallies


def _planned(samples: Sequence[HeldOut], held: Collection[int] = ()) -> dict[ScoredGroup, int]:
    top = sum(sample.rank is not None for sample in samples)
    return {ScoredGroup.TOP: top, ScoredGroup.TOP_AND_RANDOM: len(samples), ScoredGroup.CONCEPT: len(held)}


def _maps_of_all(simulator: Simulator, samples: Sequence[HeldOut]) -> dict[int, NDArray[np.float32]]:
    """Of each sample whose boxes are known, the predictions of all objects."""
    if not isinstance(simulator, KnowsBoxes):
        return {}
    found = {one.sample: simulator.maps_of_all(one) for one in samples}
    return {at: maps for at, maps in found.items() if maps is not None}


def _ordered(kinds: Collection[TokenKind]) -> list[TokenKind]:
    return [kind for kind in TokenKind if kind in kinds]


def _explained(found: Pooled, failures: Sequence[Failure], kind: TokenKind) -> Pooled:
    """Where nothing could be scored, say why rather than how often."""
    reasons = {failure.reason for failure in failures if failure.kind in (None, kind)}
    if found.score is None and found.counted == 0 and found.planned and len(reasons) == 1:
        return replace(found, reason=reasons.pop())
    return found


def _with_baseline(found: Pooled, others: Sequence[float | None]) -> Pooled:
    values = [value for value in others if value is not None]
    return replace(found, baseline=float(np.mean(values)) if values else None, baselines=len(values))


def _with_ceiling(found: Pooled, samples: Sequence[ScoredSample], maps: Mapping[int, NDArray[np.float32]]) -> Pooled:
    return found if found.score is None else replace(found, ceiling=ceiling(samples, maps))


def _sample_scores(samples: Sequence[HeldOut], tally: _Tally) -> tuple[SampleScore, ...]:
    values: dict[int, dict[TokenKind, Correlation]] = {}
    for kind, scored in tally.scored.items():
        for one in scored:
            values.setdefault(one.sample, {})[kind] = correlation(one.truth, one.prediction)
    return tuple(
        SampleScore(sample.sample, sample.rank, values[sample.sample]) for sample in samples if sample.sample in values
    )
