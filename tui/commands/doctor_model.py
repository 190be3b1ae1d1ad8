"""``vlmscope doctor --model M``: what a model offers a scan, from its configuration and processor, without weights."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmscope.core.base.errors import UsageError, VlmscopeError
from vlmscope.core.base.options import read_options
from vlmscope.tui.commands.shared.findings import Finding
from vlmscope.tui.commands.shared.options import MODEL, DeviceOption, DtypeOption

if TYPE_CHECKING:
    from vlmscope.core.model.offer import Offer

LARGEST = 1 << 14  #: pixels on a side of a picture that can be asked for


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.strip(), re.ASCII)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 0 < width <= LARGEST or not 0 < height <= LARGEST:
        raise UsageError(f"--size is {text!r}, not the width and height of a picture.", "Write --size 640x480.")
    return width, height


SizeOption = Annotated[
    Any,
    typer.Option(
        "--size",
        parser=_size,
        metavar="WIDTHxHEIGHT",
        help="With --model: the size of the picture whose visual tokens are counted.",
        rich_help_panel=MODEL,
    ),
]


@dataclass(frozen=True)
class AskedModel:
    """The model that is asked about."""

    name: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Show what this model (a hub name or a folder) offers a scan instead: layers, neurons, visual tokens.",
            rich_help_panel=MODEL,
        ),
    ] = None
    size: SizeOption = "640x480"
    device: DeviceOption = "auto"
    dtype: DtypeOption = "auto"
    revision: Annotated[
        str | None, typer.Option("--revision", help="The model's revision on the hub.", rich_help_panel=MODEL)
    ] = None
    image_option: Annotated[
        list[str] | None,
        typer.Option(
            "--image-option",
            metavar="NAME=VALUE",
            help="For the processor's part for pictures, as in scan; may be repeated.",
            rich_help_panel=MODEL,
        ),
    ] = None
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run code that comes with the model.", rich_help_panel=MODEL),
    ] = False


def examine_model(asked: AskedModel) -> tuple[list[Finding], dict[str, object]]:
    """What the model offers, as findings and as the value of the JSON's ``model``; a refusal is a finding.

    Raises:
        UsageError: if an image option is not NAME=VALUE.
    """
    from vlmscope.core.model.offer import offer  # late: it imports torch

    name = asked.name or ""
    options = {"revision": asked.revision, "trust_remote_code": asked.trust_remote_code}
    images = read_options("--image-option", asked.image_option or ())
    found = None
    try:
        found = offer(name, asked.size, options, images, device=asked.device, dtype=asked.dtype)
        problem = found.problem
    except VlmscopeError as error:
        problem = error.message, error.hint
    findings = [Finding("name", name)]
    if found is not None:
        findings += _described(found, asked.size)
    if problem is not None:
        findings.append(Finding("problem", problem[0], problem[1], is_broken=True))
    return findings, _as_json(name, asked.size, found, problem)


def _described(found: "Offer", size: tuple[int, int]) -> list[Finding]:
    findings = [
        Finding("type", found.architecture),
        Finding("layers", str(found.layers)),
        Finding("neurons", f"{found.neurons:,} in each layer, {found.layers * found.neurons:,} in all"),
        Finding("FFN", found.ffn),
    ]
    if found.seen is None:
        return findings
    covers = ", then ".join(f"{cover.rows} x {cover.columns} ({cover.tokens:,})" for cover in found.covers)
    x0, y0, x1, y1 = found.seen
    return [
        *findings,
        Finding("visual tokens", f"{found.visual_tokens:,} of a picture of {size[0]} x {size[1]} pixels"),
        Finding("covers", f"{len(found.covers)}, rows x columns: {covers}"),
        Finding("seen", f"x {x0:.3g} to {x1:.3g}, y {y0:.3g} to {y1:.3g} of the picture"),
    ]


def _as_json(
    name: str, size: tuple[int, int], found: "Offer | None", problem: tuple[str, str] | None
) -> dict[str, object]:
    known = found is not None and found.seen is not None
    return {
        "name": name,
        "architecture": found and found.architecture,
        "layers": found and found.layers,
        "neurons": found and found.neurons,
        "ffn": found and found.ffn,
        "size": list(size),
        "visual_tokens": found.visual_tokens if found and known else None,
        "covers": [vars(cover) for cover in found.covers] if found and known else None,
        "seen": list(found.seen) if found and found.seen else None,
        "problem": problem and {"message": problem[0], "mend": problem[1]},
    }
