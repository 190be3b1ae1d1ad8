"""The client against a real server on loopback: each row of the failure table, and what is sent."""

import asyncio
import gc
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.support.api_server import GOOD, KEY, ApiServer, Gate, Reply, api_server, completion, error, raw
from vlmscope.core.base.config import Api
from vlmscope.core.base.errors import ApiError, StopRun, UsageError
from vlmscope.core.llm import client as chat_module
from vlmscope.core.llm.access import base_url, key_problem
from vlmscope.core.llm.client import Chat
from vlmscope.core.llm.messages import ChatAnswer, ChatRequest, ImagePart, TextPart
from vlmscope.core.llm.retry import LONGEST_WAIT_S, retry_after, wait_s

REQUEST = ChatRequest(
    model="gpt-4o",
    system="Say what it is.",
    parts=(TextPart("Sample 1"), ImagePart("a.png", b"\x89PNG", 504, 504), TextPart("0|cat|10")),
    schema_name="neuron_explanation",
    schema={"type": "object"},
    max_output_tokens=1000,
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    chat_module._dialects.clear()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")
    with api_server() as found:
        yield found


class Waits:
    """Sleeps that take no time and are remembered."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def ask(
    server: ApiServer,
    *script: Reply,
    waits: Waits | None = None,
    timeout_s: float = 60.0,
    request: ChatRequest = REQUEST,
) -> ChatAnswer:
    server.script.extend(script)
    settings = Api(base_url=server.url, timeout_s=timeout_s)
    async with Chat(settings, sleep=waits or Waits(), chance=lambda: 0.0) as chat:
        return await chat.ask(request)


async def test_what_is_sent_and_what_comes_back(server: ApiServer) -> None:
    answer = await ask(server)
    assert server.bodies == [
        {
            "model": "gpt-4o",
            "messages": [
                {"role": "system", "content": "Say what it is."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Sample 1"},
                        {
                            "type": "image_url",
                            "image_url": {"url": "data:image/png;base64,iVBORw==", "detail": "high"},
                        },
                        {"type": "text", "text": "0|cat|10"},
                    ],
                },
            ],
            "max_completion_tokens": 1000,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "neuron_explanation", "strict": True, "schema": {"type": "object"}},
            },
        }
    ]
    assert server.keys == [f"Bearer {KEY}"]
    assert json.loads(answer.text) == GOOD
    assert (answer.finish_reason, answer.refusal, answer.model) == ("stop", "", "gpt-4o-2024-08-06")
    assert (answer.input_tokens, answer.output_tokens) == (2000, 100)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_what_may_pass_is_tried_again(server: ApiServer, status: int) -> None:
    waits = Waits()
    answer = await ask(server, error(status), error(status), error(status), waits=waits)
    assert json.loads(answer.text) == GOOD
    assert waits.seconds == [0.5, 1.0, 2.0]
    assert len(server.bodies) == 4


async def test_four_tries_and_no_more(server: ApiServer) -> None:
    waits = Waits()
    server.otherwise = error(500, "the oven is\x1b[31m cold")
    with pytest.raises(ApiError) as caught:
        await ask(server, waits=waits)
    assert len(server.bodies) == 4
    assert len(waits.seconds) == 3
    assert caught.value.message == "No answer in 4 tries: HTTP 500: the oven is [31m cold."
    assert not isinstance(caught.value, StopRun)


async def test_a_short_retry_after_is_honoured_and_a_long_one_capped(server: ApiServer) -> None:
    waits = Waits()
    soon, late = error(429, headers={"retry-after": "7"}), error(429, headers={"retry-after": "86400"})
    await ask(server, soon, late, waits=waits)
    assert waits.seconds == [7.0, LONGEST_WAIT_S]


def test_retry_after_is_seconds_or_a_date() -> None:
    then = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 < retry_after({"retry-after": format_datetime(then, usegmt=True)}) <= 100
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    for nonsense in ("", "soon", "-4", "nan", "inf"):
        assert retry_after({"retry-after": nonsense}) == 0


def test_jitter_spreads_what_failed_together() -> None:
    assert wait_s(1, 0, 0.0) == 0.5
    assert wait_s(1, 0, 0.5) == 0.75
    assert wait_s(3, 0, 1.0) == 4.0


async def test_a_server_that_does_not_answer_in_time(server: ApiServer) -> None:
    gate = Gate(completion())
    server.otherwise = gate
    try:
        with pytest.raises(ApiError, match=r"No answer in 4 tries: no answer within 0.05 s"):
            await ask(server, timeout_s=0.05)
    finally:
        gate.opened.set()


async def test_no_connection(server: ApiServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there
        port = taken.getsockname()[1]
        waits = Waits()
        async with Chat(Api(base_url=f"http://127.0.0.1:{port}/v1"), sleep=waits) as chat:
            with pytest.raises(ApiError, match=rf"No answer in 4 tries: no connection to 127.0.0.1:{port} \("):
                await chat.ask(REQUEST)
    assert len(waits.seconds) == 3


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (error(429, "You exceeded your quota", code="insufficient_quota", kind="insufficient_quota"), "is used up"),
        (error(429, "You exceeded your quota", kind="insufficient_quota"), "is used up"),
        (error(402, "Insufficient credits"), "is used up"),
        (error(401, f"Incorrect API key provided: {KEY}.", code="invalid_api_key"), "refuses the key"),
        (error(403, "Country not supported"), "does not allow this"),
    ],
)
async def test_what_ends_the_run(server: ApiServer, reply: Reply, said: str) -> None:
    waits = Waits()
    with pytest.raises(StopRun) as caught:
        await ask(server, reply, waits=waits)
    assert said in caught.value.message
    assert "OPENAI_API_KEY" in caught.value.message
    assert "OPENAI_API_KEY" in caught.value.hint
    assert KEY not in str(caught.value)
    assert len(server.bodies) == 1
    assert waits.seconds == []


async def test_response_format_is_stepped_down_and_remembered(server: ApiServer) -> None:
    first = error(400, "'json_schema' is not supported", param="response_format.type")
    second = error(422, "response_format: unknown field")
    await ask(server, first, second)
    await ask(server)
    assert [body.get("response_format", {}).get("type") for body in server.bodies] == [
        "json_schema",
        "json_object",
        None,
        None,
    ]
    other = ChatRequest("other", "Say.", (TextPart("a"),), "s", {}, 10)
    with pytest.raises(ApiError):  # another model steps down by itself
        await ask(server, error(400, "no such thing"), request=other)
    assert server.bodies[-1]["response_format"]["type"] == "json_schema"


async def test_without_response_format_there_is_nothing_to_step_down(server: ApiServer) -> None:
    server.otherwise = error(400, "response_format is unknown")
    with pytest.raises(ApiError, match="response_format is unknown"):
        await ask(server)
    assert len(server.bodies) == 3


@pytest.mark.parametrize(("status", "message"), [(404, "The model `gpt-9` does not exist"), (400, "Too many images")])
async def test_other_errors_fail_with_the_servers_words(server: ApiServer, status: int, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        await ask(server, error(status, message + "x" * 10_000))
    assert f"HTTP {status}: {message}" in caught.value.message
    assert ("model" in caught.value.hint) == (status == 404)  # which may have left the server
    assert len(caught.value.message) < 400
    assert len(server.bodies) == 1


async def test_refusals_come_back_as_refusals(server: ApiServer) -> None:
    assert (await ask(server, completion("", refusal="I can't help with that."))).refusal == "I can't help with that."
    assert (await ask(server, completion("", finish="content_filter"))).refusal
    assert (await ask(server, error(400, "flagged", code="content_filter"))).refusal == "flagged"
    assert len(server.bodies) == 3


@pytest.mark.parametrize("text", ["<html>Welcome</html>", "", "{}", '{"choices": []}', "[1]"])
async def test_an_answer_that_is_no_completion(server: ApiServer, text: str) -> None:
    with pytest.raises(ApiError, match="something else than a completion") as caught:
        await ask(server, raw(text))
    assert "OPENAI_BASE_URL" in caught.value.hint
    assert len(server.bodies) == 1


async def test_a_server_that_tells_little(server: ApiServer) -> None:
    answer = await ask(server, raw('{"choices": [{"message": {"content": "x"}}]}'))
    assert answer == ChatAnswer("x", "stop", "", "gpt-4o", 0, 0)


async def test_cancelling_ends_at_once_and_leaves_nothing(server: ApiServer) -> None:
    gate = Gate(completion())
    server.otherwise = gate
    try:
        async with Chat(Api(base_url=server.url)) as chat:
            task = asyncio.create_task(chat.ask(REQUEST))
            assert await asyncio.to_thread(gate.entered.wait, 60)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=30)
            assert done == {task}  # while the server still has not answered
            assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
    finally:
        gate.opened.set()
    gc.collect()  # a connection that was left open would warn


async def test_no_key_for_openai_stops_before_anything_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_module, "_make_client", lambda *_: pytest.fail("a client was made"))
    with pytest.raises(StopRun, match="OPENAI_API_KEY is not set"):
        await Chat(Api()).ask(REQUEST)


async def test_another_server_gets_a_placeholder(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    await ask(server)
    assert server.keys == ["Bearer no-key"]


async def test_a_placeholder_of_the_users_own_is_no_secret(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a")
    assert json.loads((await ask(server)).text) == GOOD


async def test_the_environment_names_the_server_before_the_settings(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
    async with Chat(Api(base_url="http://127.0.0.1:9/v1")) as chat:
        await chat.ask(REQUEST)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://a/v1", "http://", "https://[", "http://a/\x1b"])
def test_a_base_url_must_be_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="base_url in the settings"):
        base_url(Api(base_url=url))
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert key_problem(Api()).startswith("OPENAI_BASE_URL is")


def test_who_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    openais = Api(base_url="https://API.openai.com/v1/")
    european = Api(base_url="https://eu.api.openai.com/v1")
    local = Api(base_url="http://localhost:8000/v1")
    assert "OPENAI_API_KEY" in key_problem(Api())
    assert "OPENAI_BASE_URL" in key_problem(Api())
    assert key_problem(openais)
    assert key_problem(european)
    assert key_problem(local) == ""
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")  # as from a file
    assert key_problem(Api()) == key_problem(openais) == ""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ключ")
    assert "characters" in key_problem(local)
    assert "ключ" not in key_problem(local)
