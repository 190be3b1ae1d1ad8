"""What several commands take: the scan, an address, thresholds, JSON."""

from collections.abc import Callable
from typing import Annotated

import typer

from vlmscope.core.base.errors import UsageError
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT, Thresholds

MODEL = "Model"
IMAGES = "Images"
SEEDS = 2**63  #: of torch's generator
THRESHOLDS = "Thresholds (where not given: the scan's own, or the method's)"


def number(option: str, example: str) -> Callable[[str], float]:
    """A reader of one option's number, whose complaint names what was typed (typer's own does not).

    Raises:
        UsageError: from the reader, if it is no number.
    """

    def read(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise UsageError(f"{option} is {text!r}, not a number.", f"Write {option} {example}.") from None

    return read


def whole(option: str, example: str) -> Callable[[str], int]:
    """The same for whole numbers."""

    def read(text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise UsageError(f"{option} is {text!r}, not a whole number.", f"Write {option} {example}.") from None

    return read


ScanArgument = Annotated[
    str, typer.Argument(metavar="SCAN", help="The folder of a scan, or 'demo'.", show_default=False)
]
AddressArgument = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="Layer and neuron, from 0, such as L3/N17.", show_default=False)
]


def _batch(text: str) -> int | None:
    if text == "auto":
        return None
    size = whole("--batch", "8, or auto")(text)
    if size < 1:
        raise UsageError(f"--batch is {size}; at least one sample goes through the model.", "Write --batch auto.")
    return size


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
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON.")]
TvOption = Annotated[
    float | None,
    typer.Option(
        "--Tv",
        parser=number("--Tv", "2"),
        metavar="NORM",
        help="Norm above which a visual token is active, 0 to 10.",
        rich_help_panel=THRESHOLDS,
    ),
]
NvOption = Annotated[
    int | None,
    typer.Option(
        "--nv",
        parser=whole("--nv", "4"),
        metavar="COUNT",
        help=f"Active visual tokens that make a sample visual, 1 to {VISUAL_KEPT}.",
        rich_help_panel=THRESHOLDS,
    ),
]
TtOption = Annotated[
    float | None,
    typer.Option(
        "--Tt",
        parser=number("--Tt", "3"),
        metavar="NORM",
        help="Norm above which a text token is active, 0 to 10.",
        rich_help_panel=THRESHOLDS,
    ),
]
NtOption = Annotated[
    int | None,
    typer.Option(
        "--nt",
        parser=whole("--nt", "2"),
        metavar="COUNT",
        help=f"Active text tokens that make a sample text, 1 to {TEXT_KEPT}.",
        rich_help_panel=THRESHOLDS,
    ),
]
HighConfidenceOption = Annotated[
    float | None,
    typer.Option(
        "--high-confidence",
        parser=number("--high-confidence", "0.8"),
        metavar="SHARE",
        help="Share of the top samples above which a label is high-confidence.",
        rich_help_panel=THRESHOLDS,
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


def replaced(
    own: Thresholds,
    *,
    Tv: float | None = None,
    nv: int | None = None,
    Tt: float | None = None,
    nt: int | None = None,
    high_confidence: float | None = None,
) -> Thresholds:
    """These thresholds, with those that were typed in their place.

    Raises:
        UsageError: if one is outside its range.
    """
    return Thresholds(
        T_v=own.T_v if Tv is None else Tv,
        n_v=own.n_v if nv is None else nv,
        T_t=own.T_t if Tt is None else Tt,
        n_t=own.n_t if nt is None else nt,
        high_confidence=own.high_confidence if high_confidence is None else high_confidence,
    )
