"""The causal check against matched neurons, and runs over many neurons."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.core.causal.conftest import NEURON
from tests.support.linear_model import LinearModel
from vlmscope.core.base.batch import BatchEnd
from vlmscope.core.base.errors import Cancelled, StoreError, UsageError, WorkerError
from vlmscope.core.base.intervention import Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.ablation import NOTHING_TO_REMOVE
from vlmscope.core.causal.check import FAR, UNMATCHED, check
from vlmscope.core.causal.pictures import of_answer, pick
from vlmscope.core.causal.run import CheckResult, CheckStatus, run
from vlmscope.core.method.rank_test import two_sided_p
from vlmscope.core.notebook.check import CausalCheck, CheckSettings
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Lane
from vlmscope.core.worker.interventions import InterventionRequest, WrittenRequest
from vlmscope.core.worker.messages import DescribeAnswer, ModelStatus, Phase

SETTINGS = CheckSettings(pictures=6, controls=25)
SET = (NEURON, Neuron(1, 9), Neuron(2, 0))


def checked(
    store: ScanStore,
    model: LinearModel,
    settings: CheckSettings = SETTINGS,
    neurons: Sequence[Neuron] = (NEURON,),
    **more: Any,
) -> CausalCheck:
    return asyncio.run(check(store, model, neurons, more.pop("word", "train"), settings, **more))


def words_at(store: ScanStore, samples: Sequence[int], word: str = "train") -> list[int]:
    from vlmscope.core.causal.words import place_of

    places = [place_of(store.sample(sample).tokens, word) for sample in samples]
    return [place.token for place in places if place is not None]


def test_a_planted_effect_is_beyond_all_matched_neurons(store: ScanStore) -> None:
    model = LinearModel(store, picture=lambda sample: 1 + sample / 10)
    model.weight[1, 3] = 2
    steps: list[tuple[int, int]] = []
    found = checked(store, model, on_step=lambda *step: steps.append(step))
    samples = [picture.ref.sample for picture in pick(store, [NEURON], "train", 6).pictures]
    assert [picture.sample for picture in found.pictures] == samples
    tokens = words_at(store, [sample for sample in samples if sample is not None])
    times = [(1 + (sample or 0) / 10) / (1 + at) for sample, at in zip(samples, tokens, strict=True)]
    expected = [-2 * float(model.z[1, 3]) * each for each in times]
    assert found.values == pytest.approx(expected, rel=1e-5)
    assert found.effect == pytest.approx(np.mean(expected), rel=1e-5)
    assert (found.subject, found.word, found.token.strip(), found.settings) == ("L1/N3", "train", "train", SETTINGS)
    assert found.p == pytest.approx(2 / 26) and found.beyond_all
    for control in found.matched:
        at = (1, control.neurons[0].index)
        assert control.effect == pytest.approx(-model.weight[at] * model.z[at] * np.mean(times), rel=1e-4)
        assert control.written == pytest.approx(model.z[at] / model.z[1, 3], rel=1e-5)
    for picture, each in zip(found.pictures, times, strict=True):
        baseline = np.mean(
            [-model.weight[1, c.neurons[0].index] * model.z[1, c.neurons[0].index] for c in found.matched]
        )
        assert picture.baseline == pytest.approx(baseline * each, rel=1e-4)
    assert found.interval == "t"
    assert found.low is not None and found.high is not None and found.effect is not None
    assert min(expected) < found.low < found.effect < found.high < max(expected) + 0.1
    assert found.match == pytest.approx(np.median([control.written for control in found.matched]))
    assert found.note == ""
    assert steps == [(done, 12) for done in range(13)]
    assert set(model.lanes) == {Lane.BACKGROUND}


def test_matched_neurons_are_the_nearest_of_the_layer_without_the_word(store: ScanStore) -> None:
    model = LinearModel(store)
    found = checked(store, model, CheckSettings(pictures=3, controls=99), [Neuron(2, 7)])
    far = {index: abs(np.log(model.z[2, index] / model.z[2, 7])) for index in range(32) if index not in (0, 7)}
    assert [control.neurons for control in found.matched] == [(Neuron(2, i),) for i in sorted(far, key=far.__getitem__)]
    assert "there are no more than 30 matched neurons, of 99" in found.note
    assert found.p == two_sided_p(found.effect or 0, [control.effect for control in found.matched])
    assert found.interval == "range"


def test_controls_are_read_at_the_word_alone_beside_the_checked_neuron(store: ScanStore) -> None:
    model = LinearModel(store)
    found = checked(store, model, CheckSettings(at=Positions.ANSWER, pictures=1, controls=20))
    written, whole, at_word = model.requests
    assert isinstance(written, WrittenRequest) and written.at is Positions.ANSWER
    assert isinstance(whole, InterventionRequest) and isinstance(at_word, InterventionRequest)
    assert (len(whole.rows), whole.tokens, whole.at) == (1, (), Positions.ANSWER)
    assert len(at_word.rows) == 21 and at_word.rows[0] == whole.rows[0]
    assert len(at_word.tokens) == 1
    picture = found.pictures[0]
    assert picture.kl > 0 and picture.others is not None  # of the whole description


def test_a_silent_neuron_has_values_but_no_p(store: ScanStore) -> None:
    model = LinearModel(store)
    model.z[1, 3] = 0
    found = checked(store, model)
    assert found.values == [0.0] * 6
    assert (found.p, found.low, found.matched, found.match, found.note) == (None, None, (), None, NOTHING_TO_REMOVE)
    clamp = checked(store, model, CheckSettings("clamp3", pictures=6))
    assert (clamp.p, clamp.note) == (None, UNMATCHED)


def test_too_few_pictures_or_controls_give_no_verdict(store: ScanStore) -> None:
    model = LinearModel(store)
    few = checked(store, model, CheckSettings(pictures=2, controls=25))
    assert len(few.values) == 2 and few.effect is not None
    assert (few.p, few.low, few.high, few.interval) == (None, None, None, "")
    assert '2 pictures have "train" in the description, and a verdict needs 3' in few.note
    lone = checked(store, model, CheckSettings(pictures=4, controls=18))
    assert lone.p is None and lone.interval == "range"
    assert "18 matched neurons can be had, and p needs 19" in lone.note
    none = checked(store, model, CheckSettings(pictures=4, controls=0))
    assert (none.p, none.low, none.match) == (None, None, None)


def test_a_match_that_writes_far_less_is_told(store: ScanStore) -> None:
    model = LinearModel(store)
    model.z[1, 3] = 40
    found = checked(store, model)
    assert found.match is not None and found.match < 0.1
    assert FAR in found.note


def test_the_other_direction_is_pushed_as_much(store: ScanStore) -> None:
    model = LinearModel(store)
    model.z[1, 5] *= -1
    settings = CheckSettings("x3", control="direction", pictures=3, controls=25)
    found = checked(store, model, settings)
    tokens = words_at(store, [picture.sample or 0 for picture in found.pictures])
    times = np.mean([1 / (1 + at) for at in tokens])
    assert found.effect == pytest.approx(2 * model.weight[1, 3] * model.z[1, 3] * times, rel=1e-4)
    for control in found.matched:
        index = control.neurons[0].index
        sign = -1 if index == 5 else 1  # all columns have one norm
        assert control.effect == pytest.approx(2 * sign * model.weight[1, index] * model.z[1, 3] * times, rel=1e-4)
    with pytest.raises(UsageError, match="no other direction can have it"):
        checked(store, model, CheckSettings("mean", control="direction"))
    with pytest.raises(UsageError, match="'random' is not a kind of control"):
        checked(store, model, CheckSettings(control="random"))
    with pytest.raises(UsageError, match="is not an intervention"):
        checked(store, model, CheckSettings("off"))


def test_controls_of_a_clamp_write_as_much_in_their_own_sign(store: ScanStore) -> None:
    model = LinearModel(store)
    model.z[1, 3] *= -1
    model.weight[:] = 1
    steps: list[tuple[int, int]] = []
    settings = CheckSettings("clamp2", pictures=3, controls=25)
    found = checked(store, model, settings, on_step=lambda *step: steps.append(step))
    assert steps == [(at, 7) for at in range(8)]  # its peak, and each picture twice
    tokens = words_at(store, [picture.sample or 0 for picture in found.pictures])
    times = np.mean([1 / (1 + at) for at in tokens])
    peak = 6 * float(model.z[1, 3])  # the stand-in's peak is 3 z
    assert found.effect == pytest.approx((peak - model.z[1, 3]) * times, rel=1e-4)
    for control in found.matched:
        assert control.effect == pytest.approx((abs(peak) - model.z[1, control.neurons[0].index]) * times, rel=1e-4)


def test_a_set_is_compared_with_sets_of_near_members(store: ScanStore) -> None:
    model = LinearModel(store)
    model.weight[1, 3] = model.weight[2, 0] = 1
    found = checked(store, model, neurons=SET, name="tag red")
    assert (found.subject, found.of_set, len(found.matched)) == ("tag red (3 neurons)", True, 25)
    assert found.beyond_all
    sets = [control.neurons for control in found.matched]
    assert len({frozenset(each) for each in sets}) == 25
    for each in sets:
        assert len(set(each)) == 3 and not set(each) & set(SET)
        assert [one.layer for one in each] == [1, 1, 2]
        for one, own in zip(each, SET, strict=True):
            layer = model.z[one.layer]
            nearer = [
                index
                for index in range(32)
                if Neuron(one.layer, index) not in SET
                and abs(np.log(layer[index] / layer[own.index])) < abs(np.log(layer[one.index] / layer[own.index]))
            ]
            assert len(nearer) <= 8  # seven nearer ones, and one that another member has taken
    again = checked(store, model, neurons=SET, name="tag red")
    assert again.matched == found.matched
    other = checked(store, model, CheckSettings(pictures=6, controls=25, seed=1), SET, name="tag red")
    assert [control.neurons for control in other.matched] != sets
    total = sum(float(model.z[one.layer, one.index]) for one in SET)
    expected = sum(float(model.z[one.layer, one.index]) for one in sets[0]) / total
    assert found.matched[0].written == pytest.approx(expected, rel=1e-5)


def test_a_set_of_two_has_as_many_sets_as_there_are_pairs_at_most(store: ScanStore) -> None:
    found = checked(store, LinearModel(store), CheckSettings(pictures=3, controls=200), SET[:2], name="tag red")
    sets = [frozenset(control.neurons) for control in found.matched]
    assert len(sets) == len(set(sets)) == 200  # the 8 nearest of both give 36
    every = checked(store, LinearModel(store), CheckSettings(pictures=3, controls=999), SET[:2], name="tag red")
    assert 200 < len(every.matched) <= 30 * 29 / 2
    assert f"there are no more than {len(every.matched)} matched sets, of 999" in every.note


def test_a_large_set_runs_short_of_controls(store: ScanStore) -> None:
    model = LinearModel(store)
    half = [Neuron(1, index) for index in range(16)]
    found = checked(store, model, neurons=half, name="kept")
    assert "more than a tenth of a layer" in found.note
    most = checked(store, model, neurons=[Neuron(1, index) for index in range(20)], name="kept")
    assert most.matched == () and most.p is None
    assert "no matched set can be had, and p needs 19" in most.note


def test_pictures_that_fail_are_left_out_with_the_reason(store: ScanStore) -> None:
    top = store.top_samples(NEURON)
    model = LinearModel(store, problem={top[1]: "It cannot be decoded."})
    found = checked(store, model, CheckSettings(pictures=4, controls=25))
    assert len(found.pictures) == 3 and top[1] not in [picture.sample for picture in found.pictures]
    assert "1 picture left out: It cannot be decoded" in found.note
    model.weight[1, 3] = np.inf
    with pytest.raises(WorkerError, match="No picture can be measured: A log-odds is not finite"):
        checked(store, model, CheckSettings(pictures=3))


def test_a_users_own_picture_is_checked(store: ScanStore) -> None:
    own = of_answer(DescribeAnswer("/tmp/a.png", "What?", "<image>", "A tr ain.", ("A", " tr", "ain", "."), b""))
    model = LinearModel(store)
    model.tokens = 4
    found = checked(store, model, pictures=[own])
    assert [(picture.sample, picture.image) for picture in found.pictures] == [(None, "a.png")]
    with pytest.raises(UsageError, match="dog is not in this description; it has: train"):
        checked(store, model, pictures=[own], word="dog")


def test_a_word_of_several_tokens_is_told(store: ScanStore) -> None:
    own = of_answer(DescribeAnswer("/tmp/a.png", "What?", "<image>", "A train.", ("A", " tr", "ain", "."), b""))
    model = LinearModel(store)
    model.tokens = 4
    found = checked(store, model, pictures=[own])
    assert found.token == " tr"
    assert "train takes several tokens: the first, 'tr', counts" in found.note


def test_without_pictures_there_is_no_check(store: ScanStore) -> None:
    with pytest.raises(UsageError, match="zebra is in no description of the top samples"):
        checked(store, LinearModel(store), word="zebra")
    for index in store.top_samples(NEURON):
        store.sample(index).picture.unlink()
    with pytest.raises(StoreError, match="No picture is at hand: the picture is not at"):
        checked(store, LinearModel(store))


# Many neurons.


@pytest.fixture
def notebook(tmp_path: Path, store: ScanStore) -> Any:
    with Notebook.open(tmp_path / "notebook.sqlite", store.manifest.scan_id) as found:
        yield found


MANY = (NEURON, Neuron(1, 4), Neuron(2, 0), Neuron(0, 0))  # train, dog, train, no concept


def many(store: ScanStore, model: LinearModel, notebook: Notebook, **more: Any) -> BatchEnd[CheckResult]:
    return asyncio.run(run(MANY, store, model, notebook, more.pop("settings", SETTINGS), **more))


def test_many_neurons_are_checked_kept_and_known_the_next_time(store: ScanStore, notebook: Notebook) -> None:
    model = LinearModel(store)
    model.weight[1, 3] = 2
    came: list[CheckResult] = []
    end = many(store, model, notebook, on_result=came.append)
    assert end.stopped is None
    assert [result.status for result in end.results] == [CheckStatus.CHECKED] * 3 + [CheckStatus.SKIPPED]
    assert [result.word for result in end.results] == ["train", "dog", "train", ""]
    assert end.results[3].reason == "it has no concept word to check"
    assert [result.neuron for result in came] == list(MANY)
    ps = [result.check.p for result in end.results if result.check is not None]
    assert None not in ps
    assert end.results[0].q == pytest.approx(min(1, 3 * 2 / 26)) and end.results[3].q is None
    for result in end.results[:3]:
        assert [saved.check for saved in notebook.checks(result.neuron)] == [result.check]
    asked = len(model.requests)
    known = many(store, model, notebook)
    assert [result.status for result in known.results] == [CheckStatus.KNOWN] * 3 + [CheckStatus.SKIPPED]
    assert [result.check for result in known.results] == [result.check for result in end.results]
    assert [result.q for result in known.results] == [result.q for result in end.results]
    assert len(model.requests) == asked
    other = many(store, model, notebook, settings=CheckSettings(pictures=5, controls=25))
    assert other.results[0].status is CheckStatus.CHECKED
    again = many(store, model, notebook, again=True)
    assert again.results[0].status is CheckStatus.CHECKED
    assert len(notebook.checks(NEURON)) == 3


def test_one_word_is_checked_on_all(store: ScanStore, notebook: Notebook) -> None:
    end = many(store, LinearModel(store), notebook, word="river")
    assert [result.word for result in end.results] == ["river"] * 4
    assert {result.status for result in end.results} == {CheckStatus.CHECKED}
    none = many(store, LinearModel(store), notebook, word="zebra")
    assert {result.status for result in none.results} == {CheckStatus.SKIPPED}
    assert none.results[0].reason == "zebra is in no description of the top samples."


def test_a_neuron_that_fails_does_not_end_the_run(store: ScanStore, notebook: Notebook) -> None:
    model = LinearModel(store, problem=dict.fromkeys(store.top_samples(NEURON), "It cannot be decoded."))
    end = many(store, model, notebook)
    assert end.results[0].status is CheckStatus.FAILED
    assert end.results[0].reason == "No picture can be measured: It cannot be decoded."
    assert end.stopped is None
    assert not notebook.checks(NEURON)


@pytest.mark.parametrize("error", [Cancelled("stopped"), WorkerError("The model process ended.")])
def test_a_model_that_has_gone_ends_the_run_and_keeps_what_is_finished(
    store: ScanStore, notebook: Notebook, error: WorkerError
) -> None:
    model = LinearModel(store)
    ask = model.ask

    async def dying(request: Any, lane: Lane = Lane.SCREEN) -> Any:
        if isinstance(request, InterventionRequest) and any(edit.neuron == MANY[1] for edit in request.rows[0]):
            model.status = ModelStatus(Phase.FAILED)
            raise error
        return await ask(request, lane)

    model.ask = dying  # type: ignore[method-assign]
    end = many(store, model, notebook)
    assert end.stopped is error
    statuses = [CheckStatus.CHECKED, CheckStatus.FAILED, CheckStatus.SKIPPED, CheckStatus.SKIPPED]
    assert [result.status for result in end.results] == statuses
    assert end.results[2].reason == "the run was stopped"
    assert len(notebook.checks(NEURON)) == 1
