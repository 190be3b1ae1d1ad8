"""The user's own picture: shown at once, its crop framed, its question shown; its path completed, its errors named."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from textual.widgets import Input

from tests.support.screen_app import FakeModel, running
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.data.images import outlined
from vlmscope.core.worker.messages import DescribeAnswer, DescribeRequest, ModelSpec, ModelStatus
from vlmscope.tui.browse.own_picture import PictureError, picture_file, small_jpeg
from vlmscope.tui.views.evidence import FRAME
from vlmscope.tui.widgets.path_suggester import PathSuggester, complete_path


class Slow(FakeModel):
    """Describes when it is let, and sees the middle half of the picture."""

    def __init__(self, spec: ModelSpec, on_status: Callable[[ModelStatus], None], idle_unload_s: float) -> None:
        super().__init__(spec, on_status, idle_unload_s)
        self.hold.clear()

    async def describe(self, request: DescribeRequest) -> DescribeAnswer:
        said = await super().describe(request)
        crop = (0.25, 0.0, 0.75, 1.0)
        return DescribeAnswer(said.image, said.question, said.prompt, said.description, said.tokens, said.crop, crop)


async def test_it_is_shown_at_once_and_its_crop_is_framed(scan: Path, tmp_path: Path) -> None:
    path = tmp_path / "my own.png"
    Image.new("RGB", (80, 40), (10, 120, 200)).save(path)
    async with running(scan, start=Neuron(0, 0), model=Slow) as on:
        await on.type(f":image {path}")  # a blank that is not quoted
        await on.until(lambda: bool(on.models) and bool(on.models[0].described))
        await on.settled()
        picture = on.scene.picture
        assert picture is not None and picture.crop is None and picture.visual is None
        assert picture.whole is not None and picture.whole.size == (80, 40)
        assert "no picture" not in on.page and "asking the model" in on.page
        assert f"my own.png · asked “{on.store.manifest.question}”" in on.page
        on.models[0].hold.set()
        await on.until(lambda: "zebra stands" in on.page and "no map" not in on.page)
        picture = on.scene.picture
        assert picture is not None and picture.whole is not None and picture.crop is not None
        assert np.asarray(picture.whole)[20, [20, 59]].tolist() == [list(FRAME)] * 2
        await on.press("z")
        await on.type(f":image {tmp_path}")
        await on.until(lambda: f"Your picture cannot be shown: {tmp_path} is a folder, not a pict" in on.notes)
        broken = tmp_path / "broken.png"
        broken.write_bytes(path.read_bytes()[:60])
        await on.type(f":image {broken}")
        await on.until(lambda: "broken.png cannot be decoded" in on.notes and on.state.own is None)
        assert len(on.models[0].described) == 1, "the model is not asked about what is not a picture"


def test_a_frame_goes_around_a_part_and_never_around_all() -> None:
    image = Image.new("RGB", (110, 44))
    assert outlined(image, (0.0, 0.0, 1.0, 1.0), FRAME) is image
    framed = np.asarray(outlined(image, (0.3, 0.0, 0.7, 1.0), FRAME))
    assert (framed[:, [33, 76]] == FRAME).all() and (framed[[0, 43], 33:77] == FRAME).all()
    assert not framed[:, :33].any() and not framed[:, 77:].any() and not framed[5:39, 38:72].any()


def test_what_is_not_a_picture_is_named_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "train.png").touch()
    for typed, what, hint in (
        (str(tmp_path / "trian.png"), "no picture at", f"Did you mean {tmp_path / 'train.png'}?"),
        (str(tmp_path / "none/at/all.png"), "there is no folder", "Check the path."),
        (str(tmp_path), "is a folder", "tab completes"),
        ("https://example.org/cat.png", "an address on the net", "Download"),
        ("a" * 300, "There is no picture at", "Check the path"),
    ):
        with pytest.raises(PictureError, match=what) as found:
            picture_file(typed)
        assert hint in found.value.hint
    with pytest.raises(PictureError, match="not a picture that Pillow can read"):
        small_jpeg(tmp_path / "train.png")
    with pytest.raises(PictureError, match="is a folder, not a picture"):
        small_jpeg(tmp_path)


def test_a_path_is_completed_as_it_must_stand_in_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("notes.txt", ".hidden.png", "it's.png", "my train.png", "zoo.JPG"):
        (tmp_path / name).touch()
    (tmp_path / "more pictures").mkdir()
    (tmp_path / "more pictures/a b.png").touch()
    for typed, whole in (
        ("m", r"more\ pictures/"),
        (r"more\ pictures/", r"more\ pictures/a\ b.png"),
        ("'my", "'my train.png'"),
        ('"more pictures/', '"more pictures/a b.png"'),
        ("it", r"it\'s.png"),
        ("'it", None),  # no quote can hold it
        ("n", None),  # not a picture
        (".h", ".hidden.png"),
        ("zoo.JPG", None),  # whole
        ("zoo.JPG what", None),  # the prompt
        ("nowhere/", None),
        ("~nobody-there/", None),
        (f"{tmp_path}/z", f"{tmp_path}/zoo.JPG"),
    ):
        assert complete_path(typed) == whole, typed
    command = PathSuggester("image ", ["image ", "theme nord"])
    for typed, whole in (("image z", "image zoo.JPG"), ("im", "image "), ("th", "theme nord"), ("x", None)):
        assert asyncio.run(command.get_suggestion(typed)) == whole


async def test_tab_takes_a_completed_path(scan: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "own.png")
    async with running(scan, start=Neuron(0, 0)) as on:
        await on.press("p")
        box = on.app.focused
        assert isinstance(box, Input)
        box.insert_text_at_cursor(f"{tmp_path}/o")
        await on.until(lambda: box._suggestion.endswith("own.png"))
        await on.press("tab")
        assert box.value == f"{tmp_path}/own.png"
