"""A scan at work: the model loaded, progress on stderr, Ctrl-C heard, one process or several, and what came of it."""

import contextlib
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from vlmscope.core.base.callbacks import OnProgress
from vlmscope.core.base.config import Api
from vlmscope.core.base.neuron import Poles
from vlmscope.core.data.describing import described_by
from vlmscope.core.data.description_cache import DescriptionCache
from vlmscope.core.data.samples import Data
from vlmscope.core.scan.torchrun import Ranks
from vlmscope.core.store.checkpoints import is_begun
from vlmscope.core.store.manifest import MANIFEST, Manifest, ShardInfo, Skipped, ThresholdsInfo, read_manifest
from vlmscope.core.store.settings import FIELDS, SHOWN, WEIGHTS, ScanOptions, check_resumable, fields_text
from vlmscope.core.store.weights import is_model_folder, weights_fingerprint
from vlmscope.core.store.writer import arrays_bytes, check_out
from vlmscope.tui.commands.scan_options import ModelOptions
from vlmscope.tui.commands.scanned import NAMED, PROGRAM, note_skipped, write_labels
from vlmscope.tui.commands.shared.model_work import spec_of, stoppable
from vlmscope.tui.commands.shared.notes import Notes, note, progress


@dataclass(frozen=True)
class Job:
    """What is to be scanned, how and where to."""

    model: ModelOptions
    data: Data
    out: Path
    options: ScanOptions
    resume: bool = False
    server: Api | None = None  #: that writes descriptions
    who: str = ""  #: which of several processes this is, put before its messages
    quiet: bool = False  #: another process writes the messages


def check_job(job: Job) -> Manifest | None:
    """What can be found out before minutes of loading: the manifest of a finished scan that is to be resumed, or None.

    Raises:
        StoreError: if ``out`` is not free, or what is saved there was begun with other settings.
    """
    if not job.resume or not (job.out / MANIFEST).exists():
        if not (job.resume and is_begun(job.out)):
            check_out(job.out)
        return None
    saved = read_manifest(job.out)
    if check_resumable(job.out, saved, _known_settings(job)):
        return saved
    if saved.panel is None:
        note("It was begun by an earlier vlmscope, and continues without a panel.")
    if saved.fields is None and job.data.fields:
        note("It was begun by an earlier vlmscope, and continues without the fields of the listing.")
    return None


def run_job(job: Job) -> Manifest:
    """Load the model and scan.

    Raises:
        VlmscopeError: as ``vlmscope.core.scan.scan.scan``.
        typer.Exit: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP (the terminal is gone); what was scanned is
            saved, and a note names the next command.
    """
    notes = Notes(quiet=job.quiet)
    model, options = job.model, job.options
    for line in job.data.notes[:NAMED]:
        notes.write(line)
    if len(job.data.notes) > NAMED:
        notes.write(f"{len(job.data.notes) - NAMED} more notes like these on {job.data.name}")
    notes.write(f"{'loading' if options.control is None else 'making at random'} {model.name}")
    from vlmscope.core.model.load import load
    from vlmscope.core.scan.scan import scan  # late: what follows imports torch

    vlm = load(spec_of(model, options.hook), seed=None if options.control is None else options.control.seed)
    cache = DescriptionCache()
    given = [argument for argument in sys.argv[1:] if argument != "--resume"]
    again = "the same torchrun command with --resume" if job.who else shlex.join([PROGRAM, *given, "--resume"])
    with stoppable(notes, cache, f"Go on with: {again}", job.who) as (report, stopped):
        return scan(
            vlm,
            job.data,
            job.out,
            options,
            report,
            resume=job.resume,
            stopped=stopped,
            cache=cache,
            server=job.server,
            announce=lambda planned: _announce(planned, notes),
        )


def _announce(planned: Manifest, notes: Notes) -> None:
    """The size of a scan of both poles, before its work begins."""
    if planned.poles is Poles.BOTH:
        size, units = arrays_bytes(planned), planned.model.layers * planned.model.neurons
        notes.write(
            f"both poles: {2 * units:,} neurons of {units:,} units, whose arrays take {size / 1e6:,.1f} MB at most, on "
            "the disk and beside the model: twice those of one pole"
        )


def run_by_ranks(job: Job, ranks: Ranks) -> Manifest | None:
    """Scan the shard of this process of several, and in the first process merge all.

    Returns:
        the manifest in the first process, None in the others.

    Raises:
        VlmscopeError: as ``vlmscope.core.scan.ranks.scan_by_ranks``; it names the process.
        typer.Exit: as ``run_job``.
    """
    from vlmscope.core.scan.ranks import named, rank_device, scan_by_ranks  # late: it imports torch

    with named(ranks), contextlib.ExitStack() as stack:
        mine = replace(
            job,
            model=replace(job.model, device=rank_device(ranks, job.model.device)),
            resume=True,  # whether that is asked is decided for all processes together
            who=f"{ranks} of {ranks.of}: ",
            quiet=not ranks.is_first,
        )

        def scan_part(folder: Path, shard: ShardInfo | None) -> Manifest:
            part = replace(mine, out=folder, options=replace(job.options, shard=shard))
            return check_job(part) or run_job(part)

        bars: list[OnProgress] = []

        def merging(what: str, done: int, total: int) -> None:
            if not bars:  # only here: the scan's own bars have gone
                bars.append(stack.enter_context(progress(Notes())))
            bars[0](what, done, total)

        return scan_by_ranks(ranks, job.out, scan_part, merging, resume=job.resume)


def run_and_report(job: Job) -> Manifest | None:
    """Scan, in one process or in those that torchrun started, and write what came out.

    Returns:
        the manifest; None in the processes of several that have nothing to write.

    Raises:
        VlmscopeError, typer.Exit: as ``check_job``, ``run_job`` and ``run_by_ranks``.
    """
    ranks = Ranks.of_environment()
    finished = check_job(job) if ranks is None or (ranks.is_first and job.resume) else None
    if finished is not None:
        note(f"{job.out} is finished: nothing is left to do.")
    made = run_by_ranks(job, ranks) if ranks is not None else finished or run_job(job)
    if made is not None:
        _report(job, made)
    return made


def _report(job: Job, manifest: Manifest) -> None:
    """What came out: on stderr, but for the table of labels, which is data."""
    out = job.out
    partial_scan = manifest.progress
    of = manifest.samples if partial_scan is None else partial_scan.of
    note(f"scanned {manifest.scanned} of {of} samples")

    def where(skipped: Skipped) -> str:
        place = job.data.sources[skipped.sample].place
        return f"{skipped.image} ({place})" if place else skipped.image

    note_skipped(out, manifest, where)
    if manifest.skipped:
        note("They count nowhere. To include them, correct what is named and scan again.")
    if partial_scan is not None:
        note(f"This is shard {partial_scan.shard}. With all of them: {PROGRAM} merge SHARD... --out SCAN")
        return
    write_labels(out)


def _known_settings(job: Job) -> dict[str, object]:
    """The scan's settings, as far as they are known without the model."""
    options, described = job.options, described_by(job.server, job.data)
    known: dict[str, object] = {
        "--hook": str(options.hook),
        "--poles": str(options.poles),
        "--question": options.question,
        "--images": job.data.identity,
        "--top-n": options.top_n,
        "--maps": options.maps_kept,
        "--small-maps": options.small(0).samples,
        "--map-cells": options.map_cells,
        "--panel": options.panel,
        "--image-option": ", ".join(job.model.images_given) or None,
        "--chat-option": ", ".join(job.model.chat_given) or None,
        "--shard": None if options.shard is None else str(options.shard),
        "--describe-model": None if described is None else described.model,
        "--control": None if options.control is None else str(options.control),
        FIELDS: fields_text(job.data.fields),
        "the number of samples": len(job.data.sources),
        "the thresholds": str(ThresholdsInfo.of(options.thresholds)),
    }
    if options.control is None:
        name = job.model.name
        known["--model"] = str(Path(name).resolve()) if is_model_folder(name) else name
        weights = weights_fingerprint(name)
        known[WEIGHTS] = None if weights is None else weights[:SHOWN]
    if options.batch is not None:
        known["--batch"] = options.batch
    if job.model.dtype != "auto":
        known["--dtype"] = job.model.dtype
    return known
