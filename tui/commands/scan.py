"""``vlmscope scan``: make a scan, with progress on stderr."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from core.control import control_data, new_control_folder
from core.demo import scan_folder
from core.errors import UsageError
from core.labels import Thresholds
from core.manifest import ControlInfo, Manifest
from core.neuron import HookPoint
from core.plain_text import plain
from core.sample_files import Captions
from core.samples import Data, read_data
from core.scan_store import ScanStore
from core.statistics import scan_statistics
from core.store_writer import check_out
from tui.commands.labels import Summary, as_table
from tui.commands.options import (
    MODEL,
    DeviceOption,
    DtypeOption,
    HighConfidenceOption,
    NtOption,
    NvOption,
    TtOption,
    TvOption,
    replaced,
)
from tui.commands.output import console, write_lines

if TYPE_CHECKING:
    from core.scan import Progress as Report

CONTROL = "Control"
IMAGES = "Images"
QUESTION = "Could you describe the image?"  #: the paper's
SEEDS = 2**63  #: of torch's generator
NAMED = 20  #: skipped samples, and images listed twice, that are named on stderr; the manifest has all that are skipped


@dataclass(frozen=True)
class _Job:
    """What is to be scanned, how and where to; ``control`` makes the weights random."""

    model: str
    revision: str | None
    dtype: str
    data: Data
    out: Path
    hook: HookPoint
    top_n: int
    maps: int
    question: str
    prompt_template: str | None
    thresholds: Thresholds
    control: ControlInfo | None = None


def scan(
    *,
    model: Annotated[
        str | None,
        typer.Option("--model", help="A LLaVA-1.5 model: a hub name, a folder, or 'demo'.", rich_help_panel=MODEL),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            help="A folder of images; a JSONL file with 'image' and perhaps 'description' in each line; COCO's "
            "captions or LLaVA's instructions (.json); or 'demo'.",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    image_root: Annotated[
        Path | None,
        typer.Option(
            "--image-root",
            metavar="FOLDER",
            help="What a file's paths are relative to; default: its own folder, or train2017 or val2017 in it or "
            "beside it.",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    captions: Annotated[
        Captions | None,
        typer.Option(
            "--captions",
            help="Whose words describe the images: the data's own, or the model's; default: own for 'description', "
            "model for COCO and LLaVA.",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder to make.")] = None,
    hook: Annotated[
        HookPoint | None, typer.Option("--hook", help="Where activations are read; default: 'gate', the paper's.")
    ] = None,
    top_n: Annotated[
        int | None, typer.Option("--top-n", min=1, max=10_000, help="Top samples of each neuron; default: 50.")
    ] = None,
    maps: Annotated[
        int | None, typer.Option("--maps", min=0, max=255, help="Of how many the maps are kept; default: 4.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Samples that go through the model together.")] = 8,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Scan the first so many samples only.", rich_help_panel=IMAGES),
    ] = None,
    question: Annotated[
        str | None, typer.Option("--question", help=f"What is asked about each image; default: {QUESTION}")
    ] = None,
    prompt_template: Annotated[
        str | None,
        typer.Option(
            "--prompt-template",
            help="The literal prompt, with {question}, instead of the processor's chat template.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            "--control",
            metavar="SCAN",
            help="Scan this scan's samples again, through its architecture with random weights.",
            rich_help_panel=CONTROL,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=SEEDS - 1, help="Of the random weights; default: 0.", rich_help_panel=CONTROL
        ),
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: Annotated[
        str | None, typer.Option("--revision", help="The model's revision on the hub.", rich_help_panel=MODEL)
    ] = None,
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run code that comes with the model.", rich_help_panel=MODEL),
    ] = False,
    Tv: TvOption = None,
    nv: NvOption = None,
    Tt: TtOption = None,
    nt: NtOption = None,
    high_confidence: HighConfidenceOption = None,
) -> None:
    """Scan a model over images: once, then every look at it is instant.

    Descriptions that the data lacks are written by the model first.

    With --control the samples, descriptions, prompt, hook and top-n are those
    of SCAN, and the weights are random: it shows the labels of a network that
    has learnt nothing. It is put beside SCAN, where 'labels' and 'stats' find
    it. --images and --model say where images and model lie if they have
    moved. A seed gives the same weights again on the same kind of device, in
    the same dtype, with the same versions of torch and transformers.
    """

    def thresholds(own: Thresholds) -> Thresholds:
        return replaced(own, Tv=Tv, nv=nv, Tt=Tt, nt=nt, high_confidence=high_confidence)

    if control is None:
        if model is None or images is None or out is None:
            raise UsageError("A scan needs --model, --images and --out.", "A control needs --control SCAN alone.")
        if seed is not None:
            raise UsageError("--seed goes with --control: a model's own weights take none.", "Leave it out.")
        asked = thresholds(Thresholds())
        check_out(out)  # before minutes of loading
        job = _Job(
            model=model,
            revision=revision,
            dtype=dtype,
            data=read_data(images, limit, image_root, captions),
            out=out,
            hook=hook or HookPoint.GATE,
            top_n=top_n or 50,
            maps=4 if maps is None else maps,
            question=QUESTION if question is None else question,
            prompt_template=prompt_template,
            thresholds=asked,
        )
        _run(job, batch, device, trust_remote_code)
        return
    own = {
        "--hook": hook,
        "--top-n": top_n,
        "--question": question,
        "--prompt-template": prompt_template,
        "--captions": captions,
    }
    given = [name for name, value in own.items() if value is not None]
    if given:
        raise UsageError(f"{given[0]} does not go with --control: a control has its scan's.", "Leave it out.")
    if image_root is not None:
        raise UsageError("--image-root does not go with --control.", "Name the folder with --images.")
    store = ScanStore(scan_folder(control))
    manifest = store.manifest
    asked = thresholds(manifest.thresholds.value())
    out = new_control_folder(store) if out is None else out
    check_out(out)
    job = _Job(
        model=model or manifest.model.name,
        revision=revision or (manifest.model.revision if model is None else None),
        dtype=manifest.model.dtype if dtype == "auto" else dtype,  # activations are compared in the dtype they have
        data=control_data(store, None if images is None else Path(images), limit),
        out=out,
        hook=manifest.hook,
        top_n=manifest.top_n,
        maps=maps or 0,
        question=manifest.question,
        prompt_template=manifest.prompt,
        thresholds=asked,
        control=ControlInfo(scan_id=manifest.scan_id, seed=seed or 0),
    )
    made = _run(job, batch, device, trust_remote_code)
    whole = limit is None and not made.skipped and not manifest.skipped
    if whole and made.data_sha256 != manifest.data_sha256:
        print(f"The images in {plain(str(job.data.root))} are not those that were scanned.", file=sys.stderr)


def _run(job: _Job, batch: int, device: str, trust_remote_code: bool) -> Manifest:
    talk = Console(stderr=True, markup=False, highlight=False)
    for note in job.data.notes[:NAMED]:
        talk.print(plain(note), soft_wrap=True)
    if len(job.data.notes) > NAMED:
        talk.print(f"{len(job.data.notes) - NAMED} more images are listed already; the first counts", soft_wrap=True)
    talk.print(f"{'loading' if job.control is None else 'making at random'} {job.model}", soft_wrap=True)
    from core.scan import ScanOptions  # late: what follows imports torch
    from core.scan import scan as run_scan
    from core.vlm import Vlm

    if job.control is None:
        vlm = Vlm.load(
            job.model, revision=job.revision, device=device, dtype=job.dtype, trust_remote_code=trust_remote_code
        )
    else:
        vlm = Vlm.random(
            job.model,
            job.control.seed,
            revision=job.revision,
            device=device,
            dtype=job.dtype,
            trust_remote_code=trust_remote_code,
        )
    options = ScanOptions(
        job.hook,
        job.top_n,
        job.maps,
        batch,
        job.thresholds,
        job.question,
        job.prompt_template,
        job.control,
    )
    with _progress(talk) as report:
        manifest = run_scan(vlm, job.data, job.out, options, report)
    _summary(talk, job, manifest)
    return manifest


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


@contextlib.contextmanager
def _progress(talk: Console) -> "Iterator[Report]":
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=talk) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield report


def _summary(talk: Console, job: _Job, manifest: Manifest) -> None:
    """What came out, on stderr but for the table of labels, which is data."""
    out = job.out
    talk.print(f"scanned {manifest.scanned} of {manifest.samples} samples", soft_wrap=True)
    for skipped in manifest.skipped[:NAMED]:
        place = job.data.sources[skipped.sample].place
        where = f"{skipped.image} ({place})" if place else skipped.image
        talk.print(f"skipped #{skipped.sample} {plain(where)}: {plain(skipped.reason)}", soft_wrap=True)
    if len(manifest.skipped) > NAMED:
        talk.print(f"skipped {len(manifest.skipped) - NAMED} more: see {out / 'manifest.json'}", soft_wrap=True)
    if manifest.skipped:
        talk.print("They count nowhere. To have them in it, mend what is named and scan again.", soft_wrap=True)
    made = ScanStore(out)
    write_lines(console(), as_table(Summary.of(scan_statistics(made, made.stored_labels()))))
    talk.print(f"Open it: vlmscope open {out}", soft_wrap=True)
