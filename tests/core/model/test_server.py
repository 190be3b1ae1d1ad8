"""The worker alone, spoken to over plain pipes; its log; and the real engine on a tiny model."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.watched import FAKE, map_request, watched
from vlmscope.core.worker import wire
from vlmscope.core.worker.log import LIMIT, open_worker_log, worker_log
from vlmscope.core.worker.messages import Cancel, Failed, Loaded, Loading, MapAnswer, Message, ModelSpec

Worker = subprocess.Popen[bytes]
Kind = TypeVar("Kind", bound=Message)


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A fake worker, loaded."""
    environment = {**os.environ, "PYTHONPATH": str(FAKE.parents[2])}
    with subprocess.Popen(
        [sys.executable, "-P", str(FAKE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        try:
            send(process, ModelSpec("fake"), 0)
            assert receive(process, Loading) == Loading("reading weights", 0.5)
            assert receive(process, Loaded) == Loaded()
            yield process
        finally:
            process.kill()


def send(process: Worker, message: Message, number: int) -> None:
    assert process.stdin is not None
    process.stdin.write(wire.pack(message, number))
    process.stdin.flush()


def receive(process: Worker, kind: type[Kind], number: int = 0) -> Kind:
    assert process.stdout is not None
    frame = wire.read(process.stdout)
    assert frame is not None
    assert frame.number == number
    return wire.unpack(frame, kind)


def test_the_end_of_stdin_ends_an_idle_worker(worker: Worker) -> None:
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(30) == 0


def test_the_end_of_stdin_ends_a_busy_worker(worker: Worker) -> None:
    assert worker.stdin is not None
    send(worker, map_request("deaf"), 1)
    send(worker, map_request(), 2)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.2)
    worker.stdin.close()
    assert worker.wait(30) == 0


def test_a_reader_that_has_gone_ends_the_worker(worker: Worker) -> None:
    assert worker.stdout is not None
    worker.stdout.close()
    send(worker, map_request(), 1)
    assert worker.wait(30) == 0


def test_nonsense_from_the_screen_ends_the_worker(worker: Worker) -> None:
    assert worker.stdin is not None
    worker.stdin.write(b"Traceback\n")
    worker.stdin.flush()
    assert worker.wait(30) == 3
    assert "FrameError: Not a frame" in worker_log().read_text()


def test_a_request_of_another_kind_fails_and_the_next_is_answered(worker: Worker) -> None:
    send(worker, Loading("x", None), 1)
    assert "came in place of" in receive(worker, Failed, 1).message
    send(worker, map_request(), 2)
    assert receive(worker, MapAnswer, 2).sample == 312


def test_a_cancellation_reaches_only_its_request(worker: Worker) -> None:
    send(worker, map_request("soft"), 1)
    send(worker, Cancel(), 1)
    stopped = receive(worker, Failed, 1)
    assert (stopped.title, stopped.stopped) == ("Stopped", True)
    send(worker, map_request("soft"), 2)
    send(worker, Cancel(), 1)
    send(worker, map_request(), 3)
    send(worker, Cancel(), 2)
    assert receive(worker, Failed, 2).stopped
    assert receive(worker, MapAnswer, 3).sample == 312


def test_a_request_cancelled_before_its_turn_is_not_started(worker: Worker) -> None:
    send(worker, map_request("soft"), 1)
    send(worker, map_request("abort"), 2)
    send(worker, Cancel(), 2)
    assert receive(worker, Failed, 1).stopped
    assert receive(worker, Failed, 2).stopped


def test_the_log_is_its_owners_and_bounded() -> None:
    for content, kept in ((b"", b""), (b"short", b"short"), (b"x" * (LIMIT + 1), b"")):
        worker_log().parent.mkdir(parents=True, exist_ok=True)
        worker_log().write_bytes(content)
        worker_log().chmod(0o666)
        descriptor = open_worker_log()
        os.write(descriptor, b"more")
        os.close(descriptor)
        assert worker_log().read_bytes() == kept + b"more"
        assert stat.S_IMODE(worker_log().stat().st_mode) == 0o600


def test_a_log_that_cannot_be_written_stops_nothing(own_home: Path) -> None:
    worker_log().parent.parent.mkdir(parents=True, exist_ok=True)
    worker_log().parent.write_text("a file where the folder should be")
    descriptor = open_worker_log()
    assert os.write(descriptor, b"more") == 4
    os.close(descriptor)


async def test_without_a_log_the_model_works(own_home: Path) -> None:
    worker_log().parent.parent.mkdir(parents=True, exist_ok=True)
    worker_log().parent.write_text("a file where the folder should be")
    async with watched() as model:
        assert (await model.ask(map_request("noise"))).sample == 312
