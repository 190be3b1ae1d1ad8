"""Servers as they are: errors, answers, usage, addresses and bodies of other forms than OpenAI's."""

import asyncio
import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Iterator

import httpx2
import pytest
from werkzeug import Request, Response

from tests.core.llm.test_client import REQUEST, Waits, ask
from tests.support.api_server import GOOD, KEY, ApiServer, Reply, api_server, completion, error, raw
from vlmscope.core.base.config import Api
from vlmscope.core.base.errors import ApiError, StopRun
from vlmscope.core.explain.answer import ExplanationAnswer
from vlmscope.core.llm import client as chat_module
from vlmscope.core.llm import connection
from vlmscope.core.llm.answers import WrongAnswer, read_json
from vlmscope.core.llm.budget import Ledger
from vlmscope.core.llm.client import Chat
from vlmscope.core.llm.completion import MOST_TOKENS
from vlmscope.core.llm.connection import LONGEST_BODY
from vlmscope.core.llm.conversation import converse
from vlmscope.core.llm.server_error import read_error

J = json.dumps(GOOD)
FORMATS = ["json_schema", "json_object", None]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    chat_module._dialects.clear()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")
    with api_server() as found:
        yield found


def formats(server: ApiServer) -> list[str | None]:
    return [body.get("response_format", {}).get("type") for body in server.bodies]


def caps(server: ApiServer) -> list[str]:
    return [next(key for key in body if key.startswith("max_")) for body in server.bodies]


def body(status: int, value: object) -> Reply:
    return raw(value if isinstance(value, str) else json.dumps(value), status)


def message(fields: dict[str, object], *, usage: object = None, finish: object = "stop") -> Reply:
    """A completion with these fields in its message."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **fields}}
    return body(200, {"model": "local-vlm", "choices": [choice], "usage": usage})


# Errors

WORDS = [
    ({"error": {"message": "the oven is cold"}}, "the oven is cold"),
    ({"error": "the oven is cold"}, "the oven is cold"),
    ({"message": "the oven is cold"}, "the oven is cold"),
    ({"Message": "the oven is cold"}, "the oven is cold"),
    ({"detail": "the oven is cold"}, "the oven is cold"),
    ({"type": "about:blank", "title": "Bad", "detail": "the oven is cold", "status": 400}, "the oven is cold"),
    ({"detail": [{"loc": ["body", "model"], "msg": "is cold", "input": "x"}]}, "body.model: is cold"),
    ({"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "cold"}]}}, "body.n: cold"),
    ({"errors": [{"message": "cold"}, {"message": "dark"}]}, "cold; dark"),
    ([{"error": {"code": 400, "message": "cold"}}], "cold"),
    (
        {"error": {"message": "Provider returned error", "metadata": {"raw": "the oven is cold"}}},
        "Provider returned error: the oven is cold",
    ),
    ({"oven": "cold"}, '{"oven": "cold"}'),
    ("the oven\nis cold", "the oven is cold"),
    (
        "<html><head><title>Bad</title><style>a{}</style></head><body>the &amp; oven <!-- x --></body></html>",
        "Bad the & oven",
    ),
    ("", "HTTP 400"),
    ("[" * 100_000, "[[["),
]


@pytest.mark.parametrize(("value", "words"), WORDS)
async def test_an_errors_words_are_read_from_any_body(server: ApiServer, value: object, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        await ask(server, body(400, value))
    assert caught.value.message.startswith(f"HTTP 400: {words}")
    assert len(caught.value.message) < 400
    assert len(server.bodies) == 1


def test_words_are_plain_and_short() -> None:
    assert read_error(json.dumps({"detail": "a\x1b]52;c;x\x07b\u202e"})).words == "a ]52;c;x b"
    assert len(read_error("x" * 1_000_000).words) == 300
    started = time.monotonic()
    for page in ("<" * 4_000_000, "<script " * 500_000, "<!--" * 1_000_000, "<a " * 1_000_000):
        assert len(read_error(page).words) <= 300
    assert time.monotonic() - started < 2


REFUSED_FORMATS = [
    (422, {"detail": [{"loc": ["body", "response_format", "type"], "msg": "Input should be 'text'", "input": "x"}]}),
    (400, {"error": "'response_format.type' must be 'text'"}),
    (400, {"error": {"code": 400, "message": "JSON schema conversion failed: Unrecognized schema"}}),
    (400, {"error": {"message": "failed to parse grammar"}}),
    (500, {"error": {"message": "failed to parse grammar", "type": "server_error", "code": 500}}),
    (400, {"message": "Invalid request", "more": {"field": "response_format"}}),
    (400, "<html>unknown response format</html>"),
    (501, "Not Implemented"),
]


@pytest.mark.parametrize(("status", "value"), REFUSED_FORMATS)
async def test_a_refused_format_is_stepped_down_at_once_and_remembered(
    server: ApiServer, status: int, value: object
) -> None:
    waits = Waits()
    assert (await ask(server, body(status, value), waits=waits)).text == J
    assert (await ask(server, waits=waits)).text == J
    assert formats(server) == ["json_schema", "json_object", "json_object"]
    assert waits.seconds == []


@pytest.mark.parametrize("status", [400, 500, 501])
async def test_all_formats_refused(server: ApiServer, status: int) -> None:
    server.otherwise = body(status, {"detail": "bad response_format"})
    with pytest.raises(ApiError, match=f"HTTP {status}: bad response_format"):
        await ask(server)
    assert formats(server)[:3] == FORMATS
    assert len(server.bodies) == (6 if status == 500 else 3)  # a 500 in plain text is tried again


async def test_what_did_not_help_is_not_remembered(server: ApiServer) -> None:
    server.script.extend([error(400, "unknown image format")] * 3)
    with pytest.raises(ApiError, match="unknown image format"):
        await ask(server)
    await ask(server)
    assert formats(server) == [*FORMATS, "json_schema"]


async def test_the_last_try_of_a_500_without_a_reason_is_in_plain_text(server: ApiServer) -> None:
    def no_format(request: Request) -> Response:
        wants_format = "response_format" in json.loads(request.get_data())
        return (error(500, "Internal Server Error") if wants_format else completion())(request)

    server.otherwise = no_format
    assert (await ask(server)).text == J
    assert formats(server) == ["json_schema"] * 3 + [None]
    await ask(server)
    assert formats(server)[4:] == [None]


MISTRAL = {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs"}]}


@pytest.mark.parametrize(
    ("status", "value"),
    [
        (422, {"object": "error", "message": MISTRAL}),
        (400, {"error": {"message": "Unsupported parameter", "param": "max_completion_tokens"}}),
        (400, {"error": "unknown field max_completion_tokens; known are response_format and max_tokens"}),
        (500, "unexpected keyword argument 'max_completion_tokens'"),
    ],
)
async def test_a_server_with_the_old_name_of_the_cap(server: ApiServer, status: int, value: object) -> None:
    await ask(server, body(status, value))
    await ask(server)
    assert caps(server) == ["max_completion_tokens", "max_tokens", "max_tokens"]
    assert formats(server) == ["json_schema"] * 3
    assert server.bodies[1]["max_tokens"] == REQUEST.max_output_tokens


async def test_a_cap_and_a_format_refused(server: ApiServer) -> None:
    await ask(server, error(400, "max_completion_tokens?"), error(400, "response_format?"), error(400, "json_object?"))
    assert caps(server) == ["max_completion_tokens", "max_tokens", "max_tokens", "max_tokens"]
    assert formats(server) == ["json_schema", *FORMATS]
    server.otherwise = error(400, "max_completion_tokens and response_format are unknown")
    with pytest.raises(ApiError):
        await ask(server)  # all that it refuses is left out already
    assert len(server.bodies) == 5


@pytest.mark.parametrize(
    "value",
    [
        {"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": "upstream is limited"}}},
        {"error": {"message": "upstream is limited", "code": "502"}, "choices": []},
        {"error": {"message": "upstream is limited", "type": "overloaded_error"}},
        {"object": "error", "message": "upstream is limited", "code": 503},
        {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "upstream is limited"}}]},
    ],
)
async def test_an_error_in_an_answer_may_pass(server: ApiServer, value: object) -> None:
    assert (await ask(server, *[body(200, value)] * 3)).text == J
    assert len(server.bodies) == 4
    server.otherwise = body(200, value)
    with pytest.raises(ApiError, match=r"No answer in 4 tries: The server answered with an error: .*limited"):
        await ask(server)


async def test_an_error_in_an_answer_that_does_not_pass(server: ApiServer) -> None:
    with pytest.raises(ApiError, match="The server answered with an error: no such model"):
        await ask(server, body(200, {"error": "no such model"}))
    with pytest.raises(StopRun, match="refuses the key"):
        await ask(server, body(200, {"error": {"message": "who are you", "code": 401}}))
    with pytest.raises(StopRun, match="is used up"):
        await ask(server, body(200, {"error": {"message": "pay", "code": "insufficient_quota"}}))
    await ask(server, body(200, {"error": {"message": "no json_schema here", "code": 400}}))
    assert formats(server) == ["json_schema"] * 4 + ["json_object"]


# Answers


@pytest.mark.parametrize(
    "fields",
    [
        {"content": J},
        {"content": [{"type": "text", "text": J}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "{"}]}, {"type": "text", "text": J}]},
        {"content": [J[:9], {"type": "text", "text": J[9:]}]},
        {"content": GOOD},
        {"content": None, "reasoning_content": J},
        {"content": "\n", "reasoning": J},
        {"content": J, "refusal": None, "reasoning_content": "hm", "tool_calls": None},
        {"content": [{"type": "text", "text": None}], "reasoning_content": J},
    ],
)
async def test_an_answer_may_be_in_other_places(server: ApiServer, fields: dict[str, object]) -> None:
    answer = await ask(server, message(fields))
    assert json.loads(answer.text) == GOOD
    assert (answer.refusal, answer.finish_reason, answer.model) == ("", "stop", "local-vlm")


@pytest.mark.parametrize(
    ("finish", "read"), [(None, "stop"), (3, "stop"), ("STOP", "stop"), ("MAX_TOKENS", "length"), ("length", "length")]
)
async def test_why_an_answer_ends(server: ApiServer, finish: object, read: str) -> None:
    assert (await ask(server, message({"content": J}, finish=finish))).finish_reason == read


USAGE: list[tuple[object, tuple[int, int]]] = [
    (None, (0, 0)),
    ([], (0, 0)),
    ("900", (0, 0)),
    ({}, (0, 0)),
    ({"prompt_tokens": None, "completion_tokens": None}, (0, 0)),
    ({"prompt_tokens": 900, "completion_tokens": 60}, (900, 60)),
    ({"prompt_tokens": 900.0, "completion_tokens": 60}, (900, 60)),
    ({"input_tokens": 900, "output_tokens": 60}, (900, 60)),
    ({"prompt_tokens": 900, "completion_tokens": -1}, (0, 0)),
    ({"prompt_tokens": 10**30, "completion_tokens": 60}, (0, 0)),
    ({"prompt_tokens": 900, "completion_tokens": MOST_TOKENS + 1}, (0, 0)),
    ({"prompt_tokens": 900, "completion_tokens": True}, (0, 0)),
    ({"prompt_tokens": float("nan"), "completion_tokens": 1}, (0, 0)),
    ({"prompt_tokens": float("inf"), "completion_tokens": 1}, (0, 0)),
]


@pytest.mark.parametrize(("usage", "read"), USAGE)
async def test_usage_that_cannot_be_true_is_not_known(server: ApiServer, usage: object, read: tuple[int, int]) -> None:
    answer = await ask(server, message({"content": J}, usage=usage))
    assert (answer.text, answer.input_tokens, answer.output_tokens) == (J, *read)


async def test_usage_of_thousands_of_digits(server: ApiServer) -> None:
    choices = json.dumps([{"message": {"content": J}}])
    usage = f'{{"prompt_tokens": {"9" * 5000}, "completion_tokens": 1}}'
    answer = await ask(server, raw(f'{{"choices": {choices}, "usage": {usage}}}'))
    assert (answer.text, answer.input_tokens) == (J, 0)


async def test_usage_that_cannot_be_true_is_booked_at_the_estimate(server: ApiServer) -> None:
    for count in (10**30, -5):
        ledger = Ledger(5)
        server.script.append(message({"content": J}, usage={"prompt_tokens": count, "completion_tokens": 60}))
        async with Chat(Api(base_url=server.url)) as chat:
            found = await converse(REQUEST, str, chat, ledger)
        assert found.outcome == J
        assert found.cost_usd is None
        assert 0 < ledger.spent_usd < 0.1


OTHER = json.dumps({**GOOD, "explanation": "a first thought"})
FRAMES = [
    'The pictures show apples, so {{"explanation"...}} fits.\n</think>\n\n{}',
    "a {OTHER}</think>{}",
    "<think>{OTHER}</think>\n<answer>{}</answer>",
    "<thinking>{{{{</thinking> {}",
    "<answer>\n{}\n</answer>",
    "Here it is:\n```json\n{}\n```\nI hope that this helps {{ }}.",
    '```\n{}\n```\n\nNote: `{{"a": 1}}` is not it.',
    "First {OTHER}, then better {}",
    "\\text{{ x }} \\frac{{1}}{{2}} {}",
    "[{}]",
    "Only thoughts {}</think>",
    "\ufeff{}",
]


@pytest.mark.parametrize("frame", FRAMES)
def test_the_object_is_found_in_what_is_around_it(frame: str) -> None:
    text = frame.replace("{OTHER}", OTHER).replace("{{", "{").replace("}}", "}").replace("{}", J)
    assert read_json(text, ExplanationAnswer).explanation == GOOD["explanation"]


@pytest.mark.parametrize("text", ['{"a":' * 200_000, '{"a": "' * 200_000, "{" * 1_000_000, '{"a": 1}' * 200_000])
def test_a_search_for_objects_ends_soon(text: str) -> None:
    started = time.monotonic()
    with pytest.raises(WrongAnswer):
        read_json(text, ExplanationAnswer)
    assert time.monotonic() - started < 5


# Addresses


@pytest.mark.parametrize("status", [404, 405])
async def test_a_wrong_address_is_named(server: ApiServer, status: int) -> None:
    with pytest.raises(ApiError) as caught:
        await ask(server, body(status, {"detail": "Not Found"}))
    assert caught.value.message == f"HTTP {status}: Not Found (asked: {server.url}/chat/completions)."
    assert "/v1" in caught.value.hint
    with pytest.raises(ApiError) as caught:
        await ask(server, raw("<html>Welcome</html>"))
    assert f"{server.url}/chat/completions answered something else than a completion" in caught.value.message


async def test_a_query_goes_after_the_path_and_is_not_shown(server: ApiServer) -> None:
    asked: list[str] = []

    def look(request: Request) -> Response:
        asked.append(request.full_path)
        return (completion() if len(asked) == 1 else body(404, "no"))(request)

    server.otherwise = look
    async with Chat(Api(base_url=f"{server.url}/?api-version=2024-10&code=secret")) as chat:
        assert (await chat.ask(REQUEST)).text == J
        with pytest.raises(ApiError) as caught:
            await chat.ask(REQUEST)
    assert asked == ["/v1/chat/completions?api-version=2024-10&code=secret"] * 2
    assert f"{server.url}/chat/completions" in caught.value.message
    assert "secret" not in str(caught.value)


# Bodies and redirects


def packed(data: bytes, packing: str, status: int = 200) -> Reply:
    return lambda _: Response(data, status, {"Content-Encoding": packing}, content_type="application/json")


def completion_bytes() -> bytes:
    return json.dumps({"choices": [{"message": {"content": J}}]}).encode()


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_an_endless_body_is_not_read(server: ApiServer, status: int) -> None:
    sent = 0

    def forever() -> Iterator[bytes]:
        nonlocal sent
        while sent < 50 * LONGEST_BODY:
            sent += 65536
            yield b" " * 65536

    server.otherwise = lambda _: Response(forever(), status, content_type="application/json")
    with pytest.raises(ApiError, match=r"longer than 4 MB"):
        await ask(server)
    assert len(server.bodies) == 1
    assert sent < 10 * LONGEST_BODY


@pytest.mark.parametrize("status", [200, 400])
async def test_a_bomb_is_counted_unpacked(server: ApiServer, status: int) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([packer.compress(b" " * 2**20) for _ in range(200)]) + packer.flush()
    assert len(bomb) < LONGEST_BODY
    await ask(server)  # what is imported does not count
    tracemalloc.start()
    try:
        with pytest.raises(ApiError, match=r"longer than 4 MB"):
            await ask(server, packed(bomb, "gzip", status))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * 2**20


async def test_packed_answers_are_read_and_unknown_packings_refused(server: ApiServer) -> None:
    for data, packing in (
        (gzip.compress(completion_bytes()), "gzip"),
        (zlib.compress(completion_bytes()), "deflate"),
        (completion_bytes(), "identity"),
    ):
        assert (await ask(server, packed(data, packing))).text == J
    with pytest.raises(ApiError, match="cannot be unpacked"):
        await ask(server, packed(completion_bytes(), "gzip"))
    for packing in ("br", "zstd", "gzip, gzip"):
        with pytest.raises(ApiError, match="was not asked for"):
            await ask(server, packed(completion_bytes(), packing))


@pytest.mark.parametrize("charset", ["hex", "utf-16", "nonsense", "idna"])
@pytest.mark.parametrize("status", [200, 400])
async def test_a_charset_of_another_kind(server: ApiServer, charset: str, status: int) -> None:
    content = completion_bytes() if status == 200 else b'{"detail": "cold"}'
    server.script.append(lambda _: Response(content, status, {"Content-Type": f"application/json; charset={charset}"}))
    if status == 200:
        assert (await ask(server)).text == J
    else:
        with pytest.raises(ApiError, match="HTTP 400: cold"):
            await ask(server)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_another_server_gets_nothing(server: ApiServer, status: int) -> None:
    with api_server() as other:
        target = f"{other.url}/chat/completions"
        with pytest.raises(StopRun) as caught:
            await ask(server, raw("", status, {"Location": f"{target}?a=b"}))
        assert other.bodies == []
    assert target in caught.value.message
    assert caught.value.hint.endswith(f"{other.url}.")
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("asked", "target", "followed"),
    [
        ("http://a/v1", "https://a/v1", True),
        ("http://a:80/v1", "http://A/v2", True),
        ("https://a/v1", "http://a/v1", False),
        ("http://a:8000/v1", "https://a/v1", False),
        ("http://a/v1", "http://a:8000/v1", False),
        ("http://a/v1", "http://a.b/v1", False),
        ("http://a/v1", "//b/v1", False),
        ("http://a/v1", "http://a:b", False),
        ("http://a/v1", "http://a@b/v1", False),
    ],
)
async def test_which_redirects_are_followed(asked: str, target: str, followed: bool) -> None:
    request = httpx2.Request("POST", asked)
    response = httpx2.Response(307, headers={"Location": target}, request=request)
    if followed:
        connection._check_redirect(response)
    else:
        with pytest.raises(connection.BadResponse, match="redirects to"):
            connection._check_redirect(response)


async def test_redirects_within_a_server(server: ApiServer) -> None:
    there = {"Location": "/v1/chat/completions"}
    assert (await ask(server, raw("", 307, there), raw("", 308, there))).text == J
    with pytest.raises(ApiError, match="redirects to"):
        await ask(server, raw("", 302, there))  # it would become a GET
    before = len(server.bodies)
    server.otherwise = raw("", 307, there)
    with pytest.raises(ApiError):
        await ask(server)
    assert len(server.bodies) - before <= 16


# Setting up


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "No such file"),
        ("ALL_PROXY", "gopher://user:hidden@127.0.0.1:9", "gopher"),
        ("https_proxy", "http://a:b", "port"),
        ("ALL_PROXY", "socks5h://user:hidden@127.0.0.1:9", "SOCKS"),
    ],
)
async def test_an_environment_that_no_client_can_be_made_in(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    for other in ("NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(ApiError) as caught:
        await ask(server)
    assert caught.value.message.startswith("The connection to the server cannot be set up: ")
    assert words in caught.value.message
    assert f"unset {name.upper()} in the environment" in caught.value.hint
    assert "hidden" not in str(caught.value)
    assert server.bodies == []


async def test_a_library_that_is_missing_or_fails(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"no, {KEY}")

    async with Chat(Api(base_url=server.url)) as chat:
        client = await chat._open()
        monkeypatch.setattr(client._client, "send", broken)
        with pytest.raises(ApiError, match=r"no, \[key\]"):
            await chat.ask(REQUEST)

    def missing(*_: object) -> None:
        raise ImportError("No module named 'openai'")

    monkeypatch.setattr(chat_module, "_make_client", missing)
    with pytest.raises(StopRun, match="No module named 'openai'") as caught:
        await Chat(Api(base_url=server.url)).ask(REQUEST)
    assert caught.value.__context__ is None
    assert "Install" in caught.value.hint
    assert asyncio.all_tasks() == {asyncio.current_task()}
