"""Addresses: every spelling that the help promises, and none other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron, Numbering, Poles

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


@given(NEURONS, st.sampled_from(SPELLINGS), st.sampled_from(["+", "-"]))
def test_a_pole_ends_any_spelling(neuron: Neuron, spelling: str, pole: str) -> None:
    found = Neuron.parse(spelling.format(neuron.layer, neuron.index).rstrip() + pole)
    assert (found.layer, found.unit, found.pole) == (neuron.layer, neuron.index, pole)
    assert found.sign == {"+": 1, "-": -1}[pole]
    assert found.poled and found.whole == neuron and found.index == 2 * neuron.index + (pole == "-")
    assert Neuron.parse(str(found)) == found and str(found) == f"{neuron}{pole}"


def test_rows_are_neurons_by_a_numbering() -> None:
    one, both = Numbering(2, 4), Numbering(2, 8, Poles.BOTH)
    assert [str(one.of_flat(flat)) for flat in (0, 5)] == ["L0/N0", "L1/N1"]
    assert [str(both.of_flat(flat)) for flat in (0, 1, 15)] == ["L0/N0+", "L0/N0-", "L1/N3-"]
    assert all(numbering.flat(numbering.of_flat(at)) == at for numbering in (one, both) for at in range(8))
    assert (one.units, both.units) == (4, 4)
    assert both.row(Neuron(1, 3)) == both.row(both.at(1, 7)) == both.at(1, 6) and one.row(Neuron(1, 3)) == Neuron(1, 3)
    assert [str(pole) for pole in both.each(Neuron(1, 3))] == ["L1/N3+", "L1/N3-"]
    assert one.each(Neuron(1, 3)) == (Neuron(1, 3),) and both.each(both.at(1, 7)) == (both.at(1, 7),)


@pytest.mark.parametrize(
    ("numbering", "address", "said"),
    [
        (Numbering(2, 4), "L0/N3+", "L0/N3+ names a pole"),
        (Numbering(2, 8, Poles.BOTH), "L0/N3", "L0/N3 has two poles in this scan."),
        (Numbering(2, 8, Poles.BOTH), "L0/N4+", "L0/N4+ lies outside the model: it has 2 layers of 4 neurons."),
        (Numbering(2, 8, Poles.BOTH), "L2/N0-", "L2/N0- lies outside the model"),
    ],
)
def test_an_address_that_a_scan_lacks_is_refused(numbering: Numbering, address: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        numbering.parse(address)
    assert said in caught.value.message and caught.value.hint


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
