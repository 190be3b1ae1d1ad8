"""The command ``vlmscope``, and ``python -m vlmscope.tui``: where every failure is reported.

The two commands that open the screen go straight to it: the command line's own libraries are imported only for the
others, because the user waits for the first picture.
"""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import TextIO

from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.base.signals import as_ctrl_c, exit_code
from vlmscope.core.base.text import plain

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class OutputError(VlmscopeError):
    title = "The output cannot be written"


class PathError(VlmscopeError):
    title = "A file or folder cannot be used"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, 1 (a failure that the message explains), 2 (wrong use), or 128 and the number of the signal that has ended
        the command: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP, 141 when the reader of the output ends.
    """
    with as_ctrl_c() as ending:
        try:
            code = _reported(argv)
        except KeyboardInterrupt:  # while a failure was reported
            return exit_code(ending.number or signal.SIGINT)
        return exit_code(ending.number) if ending.number and code else code


def _reported(argv: Sequence[str] | None) -> int:
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
        return exit_code(signal.SIGINT)
    except BrokenPipeError:
        _discard(sys.stdout)
        return exit_code(signal.SIGPIPE)
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
    # A shell that completes a line starts the program without arguments, and asks by this variable.
    completes = "_VLMSCOPE_COMPLETE" in os.environ
    at_once = not args or (args[0] == "open" and 2 <= len(args) <= 3 and not any(a.startswith("-") for a in args))
    if at_once and not completes:
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
