"""What torchrun starts in tests/core/scan/test_ranks.py: a scan of a tiny model by several processes.

    torchrun ... tests/support/ranks_scan.py MODEL SAMPLES OUT [--resume]

With VLMSCOPE_TEST_DEATH, killed or raises, and VLMSCOPE_TEST_PIPE, a named pipe, the second of two processes ends after
three samples, when the first has met three too; that then waits for torchrun to end it, as if it were at work.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from vlmscope.core.base.errors import SamplesError, VlmscopeError
from vlmscope.core.data.samples import read_data
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.scan.ranks import named, scan_by_ranks
from vlmscope.core.scan.scan import scan
from vlmscope.core.scan.torchrun import Ranks
from vlmscope.core.store.manifest import Manifest, ShardInfo
from vlmscope.core.store.settings import ScanOptions

TOP_N, MAPS = 5, 2


def main(model: str, samples: str, out: str, *resume: str) -> int:
    ranks = Ranks.of_environment()
    assert ranks is not None
    data = read_data(samples)
    asked: list[int] = []  # signals
    stopped = _stopped(ranks, asked)

    began: list[int] = []  # samples met before

    def scan_part(folder: Path, shard: ShardInfo | None) -> Manifest:
        options = ScanOptions(top_n=TOP_N, maps=MAPS, batch=1, shard=shard)
        before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
        try:
            return scan(Vlm.load(model), data, folder, options, report, resume=True, stopped=stopped)
        finally:
            signal.signal(signal.SIGTERM, before)

    def report(what: str, done: int, total: int) -> None:
        if what == "scanning" and not began:
            began.append(done)

    try:
        with named(ranks):
            made = scan_by_ranks(ranks, Path(out), scan_part, _silent, resume=bool(resume))
    except VlmscopeError as error:
        print(error.message, file=sys.stderr)
        return 1
    made_of = None if made is None else made.scanned
    line = f"{ranks} made {made_of}, began with {began[0] if began else None}\n"
    os.write(1, line.encode())  # in one piece: both processes write to the same pipe
    return 0


def _stopped(ranks: Ranks, asked: list[int]) -> Callable[[], bool]:
    death = os.environ.get("VLMSCOPE_TEST_DEATH")
    processed = iter(range(1, 1000))

    def stopped() -> bool:
        if death and next(processed) == 3:
            pipe = Path(os.environ["VLMSCOPE_TEST_PIPE"])
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


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
