"""What the detector is asked for an explanation, and what becomes of its answer, in real model processes too."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.asking import Answering
from tests.support.model_here import ModelHere
from tests.support.tiny import make_images, make_model
from tests.support.tiny_segmentation import make_detector, make_segmenter
from tests.support.watched import watched
from vlmscope.core.base.config import Simulate
from vlmscope.core.base.errors import Cancelled, ModelError, SamplesError, WorkerError
from vlmscope.core.method.correlation import TokenKind
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.scoring.protocol import HeldOut, NoPrediction, Prediction, Simulator
from vlmscope.core.scoring.simulators.grounded_sam2 import PHRASE_LENGTH, PHRASES, GroundedSam2, detector_phrases
from vlmscope.core.worker.client import Lane
from vlmscope.core.worker.messages import ModelSpec, Phase, SegmentAnswer, SegmentRequest

TRAINS = Explanation("trains on tracks", Source.API, "", visual_phrases=("Red train", "track"))
WEIGHTS = np.array([[0.5, 0.25, 0], [0, 0, 0.125]], np.float32)


class FakeSide(Answering):
    """A model process that answers with known weights, or fails."""

    def __init__(self, weights: NDArray[np.float32] = WEIGHTS, *errors: WorkerError) -> None:
        super().__init__()
        self.requests: list[SegmentRequest] = []
        self._weights = weights
        self._errors = list(errors)

    async def segment(self, request: SegmentRequest) -> SegmentAnswer:
        self.requests.append(request)
        if self._errors:
            raise self._errors.pop(0)
        nothing = np.zeros((0, 4), np.float32)
        return SegmentAnswer(request.image, request.sample, self._weights, nothing, nothing[:, 0], ())


def held(picture: Path | None = Path("000.png")) -> HeldOut:
    return HeldOut(
        7, 2, picture, "USER: <image> ASSISTANT:", "A train.", ("A", " train", "."), VisualLayout.plain(2, 3)
    )


def titled(message: str, title: str) -> WorkerError:
    """As a failure arrives from the model process."""
    error = WorkerError(message)
    error.title = title
    return error


def test_what_kind_of_simulator_it_is() -> None:
    found: Simulator = GroundedSam2(Simulate(), FakeSide())
    assert (found.name, found.independent, found.paid) == ("grounded-sam2", True, False)
    assert set(found.kinds) == {TokenKind.VISUAL}
    assert found.search_phrases(TRAINS) == ("red train", "track")


async def test_the_patches_weights_times_ten() -> None:
    side = FakeSide()
    settings = Simulate(detector="a", segmenter="b", device="cpu", box_threshold=0.4, text_threshold=0.3)
    found = await GroundedSam2(settings, side).simulate(TRAINS, held())
    assert isinstance(found, Prediction)
    assert found.text is None
    assert found.visual is not None
    assert found.visual.dtype == np.float32
    np.testing.assert_array_equal(found.visual, WEIGHTS * 10)
    assert side.requests == [SegmentRequest("000.png", 7, ("red train", "track"), "a", "b", "cpu", 0.4, 0.3)]
    assert side.lanes == [Lane.BACKGROUND]


async def test_nothing_found_is_a_map_of_zeros() -> None:
    found = await GroundedSam2(Simulate(), FakeSide(np.zeros((2, 3), np.float32))).simulate(TRAINS, held())
    assert isinstance(found, Prediction)
    assert found.visual is not None
    assert not found.visual.any()


async def test_what_cannot_be_predicted_says_why() -> None:
    side = FakeSide(np.zeros((3, 2), np.float32))
    simulator = GroundedSam2(Simulate(), side)
    wordless = replace(TRAINS, visual_phrases=())
    for explanation, sample, reason in (
        (wordless, held(), "names nothing"),
        (TRAINS, held(None), "picture is not here"),
        (TRAINS, held(), "does not fit the scan"),
    ):
        found = await simulator.simulate(explanation, sample)
        assert isinstance(found, NoPrediction)
        assert reason in found.reason
    assert len(side.requests) == 1


async def test_a_picture_of_its_own_trouble_leaves_the_others_a_chance() -> None:
    side = FakeSide(WEIGHTS, titled("000.png is no picture.", SamplesError.title))
    found = await GroundedSam2(Simulate(), side).simulate(TRAINS, held())
    assert found == NoPrediction("000.png is no picture.")


@pytest.mark.parametrize(
    "error",
    [
        titled("x/y cannot be loaded as the detector.", ModelError.title),
        titled("The model's device has no memory left for this.", "Out of memory"),
        WorkerError("The model process was killed."),
        Cancelled("stopped"),
    ],
)
async def test_what_concerns_every_sample_ends_the_run(error: WorkerError) -> None:
    with pytest.raises(WorkerError) as caught:
        await GroundedSam2(Simulate(), FakeSide(WEIGHTS, error)).simulate(TRAINS, held())
    assert caught.value is error


# Phrases


@pytest.mark.parametrize(
    ("phrases", "expected"),
    [
        (("St. Bernard", "a dog."), ("st bernard", "a dog")),
        (("what?", "...", " ", "[SEP] cat", "cat"), ("what", "sep cat", "cat")),
        (("Train", "train", "TRAIN "), ("train",)),
        (("two\nlines\x1b[31m", "café"), ("two lines 31m", "café")),
    ],
)
def test_phrases_hold_nothing_that_separates_phrases(phrases: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert detector_phrases(replace(TRAINS, visual_phrases=phrases)) == expected


@given(st.lists(st.text(max_size=300), max_size=40))
def test_phrases_are_few_short_and_different(phrases: list[str]) -> None:
    found = detector_phrases(replace(TRAINS, visual_phrases=tuple(phrases)))
    assert len(found) == len(set(found)) <= PHRASES
    for phrase in found:
        assert 0 < len(phrase) <= PHRASE_LENGTH
        assert phrase == phrase.strip()
        assert not set(".?[]\n") & set(phrase)


def test_a_persons_words_are_phrases_where_there_are_no_others() -> None:
    paper = Explanation("airplanes, motorcycles; a fire hydrant.", Source.PAPER, "")
    assert detector_phrases(paper) == ("airplanes", "motorcycles", "a fire hydrant")
    assert detector_phrases(replace(paper, source=Source.USER, visual_phrases=("dog",))) == ("dog",)
    assert detector_phrases(replace(paper, source=Source.API)) == ()


# Model processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_detector(folder / "detector")
    make_segmenter(folder / "segmenter")
    make_model(folder / "model")
    make_images(folder, 1)
    return folder


def settings(folder: Path) -> Simulate:
    return Simulate(detector=str(folder / "detector"), segmenter=str(folder / "segmenter"), box_threshold=0.01)


async def test_from_an_explanation_to_patches_by_the_real_engine(folder: Path) -> None:
    hostile = replace(TRAINS, visual_phrases=("Red. train?", "[SEP]", "dog " * 200))
    sample = replace(held(folder / "000.png"), layout=VisualLayout.plain(3, 3))
    model = ModelHere(ModelSpec(str(folder / "model")))
    for explanation in (TRAINS, hostile):
        found = await GroundedSam2(settings(folder), model).simulate(explanation, sample)
        assert isinstance(found, Prediction)
        assert found.visual is not None
        assert 0 < found.visual.max() <= 10
        assert np.ptp(found.visual) > 0
    missing = settings(folder).model_copy(update={"segmenter": str(folder / "none")})
    with pytest.raises(WorkerError, match="none cannot be loaded as the segmenter"):
        await GroundedSam2(missing, model).simulate(TRAINS, sample)
    gone = replace(sample, picture=folder / "gone.png")
    assert isinstance(await GroundedSam2(settings(folder), model).simulate(TRAINS, gone), NoPrediction)
    await model.unload()
    assert model.status.phase is Phase.OFF
    assert isinstance(await GroundedSam2(settings(folder), model).simulate(TRAINS, sample), Prediction)


def ordering(order: str) -> Explanation:
    """What a fake worker obeys."""
    return replace(TRAINS, visual_phrases=(order,))


@pytest.mark.parametrize(
    ("order", "check"),
    [
        ("memory", lambda error: error.title == "Out of memory" and ":unload" in error.hint),
        ("abort", lambda error: "model process" in error.message),
        ("error", lambda error: "wrong device" in error.message),
    ],
)
async def test_failures_of_the_process_end_the_run(order: str, check: Callable[[WorkerError], bool]) -> None:
    async with watched() as model:
        with pytest.raises(WorkerError) as caught:
            await GroundedSam2(Simulate(), model).simulate(ordering(order), held())
        assert check(caught.value), caught.value


async def test_the_fakes_answer_arrives_and_a_stop_ends_it() -> None:
    async with watched() as model:
        found = await GroundedSam2(Simulate(), model).simulate(TRAINS, held())
        assert isinstance(found, Prediction)
        assert found.visual is not None
        assert found.visual.tolist() == [[5, 0, 0], [0, 0, 0]]
        assert isinstance(await GroundedSam2(Simulate(), model).simulate(ordering("refuse"), held()), NoPrediction)
        task = asyncio.create_task(GroundedSam2(Simulate(), model).simulate(ordering("soft"), held()))
        await model.begin("soft")
        assert model.status.detail == "segmenting #7"
        await model.stop()
        with pytest.raises(Cancelled):
            await task
        assert model.status.phase is Phase.READY
