"""``vlmscope bench``: what it costs on this machine, as ratios where a ratio says more than a time."""

import asyncio
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from core.bench_scores import NEURONS, BenchScores, bench_scores
from core.demo import DEMO, scan_folder
from core.manifest import read_manifest
from core.model_messages import ModelSpec
from core.model_process import ModelProcess
from core.neuron import HookPoint
from core.synthetic import write_synthetic_scan
from tui.commands.options import DeviceOption, DtypeOption, JsonOption
from tui.commands.output import console, write_json, write_lines

bench = typer.Typer(help="Measure vlmscope on this machine.", no_args_is_help=True)


@bench.command("screen")
def screen(
    *,
    json: JsonOption = False,
) -> None:
    """First paint, memory, and the cost of a step: on the demo, and on a made-up scan of 32 x 11,008 neurons."""
    from tui.bench_screen import bench_screen

    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder) / "made-up"
        write_synthetic_scan(big)
        figures = [asdict(found) for found in bench_screen([scan_folder(DEMO), big])]
    _write(figures, json)


@bench.command("scan")
def scan(
    *,
    model: Annotated[str, typer.Option("--model", help="A LLaVA-1.5 model, or 'demo'.")] = DEMO,
    images: Annotated[str, typer.Option("--images", help="A folder, a JSONL file, or 'demo'.")] = DEMO,
    samples: Annotated[int, typer.Option("--samples", min=1, help="How many of them.")] = 200,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Samples that go through the model together.")] = 8,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="How often, after one to warm up.")] = 3,
    hook: Annotated[HookPoint, typer.Option("--hook", help="Where activations are read.")] = HookPoint.GATE,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    json: JsonOption = False,
) -> None:
    """The scan's time over that of the bare forward passes, on the same batches."""
    from core.bench_scan import bench_scan
    from core.samples import read_data
    from core.scan import ScanOptions
    from core.vlm import Vlm

    data = read_data(images, samples)
    vlm = Vlm.load(model, device=device, dtype=dtype)
    figures = [asdict(bench_scan(vlm, data, ScanOptions(hook=hook, batch=batch), repeats))]
    _write(figures, json)


@bench.command("scores")
def scores(
    *,
    neurons: Annotated[int, typer.Option("--neurons", min=1, help="The clearest so many visual neurons.")] = NEURONS,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    json: JsonOption = False,
) -> None:
    """Whether scores tell right explanations from shuffled ones: on the demo, by oracle and by lens."""
    manifest = read_manifest(scan_folder(DEMO))
    spec = ModelSpec(DEMO, None, device, dtype, manifest.hook)
    talk = Console(stderr=True, markup=False, highlight=False, emoji=False)
    found = asyncio.run(_scores(spec, neurons, talk))
    if json:
        write_json(asdict(found))
    else:
        _write([{"backend": name, **asdict(figures)} for name, figures in found.backends.items()], json)


async def _scores(spec: ModelSpec, neurons: int, talk: Console) -> BenchScores:
    columns = (TextColumn("neurons"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=talk, disable=not talk.is_terminal) as bars:
        task = bars.add_task("neurons", total=neurons)
        model = ModelProcess(spec, lambda _: None, idle_unload_s=0)
        try:
            return await bench_scores(model, neurons, lambda done, of: bars.update(task, completed=done, total=of))
        finally:
            await model.close()


def _write(figures: list[dict[str, object]], json: bool) -> None:
    if json:
        write_json(figures)
        return
    lines = []
    for found in figures:
        for name, value in found.items():
            shown = f"{value:.3f}" if isinstance(value, float) else str(value)
            lines.append(Text(f"{name:<20}{shown}", no_wrap=True))
        lines.append(Text(""))
    write_lines(console(), lines[:-1])
