"""Small maps: 16 levels, two to a byte."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vlmscope.core.method.packed import packed, packed_size, unpacked


@given(st.lists(st.integers(0, 255), max_size=9))
def test_values_come_back_within_half_a_level(values: list[int]) -> None:
    given_ = np.array(values, dtype=np.uint8)
    levels = packed(given_)
    assert levels.shape == (packed_size(len(values)),) and levels.dtype == np.uint8
    found = unpacked(levels, len(values)).astype(int) * 17
    assert np.abs(found - given_).max(initial=0) <= 8
    assert not unpacked(levels, 2 * len(levels))[len(values) :].any()


def test_nothing_and_the_score_itself_are_exact_and_the_order_stays() -> None:
    every = np.arange(256, dtype=np.uint8)
    levels = unpacked(packed(every), 256)
    assert levels[0] == 0 and levels[255] == 15
    assert (np.diff(levels.astype(int)) >= 0).all() and set(levels.tolist()) == set(range(16))
    assert packed(np.array([[17, 34], [0, 255]], dtype=np.uint8)).tolist() == [[0x21], [0xF0]]
