"""The order in which a scan processes its samples."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vlmscope.core.scan.order import scan_order


@given(st.dictionaries(st.integers(0, 10_000), st.integers(1, 40), max_size=60), st.integers(1, 9))
def test_every_sample_once_in_batches_of_like_length(lengths: dict[int, int], batch: int) -> None:
    order = scan_order(lengths, batch)
    assert Counter(sample for samples in order for sample in samples) == Counter(lengths.keys())
    assert all(len(samples) == batch for samples in order if lengths[samples[-1]] != max(lengths.values()))
    # Side by side in order of length: the intervals of lengths overlap at their ends only.
    spans = sorted((lengths[samples[0]], lengths[samples[-1]]) for samples in order)
    assert all(low <= high for low, high in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_the_order_is_always_the_same_and_mixes_lengths() -> None:
    lengths = {sample: sample // 4 for sample in range(400)}
    order = scan_order(lengths, 4)
    assert order == scan_order(dict(reversed(list(lengths.items()))), 4)
    assert [samples[0] // 4 for samples in order[:6]] == [
        72,
        45,
        21,
        17,
        40,
        73,
    ]  # for good: what is resumed relies on it
    firsts = [lengths[samples[0]] for samples in order]
    assert sum(a < b for a, b in pairwise(firsts)) in range(35, 65)


def test_no_samples_no_batches() -> None:
    assert scan_order({}, 8) == []
