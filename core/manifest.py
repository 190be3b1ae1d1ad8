"""The manifest of a scan: what was computed, from what, by what. One JSON file, ``manifest.json``."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from core.errors import StoreError
from core.labels import TEXT_KEPT, VISUAL_KEPT, Thresholds
from core.neuron import HookPoint

FORMAT: Literal["vlmscope-scan"] = "vlmscope-scan"
SCHEMA: Literal[1] = 1
MANIFEST = "manifest.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ModelInfo(_Frozen):
    """The scanned model. ``name`` is what ``from_pretrained`` takes: a hub name, a folder, or ``demo``.

    A control's name says that its weights are random, and loads nothing: the trained model's activations are not its.
    """

    name: str
    revision: str | None
    architecture: str  #: e.g. "llava + llama"
    dtype: str
    layers: int = Field(gt=0)
    neurons: int = Field(gt=0)  #: FFN units of one layer


class Skipped(_Frozen):
    """A sample that was left out, and why."""

    sample: int
    image: str
    reason: str


class ThresholdsInfo(_Frozen):
    T_v: float = Field(ge=0, le=10)
    n_v: int = Field(ge=1, le=VISUAL_KEPT)
    T_t: float = Field(ge=0, le=10)
    n_t: int = Field(ge=1, le=TEXT_KEPT)
    high_confidence: float = Field(ge=0, le=1)

    @classmethod
    def of(cls, thresholds: Thresholds) -> "ThresholdsInfo":
        return cls(**vars(thresholds))

    def value(self) -> Thresholds:
        return Thresholds(**self.model_dump())


class ControlInfo(_Frozen):
    """What a control (core/control.py) belongs to, and the seed of its weights.

    The same seed gives the same weights on the same kind of device, in the same dtype, with the same versions of torch
    and transformers: the weights are drawn there.
    """

    scan_id: str  #: of the scan whose samples, prompt and architecture it has
    seed: int = Field(ge=0)


class Manifest(_Frozen):
    """Everything about a scan but its arrays. Shapes: L layers, F neurons, N top samples, M maps, V patches."""

    format: Literal["vlmscope-scan"] = FORMAT
    schema_version: Literal[1] = SCHEMA
    scan_id: str  #: SHA-256 over model, hook point, prompt and data; the same scan made again has the same
    created: str  #: ISO 8601, UTC
    model: ModelInfo
    hook: HookPoint
    question: str
    prompt: str  #: the very text before the description, the image token unexpanded
    data: str  #: where the samples came from, as named by the user
    image_root: str | None  #: the folder that sample images are relative to; ``demo`` for the demo's
    data_sha256: str
    samples: int = Field(ge=0)  #: samples read, skipped ones too
    scanned: int = Field(ge=0)  #: samples that count
    skipped: tuple[Skipped, ...] = ()
    top_n: int = Field(gt=0)
    maps: int = Field(ge=0)  #: M, top samples whose maps are kept
    grid: tuple[PositiveInt, PositiveInt]  #: rows and columns of the visual tokens
    text_tokens_max: int = Field(ge=0)  #: tokens of the longest description
    visual_tokens: int = Field(ge=0)  #: visual tokens seen in all
    text_tokens: int = Field(ge=0)  #: text tokens seen in all
    thresholds: ThresholdsInfo  #: those of the stored votes and labels
    arrays: str = Field(pattern=r"^\w[\w.-]*$")  #: name of the folder, in the scan's own, that holds the arrays
    versions: dict[str, str]
    control: ControlInfo | None = None  #: None where the weights are the model's own

    @property
    def valid(self) -> int:
        """Entries in each neuron's top-N: min(N, samples that count)."""
        return min(self.top_n, self.scanned)


def read_manifest(folder: Path) -> Manifest:
    """Read and check ``folder``'s manifest.

    Raises:
        StoreError: if the folder is no scan, is of another schema version, or its manifest is damaged.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"{folder} is no scan: it has no {MANIFEST}.",
            "Name a folder that 'vlmscope scan --out' made, or 'demo'.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}.", "Check the file and its permissions.") from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        if where == "schema_version":
            raise StoreError(
                f"{folder} has schema version {first['input']!r}; this vlmscope reads version {SCHEMA}.",
                "Open it with the vlmscope that made it, or scan again.",
            ) from error
        raise StoreError(
            f"{path} is damaged: {where}: {first['msg']}.", "Copy the scan again from where it was made."
        ) from error
