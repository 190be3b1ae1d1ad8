"""What came of a scan: samples that were skipped, on stderr; the table of labels, which is data."""

import shlex
from collections.abc import Callable
from pathlib import Path

from vlmscope.core.analysis.statistics import scan_statistics
from vlmscope.core.base.text import plain
from vlmscope.core.store.manifest import MANIFEST, Manifest, Skipped
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.labels import Summary, as_table
from vlmscope.tui.commands.shared.output import console, write_lines
from vlmscope.tui.commands.shared.progress_bars import talk_to_user

NAMED = 20  #: skipped samples that are named; the manifest has all
PROGRAM = "vlmscope"


def say_skipped(out: Path, manifest: Manifest, where: Callable[[Skipped], str]) -> None:
    """Name the samples that were skipped, and why; ``where`` says where each comes from."""
    talk = talk_to_user()
    for skipped in manifest.skipped[:NAMED]:
        talk.print(f"skipped #{skipped.sample} {plain(where(skipped))}: {plain(skipped.reason)}", soft_wrap=True)
    if len(manifest.skipped) > NAMED:
        talk.print(f"skipped {len(manifest.skipped) - NAMED} more: see {out / MANIFEST}", soft_wrap=True)


def say_labels(out: Path) -> None:
    """The labels of a whole scan, and how to see more of it."""
    made = ScanStore(out)
    write_lines(console(), as_table(Summary.of(scan_statistics(made, made.stored_labels()))))
    talk_to_user().print(f"Open it: {PROGRAM} open {shlex.quote(str(out))}", soft_wrap=True)
