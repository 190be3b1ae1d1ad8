"""``vlmscope bench``: what it costs on this machine, as ratios where a ratio says more than a time."""

import asyncio
import tempfile
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vlmscope.core.base.demo import DEMO, scan_folder
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.bench.architectures import Architecture
from vlmscope.core.bench.causal import BenchCausal, bench_causal
from vlmscope.core.bench.contrast import bench_contrast
from vlmscope.core.bench.related import SAMPLES, bench_related
from vlmscope.core.bench.scores import NEURONS, BenchScores, bench_scores
from vlmscope.core.data.listings import Captions
from vlmscope.core.data.samples import read_data
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.settings import PANEL, SMALL_MAPS
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.core.worker.process import ModelProcess
from vlmscope.tui.commands.shared.notes import Notes, progress
from vlmscope.tui.commands.shared.options import (
    IMAGES,
    MODEL,
    SEEDS,
    BatchOption,
    CaptionsOption,
    DeviceOption,
    DtypeOption,
    ImageRootOption,
    JsonOption,
)
from vlmscope.tui.commands.shared.output import row, write_json, write_lines
from vlmscope.tui.views.drawing import Blocks


class Against(StrEnum):
    """What the scan is measured against, beside the bare forward passes."""

    TWO_PASS = "two-pass"  # noqa: S105  # no password


bench = typer.Typer(help="Measure vlmscope on this machine.", no_args_is_help=True)


BenchedModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A vision-language model: a hub name, a folder, or 'demo'; default: demo.",
        rich_help_panel=MODEL,
    ),
]
ModelConfigOption = Annotated[
    Architecture | None,
    typer.Option(
        "--model-config",
        help="Instead: this architecture with random weights, made on the device.",
        rich_help_panel=MODEL,
    ),
]


@bench.command("screen")
def screen(
    *,
    pictures: Annotated[
        Blocks, typer.Option("--pictures", help="Characters that pictures are drawn with.")
    ] = Blocks.QUADRANT,
    json: JsonOption = False,
) -> None:
    """First paint, memory, and the cost of a step: on the demo, and on a made-up scan of 32 x 11,008 neurons."""
    from vlmscope.tui.commands.bench_screen import bench_one

    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder) / "made-up"
        write_synthetic_scan(big, small_maps=SMALL_MAPS)
        figures = [asdict(bench_one(scan, pictures)) for scan in (scan_folder(DEMO), big)]
    _write(figures, json)


@bench.command("scan")
def scan(
    *,
    model: BenchedModelOption = None,
    model_config: ModelConfigOption = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            help="A folder, a file that lists images, or 'demo', as for 'scan'; default: demo, or with --model-config "
            "made-up pictures with descriptions of about 100 tokens.",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    image_root: ImageRootOption = None,
    captions: CaptionsOption = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="How many samples.", rich_help_panel=IMAGES)] = 200,
    against: Annotated[
        Against | None,
        typer.Option("--against", help="Measure the usual way too: two passes, batches of one, a heap a neuron."),
    ] = None,
    batch: BatchOption = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="How often, after one to warm up.")] = 3,
    hook: Annotated[HookPoint, typer.Option("--hook", help="Where activations are read.")] = HookPoint.GATE,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            max=SEEDS - 1,
            help="Of random weights and made-up data; default: 0.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    json: JsonOption = False,
) -> None:
    """What a scan costs, beside the bare forward passes over the same batches.

    Prints medians over the repeats: seconds of these, of the same passes with
    what the scan takes from them (pass_s), and of the whole scan; the ratios of
    both; samples a second, the peak memory of a scan, the FLOP of a sample's
    forward pass, and which share of the chip's peak they make where that peak
    is known (n/a elsewhere, as on a CPU).

    --model-config needs no download: 'vlmscope bench scan --model-config
    llava-1.5-7b' measures LLaVA-1.5-7B on this GPU, with random weights.

    --against two-pass also labels the same neurons from the same files as is
    usual, one sample at a time, twice, and says how many times faster the scan
    is.
    """
    if model is not None and model_config is not None:
        raise UsageError("--model and --model-config do not go together.", "Leave one out.")
    if model_config is None and seed is not None:
        raise UsageError("--seed goes with --model-config: a model's own weights take none.", "Leave it out.")
    if model_config is not None and captions is Captions.MODEL:
        raise UsageError("--captions model does not go with --model-config.", "Random weights describe nothing.")
    if model_config is not None and images is None and (image_root is not None or captions is not None):
        raise UsageError("--image-root and --captions go with --images.", "Made-up data takes neither.")
    from vlmscope.core.bench.scan import bench_scan
    from vlmscope.core.model.load import load
    from vlmscope.core.store.settings import ScanOptions

    notes = Notes()
    with tempfile.TemporaryDirectory() as folder:
        if model_config is None:
            data = read_data(images or DEMO, samples, image_root, captions)
            vlm = load(ModelSpec(model or DEMO, device=device, dtype=dtype))
        else:
            from vlmscope.core.bench.random_models import described, made_data, made_vlm

            if images is None:
                data = made_data(model_config, Path(folder), samples, seed or 0)
            else:
                data = described(read_data(images, samples, image_root, captions), model_config, seed or 0)
            notes.write(f"making {model_config} at random")
            vlm = made_vlm(model_config, seed or 0, device=device, dtype=dtype)
        options = ScanOptions(hook=hook, batch=batch)
        with progress(notes, hidden=not notes.is_terminal) as report:
            found = bench_scan(vlm, data, options, repeats, report, against_two_pass=against is Against.TWO_PASS)
    _write([asdict(found)], json)


@bench.command("contrast")
def contrast(
    *,
    json: JsonOption = False,
) -> None:
    """Ranking all neurons by two groups of samples: on the demo, and on a made-up scan of 32 x 11,008 neurons.

    Times are in seconds, without reading descriptions for a word; the
    made-up scan takes 1.7 GB of temporary disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder) / "made-up"
        write_synthetic_scan(big, samples=1500, maps=1, image=32, panel=256)
        _write([asdict(bench_contrast(scan)) for scan in (scan_folder(DEMO), big)], json)


@bench.command("ablate")
def ablate(
    *,
    model: BenchedModelOption = None,
    model_config: ModelConfigOption = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="How often, after one to warm up.")] = 3,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    json: JsonOption = False,
) -> None:
    """How many ablations a second, from a kept clean pass, against full passes.

    Three pictures, sixteen neurons of each layer, every token of the
    description read. On a CPU seconds are CPU time.
    """
    if model is not None and model_config is not None:
        raise UsageError("--model and --model-config do not go together.", "Leave one out.")
    from vlmscope.core.bench.ablate import PICTURES, bench_ablate
    from vlmscope.core.bench.random_models import made_data, made_vlm
    from vlmscope.core.model.load import load
    from vlmscope.core.store.settings import QUESTION

    notes = Notes()
    with tempfile.TemporaryDirectory() as folder:
        if model_config is None:
            data = read_data(DEMO, PICTURES)
            vlm = load(ModelSpec(model or DEMO, device=device, dtype=dtype))
        else:
            data = made_data(model_config, Path(folder), PICTURES, 0)
            notes.write(f"making {model_config} at random")
            vlm = made_vlm(model_config, 0, device=device, dtype=dtype)
        with progress(notes, hidden=not notes.is_terminal) as report:
            found = bench_ablate(vlm, data, vlm.prompt(QUESTION), repeats, report)
    _write([asdict(found)], json)


@bench.command("scores")
def scores(
    *,
    neurons: Annotated[int, typer.Option("--neurons", min=1, help="The clearest so many visual neurons.")] = NEURONS,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    json: JsonOption = False,
) -> None:
    """Whether scores tell right explanations from wrong ones: on the demo, by oracle and by lens.

    Wrong are shuffled words, hard ones (objects frequent in the neuron's own top
    scenes), and the right words with every map moved by half its sides. Neurons
    and words come from top samples of odd ranks, scores from even ones. Beside
    that, how many of the clearest neurons are of objects, and the mean clearness
    of all neurons against that of random weights; and how many intervals of
    scores hold what they are about.
    """
    manifest = read_manifest(scan_folder(DEMO))
    spec = ModelSpec(DEMO, None, device, dtype, manifest.hook)
    notes = Notes()
    found = asyncio.run(_scores(spec, neurons, notes))
    if json:
        write_json(asdict(found))
    else:
        _write([{"backend": name, **asdict(figures)} for name, figures in found.backends.items()], json)
        _write([asdict(found.clearest)], json)
        _write([asdict(one) for one in found.coverage], json)


@bench.command("causal")
def causal(
    *,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    json: JsonOption = False,
) -> None:
    """Whether ablations, pointing and related neurons single out the right neurons, on the demo. Takes some minutes.

    Neurons of objects against matched neurons, which are checked in their place
    as well; sets by effect and by concept against matched sets; how many of the
    first 10 neurons at an object are about it, by rule; the same of related
    neurons.
    """
    from vlmscope.tui.commands.bench_causal import tables

    manifest = read_manifest(scan_folder(DEMO))
    found = asyncio.run(_causal(ModelSpec(DEMO, None, device, dtype, manifest.hook), Notes()))
    if json:
        write_json(asdict(found))
    else:
        write_lines(tables(found))


@bench.command("related")
def related(
    *,
    json: JsonOption = False,
) -> None:
    """Finding related neurons, and the neurons at a patch: on the demo, and on a made-up scan of 32 x 11,008 neurons.

    Times are in milliseconds; the made-up scan takes 1.7 GB of temporary disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder) / "made-up"
        write_synthetic_scan(big, samples=SAMPLES, maps=1, image=32, panel=PANEL)
        figures = [
            {"scan": name, **asdict(bench_related(scan))} for name, scan in ((DEMO, scan_folder(DEMO)), (big.name, big))
        ]
    _write(figures, json)


async def _scores(spec: ModelSpec, neurons: int, notes: Notes) -> BenchScores:
    with progress(notes, hidden=not notes.is_terminal) as report:
        report("neurons", 0, neurons)
        model = ModelProcess(spec, lambda _: None, idle_unload_s=0)
        try:
            return await bench_scores(model, neurons, lambda done, of: report("neurons", done, of))
        finally:
            await model.close()


async def _causal(spec: ModelSpec, notes: Notes) -> BenchCausal:
    with progress(notes, hidden=not notes.is_terminal) as report:
        model = ModelProcess(spec, lambda _: None, idle_unload_s=0)
        try:
            return await bench_causal(model, on_count=report)
        finally:
            await model.close()


def _write(figures: list[dict[str, object]], json: bool) -> None:
    if json:
        write_json(figures)
        return
    lines = []
    for found in figures:
        for name, value in found.items():
            lines.append(row(f"{name:<24}{_shown(value)}"))
        lines.append(row())
    write_lines(lines[:-1])


def _shown(value: object) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
