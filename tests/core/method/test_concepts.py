"""Concepts against a slow computation straight from the formula; their search; their files."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.sizes import manifest_of
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method import concepts as module
from vlmscope.core.method.concepts import KEPT, LEAST_STRENGTH, PRIOR, Concepts, find_concepts, least_count
from vlmscope.core.method.words import NO_WORD, count_words
from vlmscope.core.store.concept_files import FOLDER, read_concepts, replace_concepts, write_concepts
from vlmscope.core.store.manifest import Manifest, read_manifest
from vlmscope.core.store.reader import ScanStore

Expected = tuple[list[str], list[float], int]  # words, strengths, hits


def quiet(_done: int, _total: int) -> None:
    """A progress callback that does nothing."""


def find(top_sample: NDArray[np.int32], descriptions: list[str], skipped: tuple[int, ...] = ()) -> Concepts:
    known = [None if i in skipped else words for i, words in enumerate(descriptions)]
    return find_concepts(top_sample, known, quiet)


def slow(top: list[int], descriptions: list[str], skipped: tuple[int, ...]) -> Expected:
    """One neuron's concepts, word by word: Monroe et al. 2008, with the choices that ``z_score`` names."""
    counted = [i for i in range(len(descriptions)) if i not in skipped]
    counts = count_words([None if i in skipped else d for i, d in enumerate(descriptions)])
    sets = {i: {counts.words[j] for j in counts.ids[i].tolist() if j != NO_WORD} for i in counted}
    found = []
    for word in counts.words:
        here = sum(word in sets[i] for i in top)
        everywhere = sum(word in sets[i] for i in counted)
        if here < min(len(top), max(2, math.ceil(len(top) / 10))):
            continue
        alpha = PRIOR * len(top) * everywhere / len(counted)
        beta = PRIOR * len(top) * (1 - everywhere / len(counted))
        odds = math.log((here + alpha) / (len(top) - here + beta))
        base = math.log((everywhere + alpha) / (len(counted) - everywhere + beta))
        z = (odds - base) / math.sqrt(1 / (here + alpha) + 1 / (everywhere + alpha))
        if z > LEAST_STRENGTH:
            found.append((-round(z, 9), -here, word, z))
    found = sorted(found)[:KEPT]
    hits = sum(found[0][2] in sets[i] for i in top[:20]) if found else 0
    return [word for *_, word, _ in found], [z for *_, z in found], hits


def random_scan(seed: int, samples: int, valid: int, words: int) -> tuple[NDArray[np.int32], list[str]]:
    """Descriptions of which some words go together with low sample numbers, and neurons that lean to those."""
    rng = np.random.default_rng(seed)
    vocabulary = ["w" + "".join("abcdefghij"[int(c)] for c in str(i)) for i in range(words)]
    descriptions = []
    for i in range(samples):
        chance = rng.random(words) < np.where(np.arange(words) % 4 == i % 4, 0.6, 0.1)
        descriptions.append(" ".join(w for w, there in zip(vocabulary, chance, strict=True) if there))
    lean = np.where(np.arange(samples) % 4 == rng.integers(0, 4, (3, 8, 1)), 3.0, 0.0)
    top = np.argsort(-(lean + rng.random((3, 8, samples)) * 4), axis=-1)[..., :valid]
    return top.astype(np.int32), descriptions


@given(
    seed=st.integers(0, 10_000),
    samples=st.integers(1, 90),
    most=st.sampled_from([1, 2, 3, 8, 20, 25, 50]),
    words=st.integers(0, 30),
    block=st.sampled_from([1, 300, 400_000]),
)
def test_equals_the_slow_computation(seed: int, samples: int, most: int, words: int, block: int) -> None:
    valid = min(samples, most)
    top, descriptions = random_scan(seed, samples, valid, words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        found = find(top, descriptions)
    for layer, index in np.ndindex(3, 8):
        one = found.of(Neuron(layer, index))
        names, strengths, hits = slow(top[layer, index].tolist(), descriptions, ())
        assert [concept.word for concept in one.words] == names
        assert [concept.strength for concept in one.words] == pytest.approx(strengths, rel=1e-3)
        assert (one.hits, one.looked_at) == (hits, min(valid, 20))
        if names:
            counts = count_words(descriptions)
            assert one.base_rate == counts.frequency[counts.words.index(names[0])] / samples
        assert found.leading(layer, index) == (names[0] if names else "")
        assert found.purity()[layer, index] == np.float32(one.purity)


def test_neurons_of_the_random_scans_differ() -> None:
    """So that the comparison above compares something."""
    top, descriptions = random_scan(1, 90, 25, 30)
    found = find(top, descriptions)
    assert len({found.leading(*at) for at in np.ndindex(3, 8)}) > 3
    assert (found.word[..., -1] != NO_WORD).any()


def test_skipped_samples_do_not_count() -> None:
    top, descriptions = random_scan(2, 60, 20, 30)
    skipped = (3, 17, 18)
    top = np.where(np.isin(top, skipped), 59, top).astype(np.int32)
    found = find(top, descriptions, skipped)
    assert found.descriptions == 57
    for layer, index in np.ndindex(3, 8):
        names, _, hits = slow(top[layer, index].tolist(), descriptions, skipped)
        one = found.of(Neuron(layer, index))
        assert ([concept.word for concept in one.words], one.hits) == (names, hits)


ANIMALS = ["dog red"] * 5 + ["cats blue"] * 5 + ["cat green"] * 5 + ["of the"] * 25


def test_a_word_that_all_top_samples_have_is_the_purest() -> None:
    found = find(np.array([[[0, 1, 2, 3, 4], [5, 6, 10, 11, 30]]], dtype=np.int32), ANIMALS)
    one, other = found.of(Neuron(0, 0)), found.of(Neuron(0, 1))
    assert [concept.word for concept in one.words] == ["dog", "red"], "equals are in alphabetical order"
    assert one.words[0].strength == one.words[1].strength
    assert (one.purity, one.base_rate) == (1.0, 5 / 40)
    assert other.words[0].word == "cat"
    assert (other.hits, other.looked_at, other.purity, other.base_rate) == (4, 5, 0.8, 10 / 40)


@pytest.mark.parametrize(
    ("samples", "top"), [(["dog", "cat", "fish"], [0, 1, 2]), (["dog"], [0]), (["of the", "and", "7"], [0, 1])]
)
def test_nothing_stands_out_where_there_is_nothing_to_compare(samples: list[str], top: list[int]) -> None:
    one = find(np.array([[top]], dtype=np.int32), samples).of(Neuron(0, 0))
    assert (one.words, one.hits, one.purity, one.base_rate) == ((), 0, 0.0, 0.0)


def test_a_scan_of_no_samples_has_no_concepts() -> None:
    found = find_concepts(np.full((1, 2, 4), -1, dtype=np.int32), [], quiet)
    assert found.of(Neuron(0, 1)).purity == 0.0
    assert not found.find("dog").any()


def test_a_top_sample_that_is_none_is_a_damaged_scan() -> None:
    with pytest.raises(StoreError, match="not one of its samples"):
        find(np.array([[[0, 7]]], dtype=np.int32), ["dog", "cat"])


def test_how_many_top_samples_a_word_needs() -> None:
    assert [least_count(top) for top in (0, 1, 2, 8, 20, 21, 50)] == [0, 1, 2, 2, 2, 3, 5]


def test_progress_ends_at_all_neurons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 1)
    told: list[tuple[int, int]] = []
    top = np.array([[[0, 1], [5, 6], [10, 11]]], dtype=np.int32)
    find_concepts(top, ANIMALS, lambda *at: told.append(at))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.fixture
def few() -> Concepts:
    """Four neurons: dog and red; cat and tractor; train, dog and cat; none."""
    return Concepts(
        words=("cat", "dog", "red", "tractor", "train"),
        frequency=np.array([10, 20, 30, 5, 8], dtype=np.int64),
        descriptions=100,
        looked_at=8,
        word=np.array(
            [
                [[1, 2, NO_WORD, NO_WORD, NO_WORD], [0, 3, NO_WORD, NO_WORD, NO_WORD]],
                [[4, 1, 0, NO_WORD, NO_WORD], [NO_WORD] * 5],
            ],
            dtype=np.uint16,
        ),
        strength=np.array(
            [[[4.5, 2.5, 0, 0, 0], [9, 8, 0, 0, 0]], [[7, 6, 5, 0, 0], [0, 0, 0, 0, 0]]], dtype=np.float16
        ),
        purity_hits=np.array([[8, 6], [1, 0]], dtype=np.uint8),
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("dog", [[4.5, 0], [6, 0]]),
        ("DOGS", [[4.5, 0], [6, 0]]),
        ("dog red", [[2.5, 0], [0, 0]]),
        ("the dog, cats", [[0, 0], [5, 0]]),
        ("tra", [[0, 8], [7, 0]]),
        ("train", [[0, 0], [7, 0]]),
        ("trainer", [[0, 0], [0, 0]]),
        ("dog zebra", [[0, 0], [0, 0]]),
        ("", [[0, 0], [0, 0]]),
        ("the", [[0, 0], [0, 0]]),
    ],
)
def test_neurons_are_found_by_word(few: Concepts, query: str, expected: list[list[float]]) -> None:
    found = few.find(query)
    assert found.dtype == np.float32
    assert found.tolist() == expected


def test_of_the_words_that_a_query_begins_the_strongest_counts(few: Concepts) -> None:
    both = np.array([[[4, 3, NO_WORD, NO_WORD, NO_WORD]] * 2] * 2, dtype=np.uint16)
    strength = np.array([[[9, 2, 0, 0, 0]] * 2] * 2, dtype=np.float16)
    found = Concepts(few.words, few.frequency, 100, 8, both, strength, few.purity_hits)
    assert found.find("tra").tolist() == [[9, 9], [9, 9]]


def test_what_a_query_stands_for_and_what_is_like_it(few: Concepts) -> None:
    assert np.array_equal(few.find("Dogs x"), few.find("dog")) and few.find("dog").any()
    assert np.array_equal(few.find("tra"), np.maximum(few.find("tractor"), few.find("train"))) and few.find("tra").any()
    assert not few.find("zebra").any()
    assert few.similar("trian redd") == ("train", "red")
    assert few.similar("zebra") == ()


def test_files_hold_what_was_written(few: Concepts, tmp_path: Path) -> None:
    manifest = manifest_of(np.zeros((2, 2, 8), dtype=np.int32), 100, ())
    write_concepts(tmp_path / FOLDER, few, manifest)
    found = read_concepts(tmp_path, manifest)
    assert found is not None
    assert (found.words, found.descriptions, found.looked_at) == (few.words, few.descriptions, few.looked_at)
    for name in ("frequency", "word", "strength", "purity_hits"):
        assert np.array_equal(getattr(found, name), getattr(few, name))
        assert getattr(found, name).dtype == getattr(few, name).dtype
    assert isinstance(found.word, np.memmap)
    assert read_concepts(tmp_path / "elsewhere", manifest) is None


def test_a_scan_without_concepts_has_none_until_they_are_put_there(scan_copy: Path) -> None:
    assert ScanStore(scan_copy).concepts is None
    store = ScanStore(scan_copy)
    before = {path: path.read_bytes() for path in scan_copy.rglob("*") if path.is_file()}
    for words in (["dog", "cat"], ["fish", "bird"]):
        descriptions = [words[i % 2] for i in range(store.manifest.samples)]
        found = find_concepts(store.arrays["top_sample"], store.manifest.without_skipped(descriptions), quiet)
        replace_concepts(scan_copy, found, store.manifest)
        stored = ScanStore(scan_copy).concepts
        assert stored is not None
        assert stored.words == tuple(sorted(words))
    assert {path.name for path in scan_copy.iterdir() if path.name.startswith(".")} == set()
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_failed_write_leaves_the_old_concepts(few: Concepts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = manifest_of(np.zeros((2, 2, 8), dtype=np.int32), 100, ())
    replace_concepts(tmp_path, few, manifest)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StoreError, match="No space left"):
        replace_concepts(tmp_path, few, manifest)
    assert [path.name for path in tmp_path.iterdir()] == [FOLDER]
    found = read_concepts(tmp_path, manifest)
    assert found is not None and found.words == few.words


def test_a_failed_exchange_puts_the_old_concepts_back(
    few: Concepts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = manifest_of(np.zeros((2, 2, 8), dtype=np.int32), 100, ())
    replace_concepts(tmp_path, few, manifest)
    rename = Path.replace

    def refuse_new(path: Path, target: Path) -> Path:
        if path.suffix == ".partial":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", refuse_new)
    with pytest.raises(StoreError, match="Input/output error"):
        replace_concepts(tmp_path, few, manifest)
    assert [path.name for path in tmp_path.iterdir()] == [FOLDER]
    assert read_concepts(tmp_path, manifest) is not None


def damaged(folder: Path, manifest: Manifest, named: str) -> None:
    with pytest.raises(StoreError) as caught:
        read_concepts(folder, manifest)
    assert named in caught.value.message
    assert "--again" in caught.value.hint


@pytest.mark.parametrize("name", ["words.json", "word.npy", "strength.npy", "purity_hits.npy"])
@pytest.mark.parametrize("content", [None, b"", b"x" * 300, b"cut"])
def test_a_damaged_file_is_named(few: Concepts, tmp_path: Path, name: str, content: bytes | None) -> None:
    manifest = manifest_of(np.zeros((2, 2, 8), dtype=np.int32), 100, ())
    write_concepts(tmp_path / FOLDER, few, manifest)
    path = tmp_path / FOLDER / name
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[:-3] if content == b"cut" else content)
    damaged(tmp_path, manifest, str(path))


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"scan_id": "another"},
        {"words": ["cat"]},
        {"frequency": [10, 20, 30, 5, 0]},
        {"frequency": [10, 20, 30, 5, 101]},
        {"words": [1, 2, 3, 4, 5]},
        {"surprise": True},
    ],
)
def test_words_that_do_not_fit_are_refused(few: Concepts, tmp_path: Path, change: dict[str, object]) -> None:
    manifest = manifest_of(np.zeros((2, 2, 8), dtype=np.int32), 100, ())
    write_concepts(tmp_path / FOLDER, few, manifest)
    path = tmp_path / FOLDER / "words.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    damaged(tmp_path, manifest, str(path))


def test_ids_and_shapes_that_do_not_fit_are_refused(few: Concepts, tmp_path: Path) -> None:
    manifest = manifest_of(np.zeros((2, 2, 8), dtype=np.int32), 100, ())
    for name, array in (
        ("word", np.full((2, 2, KEPT), 5, dtype=np.uint16)),
        ("word", few.word.astype(np.int32)),
        ("strength", few.strength.astype(np.float32)),
        ("purity_hits", np.zeros((2, 3), dtype=np.uint8)),
    ):
        write_concepts(tmp_path / FOLDER, few, manifest)
        np.save(tmp_path / FOLDER / f"{name}.npy", array)
        damaged(tmp_path, manifest, f"{name}.npy")
        shutil.rmtree(tmp_path / FOLDER)


def test_the_demos_concepts_are_those_of_its_scan() -> None:
    folder = Path(__file__).parents[3] / "sample_data" / "scan"
    store = ScanStore(folder)
    descriptions = [store.sample(i).description for i in range(store.manifest.samples)]
    expected = find_concepts(store.arrays["top_sample"], read_manifest(folder).without_skipped(descriptions), quiet)
    found = store.concepts
    assert found is not None and found.words == expected.words
    for name in ("frequency", "word", "strength", "purity_hits"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    assert sum(path.stat().st_size for path in (folder / FOLDER).iterdir()) < 250_000
