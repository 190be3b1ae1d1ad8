"""Causal checks in ``vlmscope stats``: how many are beyond all their controls, beside chance."""

from collections.abc import Sequence

from rich.text import Text

from vlmscope.core.analysis.check_counts import CheckCounts, check_counts
from vlmscope.core.base.errors import NotebookError, VlmscopeError
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.open_arg import kept_notebook

HEAD = ("of", "layer", "checked", "with_p", "beyond_all", "lower", "chance")
LEGEND = (
    "Of each neuron, or set, and word the newest check counts. beyond: beyond all its matched neurons; lower: those",
    "without which the word is less likely; chance: how many would be beyond if no neuron differed from its controls.",
)


def checks_of(store: ScanStore) -> tuple[CheckCounts, ...]:
    """What the scan's notebook holds, by layer.

    Raises:
        NotebookError: if there is no notebook, or no check in it.
    """
    found = _counted(store)
    if not found:
        raise NotebookError("No neuron of this scan is checked yet.", "vlmscope check SCAN ADDRESS checks one.")
    return found


def checks_in_all(store: ScanStore) -> tuple[CheckCounts, ...]:
    """Those of all layers, and of sets; none where the notebook cannot be read, which goes to stderr."""
    try:
        return tuple(one for one in _counted(store) if one.layer is None)
    except VlmscopeError as error:
        note(f"without the notebook: {error.message}")
        return ()


def _counted(store: ScanStore) -> tuple[CheckCounts, ...]:
    with kept_notebook(store) as notebook:
        return () if notebook is None else check_counts(notebook, store.layers, store.neurons)


def check_row(one: CheckCounts) -> list[object]:
    """The values of ``HEAD``."""
    of = "sets" if one.sets else "neurons"
    return [of, one.layer, one.checked, one.with_p, one.beyond_all, one.lower, round(one.chance, 6)]


def checks_json(found: Sequence[CheckCounts]) -> list[dict[str, object]]:
    return [dict(zip(HEAD, check_row(one), strict=True)) for one in found]


def checks_text(found: Sequence[CheckCounts]) -> list[Text]:
    """A table by layer."""
    lines = [output.row("layer   checked  with p  beyond  lower  chance")]
    for one in found:
        name = "sets" if one.sets else "all" if one.layer is None else str(one.layer)
        numbers = f"{one.checked:>8}{one.with_p:>8}{one.beyond_all:>8}{one.lower:>7}{one.chance:>8.2f}"
        lines.append(output.row(f"{name:<7}{numbers}"))
    return [*lines, Text(), *map(output.row, LEGEND)]


def checks_line(found: Sequence[CheckCounts]) -> str:
    """All of them in one line."""
    parts = []
    for one in found:
        of, controls = ("sets", "matched sets") if one.sets else ("neurons", "matched neurons")
        beyond = f"{one.beyond_all} of {one.with_p} beyond all {controls} (by chance {one.chance:.2f})"
        parts.append(f"{one.checked} of {of}, {beyond}")
    return f"causal checks: {'; '.join(parts)}"
