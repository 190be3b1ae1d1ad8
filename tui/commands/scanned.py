"""What came of a scan: samples that were skipped, on stderr; the table of labels, which is data."""

import shlex
from collections.abc import Callable
from pathlib import Path

from vlmscope.core.analysis.statistics import scan_statistics
from vlmscope.core.store.manifest import MANIFEST, Manifest, Skipped
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.labels import as_table
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.output import write_lines

NAMED = 20  #: skipped samples that are named, of which the manifest has all; and notes on the data
PROGRAM = "vlmscope"


def note_skipped(out: Path, manifest: Manifest, where: Callable[[Skipped], str]) -> None:
    """Name the samples that were skipped, and why; ``where`` returns where each comes from."""
    for skipped in manifest.skipped[:NAMED]:
        note(f"skipped #{skipped.sample} {where(skipped)}: {skipped.reason}")
    if len(manifest.skipped) > NAMED:
        note(f"skipped {len(manifest.skipped) - NAMED} more: see {out / MANIFEST}")


def write_labels(out: Path) -> None:
    """The labels of a whole scan, and how to see more of it."""
    made = ScanStore(out)
    write_lines(as_table(scan_statistics(made, made.stored_labels())))
    note(f"Open it: {PROGRAM} open {shlex.quote(str(out))}")
