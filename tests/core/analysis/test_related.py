"""Related neurons against sets, and what is said where there are none."""

from pathlib import Path

import numpy as np
import pytest

from tests.tui.commands.test_search import WORDS, put
from vlmscope.core.analysis.coactivation import correlation
from vlmscope.core.analysis.related import coactive, related
from vlmscope.core.base.errors import StoreError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> ScanStore:
    """A scan of 300 samples, of which each neuron has ten; a neuron of one layer is a copy of that of the other."""
    folder = tmp_path_factory.mktemp("wide") / "scan"
    write_synthetic_scan(folder, layers=2, neurons=200, samples=300, top_n=10, maps=1, grid=(3, 4), image=8)
    return ScanStore(folder)


def test_shared_top_samples_are_counted_as_sets_do(wide: ScanStore) -> None:
    labels = wide.stored_labels()
    tops = {Neuron(*at): wide.top_samples(Neuron(*at)) for at in np.ndindex(2, 200)}
    for neuron in (Neuron(0, 0), Neuron(1, 199), Neuron(1, 77)):
        counts = {other: len(set(tops[neuron]) & set(top)) for other, top in tops.items() if other != neuron}
        expected = sorted((-count, other) for other, count in counts.items() if count >= 3)
        found = related(wide, neuron, labels, limit=1000)
        assert [(-one.shared, one.neuron) for one in found.found] == expected
        assert found.total == len(expected) and found.most == 10
        assert found.by_chance == pytest.approx(10 * 10 / 300) and found.least == 3
        for one in found.found:
            assert one.samples == tuple(sample for sample in tops[neuron] if sample in tops[one.neuron])
            assert one.label == labels.of(one.neuron)


def test_a_copy_is_first_and_shares_all(wide: ScanStore) -> None:
    found = related(wide, Neuron(0, 5), wide.stored_labels(), limit=1)
    assert len(found.found) == 1
    assert (found.found[0].neuron, found.found[0].shared) == (Neuron(1, 5), 10)
    assert found.summary.endswith("share 3 or more of its 10 top samples; by chance 0.3")


def test_of_few_samples_no_neuron_is_like_another(scan: Path) -> None:
    store = ScanStore(scan)
    found = related(store, Neuron(0, 0), store.stored_labels())
    assert found.found == () and found.total == 0
    assert found.summary.startswith("No neuron is like it: of so few samples any two neurons share 5.3 of 8")


def test_places_without_a_sample_are_not_shared(tmp_path: Path) -> None:
    write_synthetic_scan(tmp_path / "s", layers=2, neurons=4, samples=3, top_n=8, maps=1, grid=(2, 2), image=8)
    store = ScanStore(tmp_path / "s")
    assert related(store, Neuron(0, 0), store.stored_labels()).most == 3


def test_label_and_leading_concept_are_given(scan_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmscope.core.analysis.related.TIMES_CHANCE", 1)
    put(scan_copy)
    store = ScanStore(scan_copy)
    labels = store.stored_labels()
    found = related(store, Neuron(0, 2), labels, limit=1000).found
    assert len(found) > 20 and {one.concept for one in found} == {"", "boat", "cat", "dog", "train"}
    for one in found:
        assert one.concept == ("" if one.neuron.index % 8 == 0 else WORDS[one.neuron.index % 4])
        assert one.high_confidence == labels.high_confidence[one.neuron.layer, one.neuron.index]


def test_a_sample_outside_the_scan_is_damage(wide: ScanStore) -> None:
    store = ScanStore(wide.folder)
    top = np.array(store.arrays["top_sample"])
    top[1, 3, 2] = 300 + 1
    store.arrays["top_sample"] = top
    with pytest.raises(StoreError, match="a top sample is not a sample of it"):
        related(store, Neuron(0, 0), store.stored_labels())


def test_a_neuron_outside_the_model_is_refused(wide: ScanStore) -> None:
    with pytest.raises(UsageError, match="outside the model"):
        related(wide, Neuron(2, 0), wide.stored_labels())


@pytest.fixture(scope="module")
def with_panel(tmp_path_factory: pytest.TempPathFactory) -> ScanStore:
    folder = tmp_path_factory.mktemp("panel") / "scan"
    write_synthetic_scan(folder, layers=2, neurons=100, samples=300, top_n=10, maps=1, grid=(3, 4), image=8, panel=80)
    text = np.load(folder / "arrays-1" / "panel_text.npy")
    text[1, 7], text[1, 8] = text[0, 3], text[0, 3]
    visual = np.load(folder / "arrays-1" / "panel_visual.npy")
    visual[1, 7], visual[1, 8] = visual[0, 3], visual[0, 3]
    np.save(folder / "arrays-1" / "panel_text.npy", text)
    np.save(folder / "arrays-1" / "panel_visual.npy", visual)
    return ScanStore(folder)


def test_shared_samples_have_the_correlation_beside(with_panel: ScanStore, wide: ScanStore) -> None:
    panel, neuron = with_panel.panel_for("It"), Neuron(0, 5)
    found = related(with_panel, neuron, with_panel.stored_labels())
    assert found.found and found.found[0].neuron == Neuron(1, 5)
    for one in found.found:
        assert one.correlation == correlation(with_panel, panel, neuron, one.neuron)
        assert one.correlation is not None
    assert related(wide, neuron, wide.stored_labels()).found[0].correlation is None


def test_coactive_neurons_are_the_most_correlated(with_panel: ScanStore) -> None:
    panel, neuron = with_panel.panel_for("It"), Neuron(0, 3)
    found = coactive(with_panel, panel, neuron, with_panel.stored_labels(), limit=8)
    assert [one.neuron for one in found.found[:2]] == [Neuron(1, 7), Neuron(1, 8)]
    assert [one.correlation for one in found.found[:2]] == [pytest.approx(1), pytest.approx(1)]
    everyone = {Neuron(*at): correlation(with_panel, panel, neuron, Neuron(*at)) for at in np.ndindex(2, 100)}
    best = sorted((r for one, r in everyone.items() if r is not None and one != neuron), reverse=True)
    assert [one.correlation for one in found.found] == [pytest.approx(r) for r in best[:8]]
    assert neuron not in {one.neuron for one in found.found}
    own = set(with_panel.top_samples(neuron))
    assert found.samples == len(set(panel.samples.tolist()) - own) and found.total == len(best) == 199
    for one in found.found:
        assert set(one.samples) == own & set(with_panel.top_samples(one.neuron))
    assert 0.25 < found.by_chance < 0.35  # of 199, over some 77 samples: 2.57 standard deviations
    assert "over 7" in found.summary and "would be about 0." in found.summary


def test_of_too_small_a_panel_no_neuron_is_coactive(tmp_path: Path) -> None:
    write_synthetic_scan(tmp_path / "s", layers=1, neurons=4, samples=30, top_n=4, grid=(2, 2), image=8, panel=6)
    store = ScanStore(tmp_path / "s")
    found = coactive(store, store.panel_for("It"), Neuron(0, 0), store.stored_labels())
    assert found.found == () and found.summary.startswith("No neuron has a correlation with L0/N0")
