"""Intruder: its rounds, and what a judge's picks make of them."""

import numpy as np
import pytest

from vlmscope.core.base.config import Api
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.llm.answers import WrongAnswer
from vlmscope.core.llm.budget import estimate_request
from vlmscope.core.method.judged import picked, wilson
from vlmscope.core.method.labels import Label
from vlmscope.core.scoring.intruder import LEAST, SHOWN, intruder_rounds, too_few_rounds
from vlmscope.core.scoring.intruder_prompt import estimate_intruder, intruder_request, read_pick
from vlmscope.core.store.reader import ScanStore

NEURON = Neuron(3, 96)


@pytest.fixture(scope="module")
def store() -> ScanStore:
    return ScanStore(scan_folder("demo"))


def test_a_round_is_four_top_samples_and_a_silent_one(store: ScanStore) -> None:
    rounds, top = intruder_rounds(store, NEURON, Label.VISUAL), store.top_samples(NEURON)
    assert len(rounds) == 10 and rounds == intruder_rounds(store, NEURON, Label.VISUAL)
    shown = [sample for one in rounds for sample in one.samples]
    assert len(set(shown)) == len(shown) == 10 * SHOWN
    for one in rounds:
        assert [sample in top for sample in one.samples] == [at != one.place for at in range(SHOWN)]
    assert len({one.place for one in rounds}) > 2
    assert "2 rounds of 5, of which intruder needs 5" in too_few_rounds(rounds[:2])
    assert too_few_rounds(rounds[:LEAST]) == ""


def test_what_is_sent(store: ScanStore) -> None:
    samples = intruder_rounds(store, NEURON, Label.VISUAL)[0].samples
    visual, text = (intruder_request(store, label, samples, Api()) for label in (Label.VISUAL, Label.TEXT))
    assert (len(visual.images), len(text.images)) == (5, 0)
    said = [part.text for part in text.parts]  # type: ignore[union-attr]
    assert said[1] == f"Sample 2: {store.sample(samples[1]).description}"
    assert "apple" not in visual.system and "Sample 1" in str(visual.parts[0])
    for label, request in ((Label.VISUAL, visual), (Label.TEXT, text)):
        found = estimate_intruder(store, label, samples, Api())
        assert found.images == len(request.images)
        assert found.input_tokens == estimate_request(request, Api()).input_tokens
    assert read_pick('{"intruder": 3}') == 3
    for wrong in ("{}", '{"intruder": 0}', '{"intruder": 6}', '{"intruder": "2"}'):
        with pytest.raises(WrongAnswer):
            read_pick(wrong)


def test_the_share_of_intruders_found() -> None:
    found = picked([0, 1, 2, 3, 4, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 0, 1, 2, 0, 0], 5, 10, 1)
    assert (found.value, found.chance, found.counted) == (0.8, 0.2, 10) and found.passes
    assert found.interval is not None
    assert found.interval[0] == pytest.approx(0.4902, abs=1e-4)  # Wilson's 8 of 10
    assert found.interval[1] == pytest.approx(0.9433, abs=1e-4)
    assert found.fakes == pytest.approx(0.033, abs=0.02)  # five of ten at least, of a binomial with 0.2
    missing = picked([0] * 5, [0] * 5, 5, 10, 1)
    assert missing.value is None and missing.reason == "5 of 10 rounds have an answer"


def test_the_interval_of_a_share_covers_what_it_names() -> None:
    hits = np.random.default_rng(0).binomial(10, 0.3, 4000)
    ends = [wilson(hit, 10) for hit in hits.tolist()]
    assert 0.92 < np.mean([low <= 0.3 <= high for low, high in ends]) < 0.98
