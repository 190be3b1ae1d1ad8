"""Whether ablations single out the right neurons, on the demo: ``vlmscope bench causal``.

Notable:
- Neurons are drawn at random among those whose leading concept is an object, of a purity of at least 0.5: never by
  their effect. A neuron that writes as much is checked in the place of each, with its own matched neurons: the share of
  these that are beyond all is what chance gives.
- Effects of all neurons to first order are compared with exact ablations.
- Sets are chosen on other pictures than those on which they are ablated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmscope.core.base.demo import DEMO, scan_folder
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.bench.effects import EffectAgreement, effect_agreement
from vlmscope.core.bench.precision import (
    OBJECTS,
    PointingPrecision,
    RelatedPrecision,
    object_neurons,
    pointing_precision,
    related_precision,
)
from vlmscope.core.bench.sets import PICTURES as SET_PICTURES
from vlmscope.core.bench.sets import SetFigures, bench_sets
from vlmscope.core.causal.check import check
from vlmscope.core.causal.pictures import pick
from vlmscope.core.causal.written import WrittenSizes
from vlmscope.core.notebook.check import CausalCheck, CheckSettings
from vlmscope.core.scoring.simulators.oracle import Oracle
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import A, Asks, Lane
from vlmscope.core.worker.interventions import InterventionAnswer, InterventionRequest
from vlmscope.core.worker.messages import ModelStatus, Request

NEURONS = 6  #: of each layer
PICTURES = 5  #: of each check
CONTROLS = 39
WORDS = 12  #: of the sets
SEED = 0

Row = tuple[Edit, ...]
OnCount = Callable[[str, int, int], None]


@dataclass(frozen=True)
class LayerChecks:
    """Checks of one layer's neurons of objects.

    Attributes:
        at: where z is 0. neurons: how many.
        beyond: how many change their word more than all 39 matched neurons; lower, higher: of these, how many lower it
            and raise it.
        matched_beyond: how many of as many matched neurons, checked in their place.
        effect, matched_effect: median over the neurons of the absolute mean change of log-odds.
        match: median of how much the matched neurons write, over what the neuron does.
    """

    layer: int
    at: str
    neurons: int
    beyond: int
    lower: int
    higher: int
    matched_beyond: int
    effect: float
    matched_effect: float
    match: float


@dataclass(frozen=True)
class BenchCausal:
    """The figures of ``vlmscope bench causal``. ``chance``: the share of neurons beyond all if none is special."""

    controls: int
    pictures: int
    chance: float
    checks: tuple[LayerChecks, ...]
    effects: EffectAgreement
    sets: tuple[SetFigures, ...]
    pointing: PointingPrecision
    related: RelatedPrecision


class KeptRows:
    """Asks the model for each ablation of a picture once: matched neurons of near neurons are mostly the same."""

    def __init__(self, model: Asks) -> None:
        self._model = model
        self._clean: dict[InterventionRequest, InterventionAnswer] = {}  # by the request without rows
        self._rows: dict[tuple[InterventionRequest, Row], InterventionAnswer] = {}

    @property
    def status(self) -> ModelStatus:
        return self._model.status

    def forget(self) -> None:
        """Give back what is kept."""
        self._clean.clear()
        self._rows.clear()

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        """As the model; of interventions, rows that were asked before are not run again."""
        if not isinstance(request, InterventionRequest):
            return await self._model.ask(request, lane)
        picture = InterventionRequest(request.sample, (), request.at, request.tokens)
        new = tuple(row for row in dict.fromkeys(request.rows) if (picture, row) not in self._rows)
        if new:
            answer = await self._model.ask(InterventionRequest(request.sample, new, request.at, request.tokens), lane)
            self._clean[picture] = answer
            for at, row in enumerate(new):
                self._rows[picture, row] = _part(answer, at)
        found: Any = _joined(self._clean[picture], [self._rows[picture, row] for row in request.rows])
        return found  # type: ignore[no-any-return]  # the answer of an InterventionRequest


def _part(answer: InterventionAnswer, at: int) -> InterventionAnswer:
    rows = {name: getattr(answer, name)[at : at + 1] for name in ("changes", "p_after", "first_after", "kl")}
    return InterventionAnswer(answer.log_odds, answer.p, answer.first, **rows)


def _joined(clean: InterventionAnswer, parts: Sequence[InterventionAnswer]) -> InterventionAnswer:
    rows = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("changes", "p_after", "first_after", "kl")
    }
    return InterventionAnswer(clean.log_odds, clean.p, clean.first, **rows)


async def bench_causal(
    model: Asks,
    neurons: int = NEURONS,
    words: int = WORDS,
    objects: int = OBJECTS,
    on_count: OnCount = lambda _what, _done, _of: None,
) -> BenchCausal:
    """Check neurons of objects and sets of them, point at objects, and find related neurons, on the demo.

    Args:
        neurons: of each layer. words: that sets are chosen for. objects: that are pointed at.
        on_count: called with what is being done, how many are done, and of how many.

    Raises:
        StoreError: if the demo is damaged.
        WorkerError: if the model process has ended.
    """
    store = ScanStore(scan_folder(DEMO))
    oracle = Oracle.of_demo(store.manifest)
    checks = await bench_checks(store, model, oracle, neurons, lambda done, of: on_count("neurons", done, of))
    effects = await effect_agreement(store, model)
    sets = await bench_sets(
        store, model, oracle.names, words, SET_PICTURES, lambda done, of: on_count("words", done, of)
    )
    pointing = await pointing_precision(store, model, objects, lambda done, of: on_count("objects", done, of))
    related = related_precision(store, oracle)
    return BenchCausal(CONTROLS, PICTURES, 2 / (CONTROLS + 1), checks, effects, sets, pointing, related)


async def bench_checks(
    store: ScanStore, model: Asks, oracle: Oracle, count: int, on_neuron: Callable[[int, int], None]
) -> tuple[LayerChecks, ...]:
    """Check neurons of every layer, at all positions and in the answer alone, and a matched neuron for each."""
    drawn = [_drawn(object_neurons(store, oracle.names, layer), count, layer) for layer in range(store.layers)]
    kept = KeptRows(model)
    found: dict[tuple[Positions, int], list[tuple[CausalCheck, CausalCheck]]] = {}
    done, total = 0, 2 * sum(len(neurons) for neurons in drawn)
    for layer, neurons in enumerate(drawn):
        for neuron in neurons:
            for at in (Positions.ALL, Positions.ANSWER):
                found.setdefault((at, layer), []).append(await _both(store, kept, neuron, at))
                done += 1
                on_neuron(done, total)
    return tuple(
        _summary(layer, at, found[at, layer])
        for at in (Positions.ALL, Positions.ANSWER)
        for layer in range(store.layers)
        if (at, layer) in found
    )


def _drawn(neurons: Sequence[Neuron], count: int, layer: int) -> list[Neuron]:
    order = np.random.default_rng((SEED, layer)).permutation(len(neurons))[:count]
    return [neurons[at] for at in sorted(order.tolist())]


async def _both(store: ScanStore, kept: KeptRows, neuron: Neuron, at: Positions) -> tuple[CausalCheck, CausalCheck]:
    """The check of a neuron, and that of a matched one on the same pictures and word."""
    assert store.concepts is not None  # it has neurons of objects
    word = store.concepts.leading(neuron.layer, neuron.index)
    pictures = pick(store, [neuron], word, PICTURES).pictures
    settings = CheckSettings(at=at, pictures=PICTURES, controls=CONTROLS, seed=SEED)
    sizes = WrittenSizes(kept, Lane.BACKGROUND)
    own = await check(store, kept, [neuron], word, settings, pictures=pictures, sizes=sizes)
    rng = np.random.default_rng((SEED, neuron.layer, neuron.index))
    matched = own.matched[int(rng.integers(len(own.matched)))].neurons
    other = await check(store, kept, matched, word, settings, pictures=pictures, sizes=sizes)
    kept.forget()
    return own, other


def _summary(layer: int, at: Positions, checks: Sequence[tuple[CausalCheck, CausalCheck]]) -> LayerChecks:
    own, others = [one for one, _ in checks], [other for _, other in checks]
    beyond = [one for one in own if one.beyond_all]
    return LayerChecks(
        layer=layer,
        at=at.value,
        neurons=len(own),
        beyond=len(beyond),
        lower=sum((one.effect or 0.0) < 0 for one in beyond),
        higher=sum((one.effect or 0.0) > 0 for one in beyond),
        matched_beyond=sum(other.beyond_all for other in others),
        effect=_middle([abs(one.effect) for one in own if one.effect is not None]),
        matched_effect=_middle([abs(each.effect) for one in own for each in one.matched]),
        match=_middle([one.match for one in own if one.match is not None]),
    )


def _middle(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else 0.0
