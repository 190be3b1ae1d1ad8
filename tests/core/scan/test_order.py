"""The order in which a scan processes its samples."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vlmscope.core.scan.order import scan_order


@given(
    st.dictionaries(st.integers(0, 10_000), st.integers(1, 40), max_size=60), st.integers(1, 9), st.integers(0, 10_000)
)
def test_every_sample_once_in_batches_of_like_length(lengths: dict[int, int], batch: int, later: int) -> None:
    """Descriptions that start at different tokens never share a batch; of each start, like lengths do."""
    starts = {sample: 5 + (sample > later) for sample in lengths}
    both = scan_order({sample: (starts[sample], lengths[sample]) for sample in lengths}, batch)
    assert all(len({starts[sample] for sample in samples}) == 1 for samples in both)
    for start in (5, 6):
        same_start = {sample: length for sample, length in lengths.items() if starts[sample] == start}
        check_same_start([samples for samples in both if starts[samples[0]] == start], same_start, batch)


def check_same_start(order: list[list[int]], lengths: dict[int, int], batch: int) -> None:
    assert Counter(sample for samples in order for sample in samples) == Counter(lengths.keys())
    assert all(len(samples) == batch for samples in order if lengths[samples[-1]] != max(lengths.values()))
    # Side by side in order of length: the intervals of lengths overlap at their ends only.
    spans = sorted((lengths[samples[0]], lengths[samples[-1]]) for samples in order)
    assert all(low <= high for low, high in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_the_order_is_always_the_same_and_mixes_lengths() -> None:
    lengths = {sample: sample // 4 for sample in range(400)}
    shapes = {sample: (5, length) for sample, length in lengths.items()}
    order = scan_order(shapes, 4)
    assert order == scan_order(dict(reversed(list(shapes.items()))), 4)
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
