"""Simulators on known scenes, held-out samples, phrases, and whole runs with a stand-in for the model."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support.asking import Answering
from vlmscope.core.base.config import Config
from vlmscope.core.base.demo import demo_folder, scan_folder
from vlmscope.core.base.errors import StoreError, UsageError, WorkerError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.correlation import ScoredGroup, ScoredSample, TokenKind
from vlmscope.core.method.layout import WHOLE, Box, VisualLayout
from vlmscope.core.method.patches import covered, pooled
from vlmscope.core.method.words import words_of
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.scoring.candidates import borrowed, concept_explanation, own_explanation
from vlmscope.core.scoring.held_out import held_out
from vlmscope.core.scoring.known_boxes import ceiling
from vlmscope.core.scoring.protocol import HeldOut, NoPrediction, Prediction
from vlmscope.core.scoring.report import ScoreReport
from vlmscope.core.scoring.run import ScoreStatus, pick_explanation, run
from vlmscope.core.scoring.search_phrases import known_words, wanted_words
from vlmscope.core.scoring.simulation import SEEN, baseline_explanations, score_explanation
from vlmscope.core.scoring.simulators.lens import Lens
from vlmscope.core.scoring.simulators.oracle import Oracle
from vlmscope.core.scoring.simulators.registry import Tools, make_simulator
from vlmscope.core.store.manifest import Progress
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import LensAnswer, LensRequest, MapAnswer, MapRequest, ModelStatus, Phase

NEURON = Neuron(3, 96)  # of apples
PLAIN = VisualLayout.plain(12, 12)


def said(text: str, *phrases: str) -> Explanation:
    return Explanation(text, Source.USER, "2026-01-01T00:00:00+00:00", visual_phrases=phrases)


@pytest.fixture(scope="module")
def demo() -> ScanStore:
    return ScanStore(scan_folder("demo"))


@pytest.fixture
def notebook(demo: ScanStore, tmp_path: Path) -> Notebook:
    return Notebook.open(tmp_path / "n.sqlite", demo.manifest.scan_id)


def picture(folder: Path, size: tuple[int, int] = (96, 96), layout: VisualLayout = PLAIN, seen: Box = WHOLE) -> HeldOut:
    Image.new("RGB", size).save(folder / "scene.png")
    return HeldOut(0, 2, folder / "scene.png", "<image>", "An apple.", ("An", " apple."), layout, seen)


class FakeModel(Answering):
    """True activations that follow boxes of apples; ``broken`` samples fail, ``dies_at`` ends the process."""

    def __init__(self, oracle: Oracle, broken: Collection[int] = (), dies_at: int = -1) -> None:
        super().__init__()
        self.oracle, self.broken, self.dies_at = oracle, broken, dies_at
        self.maps: list[MapRequest] = []
        self.lenses: list[LensRequest] = []

    async def map(self, request: MapRequest) -> MapAnswer:
        if len(self.maps) == self.dies_at:
            self.status = ModelStatus(Phase.FAILED, "the model process was killed by SIGKILL")
            raise WorkerError("The model process was killed by SIGKILL.")
        self.maps.append(request)
        assert request.sample is not None
        if request.sample in self.broken:
            raise WorkerError(f"#{request.sample} cannot be decoded.")
        held = HeldOut(request.sample, None, Path(request.image), "", "", (), PLAIN)
        found = await self.oracle.simulate(said("apple"), held)
        assert isinstance(found, Prediction)
        assert found.visual is not None
        noise = np.random.default_rng(request.sample).uniform(0, 0.1, (12, 12)).astype(np.float32)
        tokens = len(ScanStore(scan_folder("demo")).sample(request.sample).tokens)
        return MapAnswer.of(request, (found.visual + noise).ravel(), PLAIN, np.zeros(tokens, np.float32))

    async def lens(self, request: LensRequest) -> LensAnswer:
        self.lenses.append(request)
        if request.sample in self.broken:
            raise WorkerError(f"#{request.sample} cannot be decoded.")
        words = len(request.words)
        visual = np.tile(np.arange(144, dtype=np.float32).reshape(12, 12), (words - 1, 1, 1))
        # The first two words share a token.
        columns = (0, *range(words - 1))
        return LensAnswer(request.image, request.sample, columns, visual, np.ones((words - 1, 2), np.float32))


# Boxes and patches.


def test_a_box_fills_its_patches_and_their_shares() -> None:
    found = covered([(8.0, 20.0, 24.0, 24.0)], (96, 96), (12, 12))  # two patches wide, half a patch high, in row 2
    expected = np.zeros((12, 12))
    expected[2, 1:3] = 0.5
    np.testing.assert_array_equal(found, expected)  # the transposed map has them in rows 1 and 2 of column 2
    assert not np.array_equal(found, found.T)


def test_boxes_that_overlap_count_once_and_those_outside_not_at_all() -> None:
    boxes = [(0.0, 0.0, 8.0, 8.0), (4.0, 0.0, 12.0, 8.0), (-50.0, -50.0, 0.0, 0.0), (90.0, 90.0, 200.0, 92.0)]
    found = covered(boxes, (96, 96), (12, 12))
    assert found[0, 0] == 1
    assert found[0, 1] == 0.5
    assert found[11, 11] == pytest.approx(6 * 2 / 64)
    assert found.sum() == pytest.approx(1.5 + 12 / 64)


@given(st.lists(st.tuples(*[st.integers(-4, 40)] * 4), max_size=4), st.sampled_from([(3, 4), (5, 2)]))
def test_boxes_are_pooled_as_their_mask_is(boxes: list[tuple[int, int, int, int]], grid: tuple[int, int]) -> None:
    size = (30, 36)
    mask = np.zeros(size, dtype=np.float32)
    for x0, y0, x1, y1 in boxes:
        mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = 1
    expected = mask.reshape(grid[0], size[0] // grid[0], grid[1], size[1] // grid[1]).mean(axis=(1, 3))
    found = covered([(float(a), float(b), float(c), float(d)) for a, b, c, d in boxes], size, grid)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(pooled(mask, grid), expected, atol=1e-6)


def test_a_pixel_on_a_patchs_edge_is_shared() -> None:
    mask = np.array([[0.0, 3.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(pooled(mask, (1, 2)), [[1.0, 1.0]])


@pytest.mark.parametrize("size", [(200, 100), (100, 200), (96, 96), (130, 97)])
async def test_a_box_lies_where_the_processor_puts_it(size: tuple[int, int], tmp_path: Path) -> None:
    """Against the demo's real processor: a white box on black, in a picture that is resized and cropped."""
    from transformers import AutoProcessor

    width, height = size
    box = (round(0.4 * width), round(0.3 * height), round(0.6 * width), round(0.8 * height))
    image = Image.new("RGB", size)
    image.paste((255, 255, 255), box)
    make: Any = AutoProcessor  # untyped in transformers
    processor = make.from_pretrained(str(demo_folder() / "model")).image_processor
    seen = processor(images=image, do_normalize=False, return_tensors="np")["pixel_values"][0].mean(axis=0)
    expected = pooled(seen.astype(np.float32), (12, 12))
    x, y = ((1 - min(size) / side) / 2 for side in size)  # the crop of the centre is a square
    sample = picture(tmp_path, size, seen=(x, y, 1 - x, 1 - y))
    left, top, right, bottom = map(float, box)
    found = await Oracle({"scene.png": (("apple", (left, top, right, bottom)),)}).simulate(said("", "apple"), sample)
    assert isinstance(found, Prediction) and found.visual is not None
    np.testing.assert_allclose(found.visual / 10, expected, atol=0.15)
    assert abs(found.visual / 10 - expected).mean() < 0.02


async def test_a_box_lies_on_the_grid_of_tiles(tmp_path: Path) -> None:
    """A thumbnail of two tokens, then two tiles of 2 x 2: predictions are on the finest grid."""
    x, y = (part.ravel() for part in np.mgrid[:4, :2])
    boxes = [
        [0, 0, 0.5, 1],
        [0.5, 0, 1, 1],
        *([a / 4, b / 2, (a + 1) / 4, (b + 1) / 2] for a, b in zip(x, y, strict=True)),
    ]
    layout = VisualLayout.of(np.array(boxes), [0] * 2 + [1] * 8)
    assert (layout.grid, layout.covers) == ((2, 4), 2)
    sample = picture(tmp_path, (80, 40), layout)
    oracle = Oracle({"scene.png": (("apple", (20.0, 0.0, 50.0, 10.0)),)})
    found = await oracle.simulate(said("", "apple"), sample)
    assert isinstance(found, Prediction) and found.visual is not None
    np.testing.assert_allclose(found.visual, np.array([[0, 5, 2.5, 0], [0, 0, 0, 0]]))


# The oracle.


async def test_the_oracle_knows_the_boxes_of_what_is_named(tmp_path: Path) -> None:
    sample = picture(tmp_path)
    boxes = (("apple", (8.0, 16.0, 24.0, 24.0)), ("dog", (0.0, 88.0, 4.0, 96.0)), ("apple", (88.0, 0.0, 96.0, 8.0)))
    oracle = Oracle({"scene.png": boxes})
    found = await oracle.simulate(said("", "red apples"), sample)
    assert isinstance(found, Prediction)
    expected = np.zeros((12, 12))
    expected[2, 1:3] = expected[0, 11] = 10
    np.testing.assert_array_equal(found.visual, expected)
    assert found.text is None
    both = await oracle.simulate(said("", "apple", "a dog"), sample)
    assert isinstance(both, Prediction)
    expected[11, 0] = 5
    np.testing.assert_array_equal(both.visual, expected)


async def test_the_oracle_says_why_it_predicts_nothing(tmp_path: Path) -> None:
    sample = picture(tmp_path)
    oracle = Oracle({"scene.png": (("apple", (0.0, 0.0, 9.0, 9.0)),), "other.png": (("cat", (0.0, 0.0, 1.0, 1.0)),)})
    assert "no object" in str(await oracle.simulate(said("loneliness"), sample))
    nothing = await oracle.simulate(said("cats"), sample)
    assert isinstance(nothing, Prediction)  # there is no cat: that is a prediction
    assert not np.any(nothing.visual)
    sample.picture.write_bytes(b"no picture")  # type: ignore[union-attr]
    assert isinstance(await oracle.simulate(said("apple"), sample), NoPrediction)
    strange = HeldOut(1, None, None, "", "", (), PLAIN)
    assert isinstance(await oracle.simulate(said("apple"), strange), NoPrediction)


def test_the_oracle_is_for_the_demo(scan: Path, demo: ScanStore) -> None:
    model = FakeModel(Oracle.of_demo(demo.manifest))
    with pytest.raises(UsageError, match="demo's scenes alone"):
        make_simulator("oracle", Tools(ScanStore(scan), cast(Any, model), Config()))
    with pytest.raises(UsageError, match="not a backend"):
        make_simulator("magic", Tools(demo, cast(Any, model), Config()))


# The lens.


async def test_the_lens_adds_probabilities_and_asks_once_a_sample(demo: ScanStore, tmp_path: Path) -> None:
    model = FakeModel(Oracle.of_demo(demo.manifest))
    lens = Lens(demo.concepts, model)
    sample = picture(tmp_path)
    first, second = lens.words[:2]
    one, shared, two = [
        await lens.simulate(said("", *phrases), sample)
        for phrases in ((first,), (first, second), (second, lens.words[2]))
    ]
    assert isinstance(one, Prediction) and isinstance(shared, Prediction) and isinstance(two, Prediction)
    assert one.visual is not None and two.visual is not None
    np.testing.assert_array_equal(one.visual, np.arange(144).reshape(12, 12) * 10)
    np.testing.assert_array_equal(shared.visual, one.visual)  # one token, counted once
    np.testing.assert_array_equal(two.visual, 2 * one.visual)
    np.testing.assert_array_equal(two.text, [20, 20])
    assert len(model.lenses) == 1
    later = await Lens(demo.concepts, model, delay=3).simulate(said("", first), sample)
    assert isinstance(later, Prediction) and later.visual is not None
    np.testing.assert_array_equal(later.visual.ravel()[:-3], one.visual.ravel()[3:])
    assert (later.visual.ravel()[-3:] == 1430).all()


async def test_the_lens_says_why_it_predicts_nothing(demo: ScanStore, scan: Path, tmp_path: Path) -> None:
    model = FakeModel(Oracle.of_demo(demo.manifest), broken=[0])
    lens = Lens(demo.concepts, model)
    sample = picture(tmp_path)
    assert "cannot be decoded" in str(await lens.simulate(said("apple"), sample))
    assert "no word in common" in str(await lens.simulate(said("zeitgeist"), sample))
    model.status = ModelStatus(Phase.FAILED)
    with pytest.raises(WorkerError):
        await lens.simulate(said("apple"), sample)
    with pytest.raises(StoreError, match="concept words"):
        Lens(None, model)


# Phrases and explanations.


def test_the_noun_of_a_phrase_is_its_last_known_word() -> None:
    known = {"train", "red", "child", "box"}
    assert wanted_words(said("dogs", "red trains", "Children", "a train"), known) == ("train", "child")
    assert wanted_words(said("Red boxes, and trains."), known) == ("red", "box", "train")
    assert wanted_words(said("trains", "locomotives"), known) == ("train",)
    assert known_words("nothing of it", known) == ()


def test_own_words_find_the_scans_words(demo: ScanStore) -> None:
    own = own_explanation(" two Apples on a qwertz ", demo, "now")
    assert (own.text, own.visual_phrases, own.source) == ("two Apples on a qwertz", ("two", "apple"), Source.USER)


def test_concept_words_come_from_odd_ranks_alone(demo: ScanStore) -> None:
    found = concept_explanation(demo, NEURON, "now")
    assert found is not None
    assert found.visual_phrases == ("apple",)
    top = demo.arrays["top_sample"][3, 96].tolist()
    assert found.samples == tuple(top[::2])
    held = {sample.sample for sample in held_out(demo, NEURON, found.samples)}
    assert not held & set(found.samples)
    lent = borrowed(found, NEURON)
    assert (lent.samples, lent.source, lent.model) == (found.samples, Source.BORROWED, "L3/N96")


def test_held_out_samples_are_even_ranks_and_random_ones_outside_the_top(demo: ScanStore) -> None:
    top = demo.arrays["top_sample"][3, 96].tolist()
    found = held_out(demo, NEURON, ())
    assert [one.rank for one in found[:20]] == list(range(2, 41, 2))
    assert [one.sample for one in found[:20]] == top[1:40:2]
    others = [one.sample for one in found if one.rank is None]
    assert len(set(others)) == 20
    assert not set(others) & set(top)
    assert found == held_out(demo, NEURON, ())
    assert others != [one.sample for one in held_out(demo, Neuron(3, 97), ()) if one.rank is None]
    paid = held_out(demo, NEURON, (), paid=True)
    assert [one.rank for one in paid] == [2, 4, 6, 8, 10, *[None] * 5]
    without = held_out(demo, NEURON, (top[3], others[0]))
    assert [one for one in found if one.sample not in (top[3], others[0])] == without


# Scores and runs.


async def test_a_neuron_of_apples_is_explained_by_apples(demo: ScanStore) -> None:
    oracle = Oracle.of_demo(demo.manifest)
    lost = held_out(demo, NEURON, ())[0].sample
    right = said("apples", "apple")
    baselines = baseline_explanations(demo, NEURON, right, oracle)
    assert 0 < len(baselines) <= 10
    assert not any("apple" in one.visual_phrases for one in baselines)
    outcome = await score_explanation(demo, NEURON, right, oracle, FakeModel(oracle, [lost]), baselines=baselines)
    report = outcome.report
    assert list(report.pooled) == [TokenKind.VISUAL]
    both = report.pooled[TokenKind.VISUAL][ScoredGroup.TOP_AND_RANDOM]
    assert both.score is not None and both.score > 0.9
    assert both.baseline is not None and both.baseline < 0.2
    assert (both.planned, both.counted) == (40, 39)
    assert [(one.sample, one.reason) for one in report.failures] == [(lost, f"#{lost} cannot be decoded.")]
    assert len(outcome.examples) == 40
    assert lost not in [one.sample for one in report.samples]
    assert ScoreReport.from_json(report.to_json()) == report
    held = [one for one in held_out(demo, NEURON, ()) if one.picture and "apple" in oracle.objects(one.picture)]
    second = report.with_concept(TokenKind.VISUAL)
    assert second is not None and second.score is not None and second.score > 0.9
    assert 10 < second.planned == len(held) < 30
    assert second.counted == len({one.sample for one in held} - {lost})
    assert report.note == SEEN  # they are a person's words
    by_api = replace(right, source=Source.API)
    assert (await score_explanation(demo, NEURON, by_api, oracle, FakeModel(oracle))).report.note == ""


async def test_the_ceiling_is_what_the_best_weights_over_all_objects_reach(demo: ScanStore) -> None:
    """The neuron follows apples: the right word alone is near the ceiling, a wrong one is far below the same one."""
    oracle = Oracle.of_demo(demo.manifest)
    found = []
    for word in ("apple", "dog"):
        report = (await score_explanation(demo, NEURON, said("", word), oracle, FakeModel(oracle))).report
        found.append(report.pooled[TokenKind.VISUAL][ScoredGroup.TOP_AND_RANDOM])
    right, wrong = found
    assert right.score is not None and wrong.score is not None and right.ceiling is not None
    assert right.score <= right.ceiling <= right.score + 0.01
    assert wrong.ceiling == right.ceiling
    assert wrong.score < 0.2


def test_weights_are_fitted_to_the_truth_of_samples_that_have_maps() -> None:
    rng = np.random.default_rng(0)
    maps = {at: rng.uniform(0, 10, (3, 2, 2)).astype(np.float32) for at in range(6)}
    true = {at: 2 * one[0] - one[2] + 1 for at, one in maps.items()}
    samples = [ScoredSample(at, at, true[at], maps[at][0]) for at in maps]
    assert ceiling(samples, maps) == pytest.approx(1)
    assert ceiling(samples, {0: maps[0]}) is None
    assert ceiling([], maps) is None
    assert ceiling([ScoredSample(0, 1, np.zeros((2, 2)), maps[0][0])], maps) is None


async def test_descriptions_hold_the_concept_where_no_boxes_are_known(demo: ScanStore) -> None:
    model = FakeModel(Oracle.of_demo(demo.manifest))
    report = (await score_explanation(demo, NEURON, said("apples", "apple"), Lens(demo.concepts, model), model)).report
    words = {one.sample: words_of(one.description) for one in held_out(demo, NEURON, ())}
    held = [at for at, found in words.items() if {"apple", "apples"} & set(found)]
    found = report.pooled[TokenKind.VISUAL][ScoredGroup.CONCEPT]
    assert 10 < len(held) == found.planned < 30
    assert found.ceiling is None


@pytest.mark.parametrize("independent", [True, False])
async def test_a_score_made_while_the_scan_went_on_says_so(
    demo: ScanStore, monkeypatch: pytest.MonkeyPatch, independent: bool
) -> None:
    """More samples may bring other top ones, and so another score."""
    oracle = Oracle.of_demo(demo.manifest)
    monkeypatch.setattr(Oracle, "independent", independent)
    whole = (await score_explanation(demo, NEURON, said("apple"), oracle, FakeModel(oracle))).report
    progress = Progress(
        done=1200, of=23_000, batch=8, shard=None, samples_bytes=0, crops_bytes=0, updated="2026-01-01T00:00:00Z"
    )
    monkeypatch.setattr(demo, "manifest", demo.manifest.model_copy(update={"progress": progress}))
    partial = (await score_explanation(demo, NEURON, said("apple"), oracle, FakeModel(oracle))).report
    so_far = "the scan was not whole, so far: 1,200 of 23,000 samples"
    model = "not independent: the inspected model is asked about itself"
    begins = [] if independent else [model]
    assert [whole.note, partial.note] == ["; ".join([*begins, SEEN]), "; ".join([*begins, SEEN, so_far])]
    assert ScoreReport.from_json(partial.to_json()) == partial


async def test_too_few_samples_are_no_headline(demo: ScanStore) -> None:
    oracle = Oracle.of_demo(demo.manifest)
    broken = [one.sample for one in held_out(demo, NEURON, ()) if one.rank is None][:9]
    report = (await score_explanation(demo, NEURON, said("apple"), oracle, FakeModel(oracle, broken))).report
    visual = report.pooled[TokenKind.VISUAL]
    assert visual[ScoredGroup.TOP].score is not None
    assert visual[ScoredGroup.TOP_AND_RANDOM].score is None
    assert "11 of 20 random samples" in visual[ScoredGroup.TOP_AND_RANDOM].reason


class Odd:
    """Predicts what does not fit."""

    name, independent, paid = "odd", True, False
    kinds: Collection[TokenKind] = frozenset(TokenKind)

    def search_phrases(self, explanation: Explanation) -> tuple[str, ...]:
        return ("odd",)

    async def simulate(self, explanation: Explanation, sample: HeldOut) -> Prediction:
        text = np.full(len(sample.tokens), np.nan, np.float32)
        return Prediction(np.zeros((3, 3), np.float32), text)


async def test_predictions_that_do_not_fit_are_failures(demo: ScanStore) -> None:
    report = (await score_explanation(demo, NEURON, said("x"), Odd(), FakeModel(Oracle.of_demo(demo.manifest)))).report
    assert not report.samples
    assert (
        report.pooled[TokenKind.VISUAL][ScoredGroup.TOP].reason
        == "the visual prediction is of shape (3, 3), not (12, 12)"
    )
    assert report.pooled[TokenKind.TEXT][ScoredGroup.TOP].reason == "the text prediction is not finite"
    assert len(report.failures) == 80


async def test_a_run_keeps_scores_and_goes_on_where_it_was(demo: ScanStore, notebook: Notebook) -> None:
    oracle = Oracle.of_demo(demo.manifest)
    neurons = [NEURON, Neuron(3, 651)]
    model = FakeModel(oracle, dies_at=50)
    end = await run([*neurons, Neuron(3, 256)], demo, oracle, model, notebook, baseline=False)
    assert [one.status for one in end.results] == [ScoreStatus.SCORED, ScoreStatus.FAILED, ScoreStatus.SKIPPED]
    assert isinstance(end.stopped, WorkerError)
    assert "SIGKILL" in end.results[1].reason
    [kept] = notebook.scores(NEURON)
    assert kept.backend == "oracle"
    assert ScoreReport.from_json(kept.body) == end.results[0].report
    [explanation] = notebook.explanations(NEURON)
    assert explanation.explanation.text == "concept words: apple"
    assert not notebook.scores(neurons[1])
    fresh = FakeModel(oracle)
    end = await run(neurons, demo, oracle, fresh, notebook, baseline=False)
    assert [one.status for one in end.results] == [ScoreStatus.KNOWN, ScoreStatus.SCORED]
    assert end.stopped is None
    assert {request.neuron for request in fresh.maps} == {neurons[1]}
    end = await run([NEURON], demo, oracle, fresh, notebook, baseline=False, again=True)
    assert len(notebook.scores(NEURON)) == 2
    assert len(notebook.explanations(NEURON)) == 1


async def test_other_words_do_not_take_the_lead(demo: ScanStore, notebook: Notebook) -> None:
    oracle = Oracle.of_demo(demo.manifest)
    written = Explanation(
        "apples", Source.API, "2026-01-01T00:00:00+00:00", visual_phrases=("apple",), samples=(demo_top(demo),)
    )
    first = notebook.add_explanation(NEURON, written)
    end = await run([NEURON], demo, oracle, FakeModel(oracle), notebook, wanted=said("a dog"), baseline=False)
    assert end.results[0].status is ScoreStatus.SCORED
    saved = notebook.explanations(NEURON)
    assert [one.explanation.text for one in saved] == ["apples", "a dog"]
    assert saved[0].id == first
    # The same words as somebody's own are the API's: the sample that it saw is not scored on.
    same = pick_explanation(demo, notebook, NEURON, said("apples"))
    assert same == written
    end = await run([NEURON], demo, oracle, FakeModel(oracle), notebook, wanted=said("apples"), baseline=False)
    report = end.results[0].report
    assert report is not None
    assert demo_top(demo) not in [one.sample for one in report.samples]
    assert notebook.scores(NEURON)[0].explanation_id == first
    # Another neuron's words stay that neuron's, even where they are the same.
    lent = borrowed(written, Neuron(1, 1))
    assert pick_explanation(demo, notebook, NEURON, lent) == lent


async def test_a_persons_words_lead_over_concept_words(demo: ScanStore, notebook: Notebook) -> None:
    oracle = Oracle.of_demo(demo.manifest)
    await run([NEURON], demo, oracle, FakeModel(oracle), notebook, baseline=False)
    assert [one.explanation.source for one in notebook.explanations(NEURON)] == [Source.CONCEPTS]
    assert not notebook.marks()[NEURON].explained  # words to be scored explain nothing
    await run([NEURON], demo, oracle, FakeModel(oracle), notebook, wanted=said("a dog"), baseline=False)
    assert notebook.explanations(NEURON)[0].explanation.text == "a dog"
    assert notebook.marks()[NEURON].explained


def demo_top(demo: ScanStore) -> int:
    """The sample of rank 2, which would be scored on."""
    return int(demo.arrays["top_sample"][3, 96, 1])


async def test_what_cannot_be_scored_is_told(demo: ScanStore, scan: Path, notebook: Notebook, tmp_path: Path) -> None:
    oracle = Oracle.of_demo(demo.manifest)
    end = await run([NEURON], demo, oracle, FakeModel(oracle), notebook, wanted=said("zeitgeist"), baseline=False)
    assert end.results[0].status is ScoreStatus.FAILED
    assert "names no object" in end.results[0].reason
    none = Explanation("nothing", Source.API, "2026-01-01T00:00:00+00:00", pattern_found=False)
    notebook.add_explanation(Neuron(0, 0), none)
    end = await run([Neuron(0, 0)], demo, oracle, FakeModel(oracle), notebook)
    assert (end.results[0].status, "no pattern" in end.results[0].reason) == (ScoreStatus.SKIPPED, True)
    small = ScanStore(scan)
    with Notebook.open(tmp_path / "small.sqlite", small.manifest.scan_id) as other:
        end = await run([Neuron(0, 0)], small, Odd(), FakeModel(oracle), other)
    assert end.results[0].status is (ScoreStatus.SKIPPED if small.concepts is None else ScoreStatus.FAILED)
    assert not notebook.scores(NEURON)


async def test_cancelling_keeps_what_is_finished(demo: ScanStore, notebook: Notebook) -> None:
    oracle = Oracle.of_demo(demo.manifest)
    model = FakeModel(oracle)
    done: list[Neuron] = []
    task = asyncio.create_task(
        run(
            [NEURON, Neuron(3, 651)],
            demo,
            oracle,
            model,
            notebook,
            baseline=False,
            on_result=lambda result: (done.append(result.neuron), task.cancel())[0],  # type: ignore[func-returns-value]
        )
    )
    model_map = model.map

    async def slow(request: MapRequest) -> MapAnswer:
        await asyncio.sleep(0)
        return await model_map(request)

    model.map = slow  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [NEURON]
    assert len(notebook.scores(NEURON)) == 1
