"""Addresses: every spelling that the help promises, and none other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron

NEURONS = st.builds(Neuron, st.integers(0, 999_999), st.integers(0, 999_999_999))
SPELLINGS = (
    "L{0}/N{1}",
    "{0}:{1}",
    "L{0} {1}",
    "{0}.{1}",
    "l{0}/n{1}",
    "{0}/{1}",
    " L{0} / N{1} ",
    "L{0}:N{1}",
    "{0}  {1}",
)


@given(NEURONS, st.sampled_from(SPELLINGS))
def test_every_spelling_is_read(neuron: Neuron, spelling: str) -> None:
    assert Neuron.parse(spelling.format(neuron.layer, neuron.index)) == neuron


@given(NEURONS)
def test_what_is_written_is_read_back(neuron: Neuron) -> None:
    assert Neuron.parse(str(neuron)) == neuron


@pytest.mark.parametrize(
    "text", ["", "L3", "L3/", "/N3", "L3N17", "L-1/N3", "L1.5/N3", "L3/N17x", "train", "3:4:5", "L3/N1e3"]
)
def test_anything_else_is_wrong_use_and_named(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Neuron.parse(text)
    assert repr(text) in caught.value.message
    assert "L27/N3900" in caught.value.hint
    assert caught.value.exit_code == 2


@given(st.text())
def test_any_text_is_an_address_or_wrong_use(text: str) -> None:
    try:
        neuron = Neuron.parse(text)
    except UsageError:
        return
    assert neuron.layer >= 0
    assert neuron.index >= 0


def test_neurons_are_ordered_by_layer_then_index() -> None:
    assert sorted([Neuron(1, 0), Neuron(0, 9), Neuron(0, 10)]) == [Neuron(0, 9), Neuron(0, 10), Neuron(1, 0)]


def test_the_last_neuron_is_within_the_model() -> None:
    assert Neuron(5, 767).check_within(6, 768) == Neuron(5, 767)


@pytest.mark.parametrize("neuron", [Neuron(6, 0), Neuron(0, 768)])
def test_an_address_outside_the_model_names_its_size(neuron: Neuron) -> None:
    with pytest.raises(UsageError) as caught:
        neuron.check_within(6, 768)
    assert str(neuron) in caught.value.message
    assert "from 0 to 5" in caught.value.hint
    assert "from 0 to 767" in caught.value.hint
