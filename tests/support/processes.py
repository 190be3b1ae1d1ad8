"""How tests start the program in a process of its own."""

import sys

#: The program, taking SIGINT as a terminal's Ctrl-C does: a shell starts what it puts into the background with SIGINT
#: ignored, and that is handed down to every process.
INTERRUPTIBLE = [
    sys.executable,
    "-c",
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('tui', run_name='__main__', alter_sys=True)",
]
