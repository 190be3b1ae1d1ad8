"""``vlmscope scan``: make a scan, with progress on stderr."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vlmscope.core.analysis.control import control_data, new_control_folder
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.base.text import plain
from vlmscope.core.data.listings import Captions
from vlmscope.core.data.samples import read_data
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.scan.torchrun import Ranks
from vlmscope.core.store.manifest import ControlInfo, Manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import QUESTION, SAVE_SECONDS, ScanOptions
from vlmscope.core.store.shards import parse_shard
from vlmscope.tui.commands.scan_ranks import run_ranks
from vlmscope.tui.commands.scan_run import Job, check_job, run_job, say_result
from vlmscope.tui.commands.shared.options import (
    IMAGES,
    MODEL,
    SEEDS,
    BatchOption,
    DeviceOption,
    DtypeOption,
    HighConfidenceOption,
    NtOption,
    NvOption,
    TtOption,
    TvOption,
    replaced,
)

CONTROL = "Control"
LONG = "Long scans"


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
    batch: BatchOption = None,
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
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from what is saved in --out, if anything is.", rich_help_panel=LONG),
    ] = False,
    save_seconds: Annotated[
        float,
        typer.Option(
            "--save-seconds",
            min=0,
            metavar="SECONDS",
            help="How often to save; later, 10 minutes at most, if saving took more than a fiftieth of the time.",
            rich_help_panel=LONG,
        ),
    ] = SAVE_SECONDS,
    save_samples: Annotated[
        int | None,
        typer.Option(
            "--save-samples", min=1, metavar="N", help="Save after so many samples as well.", rich_help_panel=LONG
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="K/N",
            help="Scan the K-th of N shares of the samples; 'vlmscope merge' makes one scan of all.",
            rich_help_panel=LONG,
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

    Descriptions that the data lacks are written by the model first; they are
    kept, and later scans of the same images by the same model reuse them.

    The scan is saved as it goes on. It can be opened meanwhile; Ctrl-C ends
    it, and the same command with --resume goes on. Under torchrun every
    process scans its share, on a GPU of its own; --shard and 'vlmscope merge'
    do the same by hand.

    With --control the samples, descriptions, prompt, hook and top-n are those
    of SCAN, and the weights are random: it shows the labels of a network that
    has learnt nothing. It is put beside SCAN, where 'labels' and 'stats' find
    it. --images and --model say where images and model lie if they have
    moved. A seed gives the same weights again on the same kind of device, in
    the same dtype, with the same versions of torch and transformers.
    """

    def thresholds(own: Thresholds) -> Thresholds:
        return replaced(own, Tv=Tv, nv=nv, Tt=Tt, nt=nt, high_confidence=high_confidence)

    part = None if shard is None else parse_shard(shard)
    if part is not None and Ranks.of_environment() is not None:
        raise UsageError("--shard does not go with torchrun: its processes share the samples.", "Leave it out.")
    if control is None:
        if model is None or images is None or out is None:
            raise UsageError("A scan needs --model, --images and --out.", "A control needs --control SCAN alone.")
        if seed is not None:
            raise UsageError("--seed goes with --control: a model's own weights take none.", "Leave it out.")
        options = ScanOptions(
            hook=hook or HookPoint.GATE,
            top_n=top_n or 50,
            maps=4 if maps is None else maps,
            batch=batch,
            thresholds=thresholds(Thresholds()),
            question=QUESTION if question is None else question,
            prompt_template=prompt_template,
            save_seconds=save_seconds,
            save_samples=save_samples,
            shard=part,
        )
        data = read_data(images, limit, image_root, captions)
        _scan(Job(model, revision, device, dtype, trust_remote_code, data, out, options, resume))
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
    if part is not None and out is None:
        raise UsageError("A shard of a control needs a folder of its own.", "Name it with --out.")
    store = ScanStore(scan_folder(control))
    manifest = store.manifest
    options = ScanOptions(
        hook=manifest.hook,
        top_n=manifest.top_n,
        maps=maps or 0,
        batch=batch,
        thresholds=thresholds(manifest.thresholds.value()),
        question=manifest.question,
        prompt_template=manifest.prompt,
        control=ControlInfo(scan_id=manifest.scan_id, seed=seed or 0),
        save_seconds=save_seconds,
        save_samples=save_samples,
        shard=part,
    )
    job = Job(
        model or manifest.model.name,
        revision or (manifest.model.revision if model is None else None),
        device,
        manifest.model.dtype if dtype == "auto" else dtype,  # activations are compared in the dtype they have
        trust_remote_code,
        control_data(store, None if images is None else Path(images), limit),
        new_control_folder(store) if out is None else out,
        options,
        resume,
    )
    made = _scan(job)
    if made is None:
        return
    whole = limit is None and made.progress is None and not made.skipped and not manifest.skipped
    if whole and made.data_sha256 != manifest.data_sha256:
        print(f"The images in {plain(str(job.data.root))} are not those that were scanned.", file=sys.stderr)


def _scan(job: Job) -> Manifest | None:
    """Scan, and say what came out; None in the processes of several that have nothing to say."""
    ranks = Ranks.of_environment()
    if ranks is not None:
        if ranks.is_first and job.resume and check_job(job) is not None:
            print(f"{plain(str(job.out))} is finished: nothing is left to do.", file=sys.stderr)
        found = run_ranks(job, ranks)
        if found is not None:
            say_result(job, found)
        return found
    finished = check_job(job)
    if finished is not None:
        print(f"{plain(str(job.out))} is finished: nothing is left to do.", file=sys.stderr)
    made = finished or run_job(job)
    say_result(job, made)
    return made
