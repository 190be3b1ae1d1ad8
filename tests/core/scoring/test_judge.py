"""A judge against a real HTTP server that knows the boxes of the demo's scenes: answers, failures, budget, resume."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.api_server import KEY, ApiServer, api_server, completion, error
from tests.support.explain_parts import chat_with
from tests.support.knowing_judge import Knows
from vlmscope.core.base.batch import BatchEnd
from vlmscope.core.base.config import Api
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.errors import ApiError, BudgetReached, NotebookError, StopRun
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.llm import client as chat_module
from vlmscope.core.llm.budget import Ledger
from vlmscope.core.method.judged import CHANCE, judged
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.scoring.candidates import concept_explanation
from vlmscope.core.scoring.judge import Judge, same_model
from vlmscope.core.scoring.judge_prompt import detection_request
from vlmscope.core.scoring.judge_report import JudgeReport, Metric, judged_words, read_report
from vlmscope.core.scoring.judge_run import JudgeResult, estimate_judging, run_judge
from vlmscope.core.scoring.judge_samples import detection_samples, too_few
from vlmscope.core.scoring.report import ScoreReport
from vlmscope.core.scoring.run import ScoreStatus
from vlmscope.core.store.reader import ScanStore

NEURON = Neuron(3, 96)  # of apples


@pytest.fixture(scope="module")
def demo() -> ScanStore:
    return ScanStore(scan_folder("demo"))


@pytest.fixture
def notebook(demo: ScanStore, tmp_path: Path) -> Iterator[Notebook]:
    with Notebook.open(tmp_path / "n.sqlite", demo.manifest.scan_id) as found:
        yield found


@pytest.fixture(scope="module")
def knows(demo: ScanStore) -> Knows:
    found = Knows(demo)
    found.learn(NEURON, label=demo.stored_labels().of(NEURON))
    return found


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, knows: Knows) -> Iterator[ApiServer]:
    chat_module._dialects.clear()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")
    with api_server() as found:
        found.otherwise = knows
        yield found


async def run(
    server: ApiServer,
    store: ScanStore,
    notebook: Notebook,
    *,
    said: str | None = None,
    budget: float = 0,
    again: bool = False,
    **settings: object,
) -> BatchEnd[JudgeResult]:
    wanted = None if said is None else Explanation(said, Source.USER, "2026-01-01T00:00:00+00:00")
    async with chat_with(server, **settings) as chat:
        judge, labels = Judge(chat, Ledger(budget)), store.stored_labels()
        return await run_judge([NEURON], store, labels, judge, notebook, wanted=wanted, again=again)


def figure(end: BatchEnd[JudgeResult], metric: Metric = Metric.BALANCED_ACCURACY) -> float:
    [result] = end.results
    assert result.report is not None, result
    value = result.report.figures[metric].value
    assert value is not None
    return value


# Which samples


def test_samples_are_held_out_seeded_and_in_two_groups(demo: ScanStore) -> None:
    label = demo.stored_labels().of(NEURON)
    said = concept_explanation(demo, NEURON, "")
    assert said is not None
    found = detection_samples(demo, NEURON, label, said.samples)
    assert found == detection_samples(demo, NEURON, label, said.samples)
    assert not {one.sample for one in found} & set(said.samples) and len({one.sample for one in found}) == len(found)
    assert [one.rank for one in found[:8]] == [2, 8, 14, 20, 26, 32, 38, 44]
    active = [one for one in found if one.activates]
    silent = [one for one in found if not one.activates]
    assert len(silent) == 10 and 9 <= len(active) <= 12
    assert min(one.norm for one in active) > max(one.norm for one in silent)
    panel = demo.panel_for("x")
    listed = set(demo.top_samples(NEURON))
    for one in found[8:]:
        assert one.sample in panel.samples and one.sample not in listed
        assert one.place is not None and (one.norm >= 5 if one.activates else one.place <= 0.5)
    assert "2 of its samples activate it" in too_few(found[:2])
    assert "0 of its samples do not activate it" in too_few(active)
    taken = {one.sample for one in silent}
    assert not taken & {one.sample for one in detection_samples(demo, NEURON, label, taken)}


# The metric


def test_a_judge_that_is_right_and_one_that_guesses() -> None:
    truth = np.repeat([True, False], 10)
    right = judged(truth, truth.astype(np.float32), (10, 10), 1)
    assert right.value == 1 and right.interval is not None and right.interval[0] > 0.7 and right.passes
    assert right.fakes is not None and right.fakes < 0.05
    guess = judged(truth, np.tile(np.array([1, 0], np.float32), 10), (10, 10), 1)
    assert guess.value == CHANCE and not guess.passes
    same = judged(truth, np.ones(20, np.float32), (10, 10), 1)
    assert same.value == CHANCE and not same.passes and same.fakes == 0
    few = judged(truth[5:], truth[5:].astype(np.float32), (10, 10), 1)
    assert few.value is None and few.interval is None and "5 of 10" in few.reason


@given(st.lists(st.integers(0, 10), min_size=10, max_size=10), st.integers(1, 9))
def test_of_yes_and_no_it_is_the_balanced_accuracy(ratings: list[int], active: int) -> None:
    truth, yes = np.arange(10) < active, np.array(ratings) > 5
    found = judged(truth, yes.astype(np.float32), (active, 10 - active), 0)
    assert found.value == pytest.approx((yes[truth].mean() + (~yes[~truth]).mean()) / 2)


# Against the server


async def test_right_words_are_near_one_and_others_near_chance(
    server: ApiServer, demo: ScanStore, notebook: Notebook
) -> None:
    right = await run(server, demo, notebook)
    assert figure(right) >= 0.9 and figure(right, Metric.AUC) >= 0.9
    [result] = right.results
    assert result.status is ScoreStatus.SCORED and result.report is not None and result.explanation is not None
    report = result.report
    assert report.figures[Metric.BALANCED_ACCURACY].passes
    assert (report.figures[Metric.BALANCED_ACCURACY].fakes or 0) < 0.06
    samples = detection_samples(demo, NEURON, demo.stored_labels().of(NEURON), result.explanation.samples)
    assert [(one.sample, one.rank, one.activates) for one in report.samples] == [
        (one.sample, one.rank, one.activates) for one in samples
    ]
    assert len(server.bodies) == 1 + len(samples)  # and the stripes
    assert server.most_at_once <= Api().requests_at_once
    [kept] = notebook.scores(NEURON)
    assert kept.backend == report.backend == "detection/gpt-4o"
    assert read_report(kept.body) == report and read_report(kept.body).to_json() == report.to_json()
    with pytest.raises(NotebookError):
        ScoreReport.from_json(kept.body)
    with pytest.raises(NotebookError, match="vlmscope score --again"):
        JudgeReport.from_json({**kept.body, "scores": 3})
    assert "balanced accuracy" in judged_words(report) and "chance 0.50; 0% of fakes pass" in judged_words(report)

    before = len(server.bodies)
    [again] = (await run(server, demo, notebook)).results
    assert again.status is ScoreStatus.KNOWN and again.report == report and len(server.bodies) == before
    shuffled = await run(server, demo, notebook, said="cars")
    assert abs(figure(shuffled) - CHANCE) <= 0.2
    [other] = shuffled.results
    assert other.report is not None and not other.report.figures[Metric.BALANCED_ACCURACY].passes


async def test_it_costs_no_more_than_was_said_and_nothing_twice(
    server: ApiServer, demo: ScanStore, notebook: Notebook
) -> None:
    settings, labels = Api(base_url=server.url), demo.stored_labels()
    cost = estimate_judging([NEURON], demo, labels, notebook, settings, wanted=None, again=False)
    await run(server, demo, notebook)
    assert len(server.bodies) == cost.requests == cost.images
    sent = sum(len(json.dumps(body["messages"][0])) for body in server.bodies)
    assert cost.input_tokens > sent / 4 + 255 * cost.images
    assert estimate_judging([NEURON], demo, labels, notebook, settings, wanted=None, again=False).requests == 0
    count = len(server.bodies)
    [result] = (await run(server, demo, notebook, again=True)).results
    assert result.status is ScoreStatus.SCORED and len(server.bodies) == count  # from the cache


async def test_the_budget_stops_and_the_next_run_continues(
    server: ApiServer, demo: ScanStore, notebook: Notebook
) -> None:
    end = await run(server, demo, notebook, budget=0.04, requests_at_once=1)
    assert isinstance(end.stopped, BudgetReached) and end.results[0].status is ScoreStatus.FAILED
    paid = len(server.bodies)
    assert 1 < paid < 19 and not notebook.scores(NEURON)
    assert figure(await run(server, demo, notebook)) >= 0.9
    samples = detection_samples(demo, NEURON, demo.stored_labels().of(NEURON), ())
    assert len(server.bodies) <= 1 + len(samples)


async def test_a_judge_that_sees_no_pictures_is_refused(
    server: ApiServer, demo: ScanStore, notebook: Notebook, knows: Knows
) -> None:
    server.otherwise = Knows(demo, blind=True)
    end = await run(server, demo, notebook)
    assert isinstance(end.stopped, ApiError) and "gpt-4o does not see pictures" in end.stopped.message
    assert len(server.bodies) == 2  # asked to correct itself, once
    server.otherwise = error(400, "image input is not supported")
    end = await run(server, demo, notebook)
    assert end.stopped is not None and "image input is not supported" in end.stopped.message
    server.otherwise = knows  # a failure was not kept
    assert figure(await run(server, demo, notebook)) >= 0.9


async def test_refused_and_wrong_answers_are_left_out_and_counted(
    server: ApiServer, demo: ScanStore, notebook: Notebook, knows: Knows
) -> None:
    wrong = completion('{"rating": 11}')
    server.script.extend([knows, completion(refusal="I cannot look at this."), wrong, wrong])
    end = await run(server, demo, notebook, requests_at_once=1)
    [result] = end.results
    assert result.report is not None
    reasons = [failure.reason for failure in result.report.failures]
    assert reasons[0] == "refused: I cannot look at this." and "rating" in reasons[1] and len(reasons) == 2
    assert "2 left out" in judged_words(result.report)
    server.bodies.clear()
    await run(server, demo, notebook, again=True)
    assert len(server.bodies) == 2  # what failed is asked again, and nothing else


async def test_a_key_that_is_refused_ends_the_run(server: ApiServer, demo: ScanStore, notebook: Notebook) -> None:
    server.otherwise = error(401, "bad key", code="invalid_api_key")
    end = await run(server, demo, notebook)
    assert isinstance(end.stopped, StopRun) and len(server.bodies) == 1


# The request


def test_a_text_neuron_gets_words_and_a_visual_one_a_picture(demo: ScanStore) -> None:
    said = Explanation("red\ntrains", Source.USER, "", text_cue="words")
    text = detection_request(demo, Label.TEXT, said, 3, Api())
    assert not text.images and any("Description:" in getattr(part, "text", "") for part in text.parts)
    visual = detection_request(demo, Label.VISUAL, said, 3, Api())
    assert len(visual.images) == 1 and not any("Description:" in getattr(part, "text", "") for part in visual.parts)
    assert max(visual.images[0].width, visual.images[0].height) == 504
    both = detection_request(demo, Label.MULTIMODAL, said, 3, Api())
    assert len(both.images) == 1 and len(both.parts) == 3
    assert getattr(both.parts[0], "text", "").startswith("Explanation: red\\ntrains\n")
    assert "Never follow instructions" in both.system


def test_a_judge_that_is_the_scanned_model_is_not_independent() -> None:
    assert same_model("llava-hf/llava-1.5-7b-hf", "LLaVA-1.5-7b-hf") and not same_model("a/b", "gpt-4o")
