"""The command ``vlmscope``, and ``python -m vlmscope.tui``: where every failure is reported.

The two commands that open the screen go straight to it: the command line's own libraries are imported only for the
others, because the user waits for the first picture.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.base.text import plain

INTERRUPTED = 130  #: 128 + SIGINT, as shells have it
PIPE_CLOSED = 141  #: 128 + SIGPIPE, as shells have it
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class OutputError(VlmscopeError):
    title = "The output cannot be written"


class PathError(VlmscopeError):
    title = "A file or folder cannot be used"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, 1 (a failure that the message explains), 2 (wrong use), or what a shell calls a stop from outside: 130 after
        Ctrl-C, 141 when the reader of the output ends.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal in another encoding gets question marks, not a traceback.
            stream.reconfigure(errors="replace")
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        if sys.stdout is not None:
            sys.stdout.flush()
    except VlmscopeError as error:
        _report(error)
        return error.exit_code
    except KeyboardInterrupt:
        _say("vlmscope: stopped")
        return INTERRUPTED
    except BrokenPipeError:
        _discard(sys.stdout)
        return PIPE_CLOSED
    except OSError as error:
        if error.errno in DISK_FULL:
            _discard(sys.stdout)
            where = error.filename or "stdout"
            _report(OutputError(f"{error.strerror}: {where}.", "Free some space, or write elsewhere."))
        elif error.filename is not None:  # a name that is too long, a folder on the way that may not be looked into
            _report(PathError(f"{plain(str(error.filename), 200)}: {error.strerror}.", "Check the path."))
        else:
            raise
        return VlmscopeError.exit_code
    return code


def _run(args: list[str]) -> int:
    at_once = not args or (args[0] == "open" and 2 <= len(args) <= 3 and not any(a.startswith("-") for a in args))
    if at_once:
        from vlmscope.tui.commands.open import open_screen

        return open_screen(*args[1:])
    from vlmscope.tui.cli import run

    return run(args)


def _report(error: VlmscopeError) -> None:
    _say(f"vlmscope: {error.title}")
    for line in (*error.message.splitlines(), *error.hint.splitlines()):
        _say(f"  {plain(line)}")


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)


def _discard(stream: TextIO | None) -> None:
    """Send what is still buffered for a closed pipe to the null device, so that Python's last flush is silent."""
    if stream is not None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


if __name__ == "__main__":
    sys.exit(main())
