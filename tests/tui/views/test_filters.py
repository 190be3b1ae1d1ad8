"""A filter as a line: read, written, and explained where it cannot be read."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmscope.core.analysis.preference import Preference
from vlmscope.core.base.errors import UsageError
from vlmscope.core.method.labels import Label
from vlmscope.tui.views.filters import Decided, Filter, read_filter
from vlmscope.tui.views.ranges import COMPARISONS, Range, Value

WORDS = st.text(min_size=1, max_size=8).filter(lambda text: text.split() == [text])
PHRASES = st.text(min_size=1, max_size=8).filter(lambda text: text.strip() == text)
FILTERS = st.builds(
    Filter,
    label=st.sampled_from([None, *Label]),
    high_confidence=st.booleans(),
    all_layers=st.just(True),
    verdict=st.sampled_from([None, *Decided]),
    scored=st.booleans(),
    words=st.lists(WORDS | st.sampled_from(["visual", "keep", "L3", "here", "max>3", "tag:x"])).map(" ".join),
    tags=st.lists(PHRASES, max_size=2).map(tuple),
    notes=st.lists(PHRASES, max_size=2).map(tuple),
    ranges=st.lists(
        st.builds(
            Range,
            st.sampled_from(Value),
            st.sampled_from(COMPARISONS),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        max_size=2,
    ).map(tuple),
    preference=st.sampled_from([None, *Preference]),
)


@given(FILTERS, st.sampled_from([None, (0, 0), (3, 7)]), st.booleans())
def test_a_filter_is_read_from_its_own_line(filter_: Filter, layers: tuple[int, int] | None, whole: bool) -> None:
    one = replace(filter_, layers=layers, all_layers=whole and layers is None)
    assert read_filter(one.line) == one


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("purty>.5", "'purty' is not a number of a neuron", "Did you mean purity?"),
        ("max>much", "max> needs a number", "max>0.5"),
        ("tag:", "names nothing", "tag:check"),
        ("prefers:txt", "not a modality preference", "Did you mean prefers:text?"),
        ("L7-3", "Layer 7 comes after 3", "L3-7"),
    ],
)
def test_a_term_that_cannot_be_read_is_explained(line: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_filter(f"train {line}")
    assert message in caught.value.message
    assert hint in caught.value.hint
