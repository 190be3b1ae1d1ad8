"""stdout is data: how commands write it. Text from outside is made harmless here, on its way out."""

import csv
import io
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from vlmscope.core.analysis.statistics import Counts
from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import COLOURS, Label, bar_cells
from vlmscope.tui.commands.shared.notes import note

JSON_VERSION = 1  #: of docs/json.md: raised where a key changes its meaning or goes
PIPE_WIDTH = 100  #: columns of wrapped text where there is no terminal to ask


class PictureError(VlmscopeError):
    title = "The picture cannot be made"


def write(text: str) -> None:
    """Write lines of ``text`` and a line's end to stdout."""
    _write("\n".join(map(plain, text.split("\n"))))


def _write(text: str) -> None:
    print(text, flush=True)  # at once: what cannot be written must fail here, not on the way out


def console() -> Console:
    """What stdout can show. It has no colours where stdout is not a terminal, or ``NO_COLOR`` is set."""
    found = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    if not found.is_terminal:
        found = Console(file=sys.stdout, markup=False, highlight=False, emoji=False, width=PIPE_WIDTH)
    return found


def has_colours(target: Console) -> bool:
    return target.color_system is not None and not target.no_color


def row(text: str = "") -> Text:
    """A line that keeps its length whatever the width."""
    return Text(text, no_wrap=True)


def write_lines(lines: Sequence[Text], target: Console | None = None) -> None:
    """Write coloured lines to ``target``, or to stdout; a ``row`` is not wrapped. Of no lines nothing is written."""
    target = target or console()
    with target.capture() as rendered:
        for line in lines:
            line.plain = plain(line.plain)  # colours stay where they are: each character is replaced by one
            target.print(line, soft_wrap=bool(line.no_wrap))
    if lines:
        _write(rendered.get().rstrip("\n"))


def append_bar(line: Text, counts: Counts, width: int) -> None:
    """Append the shares of the four labels, int64 (4,), as a bar of ``width`` cells made of their letters."""
    for label, cells in zip(Label, bar_cells(counts.tolist(), width), strict=True):
        line.append(label.letter * cells, style=COLOURS[label])


def append_label(line: Text, label: Label, high_confidence: bool) -> None:
    """Append a column of 17 cells; ``high`` marks a high-confidence label."""
    line.append(f"{label.letter} {label.word}{' high' if high_confidence else ''}".ljust(17), style=COLOURS[label])


def write_picture(path: Path, picture: bytes) -> None:
    """Write the file that ``--png`` or ``--figure`` asks for.

    Raises:
        PictureError: if the file cannot be written.
    """
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise PictureError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from error
    note(f"wrote {path}")


def write_csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write lines of CSV to stdout; None is an empty cell."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([head, *rows])
    write(buffer.getvalue().rstrip("\n"))


def write_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write ``value`` as JSON: ASCII alone, so that text from outside reaches no terminal raw; no NaN, no infinity."""
    _write(json.dumps(_finite(value), indent=2, allow_nan=False))


def write_json_list(
    form: Mapping[str, object],
    rows: Iterable[Sequence[object]],
    within: tuple[Mapping[str, object], str] | None = None,
) -> None:
    """Write a list of objects of one form, as ``write_json`` does, without the whole of it in memory.

    Args:
        form: the keys of an object; in the places of its values their indices in a row, in order.
        rows: the values, which are numbers, texts, bool or None.
        within: an object that the list is the last value of, and its key there; None for the list alone.
    """
    text = json.dumps([form], indent=2)
    template = re.sub(r"(?<=[ ])\d+(?=,?\n)", "%s", text[text.index("\n") : text.rindex("\n")].replace("%", "%%"))
    begin, end, indent = "[", "\n]", ""
    if within is not None:
        head, name = within
        around = json.dumps(_finite({**head, name: []}), indent=2, allow_nan=False)
        begin, end, indent = around[: -len("]\n}")], "\n  ]\n}", "  "
        template = template.replace("\n", f"\n{indent}")
    encode, put = json.JSONEncoder(allow_nan=False).encode, sys.stdout.write
    last = begin
    for row in rows:
        put(last)
        values = (value if type(value) is not float or math.isfinite(value) else None for value in row)
        last = template % tuple(map(encode, values)) + ","
    _write(f"{begin}]{end[len(indent) + 2 :]}" if last is begin else last[:-1] + end)


def _finite(value: object) -> object:
    """``value`` with None for each number that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value
