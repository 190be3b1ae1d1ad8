"""``vlmscope scan``: make a scan, with progress on stderr."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from vlmscope.core.analysis.control import control_data, new_control_folder
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import HookPoint, Poles
from vlmscope.core.data.samples import read_data
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.scan.torchrun import Ranks
from vlmscope.core.store.hub import would_download
from vlmscope.core.store.manifest import ControlInfo, ShardInfo
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import PANEL, QUESTION, SMALL_MAPS, ScanOptions
from vlmscope.core.store.shards import parse_shard
from vlmscope.tui.commands.describe_options import ServerOptions
from vlmscope.tui.commands.scan_options import (
    ControlOptions,
    ImageOptions,
    LongScanOptions,
    ModelOptions,
    ReadingOptions,
)
from vlmscope.tui.commands.scan_run import Job, run_and_report
from vlmscope.tui.commands.shared.notes import Notes, note
from vlmscope.tui.commands.shared.options import LabelThresholds


def scan(
    *,
    model: ModelOptions,
    images: ImageOptions,
    out: Annotated[Path | None, typer.Option("--out", help="The folder to make.")] = None,
    reading: ReadingOptions,
    control: ControlOptions,
    long: LongScanOptions,
    describing: ServerOptions,
    thresholds: LabelThresholds,
) -> None:
    """Scan a model over images: once, then every look at it is instant.

    Descriptions that the data lacks are written by the model first, or with
    --describe-with by a server; they are kept, and later scans of the same
    images by the same model reuse them.

    The scan is saved as it goes on. It can be opened meanwhile; Ctrl-C ends
    it, and the same command with --resume goes on. Under torchrun every
    process scans its share, on a GPU of its own; --shard and 'vlmscope merge'
    do the same by hand.

    With --control the samples, descriptions, prompt, hook and top-n are those
    of SCAN, and the weights are random: it shows the labels of a network that
    has learnt nothing. It is put beside SCAN, where 'labels' and 'stats' find
    it. --images and --model name the images and the model where they have
    moved. A seed gives the same weights again on the same kind of device, in
    the same dtype, with the same versions of torch and transformers.
    """
    shard = None if long.shard is None else parse_shard(long.shard)
    if shard is not None and Ranks.of_environment() is not None:
        raise UsageError("--shard does not go with torchrun: its processes share the samples.", "Leave it out.")
    if model.device_map and (
        model.device != "auto" or Ranks.of_environment() is not None or control.control is not None
    ):
        raise UsageError(
            "--device-map does not go with --device, --control or torchrun.",
            "It spreads one model with its own weights over all GPUs of one process.",
        )
    options = ScanOptions(
        hook=reading.hook or HookPoint.GATE,
        poles=Poles.ONE if reading.poles is None or control.control is not None else reading.poles,
        top_n=reading.top_n or 50,
        maps=4 if reading.maps is None else reading.maps,
        small_maps=SMALL_MAPS if reading.small_maps is None else reading.small_maps,
        map_cells=reading.map_cells,
        panel=PANEL if reading.panel is None else reading.panel,
        batch=reading.batch,
        thresholds=thresholds.over(Thresholds()),
        question=QUESTION if reading.question is None else reading.question,
        prompt_template=model.prompt_template,
        save_seconds=long.save_seconds,
        save_samples=long.save_samples,
        shard=shard,
    )
    if control.control is None:
        if not model.name or images.images is None or out is None:
            raise UsageError("A scan needs --model, --images and --out.", "A control needs --control SCAN alone.")
        if control.trust:
            raise UsageError(
                "--trust-images goes with --control: other scans read what --images names.", "Leave it out."
            )
        if control.seed is not None:
            raise UsageError("--seed goes with --control: a model's own weights take none.", "Leave it out.")
        data = read_data(images.images, images.limit, images.image_root, images.captions)
        server = describing.server(model.name)
        job = Job(model, data, out, options, long.resume, server)
        if server is not None:
            describing.agree(server, data, options.question, Notes())
        run_and_report(job)
        return
    _check_control(model, images, out, reading, describing, shard)
    store = ScanStore(scan_folder(control.control))
    store.images_trusted = control.trust
    scanned = store.manifest
    if not model.name and would_download(scanned.model.name, scanned.model.revision, weights=False):
        named = ["--model", scanned.model.name]
        if scanned.model.revision is not None:
            named += ["--revision", scanned.model.revision]
        raise UsageError(
            f"The scan names the model {scanned.model.name}, which is not on this disk and would be downloaded.",
            f"If you trust it, add {shlex.join(named)}.",
        )
    job = Job(
        replace(
            model,
            name=model.name or scanned.model.name,
            revision=model.revision or (None if model.name else scanned.model.revision),
            image_option=list(scanned.model.image_options),
            chat_option=list(scanned.model.chat_options),
            # Activations are compared in the dtype that they have.
            dtype=scanned.model.dtype if model.dtype == "auto" else model.dtype,
        ),
        control_data(store, images.images, images.limit),
        new_control_folder(store) if out is None else out,
        replace(
            options,
            hook=scanned.hook,
            poles=scanned.poles,
            top_n=scanned.top_n,
            maps=reading.maps or 0,
            small_maps=reading.small_maps or 0,
            panel=scanned.panel if reading.panel is None and scanned.panel is not None else options.panel,
            thresholds=thresholds.of(store),
            question=scanned.question,
            prompt_template=scanned.prompt,
            control=ControlInfo(scan_id=scanned.scan_id, seed=control.seed or 0, data_id=scanned.panel_data_id),
        ),
        long.resume,
    )
    made = run_and_report(job)
    if made is None or images.limit is not None or made.progress is not None or made.skipped or scanned.skipped:
        return
    if made.data_sha256 != scanned.data_sha256:
        note(f"The images in {job.data.root} are not those that were scanned.")


def _check_control(
    model: ModelOptions,
    images: ImageOptions,
    out: Path | None,
    reading: ReadingOptions,
    describing: ServerOptions,
    shard: ShardInfo | None,
) -> None:
    """Raises UsageError for an option that a control takes from its scan."""
    of_the_scan = {
        "--hook": reading.hook,
        "--poles": reading.poles,
        "--top-n": reading.top_n,
        "--question": reading.question,
        "--prompt-template": model.prompt_template,
        "--image-option": model.image_option,
        "--chat-option": model.chat_option,
        "--captions": images.captions,
        "--describe-with": describing.url,
    }
    given = [name for name, value in of_the_scan.items() if value is not None]
    if given:
        raise UsageError(f"{given[0]} does not go with --control: a control has its scan's.", "Leave it out.")
    if images.image_root is not None:
        raise UsageError("--image-root does not go with --control.", "Name the folder with --images.")
    if shard is not None and out is None:
        raise UsageError("A shard of a control needs a folder of its own.", "Name it with --out.")
