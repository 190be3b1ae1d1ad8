"""Where visual tokens look, as measured: against pixels that are changed inside one token's box, and by hand."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText

from tests.support import torchvision_stand_in
from tests.support.families import FAMILIES, SCANNED, SHAPES, make_family, make_pictures, make_tokenizer
from vlmscope.core.base.errors import ModelError
from vlmscope.core.method.layout import WHOLE, Box, VisualLayout, cut
from vlmscope.core.model import layouts
from vlmscope.core.model.boxes import covers_of, regular
from vlmscope.core.model.checkpoint import try_out
from vlmscope.core.model.encode import Encoded
from vlmscope.core.model.vlm import Vlm

SPOTS = 6  #: of each cover, tried in each picture
#: Rows and columns of each cover in pictures of ``SHAPES``, from the families' geometry in ``FAMILIES``.
GRIDS: dict[str, tuple[list[tuple[int, int]], list[tuple[int, int]]]] = {
    "llava": ([(4, 4)], [(4, 4)]),
    "llava_next": ([(4, 4), (6, 8)], [(4, 4), (8, 4)]),  # thumbnail, then tiles without their padding
    "qwen2_5_vl": ([(4, 6)], [(5, 3)]),  # sides to multiples of 28 pixels
    "gemma3": ([(4, 4)], [(4, 4)]),
    "internvl": ([(6, 8), (2, 2)], [(6, 4), (2, 2)]),  # 3 x 4 and 3 x 2 tiles, then the thumbnail
    "idefics3": ([(12, 12), (4, 4)], [(12, 8), (4, 4)]),
}
_x: Any = transformers  # its classes are untyped


def wrapped(folder: Path, name: str) -> Vlm:
    torchvision_stand_in.install()
    auto: Any = AutoModelForImageTextToText
    processor = _x.AutoProcessor.from_pretrained(folder)
    return Vlm(auto.from_pretrained(folder), processor, name, FAMILIES[name].options)


@pytest.fixture(scope="module", params=SCANNED)
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    return wrapped(make_family(tmp_path_factory.mktemp(request.param), request.param), request.param)


def encoded_of(vlm: Vlm, picture: Image.Image) -> Encoded:
    return vlm.encode(vlm.prompt("What is it?"), "A red train.", picture.size)


def features(vlm: Vlm, encoded: Encoded, picture: Image.Image) -> Tensor:
    """What the decoder is given, (T, hidden), with real attention in the vision tower."""
    found = layouts._embedded(vlm.model, vlm.inputs([encoded], [picture]))
    assert found is not None
    return found[0]


def hits(vlm: Vlm, encoded: Encoded, picture: Image.Image, layout: VisualLayout) -> list[bool]:
    """For some tokens of each cover: whether they change most, of their cover, if pixels in their box change."""
    rng = np.random.default_rng(0)
    before = features(vlm, encoded, picture)
    left, top, right, bottom = cut(encoded.seen, *picture.size)
    found = []
    for cover in range(layout.covers):
        own = np.flatnonzero(encoded.layout.cover == cover)
        for token in rng.choice(own, min(SPOTS, len(own)), replace=False):
            x0, y0, x1, y1 = layout.boxes[token].tolist()
            rim = (x1 - x0) / 8, (y1 - y0) / 8  # resizing carries a change at the edge across it
            inner = (x0 + rim[0], y0 + rim[1], x1 - rim[0], y1 - rim[1])
            a, b, c, d = cut(inner, right - left, bottom - top)
            pixels = np.asarray(picture).copy()
            pixels[top + b : top + d, left + a : left + c] ^= 255
            change = (features(vlm, encoded, Image.fromarray(pixels)) - before).norm(dim=1).numpy()[encoded.visual]
            found.append(bool(own[change[own].argmax()] == token))
    return found


def test_pixels_in_a_tokens_box_change_that_token_most(vlm: Vlm) -> None:
    for picture in make_pictures():
        encoded = encoded_of(vlm, picture)
        assert all(hits(vlm, encoded, picture, encoded.layout))


def test_transposed_boxes_fail_that_test(vlm: Vlm) -> None:
    for picture in make_pictures():
        encoded = encoded_of(vlm, picture)
        transposed = VisualLayout(encoded.layout.edges[:, [1, 0, 3, 2]], encoded.layout.cover)
        assert not all(hits(vlm, encoded, picture, transposed))


def test_every_token_of_the_picture_has_a_place_or_none(vlm: Vlm) -> None:
    """The tokens with a place are some of those that the model replaces by features; the rest are newlines."""
    for picture in make_pictures():
        encoded = encoded_of(vlm, picture)
        images = np.flatnonzero(encoded.input_ids.numpy() == vlm.model.config.image_token_id)
        has_newlines = vlm.name in ("llava_next", "llava_onevision")  # after each row of the tiles
        newlines = encoded.layout.grid_of(1)[0] if has_newlines else 0
        assert len(images) - len(encoded.visual) == newlines
        assert set(encoded.visual) <= set(images)


def test_the_grids_are_those_of_the_family(vlm: Vlm) -> None:
    if vlm.name not in GRIDS:
        pytest.skip("not worked out by hand")
    for picture, grids in zip(make_pictures(), GRIDS[vlm.name], strict=True):
        layout = encoded_of(vlm, picture).layout
        assert [layout.grid_of(cover) for cover in range(layout.covers)] == grids
        for cover, (rows, columns) in enumerate(grids):
            expected = VisualLayout.plain(rows, columns).boxes
            if (vlm.name, picture.size, cover) == ("llava_next", (90, 150), 1):
                # 67 x 112 pixels in the middle of 112: the model keeps columns 28 to 84 of them, 4 x 14.
                expected[:, [0, 2]] = (expected[:, [0, 2]] * 56 + 28 - 22) / 67
            own = layout.boxes[layout.cover == cover]
            np.testing.assert_allclose(np.sort(own, axis=0), np.sort(expected, axis=0), atol=0.015)


def llava(processor: Any, side: int = 56) -> Vlm:
    """LLaVA-1.5 with patches of 14 pixels, and any part for pictures."""
    family = FAMILIES["llava"]
    tokenizer = make_tokenizer(family.tokens)
    config = family.config(tokenizer.convert_tokens_to_ids)
    config.vision_config.image_size = side
    torch.manual_seed(0)
    whole = family.processor(tokenizer)
    whole.image_processor = processor
    return Vlm(_x.LlavaForConditionalGeneration(config), whole, "llava")


PROMPT = "USER: <image>\nWhat? ASSISTANT:"


def exact_crop(width: int, height: int) -> Box:
    side = min(width, height)
    x, y = (1 - side / width) / 2, (1 - side / height) / 2
    return (x, y, 1 - x, 1 - y)


def test_llava_15_sees_the_centre_square_by_24_x_24_tokens() -> None:
    vlm = llava(_x.CLIPImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}), 336)
    seen = set()
    for size in ((640, 480), (480, 640), (500, 333), (612, 612), (1024, 300), (200, 140)):
        encoded = vlm.encode(PROMPT, "A train.", size)
        assert encoded.layout.id == VisualLayout.plain(24, 24).id
        assert encoded.seen == exact_crop(*size)
        assert len(encoded.visual) == 576
        seen.add(encoded.seen)
        # What was measured, before it was taken for the centre square: within a pixel of the 336.
        for measured in vlm.encoder._geometry._measured.values():
            assert measured.layout == encoded.layout
    assert len(seen) == 6
    measured = vlm.encoder._geometry._of_size(
        PROMPT, (640, 480), vlm.encoder.made(PROMPT, Image.new("RGB", (640, 480)))
    )
    np.testing.assert_allclose(measured.seen, exact_crop(640, 480), atol=1.5 / 336)


def test_without_a_centre_crop_the_picture_is_stretched() -> None:
    vlm = llava(_x.CLIPImageProcessor(size={"height": 56, "width": 56}, do_center_crop=False))
    for size in SHAPES:
        encoded = vlm.encode(PROMPT, "A train.", size)
        assert (encoded.layout, encoded.seen) == (VisualLayout.plain(4, 4), WHOLE)


def test_padding_to_a_square_is_seen_by_no_box() -> None:
    """160 x 120 in the middle of 160 x 160, by rows of 40: the outer rows are half padding."""
    processor = _x.LlavaImageProcessor(
        do_pad=True, size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, do_center_crop=False
    )
    vlm = llava(processor)
    for size, axis in (((160, 120), 1), ((120, 160), 0)):
        encoded = vlm.encode(PROMPT, "A train.", size)
        assert (len(encoded.layout), encoded.seen) == (16, WHOLE)
        for along, edges in ((axis, [0, 1 / 6, 1 / 2, 5 / 6, 1]), (1 - axis, [0, 0.25, 0.5, 0.75, 1])):
            boxes = np.unique(encoded.layout.boxes[:, [along, along + 2]], axis=0)
            np.testing.assert_allclose(boxes, np.stack([edges[:-1], edges[1:]], axis=1), atol=0.01)


def test_a_picture_is_measured_once_for_all_of_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes within 1 %, other prompts and other threads share a measurement."""
    vlm = llava(_x.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}))
    made: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            made.append(name)
            return real(*args)

        return call

    for name in ("reached", "coordinates"):
        monkeypatch.setattr(f"vlmscope.core.model.geometry.{name}", counted(name, getattr(layouts, name)))
    sizes = [(638, 478), (640, 480), (636, 478), (120, 160)] * 4
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda size: vlm.encode(PROMPT, "A train.", size), sizes))
    vlm.encode("<image> Well?", "A train.", (639, 479))
    assert made.count("reached") == 1
    assert made.count("coordinates") <= 3  # one more finds the ids of the picture's tokens
    assert len({id(one.layout) for one in found}) == 1
    assert {one.seen for one in found} == {exact_crop(*size) for size in set(sizes)}


def test_measuring_leaves_the_model_as_it_was(vlm: Vlm) -> None:
    picture = make_pictures(((200, 90),))[0]
    before = [getattr(getattr(module, "config", None), "_attn_implementation", None) for module in vlm.model.modules()]
    encoded = encoded_of(vlm, picture)
    after = [getattr(getattr(module, "config", None), "_attn_implementation", None) for module in vlm.model.modules()]
    assert before == after
    assert layouts._ALONE not in after
    with torch.no_grad():
        assert torch.equal(features(vlm, encoded, picture), features(vlm, encoded, picture))
    assert all(parameter.grad is None for parameter in vlm.model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_measures_the_same(tmp_path: Path, dtype: torch.dtype) -> None:
    torchvision_stand_in.install()
    folder = make_family(tmp_path, "llava_next")
    auto: Any = AutoModelForImageTextToText
    whole, half = (
        Vlm(auto.from_pretrained(folder, dtype=kind), _x.AutoProcessor.from_pretrained(folder), "half")
        for kind in (torch.float32, dtype)
    )
    for picture in make_pictures():
        one, other = encoded_of(whole, picture), encoded_of(half, picture)
        assert np.array_equal(one.visual, other.visual)
        assert np.abs(one.layout.edges.astype(int) - other.layout.edges).max() <= 4


# What has no places


@pytest.mark.parametrize("name", ["mllama", "idefics2"])
def test_families_without_places_are_refused(name: str, tmp_path: Path) -> None:
    vlm = wrapped(make_family(tmp_path / name, name), name)
    with pytest.raises(ModelError, match=str(FAMILIES[name].refused)):
        try_out(vlm)


def test_a_tower_that_mixes_its_tokens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a resampler: every token sees the whole picture, also while others' attention is replaced."""
    vlm = llava(_x.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}))

    class Mixing(torch.nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return features + features.mean(dim=1, keepdim=True)

    vlm.model.model.multi_modal_projector = torch.nn.Sequential(vlm.model.model.multi_modal_projector, Mixing())
    with pytest.raises(ModelError, match=r"not places: .* \(\d+% of the picture's numbers reach several") as caught:
        vlm.encode(PROMPT, "A train.", (64, 64))
    assert "resamplers" in caught.value.hint


def test_a_picture_that_reaches_no_token_is_cross_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = llava(_x.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}))

    class Cut(torch.nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return features.detach()

    vlm.model.model.multi_modal_projector = torch.nn.Sequential(vlm.model.model.multi_modal_projector, Cut())
    with pytest.raises(ModelError, match="cross attention"):
        try_out(vlm)


# Boxes alone


def test_a_thumbnail_whose_middles_lie_on_edges_is_a_cover_of_its_own() -> None:
    tiles, thumbnail = VisualLayout.plain(6, 4).boxes, VisualLayout.plain(2, 2).boxes
    for first, second in ((tiles, thumbnail), (thumbnail, tiles)):
        boxes = np.concatenate([first, second]).astype(float)
        assert covers_of(boxes).tolist() == [0] * len(first) + [1] * len(second)


@pytest.mark.parametrize(
    ("first", "second"), [((4, 4), (2, 12)), ((4, 4), (12, 2)), ((2, 12), (4, 4)), ((1, 30), (30, 1))]
)
def test_tokens_that_cross_are_of_two_covers(first: tuple[int, int], second: tuple[int, int]) -> None:
    """In thin pictures: a thumbnail's token is a square of the stretched picture, a tile's is long."""
    grids = [VisualLayout.plain(*grid).boxes.astype(np.float64) for grid in (first, second)]
    rng = np.random.default_rng(0)
    boxes = np.concatenate(grids)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    measured = boxes + rng.uniform(-0.1, 0.1, boxes.shape) * sides  # neighbours overlap by up to a fifth
    assert covers_of(measured).tolist() == [0] * len(grids[0]) + [1] * len(grids[1])


def test_uneven_tiles_keep_their_edges() -> None:
    """A wide column beside narrow ones: they meet, but are not spaced evenly."""
    edges = np.array([0.0, 0.5, 0.6, 0.7, 1.0])
    noise = np.random.default_rng(0).normal(0, 0.003, (4, 2))
    boxes = np.array([[a, 0.0, b, 1.0] for a, b in pairwise(edges)])
    boxes[:, [0, 2]] += noise
    found = regular(boxes, np.zeros(4, dtype=np.int64))
    assert np.array_equal(found[:-1, 2], found[1:, 0])
    np.testing.assert_allclose(found[:, 2], edges[1:], atol=0.01)


def test_a_lock_is_held_while_the_model_is_measured() -> None:
    vlm = llava(_x.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}))
    waiting = threading.Thread(target=lambda: vlm.encode(PROMPT, "A train.", (64, 64)))
    with vlm._busy:
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
    waiting.join(30)
    assert not waiting.is_alive()
