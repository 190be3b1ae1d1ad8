"""What ``vlmscope scan`` takes, in the groups that its help shows."""

from dataclasses import dataclass
from typing import Annotated

import typer

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import HookPoint, Poles
from vlmscope.core.base.options import read_options, written_options
from vlmscope.core.store.settings import PANEL, QUESTION, SAVE_SECONDS, SMALL_MAPS
from vlmscope.tui.commands.shared.options import (
    IMAGES,
    MODEL,
    SEEDS,
    BatchOption,
    CaptionsOption,
    DeviceOption,
    DtypeOption,
    ImageRootOption,
)

CONTROL = "Control"
LONG = "Long scans"
DEVICE_MAPS = ("auto", "balanced", "sequential")


def _device_map(text: str) -> str:
    if text not in DEVICE_MAPS and text != "":
        raise UsageError(f"--device-map is {text!r}, not a way to spread layers.", f"Ways: {', '.join(DEVICE_MAPS)}.")
    return text


@dataclass(frozen=True)
class ModelOptions:
    """The model that is scanned, and how it runs."""

    name: Annotated[
        str,
        typer.Option(
            "--model",
            help="A vision-language model: a hub name, a folder, or 'demo'.",
            rich_help_panel=MODEL,
            show_default=False,
        ),
    ] = ""
    prompt_template: Annotated[
        str | None,
        typer.Option(
            "--prompt-template",
            help="The literal prompt, with {question}, instead of the processor's chat template.",
            rich_help_panel=MODEL,
        ),
    ] = None
    device: DeviceOption = "auto"
    dtype: DtypeOption = "auto"
    device_map: Annotated[
        str,
        typer.Option(
            "--device-map",
            parser=_device_map,
            metavar="auto|balanced|sequential",
            help="Spread the model's layers over all GPUs, as accelerate does.",
            rich_help_panel=MODEL,
            show_default=False,
        ),
    ] = ""
    revision: Annotated[
        str | None, typer.Option("--revision", help="The model's revision on the hub.", rich_help_panel=MODEL)
    ] = None
    image_option: Annotated[
        list[str] | None,
        typer.Option(
            "--image-option",
            metavar="NAME=VALUE",
            help="For the processor's part for pictures, such as do_pan_and_scan=true; may be repeated.",
            rich_help_panel=MODEL,
        ),
    ] = None
    chat_option: Annotated[
        list[str] | None,
        typer.Option(
            "--chat-option",
            metavar="NAME=VALUE",
            help="For the chat template, such as enable_thinking=false; may be repeated.",
            rich_help_panel=MODEL,
        ),
    ] = None
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run code that comes with the model.", rich_help_panel=MODEL),
    ] = False

    @property
    def images_given(self) -> tuple[str, ...]:
        """``--image-option``, as a manifest has them. Raises UsageError if one is not NAME=VALUE."""
        return written_options(read_options("--image-option", self.image_option or ()))

    @property
    def chat_given(self) -> tuple[str, ...]:
        """``--chat-option``. Raises UsageError as ``images_given``, and if there is no chat template to take them."""
        given = written_options(read_options("--chat-option", self.chat_option or ()))
        if given and self.prompt_template is not None:
            raise UsageError("--chat-option does not go with --prompt-template.", "Leave one out.")
        return given


@dataclass(frozen=True)
class ImageOptions:
    """The samples."""

    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            help="A folder of images; a JSONL file with 'image' and perhaps 'description' in each line; COCO's "
            "captions or LLaVA's instructions (.json); or 'demo'.",
            rich_help_panel=IMAGES,
        ),
    ] = None
    image_root: ImageRootOption = None
    captions: CaptionsOption = None
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Scan the first so many samples only.", rich_help_panel=IMAGES),
    ] = None


@dataclass(frozen=True)
class ReadingOptions:
    """What is read of each sample, and what is kept."""

    hook: Annotated[
        HookPoint | None, typer.Option("--hook", help="Where activations are read; default: 'gate', the paper's.")
    ] = None
    poles: Annotated[
        Poles | None,
        typer.Option(
            "--poles",
            help="'both' keeps each sign of an activation as a neuron of its own, L3/N17+ and L3/N17-, with --hook "
            "gate_up: twice the size; default: one.",
        ),
    ] = None
    top_n: Annotated[
        int | None, typer.Option("--top-n", min=1, max=10_000, help="Top samples of each neuron; default: 50.")
    ] = None
    maps: Annotated[
        int | None, typer.Option("--maps", min=0, max=255, help="Of how many the maps are kept; default: 4.")
    ] = None
    small_maps: Annotated[
        int | None,
        typer.Option(
            "--small-maps",
            min=0,
            max=255,
            metavar="N",
            help=f"Of how many the maps are kept small, for the contact sheet; default: {SMALL_MAPS}.",
        ),
    ] = None
    map_cells: Annotated[
        int | None,
        typer.Option(
            "--map-cells",
            min=1,
            max=255,
            metavar="N",
            help="Keep maps on N x N cells at most; default: every visual token's own value.",
        ),
    ] = None
    panel: Annotated[
        int | None,
        typer.Option(
            "--panel",
            min=0,
            max=10_000,
            metavar="N",
            help="Keep every neuron's largest activations on so many samples, drawn at random before the scan; 0 for "
            f"none; default: {PANEL}.",
        ),
    ] = None
    batch: BatchOption = None
    question: Annotated[
        str | None, typer.Option("--question", help=f"What is asked about each image; default: {QUESTION}")
    ] = None


@dataclass(frozen=True)
class ControlOptions:
    """A control: another scan's samples through random weights."""

    control: Annotated[
        str | None,
        typer.Option(
            "--control",
            metavar="SCAN",
            help="Scan this scan's samples again, through its architecture with random weights.",
            rich_help_panel=CONTROL,
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=SEEDS - 1, help="Of the random weights; default: 0.", rich_help_panel=CONTROL
        ),
    ] = None
    trust: Annotated[
        bool,
        typer.Option(
            "--trust-images",
            help="Read SCAN's pictures outside its folder although it has no digests to check them by.",
            rich_help_panel=CONTROL,
        ),
    ] = False


@dataclass(frozen=True)
class LongScanOptions:
    """How a scan is saved, resumed and shared out."""

    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from what is saved in --out, if anything is.", rich_help_panel=LONG),
    ] = False
    save_seconds: Annotated[
        float,
        typer.Option(
            "--save-seconds",
            min=0,
            metavar="SECONDS",
            help="How often to save; later, 10 minutes at most, if saving took more than a fiftieth of the time.",
            rich_help_panel=LONG,
        ),
    ] = SAVE_SECONDS
    save_samples: Annotated[
        int | None,
        typer.Option(
            "--save-samples", min=1, metavar="N", help="Save after so many samples as well.", rich_help_panel=LONG
        ),
    ] = None
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="K/N",
            help="Scan the K-th of N shares of the samples; 'vlmscope merge' makes one scan of all.",
            rich_help_panel=LONG,
        ),
    ] = None
