"""The figures of ``vlmscope bench causal``: what is drawn, what is asked, and the arithmetic, with a stand-in model."""

import json
from collections import Counter
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vlmscope.core.analysis.pointing import Rule
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.bench.causal import BenchCausal, KeptRows, OnCount, bench_causal, bench_checks
from vlmscope.core.bench.effects import agreement, effect_agreement
from vlmscope.core.bench.precision import (
    LEAST_PURITY,
    named_objects,
    object_neurons,
    pointing_precision,
    related_precision,
)
from vlmscope.core.bench.sets import SIZES, bench_sets
from vlmscope.core.scoring.simulators.oracle import Oracle, read_scenes
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import A, Lane
from vlmscope.core.worker.interventions import (
    AttributionAnswer,
    AttributionRequest,
    FiringAnswer,
    FiringRequest,
    InterventionAnswer,
    InterventionRequest,
    SampleRef,
    WrittenAnswer,
    WrittenRequest,
)
from vlmscope.core.worker.messages import ModelStatus, Phase, Request
from vlmscope.tui.__main__ import main
from vlmscope.tui.commands import bench

STRONG = Neuron(5, 3)  #: the only neuron that does something


class StandIn:
    """Answers for the demo: the word loses 1 without ``STRONG``, which fires most and has the largest effect."""

    def __init__(self, store: ScanStore) -> None:
        self.store = store
        self.status = ModelStatus(Phase.READY)
        self.rows = Counter[tuple[InterventionRequest, tuple[Edit, ...]]]()

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        shape = (self.store.layers, self.store.neurons)
        flat = np.zeros(shape, np.float32)
        if isinstance(request, InterventionRequest):
            return cast(A, self.intervened(request))
        if isinstance(request, WrittenRequest):
            sizes = (1 + np.arange(flat.size) % 97 / 100).reshape(shape).astype(np.float32)
            return cast(A, WrittenAnswer(sizes, sizes, flat + 1))
        flat[STRONG.layer, STRONG.index] = 1
        if isinstance(request, AttributionRequest):
            return cast(A, AttributionAnswer(-flat))
        assert isinstance(request, FiringRequest)
        return cast(A, FiringAnswer(flat * 100, flat * 100, flat))

    def intervened(self, request: InterventionRequest) -> InterventionAnswer:
        picture = InterventionRequest(request.sample, (), request.at, request.tokens)
        self.rows.update((picture, row) for row in request.rows)
        assert request.sample.sample is not None
        tokens = len(request.tokens) or len(self.store.sample(request.sample.sample).tokens)
        changes = np.zeros((len(request.rows), tokens), np.float32)
        for at, row in enumerate(request.rows):
            changes[at, 0 if request.tokens else slice(None)] = -1.0 * (STRONG in {edit.neuron for edit in row})
        ones = np.ones(tokens, np.float32)
        first = (changes > -1).astype(np.uint8)
        p_after = (changes / 4 + 0.5).astype(np.float32)
        clean = (ones, (ones / 2).astype(np.float32), ones.astype(np.uint8))
        return InterventionAnswer(*clean, changes, p_after, first, -changes)


@pytest.fixture(scope="module")
def store() -> ScanStore:
    return ScanStore(scan_folder("demo"))


@pytest.fixture(scope="module")
def oracle(store: ScanStore) -> Oracle:
    return Oracle.of_demo(store.manifest)


@pytest.fixture
def model(store: ScanStore) -> StandIn:
    return StandIn(store)


async def test_each_row_is_asked_for_once(model: StandIn) -> None:
    kept = KeptRows(model)
    sample = SampleRef("picture.png", "prompt", "words", 0)
    rows = [(Edit(Neuron(5, index)),) for index in range(5)]
    first = await kept.ask(InterventionRequest(sample, (rows[0], rows[3]), Positions.ALL, (4,)))
    both = await kept.ask(InterventionRequest(sample, tuple(rows), Positions.ALL, (4,)))
    alone = await model.ask(InterventionRequest(sample, tuple(rows), Positions.ALL, (4,)))
    again = await kept.ask(InterventionRequest(sample, (rows[4], rows[3], rows[4]), Positions.ALL, (4,)))
    assert model.rows.total() == 5 + len(rows)
    for name in InterventionAnswer.__struct_fields__:
        assert np.array_equal(getattr(both, name), getattr(alone, name))
    assert first.changes.tolist() == [[0], [-1]] and again.changes.tolist() == [[0], [-1], [0]]
    await kept.ask(InterventionRequest(sample, tuple(rows), Positions.ANSWER, (4,)))  # elsewhere: all rows again
    assert model.rows.total() == 5 + 2 * len(rows)


async def test_checks_are_of_neurons_drawn_without_their_effects(
    store: ScanStore, model: StandIn, oracle: Oracle
) -> None:
    done: list[tuple[int, int]] = []
    found = await bench_checks(store, model, oracle, 1, lambda *count: done.append(count))
    assert [(one.at, one.layer) for one in found] == [(at, layer) for at in ("all", "answer") for layer in range(6)]
    assert done[-1] == (12, 12)
    assert all(one.neurons == 1 and one.beyond == one.matched_beyond == 0 for one in found)  # ties: not beyond
    assert all(0.5 < one.match < 2 for one in found)
    assert max(model.rows.values()) == 1
    for layer in range(6):
        for neuron in object_neurons(store, oracle.names, layer):
            assert store.concepts is not None and neuron.layer == layer
            assert store.concepts.of(neuron).words[0].word in oracle.names
            assert store.concepts.of(neuron).purity >= LEAST_PURITY


async def test_effects_are_compared_with_exact_ablations(store: ScanStore, model: StandIn) -> None:
    found = await effect_agreement(store, model, 3)
    assert found.pairs == 3 * 6 * 6
    assert (found.same_sign, found.large) == (1, 3)
    assert found.spearman == pytest.approx(1) and found.layers == pytest.approx((0, 0, 0, 0, 0, 1))
    opposite = np.array([[1, -2, 3, -4], [1, 1, 2, 3]], np.float32)
    exact = np.array([[-0.1, 0.2, -0.3, 0.4], [3, 3, 4, 5]], np.float32)
    told = agreement(opposite, exact)
    assert told.layers == pytest.approx((-1, 1)) and told.same_sign == 0.5 and told.large == told.pairs == 8


async def test_sets_are_chosen_on_other_pictures(store: ScanStore, model: StandIn, oracle: Oracle) -> None:
    asked: list[InterventionRequest] = []
    ranked_on: set[int | None] = set()

    class Watching(StandIn):
        async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
            if isinstance(request, InterventionRequest):
                asked.append(request)
            elif isinstance(request, AttributionRequest):
                ranked_on.add(request.sample.sample)
            return await super().ask(request, lane)

    found = await bench_sets(store, Watching(store), oracle.names, 1, 2, lambda *_: None)
    assert [(one.by, one.size) for one in found] == [(by, size) for by in ("effect", "concept") for size in SIZES]
    assert len(ranked_on) == 8 and not ranked_on & {request.sample.sample for request in asked}
    for one in found[:4]:  # by effect: the strong one is the first
        assert (one.change, one.matched_change, one.others_change, one.below_all) == (-1, 0, 0, 1)
        assert (one.first, one.matched_first) == (0, 1)
    assert len(asked) == 2
    sizes = [len(row) for row in asked[0].rows]
    assert sizes[:24] == [size for size in SIZES for _ in range(6)]  # each set with five matched ones


def test_objects_are_pointed_at_in_the_middle(store: ScanStore) -> None:
    objects = named_objects(store, 30)
    assert len(objects) == 30
    scenes = read_scenes()
    for one in objects:
        assert one.name in one.sample.tokens[one.token].strip().lower()
        boxes = [box for name, box in scenes[one.sample.picture.name] if name == one.name]
        with Image.open(one.sample.picture) as image:
            scale: NDArray[Any] = np.array([image.width, image.height])
        (left, top, right, bottom) = one.sample.layout.boxes[one.place.visual[0]]
        middle = np.array([left + right, top + bottom]) / 2 * scale
        patch = scale / one.sample.layout.grid[0]
        near = [np.abs(middle - [(x0 + x1) / 2, (y0 + y1) / 2]).max() <= patch.max() for x0, y0, x1, y1 in boxes]
        assert any(near)


async def test_lists_are_counted_with_and_without_the_pictures_own_neurons(store: ScanStore, model: StandIn) -> None:
    found = await pointing_precision(store, model, 20)
    assert set(found.rules) == {rule.value for rule in Rule} - {"effect"}
    assert store.concepts is not None
    concept = store.concepts.leading(STRONG.layer, STRONG.index)
    named = np.array([one.name == concept for one in named_objects(store, 20)])
    own = np.array([one.sample.index in store.top_samples(STRONG) for one in named_objects(store, 20)])
    for one in (
        *found.rules.values(),
        found.word,
        found.effect,
    ):  # the strong one is always the only one that is listed
        assert one.at_1 == pytest.approx(named.mean()) and one.at_10 == pytest.approx(named.mean() / 10)
        assert one.others_at_1 == pytest.approx((named & ~own).mean())
    assert found.objects == 20 and 0 < found.chance < 0.02
    assert found.scan_at_10 > found.chance and found.scan_listed > 0


def test_related_neurons_are_counted_against_chance(store: ScanStore, oracle: Oracle) -> None:
    found = related_precision(store, oracle)
    assert found.neurons == len(object_neurons(store, oracle.names)) >= found.with_related > 200
    assert found.at_5 > 0.4 > 0.02 > found.chance
    assert found.elsewhere > 2 * found.elsewhere_chance


def test_the_command_writes_tables_and_json(
    store: ScanStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Process(StandIn):
        def __init__(self, *_: object, **_named: object) -> None:
            super().__init__(store)

        async def close(self) -> None:
            """Nothing to end."""

    monkeypatch.setattr(bench, "ModelProcess", Process)
    kept: list[BenchCausal] = []

    async def few(model: StandIn, on_count: OnCount) -> BenchCausal:
        if not kept:
            kept.append(await bench_causal(model, 1, 1, 2, on_count))
        return kept[0]

    monkeypatch.setattr(bench, "bench_causal", few)
    assert main(["bench", "causal"]) == 0
    text = capsys.readouterr().out
    assert "beyond all by chance: 5%" in text and "L5" in text and "P@10" in text and "of the first 5" in text
    assert main(["bench", "causal", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"controls", "pictures", "chance", "checks", "effects", "sets", "pointing", "related"}
    assert len(found["checks"]) == 12 and len(found["sets"]) == 8
    assert found["related"]["neurons"] > 200 and found["pointing"]["objects"] == 2
