"""A scan that torchrun started several processes for: each meets a shard, the first talks and merges."""

import contextlib
from dataclasses import replace
from pathlib import Path

from vlmscope.core.base.callbacks import OnProgress
from vlmscope.core.scan.torchrun import Ranks
from vlmscope.core.store.manifest import Manifest, ShardInfo
from vlmscope.tui.commands.scan_run import Job, check_job, run_job
from vlmscope.tui.commands.shared.progress_bars import progress, talk_to_user


def run_ranks(job: Job, ranks: Ranks) -> Manifest | None:
    """Scan this process's shard, and in the first process merge all: the manifest there, None in the others.

    Raises:
        VlmscopeError: as ``vlmscope.core.scan.ranks.scan_by_ranks``; it says in which process.
        typer.Exit: as ``run_job``.
    """
    from vlmscope.core.scan.ranks import named, rank_device, scan_by_ranks  # late: it imports torch

    with named(ranks), contextlib.ExitStack() as stack:
        mine = replace(
            job,
            device=rank_device(ranks, job.device),
            resume=True,  # whether that is asked is decided for all processes together
            who=f"{ranks} of {ranks.of}: ",
            quiet=not ranks.is_first,
        )

        def scan_part(folder: Path, shard: ShardInfo | None) -> Manifest:
            part = replace(mine, out=folder, options=replace(job.options, shard=shard))
            return check_job(part) or run_job(part)

        bars: list[OnProgress] = []

        def merging(what: str, done: int, total: int) -> None:
            if not bars:  # only now: the scan's own bars have gone
                bars.append(stack.enter_context(progress(talk_to_user())))
            bars[0](what, done, total)

        return scan_by_ranks(ranks, job.out, scan_part, merging, resume=job.resume)
