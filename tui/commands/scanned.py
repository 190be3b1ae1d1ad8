"""What came of a scan: samples that were skipped, on stderr; the table of labels, which is data."""

import shlex
from collections.abc import Callable
from pathlib import Path

from core.manifest import MANIFEST, Manifest, Skipped
from core.plain_text import plain
from core.scan_store import ScanStore
from core.statistics import scan_statistics
from tui.commands.labels import Summary, as_table
from tui.commands.output import console, write_lines
from tui.commands.talk import talk_to_user

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
