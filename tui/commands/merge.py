"""``vlmscope merge``: one scan of the shards that several machines have made."""

from pathlib import Path
from typing import Annotated

import typer

from vlmscope.core.store.writer import check_out
from vlmscope.tui.commands.scanned import note_skipped, write_labels
from vlmscope.tui.commands.shared.notes import Notes, progress


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
    from vlmscope.core.scan.merge import merge_scans  # late: it imports torch

    notes = Notes()
    with progress(notes) as report:
        manifest = merge_scans(shards, out, report)
    notes.write(f"merged {len(shards)} shards: scanned {manifest.scanned} of {manifest.samples} samples")
    note_skipped(out, manifest, lambda skipped: skipped.image)
    write_labels(out)
