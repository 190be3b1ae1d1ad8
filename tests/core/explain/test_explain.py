"""One neuron, asked against a real server: what is repaired, what is final, what it costs, what is kept."""

import asyncio
import json
import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import GOOD, KEY, ApiServer, Gate, Reply, api_server, completion, error
from tests.support.explain_parts import chat_with, evidence, picture, sample
from vlmscope.core.base.config import Api, cache_folder
from vlmscope.core.base.errors import ApiError, BudgetReached, StopRun
from vlmscope.core.explain.answer import ExplanationAnswer
from vlmscope.core.explain.cache import cache_key
from vlmscope.core.explain.explain import Answered, explain
from vlmscope.core.explain.prompt import build_request
from vlmscope.core.llm import client as chat_module
from vlmscope.core.llm.answers import WrongAnswer, read_json
from vlmscope.core.llm.budget import Estimate, Ledger, dollars, estimate_request
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Confidence, Explanation, FailedExplanation, Source


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    chat_module._dialects.clear()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")
    with api_server() as found:
        yield found


async def answered(
    server: ApiServer, *script: Reply, ledger: Ledger | None = None, again: bool = False, **settings: object
) -> Answered:
    server.script.extend(script)
    async with chat_with(server, **settings) as chat:
        return await explain(evidence(Label.TEXT), chat, ledger or Ledger(0), again=again)


def explanation(found: Answered) -> Explanation:
    assert isinstance(found.outcome, Explanation), found.outcome
    return found.outcome


def failure(found: Answered) -> FailedExplanation:
    assert isinstance(found.outcome, FailedExplanation), found.outcome
    return found.outcome


def cached() -> list[Path]:
    return sorted((cache_folder() / "explain").glob("*"))


def answer_json(**fields: Any) -> str:
    return json.dumps({**GOOD, **fields})


async def test_a_good_answer_with_its_bill(server: ApiServer) -> None:
    ledger = Ledger(5)
    found = explanation(await answered(server, ledger=ledger))
    assert found == Explanation(
        text="trains and railway tracks",
        source=Source.API,
        created=found.created,
        pattern_found=True,
        visual_phrases=("train", "rail"),
        text_cue="words for trains",
        confidence=Confidence.HIGH,
        model="gpt-4o-2024-08-06",
        prompt_version="explain-1",
        samples=(7, 9),
        input_tokens=2000,
        output_tokens=100,
        cost_usd=found.cost_usd,
    )
    assert found.cost_usd == pytest.approx(2000 * 2.5e-6 + 100 * 10e-6)
    assert ledger.spent_usd == found.cost_usd
    when = datetime.fromisoformat(found.created)
    assert when.tzinfo is not None
    assert when.microsecond == 0


async def test_the_settings_prices_go_first_and_an_unknown_price_is_none(server: ApiServer) -> None:
    own = await answered(server, prices={"gpt-4o": {"input": 1000, "output": 0}})
    assert explanation(own).cost_usd == pytest.approx(2.0)
    ledger = Ledger(0.000001)
    unknown = await answered(server, completion(model="llama"), ledger=ledger, model="gpt-new")
    assert explanation(unknown).cost_usd is None
    assert explanation(unknown).model == "gpt-new"  # so that it is known again
    assert (ledger.spent_usd, ledger.unpriced) == (0, 1)


async def test_a_server_that_tells_no_usage_is_booked_at_its_estimate(server: ApiServer) -> None:
    ledger = Ledger(5)
    found = explanation(await answered(server, completion(usage=None), ledger=ledger))
    assert found.cost_usd is None
    assert ledger.spent_usd > 0


async def test_a_cut_answer_is_asked_for_once_more_with_twice_the_room(server: ApiServer) -> None:
    found = explanation(await answered(server, completion('{"pattern', finish="length")))
    assert [body["max_completion_tokens"] for body in server.bodies] == [1000, 2000]
    assert server.bodies[0]["messages"] == server.bodies[1]["messages"]
    assert (found.input_tokens, found.output_tokens) == (4000, 200)


async def test_an_answer_that_is_cut_twice_fails(server: ApiServer) -> None:
    server.otherwise = completion('{"pattern', finish="length")
    found = failure(await answered(server))
    assert "cut at 2000 tokens, twice" in found.reason
    assert (found.input_tokens, found.refused) == (4000, False)
    assert found.cost_usd == pytest.approx(0.012)
    assert len(server.bodies) == 2
    assert cached() == []


WRONG = [
    ("I think it is trains.", "not JSON"),
    ("", "not JSON"),
    ("[1]", "valid dictionary"),
    ('{"pattern_found": true}', "explanation"),
    (answer_json(confidence="certain"), "confidence"),
    (answer_json(explanation="  "), "explanation"),
    (answer_json(visual_phrases=["x" * 5000]), "visual_phrases.0"),
    (answer_json(visual_phrases=["x"] * 5000), "visual_phrases"),
    (answer_json(text_cue=None), "text_cue"),
    ("[" * 100_000, "not JSON"),
]


@pytest.mark.parametrize(("text", "why"), WRONG)
async def test_a_wrong_answer_is_sent_back_once(server: ApiServer, text: str, why: str) -> None:
    found = explanation(await answered(server, completion(text)))
    assert found.text == GOOD["explanation"]
    first, second = (body["messages"] for body in server.bodies)
    assert second[:2] == first
    assert second[2] == {"role": "assistant", "content": text[:4000] or "(nothing)"}
    assert second[3]["role"] == "user"
    assert why in second[3]["content"]
    assert (found.input_tokens, found.output_tokens) == (4000, 200)


async def test_a_wrong_repair_fails(server: ApiServer) -> None:
    server.otherwise = completion("trains")
    found = failure(await answered(server))
    assert "not of the form that was asked for" in found.reason
    assert (found.refused, found.input_tokens) == (False, 4000)
    assert len(server.bodies) == 2
    assert cached() == []


@pytest.mark.parametrize("frame", ["```json\n{}\n```", "  ```\n{}```\n", "<think>a\n```{{</think>\n{}", "\n{}\n"])
def test_fences_and_thoughts_around_an_answer_do_no_harm(frame: str) -> None:
    head, _, tail = frame.rpartition("{}")
    assert read_json(head + json.dumps(GOOD) + tail, ExplanationAnswer).explanation == GOOD["explanation"]


def test_answers_are_text_from_outside() -> None:
    text = answer_json(explanation="a\x1b[31m\nb\u202e", visual_phrases=["c\x07"], confidence=" High ", extra=1)
    found = read_json(text, ExplanationAnswer)
    assert (found.explanation, found.visual_phrases, found.confidence) == ("a [31m b", ("c",), Confidence.HIGH)
    with pytest.raises(WrongAnswer):
        read_json(answer_json(explanation="x" * 1001), ExplanationAnswer)


async def test_no_pattern_is_an_answer(server: ApiServer) -> None:
    text = answer_json(pattern_found=False, explanation="animals, in vain", visual_phrases=[], text_cue="")
    found = explanation(await answered(server, completion(text)))
    assert (found.pattern_found, found.text, found.visual_phrases) == (False, "animals, in vain", ())


@pytest.mark.parametrize(
    "reply",
    [
        completion("", refusal="I can't help with that."),
        completion("", finish="content_filter"),
        error(400, "flagged", code="content_policy_violation"),
    ],
)
async def test_a_refusal_is_final(server: ApiServer, reply: Reply) -> None:
    found = failure(await answered(server, reply))
    assert found.refused
    assert found.reason
    assert len(server.bodies) == 1
    assert cached() == []


async def test_a_failed_request_is_a_failure_with_the_reason(server: ApiServer) -> None:
    server.otherwise = error(503, "overloaded")
    found = failure(await answered(server))
    assert found.reason == "No answer in 4 tries: HTTP 503: overloaded."
    assert (found.refused, found.input_tokens, found.cost_usd) == (False, 0, 0.0)


async def test_what_ends_the_run_is_raised_unless_something_was_paid(server: ApiServer) -> None:
    quota = error(429, "no more", code="insufficient_quota")
    with pytest.raises(StopRun):
        await answered(server, quota)
    found = failure(await answered(server, completion("trains"), quota))
    assert "quota" in found.reason
    assert found.input_tokens == 2000


async def test_the_cache_answers_at_no_cost_and_sends_nothing(server: ApiServer) -> None:
    ledger = Ledger(5)
    first = explanation(await answered(server, ledger=ledger))
    spent = ledger.spent_usd
    found = await answered(server, ledger=ledger)
    second = explanation(found)
    assert found.cached
    assert len(server.bodies) == 1
    assert ledger.spent_usd == spent
    assert (second.input_tokens, second.output_tokens, second.cost_usd) == (0, 0, 0.0)
    assert (second.text, second.created, second.model) == (first.text, first.created, first.model)
    assert not (await answered(server, again=True)).cached
    assert len(server.bodies) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"text": 3}'])
async def test_a_damaged_cache_is_none(server: ApiServer, damage: bytes) -> None:
    await answered(server)
    (path,) = cached()
    path.write_bytes(damage)
    assert not (await answered(server)).cached
    assert (await answered(server)).cached


async def test_a_cache_that_cannot_be_written_costs_no_answer(server: ApiServer) -> None:
    cache_folder().mkdir(parents=True)
    (cache_folder() / "explain").write_text("a file")
    explanation(await answered(server))


def test_the_caches_key_depends_on_all_that_is_asked() -> None:
    settings = Api()
    request = build_request(evidence(), settings)
    keys = {
        cache_key(request, "https://a/v1", (7, 9)),
        cache_key(request, "https://b/v1", (7, 9)),
        cache_key(request, "https://a/v1", (7, 8)),
        cache_key(build_request(evidence(), settings.model_copy(update={"model": "m"})), "https://a/v1", (7, 9)),
        cache_key(build_request(evidence(Label.TEXT), settings), "https://a/v1", (7, 9)),
        cache_key(build_request(evidence(samples=(sample(2),)), settings), "https://a/v1", (7, 9)),
        cache_key(build_request(evidence(samples=(sample(text=[4, 4, 4, 4]),)), settings), "https://a/v1", (7, 9)),
        cache_key(
            build_request(evidence(samples=(replace(sample(2), read_crop=lambda: picture(seed=99)),)), settings),
            "https://a/v1",
            (7, 9),
        ),
    }
    assert len(keys) == 8
    assert cache_key(build_request(evidence(), settings), "https://a/v1", (7, 9)) in keys


async def test_the_budget_stops_before_the_request(server: ApiServer) -> None:
    ledger = Ledger(0.02)
    ledger.add(0.01)
    with pytest.raises(BudgetReached) as caught:
        await answered(server, ledger=ledger)
    assert server.bodies == []
    assert "$0.0200" in caught.value.message
    assert "$0.0100 is spent" in caught.value.message
    assert "budget_usd" in caught.value.hint
    assert ledger.spent_usd == 0.01
    await answered(server, ledger=Ledger(0))  # no limit


async def test_the_budget_counts_repairs_too(server: ApiServer) -> None:
    async with chat_with(server) as chat:
        one = estimate_request(build_request(evidence(Label.TEXT), chat.settings), chat.settings).usd
    assert one is not None
    server.otherwise = completion("trains", usage=(3000, 400))
    found = failure(await answered(server, ledger=Ledger(one * 1.2)))
    assert "budget" in found.reason
    assert len(server.bodies) == 1


def test_requests_in_the_air_hold_their_cost() -> None:
    ledger = Ledger(1.0)
    wanted = Estimate(1, 1, 0.6, "2026-06", 0)
    with ledger.reserve(wanted):
        with pytest.raises(BudgetReached, match=r"\$0.60 is in the air"):
            ledger.check(wanted)
        ledger.check(Estimate(1, 1, None, "", 0))  # what is not priced is not limited
        ledger.check(Estimate(1, 1, 0.4, "", 0))
    ledger.check(wanted)
    with pytest.raises(ZeroDivisionError), ledger.reserve(wanted):
        raise ZeroDivisionError
    ledger.check(wanted)


def test_dollars() -> None:
    assert [dollars(x) for x in (None, 0, 0.00123, 0.1, 12.345)] == [
        "price unknown",
        "$0.00",
        "$0.0012",
        "$0.10",
        "$12.35",
    ]


async def test_cancelling_keeps_nothing(server: ApiServer) -> None:
    gate = Gate(completion())
    server.otherwise = gate
    ledger = Ledger(5)
    try:
        async with chat_with(server) as chat:
            task = asyncio.create_task(explain(evidence(Label.TEXT), chat, ledger))
            assert await asyncio.to_thread(gate.entered.wait, 60)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=30)
            assert done == {task}
            assert task.cancelled()
    finally:
        gate.opened.set()
    assert cached() == []
    assert ledger.spent_usd == 0
    ledger.check(Estimate(1, 1, 5.0, "", 0))  # nothing is held any more


async def test_the_key_is_nowhere(
    server: ApiServer, own_home: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    server.otherwise = error(418, f"a teapot that knows {KEY}")
    echo = completion(f"Your key is {KEY}", refusal=f"I will not say {KEY}")
    told = completion(answer_json(explanation=f"the key {KEY}"), model=KEY)
    for reply in (completion(), told, echo, error(401, KEY), error(500, KEY), error(400, f"response_format {KEY}")):
        try:
            said.append(repr(await answered(server, reply, again=True)))
        except ApiError as caught:
            said.append("".join(traceback.format_exception(caught)))
            said.append(repr(vars(caught)))
            assert caught.__context__ is None
    assert len(cached()) == 1
    captured = capfd.readouterr()
    everything = [*said, caplog.text, captured.out, captured.err]
    everything += [path.read_bytes().decode("latin-1") for path in own_home.rglob("*") if path.is_file()]
    assert server.keys[0] == f"Bearer {KEY}"
    assert len(everything) > 9
    assert not [text for text in everything if KEY in text]
    assert any("[key]" in text for text in said)
