"""How tests start the program in a process of its own."""

import multiprocessing
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass

#: The program, taking SIGINT as a terminal's Ctrl-C does: a shell starts what it puts into the background with SIGINT
#: ignored, and that is handed down to every process.
INTERRUPTIBLE = [
    sys.executable,
    "-c",
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('tui', run_name='__main__', alter_sys=True)",
]


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit code; None where it was killed.
        said: what it wrote to stderr.
    """

    code: int | None
    said: str


def run_child(args: Sequence[str], seconds: float | None = None, file_bytes: int | None = None) -> Ended:
    """Run a command in a forked child; what it writes to stdout is discarded.

    Args:
        seconds: after which it is killed.
        file_bytes: that a file may have at most there, as where a disk is full.
    """
    reads, writes = os.pipe()
    child = multiprocessing.get_context("fork").Process(target=_command, args=(list(args), writes, file_bytes))
    child.start()
    os.close(writes)
    if seconds is not None:
        child.join(seconds)
    alive = seconds is not None and child.is_alive()
    if alive:
        child.kill()
    with open(reads, "rb") as stderr:  # noqa: PTH123  # a descriptor
        said = stderr.read().decode(errors="replace")
    child.join()
    return Ended(None if alive else child.exitcode, said)


def _command(args: list[str], stderr: int, file_bytes: int | None) -> None:
    from vlmscope.tui.__main__ import main

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(stderr, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    try:
        code = main(args)
    except BaseException:  # noqa: BLE001 (the test reads the traceback)
        import traceback

        traceback.print_exc()
        code = 99
    sys.stderr.flush()
    os._exit(code)
