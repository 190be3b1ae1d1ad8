"""``vlmscope merge``: one scan of the shards that several machines have made."""

import shlex
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from core.manifest import MANIFEST
from core.plain_text import plain
from core.scan_store import ScanStore
from core.statistics import scan_statistics
from core.store_writer import check_out
from tui.commands.labels import Summary, as_table
from tui.commands.output import console, write_lines

NAMED = 20  #: skipped samples that are named on stderr; the manifest has all


def merge(
    *,
    shards: Annotated[
        list[Path],
        typer.Argument(metavar="SHARD...", help="The folders of all shards, in any order.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to make.", show_default=False)],
) -> None:
    """Merge the shards of a scan into one.

    Each was made by the same 'vlmscope scan', on a machine of its own, with
    --shard 1/8, --shard 2/8 and so on. The merge is exact: what comes out is
    what one process would have made of the same activations. The shards stay
    where they are, and are not needed any more.
    """
    check_out(out)  # before torch is loaded
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing half-written remains
    from core.merge import merge_scans  # late: it imports torch

    talk = Console(stderr=True, markup=False, highlight=False, emoji=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=talk) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        manifest = merge_scans(shards, out, report)
    talk.print(f"merged {len(shards)} shards: scanned {manifest.scanned} of {manifest.samples} samples", soft_wrap=True)
    for skipped in manifest.skipped[:NAMED]:
        talk.print(f"skipped #{skipped.sample} {plain(skipped.image)}: {plain(skipped.reason)}", soft_wrap=True)
    if len(manifest.skipped) > NAMED:
        talk.print(f"skipped {len(manifest.skipped) - NAMED} more: see {out / MANIFEST}", soft_wrap=True)
    made = ScanStore(out)
    write_lines(console(), as_table(Summary.of(scan_statistics(made, made.stored_labels()))))
    talk.print(f"Open it: vlmscope open {shlex.quote(str(out))}", soft_wrap=True)
