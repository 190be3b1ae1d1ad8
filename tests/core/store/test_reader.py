"""Scans written and read; scans that are damaged in every way that a copy can be."""

import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.method.norm import norm
from vlmscope.core.store.arrays import NO_PEAK, array_shapes
from vlmscope.core.store.manifest import MANIFEST
from vlmscope.core.store.reader import ScanStore

NEURON = Neuron(2, 5)


def arrays_folder(folder: Path) -> Path:
    return folder / str(json.loads((folder / MANIFEST).read_text())["arrays"])


def replace_array(
    folder: Path, name: str, edit: Callable[[np.ndarray[tuple[int, ...], np.dtype[np.generic]]], None]
) -> None:
    path = arrays_folder(folder) / f"{name}.npy"
    array = np.load(path)
    edit(array)
    np.save(path, array)


def refusal(folder: Path, named: str) -> StoreError:
    with pytest.raises(StoreError) as caught:
        ScanStore(folder)
    assert named in caught.value.message
    assert caught.value.hint
    return caught.value


def test_stored_labels_are_those_computed_at_the_scans_own_thresholds(scan: Path) -> None:
    store = ScanStore(scan)
    stored, computed = store.stored_labels(), store.labels(store.manifest.thresholds.value())
    assert np.array_equal(stored.votes, computed.votes)
    assert np.array_equal(stored.label, computed.label)
    assert len(set(stored.label.ravel().tolist())) > 1


@pytest.mark.parametrize("thresholds", [Thresholds(), Thresholds(T_v=6.5, n_v=1), Thresholds(n_v=8, n_t=4, T_t=5.5)])
def test_a_neurons_votes_add_up_to_its_labels(scan: Path, thresholds: Thresholds) -> None:
    store = ScanStore(scan)
    labels = store.labels(thresholds)
    for index in range(store.neurons):
        votes = store.votes(Neuron(1, index), thresholds).tolist()
        assert [votes.count(which) for which in Label] == labels.votes[1, index].tolist()


def test_a_top_sample_is_what_the_arrays_hold(scan: Path) -> None:
    store = ScanStore(scan)
    at = (NEURON.layer, NEURON.index, 1)
    top = store.example(NEURON, 1, Thresholds())
    assert top.sample.index == store.arrays["top_sample"][at]
    assert top.visual.tolist() == store.arrays["top_visual"][(slice(None), *at)].tolist()
    assert top.activation == max(top.visual[0], top.text[0]) == store.scores(NEURON)[1]
    assert top.peak_patch == store.arrays["peak_visual"][at]
    assert top.vote == store.votes(NEURON, Thresholds())[1]


def test_maps_are_scaled_by_the_entrys_own_score(scan: Path) -> None:
    store = ScanStore(scan)
    top = store.example(NEURON, 2, Thresholds())
    assert top.visual_map is not None
    assert top.text_map is not None
    raw = np.asarray(store.arrays["maps_visual"][NEURON.layer, NEURON.index, 2])
    assert top.visual_map.shape == top.grid == (4, 4)
    assert np.allclose(top.visual_map.ravel(), raw.astype(float) / 255 * top.activation)
    assert top.text_map.shape == (len(top.sample.tokens),)


def test_beyond_the_stored_maps_there_is_none(scan: Path) -> None:
    top = ScanStore(scan).example(NEURON, 3, Thresholds())
    assert top.visual_map is None
    assert top.text_map is None


def test_an_entry_without_a_peak_has_none(scan_copy: Path) -> None:
    def no_peak(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
        array[2, 5, 0] = NO_PEAK

    replace_array(scan_copy, "peak_visual", no_peak)
    replace_array(scan_copy, "peak_text", no_peak)
    store = ScanStore(scan_copy)
    top = store.example(NEURON, 0, Thresholds())
    assert top.peak_patch is None
    assert top.peak_token is None
    assert sum(count for _, count in store.peak_tokens(NEURON)) == store.manifest.valid - 1


def test_peak_tokens_are_counted_most_frequent_first(scan: Path) -> None:
    store = ScanStore(scan)
    words = []
    for rank in range(store.manifest.valid):
        top = store.example(NEURON, rank, Thresholds())
        assert top.peak_token is not None
        words.append(top.sample.tokens[top.peak_token].strip())
    found = store.peak_tokens(NEURON)
    assert dict(found) == {word: words.count(word) for word in words}
    assert [count for _, count in found] == sorted((count for _, count in found), reverse=True)


def test_crops_are_the_pictures_that_were_added(scan: Path) -> None:
    store = ScanStore(scan)
    crops = [store.crop(index) for index in range(store.manifest.samples)]
    assert all(crop.startswith(b"\xff\xd8") and crop.endswith(b"\xff\xd9") for crop in crops)
    assert b"".join(crops) == (scan / "crops.bin").read_bytes()


def test_a_scan_opens_from_a_read_only_folder(scan_copy: Path) -> None:
    for path in (*scan_copy.rglob("*"), scan_copy):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert ScanStore(scan_copy).stored_labels().label.shape == (4, 32)
    finally:
        for path in (scan_copy, *scan_copy.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_each_array_is_missed(scan_copy: Path) -> None:
    for name in array_shapes(ScanStore(scan_copy).manifest):
        path = arrays_folder(scan_copy) / f"{name}.npy"
        content = path.read_bytes()
        path.unlink()
        refusal(scan_copy, str(path))
        path.write_bytes(content)
    ScanStore(scan_copy)


def test_a_truncated_array_is_named(scan_copy: Path) -> None:
    path = arrays_folder(scan_copy) / "top_visual.npy"
    path.write_bytes(path.read_bytes()[:-1])
    assert "truncated" in refusal(scan_copy, str(path)).message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400))
def test_an_array_cut_anywhere_near_its_head_is_refused(scan_copy: Path, cut: int) -> None:
    path = arrays_folder(scan_copy) / "votes.npy"
    content = path.read_bytes()
    try:
        path.write_bytes(content[:cut])
        refusal(scan_copy, "votes.npy")
    finally:
        path.write_bytes(content)


def test_pickled_objects_are_not_loaded(scan_copy: Path) -> None:
    path = arrays_folder(scan_copy) / "votes.npy"
    np.save(path, np.array([{"surprise": 1}], dtype=object), allow_pickle=True)
    refusal(scan_copy, str(path))


def test_a_manifest_that_disagrees_with_an_array_is_refused(scan_copy: Path) -> None:
    path = scan_copy / MANIFEST
    content = json.loads(path.read_text())
    content["model"]["neurons"] = 33
    path.write_text(json.dumps(content))
    error = refusal(scan_copy, "top_sample.npy")
    assert "(4, 32, 8)" in error.message
    assert "(4, 33, 8)" in error.message


def test_another_dtype_is_refused(scan_copy: Path) -> None:
    path = arrays_folder(scan_copy) / "maximum.npy"
    np.save(path, np.load(path).astype(np.float64))
    assert "float64" in refusal(scan_copy, str(path)).message


def test_samples_cut_short_are_noticed_on_opening(scan_copy: Path) -> None:
    path = scan_copy / "samples.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    assert "truncated" in refusal(scan_copy, str(path)).message


@pytest.mark.parametrize("name", ["samples.jsonl", "crops.bin", "arrays-1/sample_lines.npy"])
def test_a_missing_file_is_named(scan_copy: Path, name: str) -> None:
    (scan_copy / name).unlink()
    refusal(scan_copy, name)


@pytest.mark.parametrize("line", [b"{", b"[]", b"null", b'{"image": "x"}', b"\xff"])
def test_a_damaged_sample_is_named(scan_copy: Path, line: bytes) -> None:
    path = scan_copy / "samples.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = line.ljust(len(lines[3]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    store = ScanStore(scan_copy)
    store.sample(2)
    with pytest.raises(StoreError, match="sample 3, is"):
        store.sample(3)


def test_crops_cut_short_are_noticed_when_read(scan_copy: Path) -> None:
    path = scan_copy / "crops.bin"
    path.write_bytes(path.read_bytes()[:-10])
    store = ScanStore(scan_copy)
    store.crop(0)
    with pytest.raises(StoreError, match=r"crops\.bin"):
        store.crop(store.manifest.samples - 1)


def test_a_peak_outside_its_description_is_a_damaged_scan(scan_copy: Path) -> None:
    path = scan_copy / ScanStore(scan_copy).manifest.arrays / "peak_text.npy"
    peaks = np.load(path)
    peaks[NEURON.layer, NEURON.index] = 5000
    np.save(path, peaks)
    with pytest.raises(StoreError, match="lacks"):
        ScanStore(scan_copy).peak_tokens(NEURON)


def test_an_example_holds_sample_crop_picture_and_norms(scan: Path) -> None:
    store = ScanStore(scan)
    found = store.example(NEURON, 2)
    assert found.sample == store.sample(int(store.arrays["top_sample"][NEURON.layer, NEURON.index, 2]))
    assert found.read_crop() == store.crop(found.sample.index)
    assert found.maximum == store.maximum[NEURON.layer, NEURON.index]
    assert found.vote == store.example(NEURON, 2, store.manifest.thresholds.value()).vote
    assert (found.sample.picture, found.sample.picture_here) == (Path(found.sample.image), None)
    assert found.visual_map is not None
    assert found.text_map is not None
    for norms, activations in ((found.visual_norms, found.visual_map), (found.text_norms, found.text_map)):
        assert norms is not None
        np.testing.assert_array_equal(norms, norm(activations, found.maximum))
    beyond = store.example(NEURON, 3)
    assert beyond.visual_norms is None
    assert beyond.text_norms is None


def test_a_picture_that_lies_where_the_scan_has_it_is_here(scan_copy: Path) -> None:
    path = scan_copy / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_root": str(scan_copy)}))
    sample = ScanStore(scan_copy).sample(0)
    assert sample.picture_here is None
    sample.picture.parent.mkdir(parents=True, exist_ok=True)
    sample.picture.write_bytes(b"")
    assert sample.picture_here == scan_copy / sample.image


def test_the_label_of_one_neuron_is_that_among_all(scan: Path) -> None:
    store, thresholds = ScanStore(scan), Thresholds(T_v=6.5, n_v=1)
    every, one = store.labels(thresholds), store.labels_of(NEURON, thresholds)
    at = (NEURON.layer, NEURON.index)
    assert one.label.tolist() == [every.label[at]]
    assert one.votes.tolist() == [every.votes[at].tolist()]
    assert one.high_confidence.tolist() == [every.high_confidence[at]]


def test_lines_and_crops_come_through_one_descriptor_each_even_when_another_scan_takes_their_place(
    scan_copy: Path,
) -> None:
    store = ScanStore(scan_copy)
    store.sample(0), store.crop(0)
    lines, crops = (scan_copy / name for name in ("samples.jsonl", "crops.bin"))
    expected = ScanStore(scan_copy)
    samples = [expected.sample(index) for index in range(expected.manifest.samples)]
    pictures = [expected.crop(index) for index in range(expected.manifest.samples)]
    for path in (lines, crops):
        path.unlink()
        path.write_bytes(b"")
    assert [store.sample(index) for index in range(store.manifest.samples)] == samples
    assert [store.crop(index) for index in range(store.manifest.samples)] == pictures


def test_a_store_is_freed_when_nothing_holds_it_any_more(scan: Path) -> None:
    """Its files and maps close then, not when garbage is collected: a screen that follows a scan opens many."""
    store = ScanStore(scan)
    store.example(Neuron(0, 0), 0).read_crop()
    held = weakref.ref(store)
    gc.disable()
    try:
        del store
        assert held() is None
    finally:
        gc.enable()
