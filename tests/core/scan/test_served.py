"""A server describes what has no description: each picture once, greedily, and nothing is lost when it fails."""

import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageStat
from werkzeug import Request, Response

from tests.support.api_server import ApiServer, api_server, completion, error, raw
from tests.support.tiny import make_images
from vlmscope.core.base.callbacks import not_cancelled
from vlmscope.core.base.config import GivenServer, Price
from vlmscope.core.base.errors import BudgetReached, Cancelled, StopRun
from vlmscope.core.data.description_cache import DescriptionCache
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import Data, read_data
from vlmscope.core.scan import served
from vlmscope.core.scan.served import Served, describe_by_server

QUESTION = "What is there?"


def words_of(picture: Image.Image) -> str:
    """The description that the server writes: another for each picture."""
    return "mean colour " + " ".join(f"{mean:.3f}" for mean in ImageStat.Stat(picture.convert("RGB")).mean)


def sent(body: Any) -> Image.Image:
    """The picture in a request."""
    url = body["messages"][-1]["content"][0]["image_url"]["url"]
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def describing(request: Request, **more: Any) -> Response:
    return completion(words_of(sent(request.get_json())), model="served", **more)(request)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    monkeypatch.setattr("vlmscope.core.llm.retry.BACK_OFF_S", 0.0)
    monkeypatch.setattr("vlmscope.core.llm.client._dialects", {})
    with api_server() as found:
        found.otherwise = describing
        yield found


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Eleven images without descriptions; the last has the bytes of the first."""
    folder = make_images(tmp_path / "data", 11, descriptions=False)
    whole = read_data(str(folder))
    first, last = (whole.root / whole.sources[at].image for at in (0, -1))
    last.write_bytes(first.read_bytes())
    return whole


def run(
    server: ApiServer,
    data: Data,
    stopped: Callable[[], bool] = not_cancelled,
    told: list[tuple[str, int, int]] | None = None,
    **settings: Any,
) -> Served:
    given = GivenServer(base_url=server.url, model="served", **settings)
    told = [] if told is None else told
    return describe_by_server(given, data, QUESTION, lambda *step: told.append(step), stopped, DescriptionCache())


def expected(data: Data) -> list[str | None]:
    return [words_of(load_image(data.root / source.image)) for source in data.sources]


def words(data: Data) -> list[str | None]:
    return [source.description for source in data.sources]


def test_each_picture_is_asked_about_once(server: ApiServer, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers come in another order than they were asked for, and equal pictures are one."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/another")  # the address that was given wins
    waits = iter([0.3, 0.2, 0.1, *[0.0] * 20])
    lock = threading.Lock()

    def late(request: Request) -> Response:
        with lock:
            wait = next(waits)
        time.sleep(wait)
        return describing(request)

    server.otherwise = late
    told: list[tuple[str, int, int]] = []
    made = run(server, data, told=told)
    assert words(made.data) == expected(data) and len(set(words(made.data))) == 10
    assert len(server.bodies) == 10 and server.most_at_once > 1
    assert told[0] == ("describing", 0, 11) and told[-1] == ("describing", 11, 11)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    body = server.bodies[0]
    assert body["temperature"] == 0 and body["max_completion_tokens"] == 300 and "response_format" not in body
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert body["messages"][0]["content"][1] == {"type": "text", "text": QUESTION}
    assert words(run(server, data).data) == expected(data) and len(server.bodies) == 10  # the cache has them all


def test_requests_at_once_are_bounded(server: ApiServer, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "AT_ONCE", 2)

    def slow(request: Request) -> Response:
        time.sleep(0.02)
        return describing(request)

    server.otherwise = slow
    run(server, data, requests_at_once=1)
    assert server.most_at_once == 2
    priced = {"served": Price(input=1, output=1)}
    other = GivenServer(base_url=server.url, model="served", requests_at_once=1, prices=priced)
    server.most_at_once = 0
    describe_by_server(other, data, "Another?", lambda *_: None, cache=DescriptionCache())
    assert server.most_at_once == 1  # a priced server: what the settings allow


def test_a_server_that_dies_ends_the_run_and_the_next_one_continues(server: ApiServer, data: Data) -> None:
    server.script.extend([describing] * 4)
    server.otherwise = error(503, "out of memory")
    with pytest.raises(StopRun, match=r"[67] pictures.*out of memory") as ended:
        run(server, data, requests_at_once=1)
    assert "kept" in ended.value.hint and "served" in ended.value.hint
    asked = len(server.bodies)
    server.otherwise = describing
    assert words(run(server, data).data) == expected(data)
    assert len(server.bodies) - asked == 6


def test_a_server_that_refuses_all_pictures_ends_the_run(server: ApiServer, data: Data) -> None:
    server.otherwise = error(400, "this model is text only")
    with pytest.raises(StopRun, match="text only"):
        run(server, data)
    few = Data(data.name, data.root, data.sources[:2])  # fewer than end a run
    with pytest.raises(StopRun, match=r"2 pictures\..*text only"):
        run(server, few)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (completion("", refusal="I cannot look at this."), "refuses: I cannot look"),
        (completion(" \n"), "answer is empty"),
        (error(400, "picture too large"), "picture too large"),
        (raw("{}"), "no description"),
    ],
)
def test_one_picture_without_an_answer_is_left_out_with_its_reason(
    server: ApiServer, data: Data, monkeypatch: pytest.MonkeyPatch, reply: Any, reason: str
) -> None:
    monkeypatch.setattr(served, "AT_ONCE", 1)
    server.script.extend([describing, reply])
    made = run(server, data, requests_at_once=1)
    without = [source for source in made.data.sources if source.description is None]
    assert [source.image for source in without] == [data.sources[1].image] and reason in without[0].trouble
    assert sum(text is not None for text in words(made.data)) == 10


def test_a_cut_answer_is_kept_and_counted(server: ApiServer, data: Data) -> None:
    """As long as the longest description is no cut of the server's own."""
    server.script.extend([completion("A train on", finish="length", usage=(600, 20))])
    server.script.extend([completion("A train and", finish="length", usage=(600, 300))])
    made = run(server, data, requests_at_once=1)
    assert made.cut == 1 and {"A train on", "A train and"} <= set(words(made.data))


def test_a_server_without_temperature_is_asked_without(server: ApiServer, data: Data) -> None:
    server.script.append(error(400, "Unsupported value: 'temperature' does not support 0", param="temperature"))
    assert words(run(server, data).data) == expected(data)
    assert "temperature" in server.bodies[0] and "temperature" not in server.bodies[-1]


def test_stop_and_budget(server: ApiServer, data: Data) -> None:
    with pytest.raises(Cancelled):
        run(server, data, lambda: True)
    with pytest.raises(BudgetReached, match="budget"):
        run(server, data, budget_usd=0.001, prices={"served": Price(input=1, output=1)})
    assert words(run(server, data).data) == expected(data)


def test_a_large_picture_is_sent_smaller_and_a_damaged_one_not_at_all(server: ApiServer, data: Data) -> None:
    large, damaged = (data.root / data.sources[at].image for at in (1, 2))
    Image.new("RGB", (3000, 30), "red").save(large)
    damaged.write_bytes(b"no picture")
    made = run(server, data)
    assert (2048, 20) in {sent(body).size for body in server.bodies}
    assert made.data.sources[2].description is None and not made.data.sources[2].trouble  # the scan names it
