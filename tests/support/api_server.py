"""A server on loopback that speaks Chat Completions as it is told: real HTTP, no stand-in for the client."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

KEY = "sk-distinctive-0123456789-never-written"  #: no file, message or output may hold it
PRICES = f"genai-prices {version('genai-prices')}"  #: what the price of OpenAI's models is dated by

GOOD: dict[str, Any] = {
    "pattern_found": True,
    "explanation": "trains and railway tracks",
    "visual_phrases": ["train", "rail"],
    "text_cue": "words for trains",
    "confidence": "high",
}

Reply = Callable[[Request], Response]


def completion(
    content: str | None = None,
    *,
    finish: str = "stop",
    refusal: str | None = None,
    model: str = "gpt-4o-2024-08-06",
    usage: tuple[int, int] | None = (2000, 100),
) -> Reply:
    """An answer; by default a good one."""
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {
                    "role": "assistant",
                    "content": json.dumps(GOOD) if content is None else content,
                    "refusal": refusal,
                },
            }
        ],
    }
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return raw(json.dumps(body))


def error(
    status: int,
    message: str = "no",
    *,
    code: str | None = None,
    kind: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """An error as OpenAI has it."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return raw(json.dumps(body), status, headers)


def raw(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Any answer."""
    return lambda _: Response(text, status, dict(headers or {}), content_type="application/json")


class ApiServer:
    """Answers with ``script``, then with ``otherwise``; remembers what it was sent.

    Attributes:
        bodies: of the requests for completions, in order.
        keys: their Authorization headers.
        most_at_once: how many requests were being answered at the same time.
    """

    def __init__(self, server: HTTPServer) -> None:
        self.script: deque[Reply] = deque()
        self.otherwise: Reply = completion()
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.most_at_once = 0
        self.url = server.url_for("/v1")
        self._now = 0
        self._lock = threading.Lock()
        server.expect_request("/v1/chat/completions", method="POST").respond_with_handler(self._complete)

    def _complete(self, request: Request) -> Response:
        with self._lock:
            self.bodies.append(json.loads(request.get_data()))
            self.keys.append(request.headers["Authorization"])
            reply = self.script.popleft() if self.script else self.otherwise
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            return reply(request)
        finally:
            with self._lock:
                self._now -= 1


class Gate:
    """Replies that wait until the test opens them; opened in any case when the test is over."""

    def __init__(self, then: Reply) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self._then = then

    def __call__(self, request: Request) -> Response:
        self.entered.set()
        self.opened.wait(60)
        return self._then(request)


class _Server(HTTPServer):
    def thread_target(self) -> None:
        """Look often whether to stop: by default every half second, which each test would wait for."""
        assert self.server is not None
        self.server.serve_forever(poll_interval=0.01)


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """A running server. It must be stopped with no request waiting: open every ``Gate``."""
    server = _Server(threaded=True)
    server.start()
    try:
        yield ApiServer(server)
    finally:
        server.clear()
        server.stop()
