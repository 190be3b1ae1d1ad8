"""Scans whose samples have layouts that are not plain grids, or several."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.layout import WHOLE, VisualLayout
from vlmscope.core.store.layouts import distinct, largest_map, layout_arrays, layout_infos, map_layout
from vlmscope.core.store.manifest import MANIFEST, read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import tiled_layout, write_synthetic_scan

TILED, WIDE, PLAIN = tiled_layout((2, 2), (3, 6)), tiled_layout((3, 4), (6, 8)), VisualLayout.plain(5, 3)
LAYOUTS = (TILED, WIDE, PLAIN)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan whose samples have three layouts in turn, to read only."""
    out = tmp_path_factory.mktemp("mixed") / "scan"
    write_synthetic_scan(out, layers=2, neurons=16, samples=12, top_n=8, maps=3, layouts=LAYOUTS, image=48)
    return out


def test_each_sample_has_its_own_layout(mixed: Path) -> None:
    store = ScanStore(mixed)
    assert [store.layout(index) for index in range(12)] == [*LAYOUTS] * 4
    assert [layout.id for layout in store.manifest.layouts] == sorted(layout.id for layout in LAYOUTS)
    assert store.manifest.visual_tokens_max == len(WIDE) == 60
    assert store.arrays["layout_edges"].shape == (len(TILED) + len(WIDE), 4)
    for index in range(12):
        sample = store.sample(index)
        assert (sample.layout, sample.seen) == (LAYOUTS[index % 3], WHOLE)


def test_an_example_has_the_values_of_its_own_tokens(mixed: Path) -> None:
    store = ScanStore(mixed)
    seen = set()
    for index in range(store.neurons):
        for rank in range(3):
            found = store.example(Neuron(1, index), rank)
            layout = LAYOUTS[found.sample.index % 3]
            seen.add(layout)
            stored = np.asarray(store.arrays["maps_visual"][1, index, rank])
            assert found.visual_values is not None and found.visual_map is not None and found.peak_patch is not None
            assert found.visual_values == pytest.approx(stored[: len(layout)].astype(float) / 255 * found.activation)
            assert found.map_layout == found.sample.layout == layout
            assert found.visual_map.shape == found.grid == layout.grid
            assert np.array_equal(found.visual_map, layout.cells(found.visual_values, *layout.grid))
            assert found.peak_patch < len(layout)
            assert found.peak_place == layout.place(found.peak_patch, *layout.grid)
    assert seen == set(LAYOUTS)


def test_crops_have_the_shape_of_their_grid(mixed: Path) -> None:
    store = ScanStore(mixed)
    assert [Image.open(io.BytesIO(store.crop(index))).size for index in range(3)] == [(48, 24), (48, 36), (28, 48)]


def test_pooled_maps_are_plain_grids(mixed: Path, tmp_path: Path) -> None:
    assert map_layout(TILED, None) == TILED
    assert map_layout(TILED, 2) == VisualLayout.plain(2, 2)
    assert map_layout(TILED, 24) == VisualLayout.plain(3, 6)  # two covers become one
    assert map_layout(PLAIN, 5) == PLAIN
    assert map_layout(PLAIN, 4) == VisualLayout.plain(4, 3)
    assert [largest_map(LAYOUTS, cells) for cells in (None, 4, 2)] == [60, 16, 4]
    assert largest_map([], None) == 0
    store = ScanStore(mixed)
    store.manifest = store.manifest.model_copy(update={"map_cells": 4})
    for rank in range(3):
        found = store.example(Neuron(0, 3), rank)
        layout = LAYOUTS[found.sample.index % 3]
        assert found.visual_values is not None and found.visual_map is not None and found.peak_patch is not None
        assert found.visual_map.shape == found.grid == tuple(min(4, size) for size in layout.grid)
        assert np.array_equal(found.visual_map.ravel(), found.visual_values)  # a plain grid's own
        assert found.peak_place == layout.place(found.peak_patch, *found.grid)


def test_a_skipped_sample_has_none(scan: Path) -> None:
    sample = replace(ScanStore(scan).sample(0), read_layout=None)
    assert sample == ScanStore(scan).sample(0)  # where it is read from does not matter
    with pytest.raises(StoreError, match="Sample 0 has no layout"):
        _ = sample.layout


def test_layouts_that_are_the_same_count_once() -> None:
    again = [VisualLayout(layout.edges.copy(), layout.cover.copy()) for layout in LAYOUTS]
    assert distinct([*LAYOUTS, *again]) == tuple(sorted(LAYOUTS, key=lambda layout: layout.id))


def stored(layouts: Sequence[VisualLayout]) -> tuple[int, int]:
    arrays = layout_arrays(layouts)
    return len(arrays["layout_edges"]), len(arrays["layout_cover"])


def test_only_layouts_that_are_not_plain_are_stored() -> None:
    assert layout_arrays([PLAIN, VisualLayout.plain(24, 24)]) == {}
    assert stored([PLAIN, TILED]) == (22, 22)
    assert [(info.tokens, info.grid, info.plain) for info in layout_infos([PLAIN, TILED])] == [
        (15, (5, 3), True),
        (22, (3, 6), False),
    ]


def test_a_layout_that_a_manifest_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="tokens"):
        layout_infos([VisualLayout(np.tile(TILED.edges[:1], (65535, 1)), np.zeros(65535, np.uint8))])


def test_a_scan_of_one_plain_layout_stores_no_boxes(scan: Path) -> None:
    assert {path.name for path in (scan / read_manifest(scan).arrays).iterdir()} == {
        f"{name}.npy" for name in ScanStore(scan).arrays
    }
    assert "layout_edges" not in ScanStore(scan).arrays
    assert (scan / MANIFEST).exists()
