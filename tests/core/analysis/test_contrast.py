"""Contrasts against sets, pairs and plain means, on a scan with planted differences."""

from pathlib import Path

import numpy as np
import pytest

from vlmscope.core.analysis.contrast import Answer, Contrast, contrast
from vlmscope.core.analysis.groups import Group, Members, two_groups
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.bfloat16 import encoded
from vlmscope.core.method.hypergeometric import enrichment_p
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan

SHAPE = (2, 60)
GROUP = np.arange(120) % 4 == 0  #: 30 of 120 samples
HIGH, LOW, SILENT = Neuron(1, 7), Neuron(0, 9), Neuron(0, 3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ScanStore:
    """HIGH has larger activations on the group, LOW smaller ones; their top samples are planted to match."""
    out = tmp_path_factory.mktemp("scan") / "scan"
    write_synthetic_scan(out, layers=2, neurons=60, samples=120, top_n=20, maps=1, grid=(2, 2), image=8, panel=80)
    arrays, rng = out / "arrays-1", np.random.default_rng(0)
    visual, text, top = (np.load(arrays / f"{name}.npy") for name in ("panel_visual", "panel_text", "top_sample"))
    drawn = np.load(arrays / "panel_sample.npy")
    for neuron, sign in ((HIGH, 1), (LOW, -1)):
        at = (neuron.layer, neuron.index)
        values = rng.random(80) / 2 + np.where(GROUP[drawn], 0.6 + sign * 0.5, 0.6)
        visual[at] = encoded(values.astype(np.float32))
        text[at] = encoded(np.full(80, -1, dtype=np.float32))
        top[at] = np.flatnonzero(GROUP if sign > 0 else ~GROUP)[:20]
    visual[SILENT.layer, SILENT.index] = text[SILENT.layer, SILENT.index] = encoded(np.full(80, -1, dtype=np.float32))
    for name, array in (("panel_visual", visual), ("panel_text", text), ("top_sample", top)):
        np.save(arrays / f"{name}.npy", array)
    return ScanStore(out)


def both(store: ScanStore, by: Answer, a: Members = GROUP, b: Members | None = None) -> Contrast:
    return contrast(store, a, ~a if b is None else b, by, 120)


@pytest.mark.parametrize("by", Answer)
def test_planted_neurons_lead(store: ScanStore, by: Answer) -> None:
    found = both(store, by)
    assert {one.neuron for one in found.ranked[:2]} == {HIGH, LOW}
    high = next(one for one in found.ranked if one.neuron == HIGH)
    assert high.top.of_a == high.top.samples == 20 and high.top.by_chance == 5
    assert high.panel is not None and high.panel.auc > 0.95 and high.panel.difference > 0
    low = next(one for one in found.ranked if one.neuron == LOW)
    assert low.top.of_a == 0 and low.top.odds_ratio < 0.1
    assert low.panel is not None and low.panel.auc < 0.05 and low.panel.difference < 0
    assert found.enriched == 1 and found.depleted == 0 and found.different >= 2  # 0 of 20 is not rare
    assert found.samples == (30, 90) and found.neurons == found.looked_at == 120


@pytest.mark.parametrize("rest", [True, False])
def test_every_number_is_that_of_plain_counting(store: ScanStore, rest: bool) -> None:
    a = GROUP
    b = ~a if rest else np.arange(120) % 4 == 1
    panel = store.panel_for("A test")
    found = both(store, Answer.TOP, a, b)
    assert sorted(one.neuron for one in found.ranked) == sorted(Neuron(*at) for at in np.ndindex(SHAPE))
    ps, panel_ps = {}, {}
    for one in found.ranked:
        top = store.top_samples(one.neuron)
        of_a, drawn = sum(bool(a[s]) for s in top), sum(bool(a[s] or b[s]) for s in top)
        assert (one.top.of_a, one.top.samples) == (of_a, drawn)
        assert one.top.by_chance == pytest.approx(drawn * a.sum() / (a.sum() + b.sum()))
        assert one.top.p == enrichment_p(int(a.sum()), int(b.sum()), drawn)[of_a]
        ps[one.neuron] = one.top.p
        values = panel.largest((one.neuron.layer, one.neuron.index)).clip(0).astype(np.float64)
        values *= 10 / store.maximum[one.neuron.layer, one.neuron.index]
        first, second = values[a[panel.samples]], values[b[panel.samples]]
        assert one.panel is not None and found.in_panel == (len(first), len(second))
        assert one.panel.mean_a == pytest.approx(first.mean(), rel=1e-5)
        assert one.panel.mean_b == pytest.approx(second.mean(), rel=1e-5)
        pairs = [(x > y) + (x == y) / 2 for x in first.tolist() for y in second.tolist()]
        assert one.panel.auc == pytest.approx(np.mean(pairs))
        assert one.panel.interval[0] <= one.panel.auc <= one.panel.interval[1]
        within = (first.var() * len(first) + second.var() * len(second)) / (len(first) + len(second) - 2)
        if one.neuron == SILENT:
            assert one.panel.effect == 0 and one.panel.p == 1
        else:
            assert one.panel.effect == pytest.approx((first.mean() - second.mean()) / within**0.5, rel=1e-3, abs=1e-5)
        panel_ps[one.neuron] = one.panel.p
    for tests, of in ((ps, "top"), (panel_ps, "panel")):
        ordered = sorted(tests.values())
        for one in found.ranked:
            p = tests[one.neuron]
            rates = [value * 120 / (i + 1) for i, value in enumerate(ordered) if value >= p]
            assert getattr(one, of).q == pytest.approx(min([1.0, *rates]))
    effects = [abs(np.log(one.top.odds_ratio)) for one in found.ranked]
    assert effects == pytest.approx(sorted(effects, reverse=True), rel=1e-12)


def test_exact_numbers_only_for_the_leading_neurons(store: ScanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = both(store, Answer.PANEL)
    monkeypatch.setattr("vlmscope.core.analysis.contrast.LEADING", 10)
    found = contrast(store, GROUP, ~GROUP, Answer.PANEL, 5)
    assert found.looked_at == 10 and {one.neuron for one in found.ranked[:2]} == {HIGH, LOW}
    exact = {one.neuron: one.panel for one in whole.ranked}
    for one in found.ranked:
        own = exact[one.neuron]
        assert one.panel is not None and own is not None
        assert (one.panel.auc, one.panel.p) == (own.auc, own.p) and one.panel.q >= own.q  # never too small


def test_a_group_outside_the_panel_leaves_enrichment(store: ScanStore) -> None:
    panel = store.panel_for("A test")
    outside = np.ones(120, dtype=np.bool_)
    outside[panel.samples] = False
    found = contrast(store, outside, ~outside, Answer.TOP, 5)
    assert found.in_panel == (0, 80) and not found.has_panel and found.looked_at == 0
    assert all(one.panel is None for one in found.ranked)
    with pytest.raises(StoreError, match="has no sample of one of the groups"):
        contrast(store, outside, ~outside, Answer.PANEL, 5)


def test_a_damaged_list_of_top_samples_is_named(tmp_path: Path) -> None:
    write_synthetic_scan(tmp_path / "s", layers=1, neurons=4, samples=6, top_n=6, maps=1, grid=(2, 2), image=8)
    top = np.load(tmp_path / "s" / "arrays-1" / "top_sample.npy")
    top[0, 1] = 2
    np.save(tmp_path / "s" / "arrays-1" / "top_sample.npy", top)
    a = np.arange(6) == 2
    with pytest.raises(StoreError, match="damaged"):
        contrast(ScanStore(tmp_path / "s"), a, ~a, Answer.TOP, 5)


def test_two_groups_by_word_and_rest(store: ScanStore) -> None:
    a, b = two_groups(store, Group.parse("word:dogs"), Group.parse("rest"))
    having = [("dog" in store.sample(index).description.split()) for index in range(120)]
    assert a.tolist() == having and (a ^ b).all() and a.sum() > 0
