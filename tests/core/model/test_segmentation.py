"""Grounding DINO and SAM 2: known boxes and masks through a seam, tiny real models end to end, and what goes wrong."""

import gc
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Sam2Model

from tests.support.model_here import ModelHere
from tests.support.tiny import make_images, make_model
from tests.support.tiny_segmentation import SIDE, TEXT_LENGTH, make_detector, make_segmenter
from vlmscope.core.base.callbacks import Stopped, not_cancelled
from vlmscope.core.base.errors import Cancelled, ModelError, WorkerError
from vlmscope.core.data.images import load_image
from vlmscope.core.model.detector import Boxes, Detector, inside
from vlmscope.core.model.engine import VlmEngine
from vlmscope.core.model.load import load
from vlmscope.core.model.segmentation import Segmentation, pooled_masks
from vlmscope.core.model.segmenter import Masks, Segmenter, sam2_pixels
from vlmscope.core.model.server import failure
from vlmscope.core.worker.messages import ModelSpec, Phase, SegmentRequest

CPU = torch.device("cpu")
EVERYTHING = 0.01  #: a threshold that random weights reach


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_detector(folder / "detector")
    make_segmenter(folder / "segmenter")
    make_model(folder / "model")
    make_images(folder, 2)
    return folder


@pytest.fixture(scope="module")
def detector(folder: Path) -> Detector:
    return Detector(str(folder / "detector"), CPU)


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> Segmenter:
    return Segmenter(str(folder / "segmenter"), CPU)


def noise(width: int = 44, height: int = 30, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def corners(*boxes: tuple[float, float, float, float]) -> NDArray[np.float32]:
    return np.array(boxes, dtype=np.float32).reshape(-1, 4)


def request(folder: Path | None = None, phrases: tuple[str, ...] = ("red train", "dog")) -> SegmentRequest:
    where = folder or Path("nowhere")
    models = (str(where / "detector"), str(where / "segmenter"), "auto")
    return SegmentRequest(str(where / "000.png"), 5, phrases, *models, EVERYTHING, 0.0)


class Known:
    """A detector and a segmenter in one, with known boxes; each mask is its box."""

    def __init__(self, boxes: NDArray[np.float32], scores: Sequence[float]) -> None:
        self.found = Boxes(boxes, np.array(scores, np.float32), ("red train",) * len(scores))
        self.loaded: list[tuple[str, torch.device]] = []
        self.asked: list[tuple[Any, ...]] = []
        self.cut: list[tuple[int, int]] = []

    def load(self, name: str, device: torch.device) -> Any:
        self.loaded.append((name, device))
        return self

    def boxes(self, crop: Image.Image, *asked: Any) -> Boxes:
        self.asked.append(asked)
        return self.found

    def masks(self, crop: Image.Image, boxes: NDArray[np.float32], stopped: Stopped) -> Masks:
        self.cut.append(crop.size)
        masks = np.zeros((len(boxes), crop.height, crop.width), dtype=np.bool_)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
            mask[y0:y1, x0:x1] = True
        return masks

    def segmentation(self) -> Segmentation:
        return Segmentation(CPU, self.load, self.load)


# Known boxes


def test_a_known_box_is_pooled_to_the_patches_it_covers() -> None:
    # A crop of 3 x 2 patches of 8 x 8 pixels: wider than high, so that swapped axes cannot pass.
    known = Known(corners((12, 0, 24, 8)), [0.5])
    answer = known.segmentation().segment(request(), noise(24, 16), (2, 3), not_cancelled)
    assert answer.weights.dtype == np.float32
    np.testing.assert_array_equal(answer.weights, np.array([[0, 0.25, 0.5], [0, 0, 0]], np.float32))
    assert (answer.image, answer.sample, answer.labels) == ("nowhere/000.png", 5, ("red train",))
    np.testing.assert_array_equal(answer.boxes, [[12, 0, 24, 8]])


def test_a_transposed_map_would_be_noticed() -> None:
    """On a square crop and grid, where shapes do not show it: an object at the top right stays at the top right."""
    known = Known(corners((20, 0, 24, 4)), [1.0])
    weights = known.segmentation().segment(request(), noise(24, 24), (3, 3), not_cancelled).weights
    assert weights[0, 2] == 0.25
    assert weights.sum() == 0.25


def test_of_several_masks_the_surest_counts_at_each_pixel() -> None:
    masks = np.zeros((2, 4, 8), dtype=np.bool_)
    masks[0, :, :4] = True
    masks[1, :, 2:6] = True
    weights = pooled_masks(masks, np.array([0.4, 0.8], np.float32), (1, 4))
    np.testing.assert_allclose(weights, [[0.4, 0.8, 0.8, 0.0]], rtol=1e-6)  # not 1.2 where both are
    np.testing.assert_array_equal(weights, pooled_masks(masks[::-1], np.array([0.8, 0.4], np.float32), (1, 4)))


@pytest.mark.parametrize("grid", [(2, 2), (3, 5), (7, 4)])
def test_patches_that_divide_pixels_keep_the_area(grid: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    masks = rng.random((1, 10, 13)) < 0.5
    weights = pooled_masks(masks, np.ones(1, np.float32), grid)
    assert weights.shape == grid
    assert float(weights.mean()) == pytest.approx(masks.mean(), abs=1e-6)


def test_a_picture_without_detections_is_a_map_of_zeros_and_no_work_for_the_segmenter() -> None:
    known = Known(corners(), [])
    answer = known.segmentation().segment(request(), noise(24, 16), (2, 3), not_cancelled)
    np.testing.assert_array_equal(answer.weights, np.zeros((2, 3), np.float32))
    assert (answer.boxes.shape, answer.scores.shape, answer.labels) == ((0, 4), (0,), ())
    assert [name for name, _ in known.loaded] == ["nowhere/detector"]
    assert known.cut == []


def test_boxes_end_at_the_crops_edges() -> None:
    found = Boxes(
        corners((-5, -1, 50, 12), (50, 0, 60, 10), (1, 2, float("nan"), 4), (3, 3, 3, 9), (1, 2, 3, 4)),
        np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32),
        ("a", "b", "c", "d", "e"),
    )
    kept = inside(found, (30, 44))
    np.testing.assert_array_equal(kept.corners, [[0, 0, 44, 12], [1, 2, 3, 4]])
    np.testing.assert_array_equal(kept.scores, np.array([0.9, 0.5], np.float32))
    assert kept.labels == ("a", "e")


# The models' life


def test_models_are_loaded_when_needed_and_kept() -> None:
    known = Known(corners((0, 0, 9, 9)), [0.5])
    segmentation = known.segmentation()
    assert known.loaded == []
    for _ in range(3):
        segmentation.segment(request(), noise(), (2, 3), not_cancelled)
    assert known.loaded == [("nowhere/detector", CPU), ("nowhere/segmenter", CPU)]
    assert known.asked[0] == (("red train", "dog"), EVERYTHING, 0.0, not_cancelled)
    segmentation.segment(replace(request(), segmenter="other"), noise(), (2, 3), not_cancelled)
    assert known.loaded[2:] == [("other", CPU)]
    segmentation.segment(replace(request(), detector="other", device="cpu"), noise(), (2, 3), not_cancelled)
    assert known.loaded[3:] == [("other", CPU), ("nowhere/segmenter", CPU)]


def test_a_device_that_is_not_there_is_named() -> None:
    known = Known(corners(), [])
    with pytest.raises(ModelError, match="cuda:99"):
        known.segmentation().segment(replace(request(), device="cuda:99"), noise(), (2, 3), not_cancelled)


@pytest.mark.parametrize("reads", [0, 1, 2])
def test_a_stop_is_noticed_before_between_and_after_loading(reads: int) -> None:
    known = Known(corners((0, 0, 9, 9)), [0.5])
    left = iter([False] * reads)
    with pytest.raises(Cancelled):
        known.segmentation().segment(request(), noise(), (2, 3), lambda: next(left, True))
    assert len(known.asked) == (1 if reads else 0)
    assert len(known.loaded) == reads
    assert known.cut == []


def test_the_real_models_read_it_too(detector: Detector, segmenter: Segmenter) -> None:
    with pytest.raises(Cancelled):
        detector.boxes(noise(), ["dog"], EVERYTHING, 0.0, lambda: True)
    with pytest.raises(Cancelled):
        segmenter.masks(noise(), corners((0, 0, 9, 9)), lambda: True)


# Tiny real models


@pytest.mark.parametrize("size", [(44, 30), (30, 44), (336, 336), (7, 100), (200, 64)])
def test_sam2s_picture_is_resized_with_antialiasing_and_normalised(size: tuple[int, int]) -> None:
    """Pillow resizes as the processor does, but for its fixed-point rounding."""
    crop = noise(*size)
    pixels = sam2_pixels(crop, SIDE)
    assert (pixels.shape, pixels.dtype) == ((1, 3, SIDE, SIDE), torch.float32)
    small = np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.float64)
    expected = (small / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    level = 1 / 255 / 0.224
    np.testing.assert_allclose(pixels[0].permute(1, 2, 0).numpy(), expected, atol=1.01 * level)


@pytest.mark.parametrize("size", [(44, 30), (336, 336), (7, 100)])
def test_sam2s_picture_is_the_processors_where_there_is_one(size: tuple[int, int]) -> None:
    pytest.importorskip("torchvision", exc_type=ImportError)
    from transformers.models.sam2.image_processing_sam2 import Sam2ImageProcessor

    processor: Any = Sam2ImageProcessor(size={"height": SIDE, "width": SIDE})
    assert torch.equal(sam2_pixels(noise(*size), SIDE), processor(noise(*size), return_tensors="pt")["pixel_values"])


def test_masks_are_those_of_the_whole_model_box_by_box(folder: Path, segmenter: Segmenter) -> None:
    crop = noise(44, 30)
    rng = np.random.default_rng(3)
    low, high = rng.random((40, 2)) * 0.5, 0.5 + rng.random((40, 2)) * 0.5  # more than fit into one pass
    boxes = (np.concatenate([low, high], axis=1) * [44, 30, 44, 30]).astype(np.float32)
    masks = segmenter.masks(crop, boxes, not_cancelled)
    assert masks.shape == (40, 30, 44)
    assert masks.dtype == np.bool_
    assert 0.02 < masks.mean() < 0.98
    assert (masks != masks[0]).any(axis=(1, 2)).sum() > 10  # the box matters
    model: Any = Sam2Model.from_pretrained(folder / "segmenter").train(False)
    for at in (0, 17, 39):
        x0, y0, x1, y1 = boxes[at].tolist()
        place = torch.tensor([[[x0 * SIDE / 44, y0 * SIDE / 30, x1 * SIDE / 44, y1 * SIDE / 30]]])
        with torch.no_grad():
            out = model(pixel_values=sam2_pixels(crop, SIDE), input_boxes=place, multimask_output=False)
        logits = torch.nn.functional.interpolate(out.pred_masks[0], (30, 44), mode="bilinear")[0, 0].numpy()
        sure = np.abs(logits) > 1e-5
        np.testing.assert_array_equal(masks[at][sure], logits[sure] > 0)
    assert segmenter.masks(crop, corners(), not_cancelled).shape == (0, 30, 44)


def test_other_boxes_in_the_same_picture_do_not_look_again(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[torch.Tensor] = []
    look = segmenter._model.get_image_embeddings

    def watched_embedding(pixels: torch.Tensor) -> Any:
        looked.append(pixels)
        return look(pixels)

    monkeypatch.setattr(segmenter._model, "get_image_embeddings", watched_embedding)
    one, other = noise(seed=8), noise(seed=9)
    first = segmenter.masks(one, corners((0, 0, 20, 20)), not_cancelled)
    segmenter.masks(one, corners((5, 5, 40, 25)), not_cancelled)
    assert len(looked) == 1
    segmenter.masks(other, corners((0, 0, 20, 20)), not_cancelled)
    np.testing.assert_array_equal(segmenter.masks(one, corners((0, 0, 20, 20)), not_cancelled), first)
    assert len(looked) == 3


def test_the_hubs_sam2_are_stored_as_models_of_video(tmp_path: Path) -> None:
    stored = make_segmenter(tmp_path / "video", video=True)
    found = Segmenter(str(stored), CPU)
    weights = load_file(stored / "model.safetensors")
    key = "mask_decoder.iou_token.weight"
    assert torch.equal(found._model.state_dict()[key], weights[key])
    assert found.masks(noise(), corners((0, 0, 20, 20)), not_cancelled).shape == (1, 30, 44)


def test_boxes_answer_to_the_thresholds_and_lie_in_the_crop(detector: Detector) -> None:
    crop = noise(44, 30)
    found = detector.boxes(crop, ["red train", "dog"], EVERYTHING, EVERYTHING, not_cancelled)
    assert len(found.scores) == len(found.labels) == len(found.corners) > 3
    assert (found.corners >= 0).all()
    assert (found.corners <= [44, 30, 44, 30]).all()
    assert {word for label in found.labels for word in label.split()} <= {"red", "train", "dog"}
    middle = float(np.sort(found.scores)[-3])
    fewer = detector.boxes(crop, ["red train", "dog"], middle, EVERYTHING, not_cancelled)
    assert len(fewer.scores) == (found.scores > middle).sum() > 0
    none = detector.boxes(crop, ["red train", "dog"], 0.999, 0.0, not_cancelled)
    assert (none.corners.shape, none.scores.shape, none.labels) == ((0, 4), (0,), ())


def test_phrases_that_are_too_long_together_are_looked_for_one_after_the_other(detector: Detector) -> None:
    crop = noise()
    phrases = ["red train", "dog", "cat", "a red cake", "sky", "water", "a dog", "a cat"]
    groups = detector._groups(phrases)
    assert len(groups) > 1
    assert [phrase for group in groups for phrase in group] == phrases
    assert all(detector._length(group) <= TEXT_LENGTH for group in groups)
    parts = [detector.boxes(crop, group, EVERYTHING, 0.0, not_cancelled) for group in groups]
    whole = detector.boxes(crop, phrases, EVERYTHING, 0.0, not_cancelled)
    np.testing.assert_array_equal(whole.corners, np.concatenate([part.corners for part in parts]))
    endless = " ".join(["train"] * 100)  # cut by the tokenizer
    assert len(detector.boxes(crop, [endless], EVERYTHING, 0.0, not_cancelled).corners) > 0


async def test_the_engine_answers_on_the_crop_that_the_model_sees(folder: Path) -> None:
    vlm = load(ModelSpec(str(folder / "model"), device="cpu"))
    picture = load_image(folder / "000.png")
    assert picture.size == (40, 30)
    crop = vlm.crop(picture)
    assert crop.size == (30, 30)
    expected = Segmentation(CPU).segment(request(folder), crop, (3, 3), not_cancelled)
    assert len(expected.scores) > 3
    assert np.ptp(expected.weights) > 0.003
    model = ModelHere(ModelSpec(str(folder / "model")))
    answer = await model.ask(request(folder))
    np.testing.assert_allclose(answer.weights, expected.weights, atol=1e-6)
    np.testing.assert_allclose(answer.boxes, expected.boxes, atol=1e-4)
    assert (answer.labels, answer.sample) == (expected.labels, 5)
    assert answer.boxes.max() <= 30

    with pytest.raises(WorkerError, match="nowhere/detector cannot be loaded as the detector") as caught:
        await model.ask(replace(request(folder), detector="nowhere/detector"))
    assert caught.value.title == ModelError.title
    assert "[simulate]" in caught.value.hint
    with pytest.raises(WorkerError, match="does not exist"):
        await model.ask(replace(request(folder), image="none.png"))
    nothing = await model.ask(replace(request(folder), box_threshold=0.999))
    np.testing.assert_array_equal(nothing.weights, np.zeros((3, 3), np.float32))
    assert model.status.phase is Phase.READY


# What goes wrong


def test_memory_that_is_short_frees_both_models(
    folder: Path, monkeypatch: pytest.MonkeyPatch, segmenter: Segmenter
) -> None:
    engine = VlmEngine(load(ModelSpec(str(folder / "model"), device="cpu")), ModelSpec("tiny"))
    engine.segment(request(folder), not_cancelled)
    assert engine._segmentation is not None
    assert isinstance(engine._segmentation._detector, tuple)
    assert isinstance(engine._segmentation._segmenter, tuple)
    one, other = engine._segmentation._detector[1], engine._segmentation._segmenter[1]
    assert isinstance(one, Detector)
    assert isinstance(other, Segmenter)
    held = [weakref.ref(one._model), weakref.ref(other._model)]

    def full(*_: object) -> Masks:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Segmenter, "masks", full)
    del one, other
    with pytest.raises(torch.OutOfMemoryError) as caught:
        engine.segment(request(folder), not_cancelled)
    told = failure(caught.value)
    assert told.title == "Out of memory"
    assert ":unload" in told.hint
    caught.value.__traceback__ = None  # as in the worker, where the exception is gone by then
    del caught
    engine.free()
    gc.collect()
    assert [ref() for ref in held] == [None, None]
    monkeypatch.undo()
    assert engine.segment(request(folder), not_cancelled).weights.shape == (3, 3)


def test_a_folder_that_is_none_or_has_no_weights(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded as the detector") as caught:
        Detector(str(tmp_path / "none"), CPU)
    assert str(tmp_path / "none") in caught.value.message
    assert "folder as 'detector' under [simulate]" in caught.value.hint
    for role, load_one in (("detector", Detector), ("segmenter", Segmenter)):
        copy = Path(shutil.copytree(folder / role, tmp_path / role))
        (copy / "model.safetensors").unlink()
        with pytest.raises(ModelError, match=f"{role} cannot be loaded as the {role}"):
            load_one(str(copy), CPU)
        (copy / "model.safetensors").write_bytes(b"no weights")
        with pytest.raises(ModelError, match=f"{role} cannot be loaded as the {role}"):
            load_one(str(copy), CPU)


def test_weights_that_are_missing_are_not_made_up(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder / "segmenter", tmp_path / "segmenter"))
    weights = load_file(copy / "model.safetensors")
    del weights["mask_decoder.iou_token.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are missing: mask_decoder\.iou_token\.weight"):
        Segmenter(str(copy), CPU)


def test_another_kind_of_model_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="cannot be the segmenter: it is of type 'grounding-dino', not 'sam2'"):
        Segmenter(str(folder / "detector"), CPU)
    with pytest.raises(ModelError, match="cannot be the detector: it is of type 'llava', not 'grounding-dino'"):
        Detector(str(folder / "model"), CPU)


def test_without_the_hub_the_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="nobody/no-such-detector cannot be loaded as the detector") as caught:
        Detector("nobody/no-such-detector", CPU)
    assert caught.value.hint.startswith("Download it")


def test_code_of_a_model_is_never_run(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder / "detector", tmp_path / "evil"))
    config = copy / "config.json"
    evil = '{"auto_map": {"AutoConfig": "evil.Evil"}, "model_type": "evil"}'
    config.write_text(evil)
    (copy / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelError, match="evil cannot be loaded as the detector"):
        Detector(str(copy), CPU)
    assert not (tmp_path / "ran").exists()
