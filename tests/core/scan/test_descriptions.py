"""The model describes what has no description: in batches, once, and only what is missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.support.tiny import make_images, make_model
from vlmscope.core.base.callbacks import OnProgress, not_cancelled
from vlmscope.core.base.config import cache_folder
from vlmscope.core.base.errors import Cancelled, ModelError
from vlmscope.core.data.description_cache import DescriptionCache
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import Data, ListedImage, read_data
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.scan.descriptions import describe_missing
from vlmscope.core.worker.messages import ModelSpec

PROMPT = "USER: <image> Could you describe the image? ASSISTANT:"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model hardly ever ends by itself; the demo needs more words than these."""
    monkeypatch.setattr("vlmscope.core.model.vlm.DESCRIPTION_TOKENS", 6)


class Watched(Vlm):
    """Counts the images of each call; more than ``fit`` at once do not fit into memory."""

    fit = 1 << 30
    before: Callable[[], None] | None = None

    @classmethod
    def of(cls, vlm: Vlm) -> "Watched":
        return cls(vlm.model, vlm.processor, vlm.name)

    def describe(
        self, images: Sequence[Image.Image], prompt: str, cancelled: Callable[[], bool] = not_cancelled
    ) -> list[str]:
        self.calls.append(len(images))
        if self.before is not None:
            self.before()
        if len(images) > self.fit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().describe(images, prompt, cancelled)

    @property
    def calls(self) -> list[int]:
        found: list[int] = self.__dict__.setdefault("_calls", [])
        return found


@pytest.fixture
def vlm(folder: Path) -> Watched:
    return Watched.of(load(ModelSpec(str(folder))))


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Seven images without descriptions."""
    return read_data(str(make_images(tmp_path / "data", 7, descriptions=False)))


@dataclass
class Told:
    """The calls of a progress callback."""

    done: list[int] = field(default_factory=list)
    total: set[int] = field(default_factory=set)

    def __call__(self, what: str, done: int, total: int) -> None:
        assert what == "describing" and done <= total
        self.done.append(done)
        self.total.add(total)


def quiet(what: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""


def run(vlm: Vlm, data: Data, batch: int = 3, progress: OnProgress = quiet) -> list[str | None]:
    return words(describe_missing(vlm, data, PROMPT, batch, progress))


def words(data: Data) -> list[str | None]:
    return [source.description for source in data.sources]


def alone(vlm: Vlm, data: Data) -> list[str]:
    """The model's description of each image, one at a time."""
    return [Vlm.describe(vlm, [load_image(data.root / s.image)], PROMPT)[0] for s in data.sources]


def test_the_models_words_in_batches(vlm: Watched, data: Data) -> None:
    told = Told()
    found = run(vlm, data, 3, told)
    assert found == alone(vlm, data)
    assert len(set(found)) == 7  # so that words of another image would be noticed, here and below
    assert vlm.calls == [3, 3, 1]
    assert told.done == sorted(told.done) and told.done[0] == 0 and told.done[-1] == 7
    assert {3, 6} <= set(told.done) and told.total == {7}


@pytest.mark.parametrize("pad", ["own", "text"])
def test_a_batch_of_the_demo_equals_one_at_a_time(pad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many lengths: rows that end early are padded, and neither padding nor end is part of the text."""
    monkeypatch.setattr("vlmscope.core.model.vlm.DESCRIPTION_TOKENS", 300)
    demo = load(ModelSpec("demo"))
    prompt = demo.prompt("Could you describe the image?")
    data = read_data("demo", limit=4)
    images = [load_image(data.root / source.image) for source in data.sources]
    if pad == "text":  # a token that decoding does not leave out
        demo.model.generation_config.pad_token_id = demo.processor.tokenizer("the").input_ids[-1]
    together = demo.describe(images, prompt)
    assert together == [demo.describe([image], prompt)[0] for image in images]
    assert len({len(text) for text in together}) > 1
    assert all(text.endswith(".") and "<" not in text for text in together)


def test_what_has_a_description_is_left_alone(vlm: Watched, data: Data) -> None:
    given = data.described({0: "A train.", 1: "", 5: "A cake."})
    found = run(vlm, given)
    assert (found[0], found[1], found[5]) == ("A train.", "", "A cake.")
    assert sum(vlm.calls) == 4 and None not in found
    told = Told()
    whole = data.described(dict.fromkeys(range(7), "A dog."))
    assert describe_missing(vlm, whole, PROMPT, 3, told) is whole
    assert told.done == [] and sum(vlm.calls) == 4


def test_a_later_scan_asks_nothing_again(vlm: Watched, data: Data, folder: Path) -> None:
    first = run(vlm, data)
    again = Watched.of(load(ModelSpec(str(folder))))
    told = Told()
    assert run(again, data, 3, told) == first
    assert again.calls == [] and told.done[-1] == 7
    assert list((cache_folder() / "descriptions").iterdir())


def test_images_are_known_by_their_bytes(vlm: Watched, data: Data, tmp_path: Path) -> None:
    """Under other names and in another order they are the same; a picture changed under its name is not."""
    first = run(vlm, data)
    vlm.calls.clear()
    names = [source.image for source in data.sources]
    for name in names:
        (data.root / name).rename(data.root / f"moved-{name}")
    Image.new("RGB", (40, 30), "red").save(data.root / f"moved-{names[2]}")
    moved = Data("moved", data.root, tuple(ListedImage(f"moved-{name}", None) for name in reversed(names)))
    found = run(vlm, moved)[::-1]
    assert vlm.calls == [1]
    assert found[:2] + found[3:] == first[:2] + first[3:]


def test_the_same_picture_twice_is_described_once(vlm: Watched, data: Data) -> None:
    for name in ("001.png", "006.png"):  # in the same batch, and in a later one
        (data.root / name).write_bytes((data.root / "000.png").read_bytes())
    found = run(vlm, data)
    assert sum(vlm.calls) == 5
    assert found[0] == found[1] == found[6] and None not in found


def test_another_prompt_dtype_or_model_describes_again(vlm: Watched, data: Data, tmp_path: Path, folder: Path) -> None:
    run(vlm, data)
    describe_missing(vlm, data, f"{PROMPT} ", 7, quiet)
    assert vlm.calls == [3, 3, 1, 7]
    others = [
        Watched.of(load(ModelSpec(str(folder), dtype="bfloat16"))),
        Watched.of(load(ModelSpec(str(make_model(tmp_path / "other", seed=1))))),
        Watched.of(load(ModelSpec(str(folder)), seed=0)),
        Watched.of(load(ModelSpec(str(folder)), seed=1)),
    ]
    for other in others:
        run(other, data, 7)
        assert other.calls == [7]


def test_a_stop_ends_it_and_the_next_run_asks_only_for_the_rest(vlm: Watched, data: Data) -> None:
    told = Told()
    with pytest.raises(Cancelled):
        describe_missing(vlm, data, PROMPT, 3, told, lambda: len(vlm.calls) == 2)  # within the second batch
    assert vlm.calls == [3, 3]
    vlm.calls.clear()
    told = Told()
    assert run(vlm, data, 3, told) == alone(vlm, data)
    assert vlm.calls == [3, 1]
    assert [done for done in told.done if done < 4] == [0, 1, 2, 3]  # what was kept counts before the model begins


def test_a_stop_before_the_first_batch_asks_nothing(vlm: Watched, data: Data) -> None:
    with pytest.raises(Cancelled):
        describe_missing(vlm, data, PROMPT, 3, quiet, lambda: True)
    assert vlm.calls == []


def test_a_torn_last_line_costs_one_description(vlm: Watched, data: Data) -> None:
    first = run(vlm, data)
    [file] = (cache_folder() / "descriptions").rglob("*.jsonl")
    file.write_bytes(file.read_bytes()[:-9])  # killed in the middle of the write
    vlm.calls.clear()
    assert run(vlm, data) == first
    assert vlm.calls == [1]
    assert run(vlm, data) == first
    assert vlm.calls == [1]


def test_each_batch_is_on_disk_when_the_next_begins(vlm: Watched, data: Data, tmp_path: Path) -> None:
    cache = DescriptionCache(tmp_path / "kept")
    seen: list[int] = []
    vlm.before = lambda: seen.append(sum(file.read_bytes().count(b'"text"') for file in cache.folder.rglob("*.jsonl")))
    describe_missing(vlm, data, PROMPT, 2, quiet, cache=cache)
    assert seen == [0, 2, 4, 6]


@pytest.mark.parametrize(("fit", "calls"), [(4, [7, 3, 3, 1]), (2, [7, 3, 1, 1, 1, 1, 1, 1, 1]), (3, [7, 3, 3, 1])])
def test_out_of_memory_halves_the_batch_and_continues(vlm: Watched, data: Data, fit: int, calls: list[int]) -> None:
    vlm.fit = fit
    told = Told()
    assert run(vlm, data, 64, told) == alone(vlm, data)
    assert vlm.calls == calls
    assert told.done == sorted(told.done) and told.done[-1] == 7


def test_out_of_memory_on_the_way_loses_nothing(vlm: Watched, data: Data) -> None:
    def less() -> None:
        vlm.fit = 4 if len(vlm.calls) == 1 else 2

    vlm.before = less
    assert run(vlm, data, 4) == alone(vlm, data)
    assert vlm.calls == [4, 3, 1, 1, 1]


def test_one_image_that_does_not_fit_is_an_error(vlm: Watched, data: Data) -> None:
    vlm.fit = 0
    with pytest.raises(ModelError, match=r"(?s)one image alone does not fit into the memory of cpu.*Free the GPU"):
        run(vlm, data, 4)
    assert vlm.calls == [4, 2, 1]


def test_images_that_cannot_be_read_stay_without(vlm: Watched, data: Data) -> None:
    (data.root / "000.png").write_bytes(b"no picture")
    (data.root / "003.png").unlink()
    (data.root / "006.png").unlink()
    (data.root / "006.png").mkdir()
    for _ in range(2):  # the second time with a cache
        told = Told()
        found = run(vlm, data, 3, told)
        assert [i for i, text in enumerate(found) if text is None] == [0, 3, 6]
        assert told.done[-1] == 7 and told.total == {7}
    assert vlm.calls == [3, 1]


def test_an_empty_description_is_one(vlm: Watched, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Vlm, "describe", lambda self, images, prompt, cancelled: [""] * len(images))
    assert run(vlm, data) == [""] * 7 == run(vlm, data)
    assert vlm.calls == [3, 3, 1]


def test_a_cache_that_cannot_be_written_stops_nothing(vlm: Watched, data: Data, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = DescriptionCache(tmp_path / "file" / "kept")
    assert words(describe_missing(vlm, data, PROMPT, 3, quiet, cache=cache)) == alone(vlm, data)
    assert cache.trouble is not None and "could not be kept" in cache.trouble


def test_shards_describe_their_own_and_read_each_others(vlm: Watched, data: Data) -> None:
    told = Told()
    even = words(describe_missing(vlm, data, PROMPT, 3, told, mine=[0, 2, 4, 6]))
    assert [i for i, text in enumerate(even) if text is not None] == [0, 2, 4, 6]
    assert told.total == {4}
    odd = words(describe_missing(vlm, data, PROMPT, 3, quiet, mine=range(1, 7, 2)))
    assert vlm.calls == [3, 1, 3]
    assert run(vlm, data) == [a if a is not None else b for a, b in zip(even, odd, strict=True)]
    assert vlm.calls == [3, 1, 3]
