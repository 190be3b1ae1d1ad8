"""How often a test of chance tries: a few times each day, many times by hand with ``VLMSCOPE_TEST_LONG=1``."""

import os


def times(short: int, long: int) -> int:
    """``long`` where the environment asks for the long tests, else ``short``."""
    return long if os.environ.get("VLMSCOPE_TEST_LONG") == "1" else short
