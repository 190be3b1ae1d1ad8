"""``vlmscope scan``: make a scan, with progress on stderr."""

import contextlib
from collections.abc import Iterator
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

from core.labels import Thresholds
from core.manifest import Manifest
from core.neuron import HookPoint
from core.plain_text import plain
from core.scan_store import ScanStore
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

NAMED_SKIPS = 20  #: skipped samples named on stderr; all are in the manifest


def scan(
    *,
    model: Annotated[
        str,
        typer.Option("--model", help="A LLaVA-1.5 model: a hub name, a folder, or 'demo'.", rich_help_panel=MODEL),
    ],
    images: Annotated[
        str,
        typer.Option(
            "--images",
            help="A folder of images, a JSONL file with 'image' and perhaps 'description' in each line, or 'demo'.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to make.")],
    hook: Annotated[
        HookPoint, typer.Option("--hook", help="Where activations are read; 'gate' is the paper's.")
    ] = HookPoint.GATE,
    top_n: Annotated[int, typer.Option("--top-n", min=1, max=10_000, help="Top samples of each neuron.")] = 50,
    maps: Annotated[int, typer.Option("--maps", min=0, max=255, help="Of how many the maps are kept.")] = 4,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Samples that go through the model together.")] = 8,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Scan the first so many samples only.")] = None,
    question: Annotated[
        str, typer.Option("--question", help="What the model is asked about each image.")
    ] = "Could you describe the image?",
    prompt_template: Annotated[
        str | None,
        typer.Option(
            "--prompt-template",
            help="The literal prompt, with {question}, instead of the processor's chat template.",
            rich_help_panel=MODEL,
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
    """
    thresholds = replaced(Thresholds(), Tv=Tv, nv=nv, Tt=Tt, nt=nt, high_confidence=high_confidence)
    check_out(out)  # before minutes of loading
    talk = Console(stderr=True, markup=False, highlight=False)
    talk.print(f"loading {model}", soft_wrap=True)
    from core.samples import read_data  # late: what follows imports torch
    from core.scan import ScanOptions
    from core.scan import scan as run_scan
    from core.vlm import Vlm

    data = read_data(images, limit)
    vlm = Vlm.load(model, revision=revision, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    options = ScanOptions(hook, top_n, maps, batch, thresholds, question, prompt_template)
    with _progress(talk) as report:
        manifest = run_scan(vlm, data, out, options, report)
    _summary(talk, out, manifest)


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


def _summary(talk: Console, out: Path, manifest: Manifest) -> None:
    """What came out, on stderr but for the table of labels, which is data."""
    talk.print(f"scanned {manifest.scanned} of {manifest.samples} samples", soft_wrap=True)
    for skipped in manifest.skipped[:NAMED_SKIPS]:
        talk.print(f"skipped #{skipped.sample} {plain(skipped.image)}: {plain(skipped.reason)}", soft_wrap=True)
    if len(manifest.skipped) > NAMED_SKIPS:
        talk.print(f"skipped {len(manifest.skipped) - NAMED_SKIPS} more: see {out / 'manifest.json'}", soft_wrap=True)
    write_lines(console(), as_table(Summary.of(ScanStore(out).stored_labels())))
    talk.print(f"Open it: vlmscope open {out}", soft_wrap=True)
