"""What several commands take: the scan, an address, a label, thresholds, a device, JSON."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from vlmscope.core.base.config import Config
from vlmscope.core.base.demo import DEMO
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.spelling import nearest
from vlmscope.core.data.listings import Captions
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT, Label, Thresholds
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import ModelSpec

N = TypeVar("N", int, float)
MODEL = "Model"
IMAGES = "Images"
SEEDS = 2**63  #: of torch's generator
THRESHOLDS = "Thresholds (where not given: the scan's own, or the method's)"
LABEL_WORDS: dict[str, Label] = {label.word: label for label in Label}


def number(option: str, example: str, kind: Callable[[str], N]) -> Callable[[str], N]:
    """A reader of one option's number, ``int`` or ``float``. Its error names what was typed (typer's own does not).

    Raises:
        UsageError: from the reader, if it is not a number.
    """

    def read(text: str) -> N:
        try:
            return kind(text)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise UsageError(f"{option} is {text!r}, not {what}.", f"Write {option} {example}.") from None

    return read


def label_of(text: str) -> Label:
    """A reader of ``--label``.

    Raises:
        UsageError: if there is no such label.
    """
    label = LABEL_WORDS.get(text.strip().lower())
    if label is None:
        raise UsageError(
            f"--label is {text!r}, not a label.", f"{nearest(text, LABEL_WORDS)}Labels: {', '.join(LABEL_WORDS)}."
        )
    return label


def label_option(help_: str, panel: str | None = None) -> Any:
    def complete(begin: str) -> list[str]:
        return [word for word in LABEL_WORDS if word.startswith(begin)]

    return typer.Option(
        "--label", parser=label_of, metavar="LABEL", help=help_, rich_help_panel=panel, autocompletion=complete
    )


def scans_here(begin: str) -> list[str]:
    """For the shell's completion: the demo, and folders whose paths begin so."""
    folder = begin[: begin.rfind("/") + 1]
    with contextlib.suppress(OSError):
        inside = sorted(entry.name for entry in os.scandir(folder or ".") if entry.is_dir() and entry.name[0] != ".")
        return [one for one in (DEMO, *(folder + name for name in inside)) if one.startswith(begin)]
    return []


def _batch(text: str) -> int | None:
    if text == "auto":
        return None
    size = number("--batch", "8, or auto", int)(text)
    if size < 1:
        raise UsageError(f"--batch is {size}; at least one sample goes through the model.", "Write --batch auto.")
    return size


ScanArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCAN", help="The folder of a scan, or 'demo'.", show_default=False, autocompletion=scans_here
    ),
]
AddressArgument = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="Layer and neuron, from 0, such as L3/N17.", show_default=False)
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        "--batch",
        parser=_batch,
        metavar="N|auto",
        help="Samples that go through the model together; default: auto, as many as fit into the GPU's memory.",
        show_default=False,
    ),
]
ImageRootOption = Annotated[
    Path | None,
    typer.Option(
        "--image-root",
        metavar="FOLDER",
        help="What a file's paths are relative to; default: its own folder, or train2017 or val2017 in or beside it.",
        rich_help_panel=IMAGES,
    ),
]
CaptionsOption = Annotated[
    Captions | None,
    typer.Option(
        "--captions",
        help="Whose words describe the images: the data's own, or the model's; default: own for 'description', model "
        "for COCO and LLaVA.",
        rich_help_panel=IMAGES,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON.")]
TrustImagesOption = Annotated[
    bool,
    typer.Option(
        "--trust-images",
        help="Read pictures outside the scan's folder although the scan has no digests to check them by.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="Where the model runs: auto, cpu, cuda, cuda:1, mps.", rich_help_panel=MODEL)
]
DtypeOption = Annotated[
    str,
    typer.Option(
        "--dtype",
        help="auto (bfloat16 on a GPU that has it, float32 on the CPU), float32, bfloat16, float16.",
        rich_help_panel=MODEL,
    ),
]


def _threshold(option: str, example: str, kind: Callable[[str], N], metavar: str, help_: str) -> Any:
    parser = number(option, example, kind)
    return typer.Option(option, parser=parser, metavar=metavar, help=help_, rich_help_panel=THRESHOLDS)


def _norm(option: str, example: str, tokens: str) -> Any:
    return _threshold(option, example, float, "NORM", f"Norm above which a {tokens} token is active, 0 to 10.")


def _count(option: str, example: str, tokens: str, kept: int) -> Any:
    help_ = f"Active {tokens} tokens that make a sample {tokens}, 1 to {kept}."
    return _threshold(option, example, int, "COUNT", help_)


@dataclass(frozen=True)
class ThresholdOptions:
    """The method's four thresholds, as far as they were typed."""

    Tv: Annotated[float | None, _norm("--Tv", "2", "visual")] = None
    nv: Annotated[int | None, _count("--nv", "4", "visual", VISUAL_KEPT)] = None
    Tt: Annotated[float | None, _norm("--Tt", "3", "text")] = None
    nt: Annotated[int | None, _count("--nt", "2", "text", TEXT_KEPT)] = None

    def over(self, own: Thresholds) -> Thresholds:
        """``own``, with those that were typed in their place.

        Raises:
            UsageError: if one is outside its range.
        """
        names = {"Tv": "T_v", "nv": "n_v", "Tt": "T_t", "nt": "n_t"}
        typed = {names.get(field.name, field.name): getattr(self, field.name) for field in fields(self)}
        return replace(own, **{name: value for name, value in typed.items() if value is not None})

    def of(self, store: ScanStore) -> Thresholds:
        """A scan's own thresholds, with those that were typed in their place. Raises as ``over``."""
        return self.over(store.manifest.thresholds.value())


@dataclass(frozen=True)
class LabelThresholds(ThresholdOptions):
    """The four, and the share above which a label is high-confidence."""

    high_confidence: Annotated[
        float | None,
        _threshold(
            "--high-confidence",
            "0.8",
            float,
            "SHARE",
            "Share of the top samples above which a label is high-confidence.",
        ),
    ] = None


@dataclass(frozen=True)
class ScannedModelOptions:
    """Where and how the scanned model runs; the settings' where not given."""

    device: Annotated[
        str | None,
        typer.Option("--device", help="Where the scanned model runs: auto, cpu, cuda, mps.", rich_help_panel=MODEL),
    ] = None
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="auto, float32, bfloat16, float16.", rich_help_panel=MODEL)
    ] = None
    download: Annotated[
        bool,
        typer.Option(
            "--download", help="Download the model that the scan names, if it is not here.", rich_help_panel=MODEL
        ),
    ] = False

    def spec(self, manifest: Manifest, config: Config) -> ModelSpec:
        """The scanned model, to be loaded by the model process."""
        model, device, dtype = manifest.model, self.device or config.device, self.dtype or config.dtype
        return ModelSpec(
            model.name,
            model.revision,
            device,
            dtype,
            manifest.hook,
            device_map=config.device_map if self.device is None else "",
            image_options=model.image_options,
            chat_options=model.chat_options,
            weights=model.weights,
            processor=model.processor,
        )
