"""The largest activations of each row, and the place of the first: both implementations against a plain loop."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vlmscope.core.scan.reduction import by_numpy, by_topk, largest

ROWS = [
    [3.0, 1.0, 2.0, 0.5],
    [1.0, 7.0, 7.0, 7.0],  # ties: the first counts
    [-2.0, -1.0, -1.0, -3.0],
    [-math.inf, -math.inf, 0.0, -math.inf],
    [-math.inf] * 4,
    [0.0, -0.0, 0.0, -0.0],
]

Way = Callable[[Tensor, int], tuple[Tensor, Tensor]]


def reference(rows: list[list[float]], keep: int) -> tuple[list[list[float]], list[int]]:
    return [sorted(row, reverse=True)[:keep] for row in rows], [row.index(max(row)) for row in rows]


@pytest.mark.parametrize("keep", [1, 3, 4, 8])
@pytest.mark.parametrize("way", [by_numpy, by_topk])
def test_both_ways_are_the_plain_loop(way: Way, keep: int) -> None:
    top, first = way(torch.tensor(ROWS), keep)
    assert (top.tolist(), first.tolist()) == reference(ROWS, keep)
    assert (top.dtype, first.dtype) == (torch.float32, torch.int32)


@given(st.lists(st.lists(st.floats(-4, 4, width=16), min_size=9, max_size=9), min_size=1, max_size=5))
def test_the_ways_agree(rows: list[list[float]]) -> None:
    assert [part.tolist() for part in by_numpy(torch.tensor(rows), 4)] == list(reference(rows, 4))
    assert [part.tolist() for part in by_topk(torch.tensor(rows), 4)] == list(reference(rows, 4))


def test_what_is_not_there_is_minus_infinity() -> None:
    top, first = largest(torch.tensor(ROWS), 6)
    assert top[:, 4:].isneginf().all() and top.shape == (6, 6)
    assert first.tolist() == [0, 1, 1, 2, -1, 0]


def test_no_rows_are_no_rows() -> None:
    top, first = largest(torch.empty((0, 5)), 4)
    assert (top.shape, first.shape) == ((0, 4), (0,))
