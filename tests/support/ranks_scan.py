"""A scan of a tiny model by two processes, which torchrun's own agent starts, watches and ends.

The agent is in the test's process, and those that it starts are forks of one that has torch already: a run takes half
a second, not the many that Python needs to import torch three times.

With ``death``, killed or raises, the second process ends after three samples, when the first has processed three too;
that then waits for the agent to end it, as if it were at work. They meet at ``pipe``.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from vlmscope.core.base.errors import SamplesError, VlmscopeError
from vlmscope.core.data.samples import read_data
from vlmscope.core.model.load import load
from vlmscope.core.scan.ranks import named, scan_by_ranks
from vlmscope.core.scan.scan import scan
from vlmscope.core.scan.torchrun import Ranks
from vlmscope.core.store.manifest import Manifest, ShardInfo
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec

TOP_N, MAPS = 5, 2


@dataclass(frozen=True)
class Run:
    """What came of a run: the agent's words on what failed, empty if nothing did, and what all processes wrote."""

    failure: str
    stdout: str
    stderr: str


def run(
    logs: Path, made: tuple[Path, Path], out: Path, *, resume: bool = False, death: str = "", pipe: Path | None = None
) -> Run:
    """Scan by two processes; ``logs`` is a folder for what they write, ``made`` the model and the samples."""
    multiprocessing.set_forkserver_preload([__name__])
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        run_id="test",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.02,
        start_method="forkserver",
        logs_specs=DefaultLogsSpecs(str(logs), Std.ALL),
    )
    failure = ""
    with _signals_kept():
        try:
            elastic_launch(config, _scan)(*map(str, (*made, out)), resume, death, str(pipe))
        except ChildFailedError as error:
            failure = str(error)
    stdout, stderr = ("".join(path.read_text() for path in sorted(logs.rglob(name))) for name in _NAMES)
    return Run(failure, stdout, stderr)


_NAMES = ("stdout.log", "stderr.log")


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Torchrun's agent takes these for good."""
    names = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {name: signal.getsignal(name) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _scan(model: str, samples: str, out: str, resume: bool, death: str, pipe: str) -> None:
    """In each of the processes."""
    ranks = Ranks.of_environment()
    assert ranks is not None
    data = read_data(samples)
    asked: list[int] = []  # signals
    stopped = _stopped(ranks, asked, death, Path(pipe))

    began: list[int] = []  # samples met before

    def scan_part(folder: Path, shard: ShardInfo | None) -> Manifest:
        options = ScanOptions(top_n=TOP_N, maps=MAPS, batch=1, shard=shard)
        before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
        try:
            return scan(load(ModelSpec(model)), data, folder, options, report, resume=True, stopped=stopped)
        finally:
            signal.signal(signal.SIGTERM, before)

    def report(what: str, done: int, total: int) -> None:
        if what == "scanning" and not began:
            began.append(done)

    try:
        with named(ranks):
            made = scan_by_ranks(ranks, Path(out), scan_part, _silent, resume=resume)
    except VlmscopeError as error:
        print(error.message, file=sys.stderr)
        sys.exit(1)
    made_of = None if made is None else made.scanned
    print(f"{ranks} made {made_of}, began with {began[0] if began else None}")


def _stopped(ranks: Ranks, asked: list[int], death: str, pipe: Path) -> Callable[[], bool]:
    processed = iter(range(1, 1000))

    def stopped() -> bool:
        if death and next(processed) == 3:
            if ranks.is_first:
                told, tells = os.pipe()
                os.set_blocking(tells, False)
                signal.set_wakeup_fd(tells)
                pipe.write_text("three")
                os.read(told, 1)
                return True
            pipe.read_text()
            if death == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise SamplesError("the disk of the images is gone")
        return bool(asked)

    return stopped


def _silent(what: str, done: int, total: int) -> None:
    """A progress that nobody watches."""
