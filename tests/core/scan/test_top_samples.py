"""The order of top samples is total, and their merge exact, whatever the split."""

import math
import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmscope.core.scan.top_samples import EMPTY, Pending, TopMaps, TopSamples, key_sample, merge_pending, order_key

# Few distinct values, so that ties, zeros of both signs and infinities occur together.
SCORES = st.sampled_from([-math.inf, -2.5, -1.0, -1e-45, -0.0, 0.0, 1e-45, 0.5, 1.0, 1.0000001, 3e38, math.inf])
PAIRS = st.lists(st.tuples(SCORES, st.integers(0, 2**32 - 1)), min_size=1, max_size=30, unique_by=lambda p: p[1])


@given(PAIRS)
def test_keys_sort_as_score_then_sample(pairs: list[tuple[float, int]]) -> None:
    scores = torch.tensor([p[0] for p in pairs], dtype=torch.float32)
    samples = torch.tensor([p[1] for p in pairs])
    keys = order_key(scores, samples)
    values = scores.tolist()  # as float32 has them
    obvious = sorted(range(len(pairs)), key=lambda i: (-values[i], pairs[i][1]))
    assert keys.argsort(descending=True).tolist() == obvious
    assert key_sample(keys).tolist() == samples.tolist()
    assert (keys > EMPTY).all()
    assert key_sample(torch.tensor([EMPTY])).tolist() == [-1]


def pending_of(scores: torch.Tensor, samples: list[int]) -> Pending:
    """Entries whose statistics identify their sample: scores float32 (1, F, E)."""
    out = Pending.empty(1, len(samples), scores.shape[1])
    index = torch.tensor(samples)
    out.key[:] = order_key(scores, index).transpose(1, 2)
    out.visual[:, :, 0] = scores.transpose(1, 2)
    out.text[:, :, 0] = index.float()[:, None]
    out.peak[:, :, 0] = index.int()[:, None]
    return out


@given(
    st.integers(1, 12),
    st.integers(1, 8),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_any_split_merged_in_any_order_gives_the_same(samples: int, keep: int, parts: int, rng: random.Random) -> None:
    values = torch.tensor([[rng.choice([-1.0, 0.0, 0.5, 2.0]) for _ in range(samples)] for _ in range(3)])
    split: list[list[int]] = [[] for _ in range(parts)]
    for sample in range(samples):
        rng.choice(split).append(sample)
    rng.shuffle(split)
    found = TopSamples.empty(1, 3, keep)
    for part in split:
        merge_pending(found, pending_of(values[None][:, :, part], part), len(part))
    for neuron in range(3):
        row = values[neuron].tolist()
        best = sorted(range(samples), key=lambda s, row=row: (-row[s], s))[:keep]  # type: ignore[misc]
        expected = best + [-1] * (keep - len(best))
        assert key_sample(found.key)[0, neuron].tolist() == expected
        for place, sample in enumerate(expected):
            if sample >= 0:
                assert found.visual[0, neuron, place, 0] == row[sample]
                assert found.text[0, neuron, place, 0] == sample
                assert found.peak[0, neuron, place, 0] == sample
            else:
                assert torch.isneginf(found.visual[0, neuron, place]).all()
                assert (found.peak[0, neuron, place] == -1).all()


def test_maps_are_sorted_with_their_keys() -> None:
    maps = TopMaps.empty(1, 2, 3, 2, 1)
    maps.key[0] = torch.tensor([[5, 9, 7], [1, EMPTY, 2]])
    maps.visual[0] = torch.tensor([[[5, 5], [9, 9], [7, 7]], [[1, 1], [0, 0], [2, 2]]])
    maps.text[0] = maps.visual[0, :, :, :1] + 1
    maps.sort()
    assert maps.key[0].tolist() == [[9, 7, 5], [2, 1, EMPTY]]
    assert maps.visual[0, :, :, 1].tolist() == [[9, 7, 5], [2, 1, 0]]
    assert maps.text[0, :, :, 0].tolist() == [[10, 8, 6], [3, 2, 1]]


def test_maps_return_to_the_last_snapshot() -> None:
    maps = TopMaps.empty(1, 1, 1, 2, 1)
    for number in (1, 2):
        maps.key[:] = number
        maps.visual[:] = number
        maps.snapshot()
    maps.key[:], maps.visual[:], maps.text[:] = 3, 3, 3
    maps.restore()
    assert (maps.key.tolist(), maps.visual.tolist(), maps.text.tolist()) == ([[[2]]], [[[[2, 2]]]], [[[[0]]]])
