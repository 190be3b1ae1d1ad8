"""Batches of samples with different layouts, reduced on the CPU and by kernels, against all activations at once."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.core.scan.test_kernels import RUNS, interpreted  # noqa: F401  # a fixture
from tests.support.sizes import manifest_of
from vlmscope.core.method.bfloat16 import encoded
from vlmscope.core.method.distribution import BINS, EDGES
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.method.packed import unpacked
from vlmscope.core.model.vlm import Encoded
from vlmscope.core.scan.positions import Positions, map_slots
from vlmscope.core.scan.reduction import Batch, BatchReduction
from vlmscope.core.scan.state import ScanState
from vlmscope.core.store.arrays import NO_PEAK
from vlmscope.core.store.layouts import largest_map, map_layout
from vlmscope.core.store.manifest import Manifest, SmallMaps
from vlmscope.core.store.panel import draw_panel
from vlmscope.core.store.synthetic import tiled_layout

LAYERS, NEURONS, SAMPLES, TOP, MAPS = 2, 40, 14, 6, 3
SMALL, SMALL_WORDS = 5, 4
LAYOUTS = (tiled_layout((2, 2), (3, 4)), VisualLayout.plain(2, 3), tiled_layout((1, 2), (5, 3)))


def made_sample(rng: np.random.Generator, index: int) -> Encoded:
    """A sequence whose visual tokens have template and text among them, in numbers that differ."""
    layout = LAYOUTS[index % 3]
    words = int(rng.integers(1, 7))
    before = np.sort(rng.permutation(len(layout) + 5)[: len(layout)])  # template tokens in the gaps
    start = len(layout) + 5
    length = start + words + index % 2  # every other one ends with a template token
    text = slice(start, start + words)
    return Encoded("", "", torch.zeros(length, dtype=torch.int64), before, text, ("w",) * words, layout)


@pytest.fixture(scope="module")
def samples() -> list[tuple[Encoded, NDArray[np.float32]]]:
    """Each sample with the activations of its tokens, float32 (L, T, F)."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(SAMPLES):
        one = made_sample(rng, index)
        a = rng.standard_normal((LAYERS, len(one.input_ids), NEURONS)).astype(np.float32)
        a[..., ::3] = a[..., ::3].round()  # ties
        a[..., 1] = -np.abs(a[..., 1])
        made.append((one, a))
    return made


def manifest(cells: int | None) -> Manifest:
    sizes = {
        "model": manifest_of(np.zeros((LAYERS, NEURONS, 1), np.int32), SAMPLES, ()).model,
        "top_n": TOP,
        "maps": MAPS,
        "visual_tokens_max": largest_map(LAYOUTS, cells),
        "text_tokens_max": 6,
        "map_cells": cells,
        "panel": 6,
        "small": SmallMaps(samples=SMALL, cells=2, values=largest_map(LAYOUTS, 2), words=SMALL_WORDS),
    }
    return manifest_of(np.zeros((LAYERS, NEURONS, 1), np.int32), SAMPLES, ()).model_copy(update=sizes)


def padded(sequences: list[NDArray[np.float32]]) -> Tensor:
    """(B, T, F), right-padded with what no reduction may count."""
    longest = max(map(len, sequences))
    out = np.full((len(sequences), longest, NEURONS), np.inf, dtype=np.float32)
    for row, sequence in zip(out, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(out)


def reduced(
    samples: list[tuple[Encoded, NDArray[np.float32]]], size: int, fused: bool, cells: int | None
) -> tuple[Manifest, dict[str, NDArray[np.generic]], ScanState]:
    whole = manifest(cells)
    state = ScanState(whole, pending=5)
    for start in range(0, SAMPLES, size):
        batch = samples[start : start + size]
        indices = torch.arange(start, start + len(batch))
        reduction = BatchReduction(state, Batch(indices, tuple(one for one, _ in batch)), fused)
        for layer, hook in reduction.hooks().items():
            hook(padded([a[layer] for _, a in batch]))
        assert not reduction.non_finite()
        reduction.commit()
    counted = {"visual_tokens": state.totals.tokens[0], "text_tokens": state.totals.tokens[1]}
    return whole, state.arrays(whole.model_copy(update=counted)), state


def expected_neuron(
    samples: list[tuple[Encoded, NDArray[np.float32]]], layer: int, neuron: int, cells: int | None
) -> tuple[list[int], list[tuple[list[float], list[float], int, int, NDArray[np.float32], NDArray[np.float32]]]]:
    """Indices of the top samples, and of every sample order statistics, peaks and maps."""
    every = []
    for one, a in samples:
        patches, words = a[layer, one.visual, neuron], a[layer, one.text, neuron]
        pooled = one.layout.cells(patches.clip(0), *map_layout(one.layout, cells).grid).ravel()
        values = patches.clip(0) if map_layout(one.layout, cells) is one.layout else pooled
        visual = (sorted(patches.tolist(), reverse=True) + [-np.inf] * VISUAL_KEPT)[:VISUAL_KEPT]
        text = (sorted(words.tolist(), reverse=True) + [-np.inf] * TEXT_KEPT)[:TEXT_KEPT]
        every.append((visual, text, int(patches.argmax()), int(words.argmax()), values, words.clip(0)))
    ranked = sorted(range(SAMPLES), key=lambda index: (-max(every[index][0][0], every[index][1][0]), index))
    return ranked[:TOP], every


WAYS = [(size, False, cells) for size in (1, 3, 5) for cells in (None, 2, 3)]
#: The interpreter is slow: two of them.
KERNELS = [(3, True, None), (5, True, 2)] if RUNS else []


@pytest.mark.parametrize(("size", "fused", "cells"), WAYS + KERNELS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.usefixtures("interpreted")
def test_samples_of_different_layouts(
    samples: list[tuple[Encoded, NDArray[np.float32]]], size: int, fused: bool, cells: int | None
) -> None:
    _, found, state = reduced(samples, size, fused, cells)
    assert state.totals.tokens == [
        sum(len(one.visual) for one, _ in samples),
        sum(len(one.tokens) for one, _ in samples),
    ]
    for column, index in enumerate(draw_panel("", SAMPLES, 6)):
        one, a = samples[index]
        for name, places in (("panel_visual", one.visual), ("panel_text", one.text)):
            assert np.array_equal(found[name][..., column], encoded(a[:, places].max(axis=1)))
    for layer in range(LAYERS):
        whole = np.concatenate([a[layer] for _, a in samples])
        assert np.array_equal(found["maximum"][layer], whole.max(axis=0))
        for kind in (0, 1):
            parts = [a[layer, (one.visual, one.text)[kind]] for one, a in samples]
            tokens = np.concatenate(parts).astype(np.float64)
            assert np.allclose(found["sums"][kind, 0, layer], tokens.sum(axis=0), rtol=1e-5, atol=1e-4)
            assert np.allclose(found["sums"][kind, 1, layer], np.square(tokens).sum(axis=0), rtol=1e-5)
            bins = np.where(tokens > 2.0**-126, np.searchsorted(EDGES, tokens, side="right"), 0)
            counted = [np.bincount(bins[:, f], minlength=BINS) for f in range(NEURONS)]
            assert np.array_equal(found["histogram"][kind, layer], counted)
        for neuron in range(NEURONS):
            top, every = expected_neuron(samples, layer, neuron, cells)
            assert found["top_sample"][layer, neuron].tolist() == top
            for rank, index in enumerate(top):
                visual, text, patch, word, values, words = every[index]
                at = (layer, neuron, rank)
                assert found["top_visual"][(slice(None), *at)].tolist() == visual
                assert found["top_text"][(slice(None), *at)].tolist() == text
                assert (found["peak_visual"][at], found["peak_text"][at]) == (patch, word) != (NO_PEAK, NO_PEAK)
                if rank < MAPS:
                    score = max(visual[0], text[0])
                    for name, true in (("maps_visual", values), ("maps_text", words)):
                        stored = np.asarray(found[name][at], dtype=float)
                        assert not stored[len(true) :].any()
                        shades = true / score * 255 if score > 0 else np.zeros(len(true))
                        assert np.abs(stored[: len(true)] - shades).max() <= 0.51
                if rank < SMALL:
                    check_small(found, at, samples[index], max(visual[0], text[0]))


def check_small(
    found: dict[str, NDArray[np.generic]],
    at: tuple[int, int, int],
    sample: tuple[Encoded, NDArray[np.float32]],
    score: float,
) -> None:
    """The small maps of one entry, against the activations of its sample."""
    one, a = sample
    a = a[at[0], :, at[1]].clip(0)
    pooled = one.layout.cells(a[one.visual], *map_layout(one.layout, 2).grid).ravel()
    for name, true in (("small_visual", pooled), ("small_text", a[one.text][:SMALL_WORDS])):
        levels = unpacked(np.asarray(found[name][at], dtype=np.uint8), 4).astype(float)
        assert not levels[len(true) :].any()
        # Rounded twice, to 255 and to 15 steps.
        assert np.abs(levels[: len(true)] - (true / score * 15 if score > 0 else 0)).max() <= 0.5 + 0.5 / 17 + 0.01


def test_positions_are_lists_of_each_kind() -> None:
    visual, text = [np.array([1, 2, 5]), np.array([0])], [np.array([4, 7]), np.array([1, 2, 3])]
    found = Positions.of(visual, text, [9, 4], [None, None], 4)
    assert found.order[0, :9].tolist() == [1, 2, 5, 4, 7, 0, 3, 6, 8]
    assert found.order[1, :4].tolist() == [0, 1, 2, 3]
    assert found.ends.tolist() == [[3, 5, 9], [1, 4, 4]]
    assert found.cells.tolist() == [[[1, 2, 5, -1]], [[0, -1, -1, -1]]]
    assert found.visual[1] == slice(0, 1) and found.text[1] == slice(1, 4)
    assert isinstance(found.visual[0], Tensor) and found.visual[0].tolist() == [1, 2, 5]
    assert found.template[0] == (slice(0, 1), slice(3, 4), slice(6, 7), slice(8, 9)) and found.template[1] == ()
    many = Positions.of([np.arange(1, 20, 2)], [np.array([20])], [21], [None], 10)
    (rest,) = many.template[0]  # more than a few runs are one tensor
    assert isinstance(rest, Tensor) and rest.tolist() == list(range(0, 20, 2))


def test_slots_of_pooled_maps() -> None:
    plain = VisualLayout.plain(2, 3)
    assert map_slots(plain, None) is None and map_slots(plain, 3) is None
    slots = map_slots(plain, 2)
    assert slots is not None and slots.shape[1] == 4
    tokens, at = plain.pairs(2, 2)
    found = {(int(token), cell) for cell in range(4) for token in slots[:, cell] if token >= 0}
    assert found == set(zip(tokens.tolist(), at.tolist(), strict=True))
