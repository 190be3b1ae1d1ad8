"""The order of top samples is total, and their merge exact, whatever the split."""

import math
import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.top_samples import EMPTY, Pending, TopMaps, TopSamples, key_sample, merge_pending, order_key

# Few distinct values, so that ties, zeros of both signs and infinities meet.
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
    """Entries whose statistics tell which sample they are from: scores float32 (1, F, E)."""
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


@given(st.integers(1, 4), st.integers(1, 12), st.randoms(use_true_random=False))
def test_maps_are_those_of_the_best(keep: int, samples: int, rng: random.Random) -> None:
    neurons = 4
    values = torch.tensor([[rng.choice([-1.0, 0.0, 0.5, 2.0]) for _ in range(samples)] for _ in range(neurons)])
    maps = TopMaps.empty(1, neurons, keep, 2, 3)
    order = list(range(samples))
    rng.shuffle(order)
    for sample in order:
        some = torch.arange(neurons)
        stamp = torch.full((neurons, 2), sample, dtype=torch.uint8)
        maps.insert(0, some, order_key(values[:, sample], torch.tensor(sample)), stamp, stamp[:, :1] + 1)
    maps.sort()
    for neuron in range(neurons):
        row = values[neuron].tolist()
        best = sorted(range(samples), key=lambda s, row=row: (-row[s], s))[:keep]  # type: ignore[misc]
        filled = len(best)
        assert key_sample(maps.key)[0, neuron, :filled].tolist() == best
        assert maps.visual[0, neuron, :filled, 1].tolist() == best
        assert maps.text[0, neuron, :filled].tolist() == [[s + 1, 0, 0] for s in best]
        assert (maps.key[0, neuron, filled:] == EMPTY).all()


def test_a_shorter_description_clears_the_longer_one_it_replaces() -> None:
    maps = TopMaps.empty(1, 1, 1, 1, 3)
    only = torch.tensor([0])
    visual = torch.ones((1, 1), dtype=torch.uint8)
    maps.insert(0, only, torch.tensor([5]), visual, torch.tensor([[7, 8, 9]], dtype=torch.uint8))
    maps.insert(0, only, torch.tensor([6]), visual, torch.tensor([[1]], dtype=torch.uint8))
    assert maps.text[0, 0, 0].tolist() == [1, 0, 0]
    maps.insert(0, only, torch.tensor([4]), visual, torch.tensor([[2]], dtype=torch.uint8))
    assert np.array_equal(maps.text[0, 0, 0].numpy(), [1, 0, 0])
