"""A scan at work: the model loaded, progress on stderr, Ctrl-C heard, and what came of it."""

import shlex
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

import typer
from rich.console import Console

from vlmscope.core.base.demo import DEMO
from vlmscope.core.base.errors import Cancelled
from vlmscope.core.base.text import plain
from vlmscope.core.data.description_cache import DescriptionCache
from vlmscope.core.data.samples import Data
from vlmscope.core.store.checkpoints import is_begun
from vlmscope.core.store.manifest import MANIFEST, Manifest, Skipped, ThresholdsInfo, read_manifest
from vlmscope.core.store.settings import ScanOptions, check_resumable
from vlmscope.core.store.writer import check_out
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.tui.commands.scanned import PROGRAM, say_labels, say_skipped
from vlmscope.tui.commands.shared.progress_bars import progress, talk_to_user

NAMED = 20  #: images listed twice that are named on stderr


@dataclass(frozen=True)
class Job:
    """What is to be scanned, how and where to."""

    model: str
    revision: str | None
    device: str
    dtype: str
    trust_remote_code: bool
    data: Data
    out: Path
    options: ScanOptions
    resume: bool = False
    who: str = ""  #: which of several processes this is, put before what it says
    quiet: bool = False  #: another process says what this one would


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
    return saved if check_resumable(job.out, saved, _known_settings(job)) else None


def run_job(job: Job) -> Manifest:
    """Load the model and scan.

    Raises:
        VlmscopeError: as ``vlmscope.core.scan.scan.scan``.
        typer.Exit: 130 after Ctrl-C, 143 after SIGTERM, what was scanned is saved, and the user knows how to go on.
    """
    talk = Console(quiet=True) if job.quiet else talk_to_user()
    options = job.options
    for note in job.data.notes[:NAMED]:
        talk.print(plain(note), soft_wrap=True)
    if len(job.data.notes) > NAMED:
        talk.print(f"{len(job.data.notes) - NAMED} more images are listed already; the first counts", soft_wrap=True)
    talk.print(f"{'loading' if options.control is None else 'making at random'} {job.model}", soft_wrap=True)
    from vlmscope.core.model.load import load
    from vlmscope.core.scan.scan import scan  # late: what follows imports torch

    spec = ModelSpec(job.model, job.revision, job.device, job.dtype, options.hook, job.trust_remote_code)
    vlm = load(spec, seed=None if options.control is None else options.control.seed)
    cache = DescriptionCache()
    try:
        with _Stop() as stop, progress(talk, who=job.who) as report:
            return scan(vlm, job.data, job.out, options, report, resume=job.resume, stopped=stop.is_asked, cache=cache)
    except Cancelled as stopped:
        if job.who:
            talk_to_user().print(f"{job.who}{plain(stopped.message)}", soft_wrap=True)
            talk.print("Go on with: the same torchrun command with --resume", soft_wrap=True)
        else:
            talk.print(plain(stopped.message), soft_wrap=True)
            talk.print(f"Go on with: {_again()}", soft_wrap=True)
        raise typer.Exit(128 + stop.signal) from None
    finally:
        if cache.trouble is not None:
            talk.print(plain(cache.trouble), soft_wrap=True)


def say_result(job: Job, manifest: Manifest) -> None:
    """What came out: on stderr, but for the table of labels, which is data."""
    talk, out = talk_to_user(), job.out
    progress = manifest.progress
    of = manifest.samples if progress is None else progress.of
    talk.print(f"scanned {manifest.scanned} of {of} samples", soft_wrap=True)

    def where(skipped: Skipped) -> str:
        place = job.data.sources[skipped.sample].place
        return f"{skipped.image} ({place})" if place else skipped.image

    say_skipped(out, manifest, where)
    if manifest.skipped:
        talk.print("They count nowhere. To have them in it, mend what is named and scan again.", soft_wrap=True)
    if progress is not None:
        talk.print(f"This is shard {progress.shard}. With all of them: {PROGRAM} merge SHARD... --out SCAN")
        return
    say_labels(out)


class _Stop:
    """Ctrl-C and SIGTERM end the scan within a batch; the second of them ends the program at once."""

    def __init__(self) -> None:
        self.signal = 0

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def is_asked(self) -> bool:
        """Whether the scan is to end."""
        return self.signal != 0


def _known_settings(job: Job) -> dict[str, object]:
    """What is known of the scan's settings without the model."""
    options = job.options
    known: dict[str, object] = {
        "--hook": str(options.hook),
        "--question": options.question,
        "--images": job.data.identity,
        "--top-n": options.top_n,
        "--maps": options.maps_kept,
        "--shard": None if options.shard is None else str(options.shard),
        "--control": None if options.control is None else str(options.control),
        "the number of samples": len(job.data.sources),
        "the thresholds": str(ThresholdsInfo.of(options.thresholds)),
    }
    if options.control is None:
        local = job.model != DEMO and Path(job.model).is_dir()
        known["--model"] = str(Path(job.model).resolve()) if local else job.model
    if options.batch is not None:
        known["--batch"] = options.batch
    if job.dtype != "auto":
        known["--dtype"] = job.dtype
    return known


def _again() -> str:
    """The command that goes on with this scan."""
    given = [argument for argument in sys.argv[1:] if argument != "--resume"]
    return shlex.join([PROGRAM, *given, "--resume"])
