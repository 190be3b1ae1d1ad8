"""stdout is data: how commands write it."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from vlmscope.core.base.errors import UsageError

PIPE_WIDTH = 100  #: columns of wrapped text where there is no terminal to ask


def write(text: str) -> None:
    """Write ``text`` and a line's end to stdout, at once: what cannot be written must fail here, not on the way out."""
    print(text, flush=True)


def console() -> Console:
    """What stdout can show. It has no colours when stdout is no terminal, or the user said ``NO_COLOR``."""
    found = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    if not found.is_terminal:
        found = Console(file=sys.stdout, markup=False, highlight=False, emoji=False, width=PIPE_WIDTH)
    return found


def has_colours(target: Console) -> bool:
    return target.color_system is not None and not target.no_color


def write_lines(target: Console, lines: Sequence[Text]) -> None:
    """Write coloured lines; one marked ``no_wrap`` keeps its length whatever the width."""
    with target.capture() as rendered:
        for line in lines:
            target.print(line, soft_wrap=bool(line.no_wrap))
    write(rendered.get().rstrip("\n"))


def write_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write ``value`` as JSON: ASCII alone, so that text from outside reaches no terminal raw; no NaN, no infinity."""
    write(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: object) -> object:
    """``value`` with None for each number that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value


def may_be_paid(talk: Console, yes: bool, instead: str = "") -> None:
    """Ask whether to go on with what costs money.

    Args:
        yes: it was said on the command line.
        instead: what else can be typed where nobody can be asked.

    Raises:
        UsageError: if nobody can be asked.
        typer.Exit: if the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("There is nobody to ask whether that may be paid.", f"Add --yes{instead}.")
    talk.print("Go on? [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        talk.print("nothing was sent")
        raise typer.Exit(1)
