"""The manifest of a scan: what was computed, from what, by what. One JSON file, ``manifest.json``."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    FailFast,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import from_json

from vlmscope.core.base.demo import DEMO
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.fields import MOST, NAME_LENGTH
from vlmscope.core.base.files import read_json
from vlmscope.core.base.neuron import HookPoint, Numbering, Poles, read_at
from vlmscope.core.base.spelling import nearest
from vlmscope.core.base.text import plain
from vlmscope.core.base.validation import Frozen, first_problem
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT, Thresholds
from vlmscope.core.method.layout import SCALE, VisualLayout

FORMAT: Literal["vlmscope-scan"] = "vlmscope-scan"
#: 4 has the panel; 5 has both poles, the listing's fields, small maps, and of a control the ``data_id`` of its scan. A
#: manifest takes no keys but its own, so an earlier vlmscope would call one with more of them damaged; it refuses
#: another version by its number.
SCHEMA: Literal[5] = 5
MANIFEST = "manifest.json"
#: What is read, at most: 100,000 skipped samples, each with its reason, take less.
MANIFEST_BYTES, MANIFEST_VALUES = 32 * 1024 * 1024, 600_000
LAYOUTS = 2**14  #: of a scan, at most: pictures of 23,000 sizes have some hundreds

# What a manifest from elsewhere may promise. Each is far above any scan, and keeps the arrays' sizes computable.
Count = Annotated[int, Field(ge=0, le=2**53)]
Layers = Annotated[int, Field(gt=0, le=4096)]
Neurons = Annotated[int, Field(gt=0, le=2**22)]
Samples = Annotated[int, Field(ge=0, le=2**24)]
TopSamples = Annotated[int, Field(gt=0, le=10_000)]  #: as ``--top-n``
Maps = Annotated[int, Field(ge=0, le=10_000)]
PanelSamples = Annotated[int, Field(ge=0, le=10_000)]  #: as ``--panel``
NEURONS = 2**24  #: of all layers
TOKENS = 2**16 - 1  #: a peak is a uint16, and the largest one stands for none
VISUAL_TOKENS = TOKENS - 1  #: of a sample, at most
Side = Annotated[int, Field(gt=0, le=SCALE)]  #: rows or columns of visual tokens


FieldNames = Annotated[tuple[Annotated[str, Field(max_length=NAME_LENGTH)], ...], Field(max_length=MOST)]
Options = Annotated[tuple[Annotated[str, Field(max_length=1000)], ...], Field(max_length=50)]

_ADDED = ("weights", "processor")  #: fields of ``ModelInfo`` that earlier versions did not store


class ModelInfo(Frozen):
    """The scanned model. ``name`` is what ``from_pretrained`` takes: a hub name, a folder, or ``demo``.

    A control's name says that its weights are random, and loads nothing: the trained model's activations are not its.
    """

    name: str
    revision: str | None
    architecture: str  #: e.g. "llava + llama"
    dtype: str
    layers: Layers
    neurons: Neurons  #: FFN units of one layer
    #: Fingerprint of a folder's weights (core/store/weights.py). None for the demo, a control, a model of the hub (its
    #: revision names its weights), and in scans made before vlmscope stored it.
    weights: str | None = None
    #: Digest of what the processor makes of a fixed picture. None in scans made before vlmscope stored it.
    processor: str | None = None
    #: What the processor's part for pictures and the chat template are given beside their own: core/base/options.py.
    image_options: Options = ()
    chat_options: Options = ()

    @model_serializer(mode="wrap")
    def _without_absent(self, fields: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave out what is None or empty of these: scan ids and cache keys of such models stay what they were."""
        made: dict[str, object] = fields(self)
        for name in (*_ADDED, "image_options", "chat_options"):
            if not getattr(self, name):
                made.pop(name, None)  # it may be excluded
        return made

    @property
    def known(self) -> int:
        """How many of the fields are stored that earlier versions did not store."""
        return sum(getattr(self, name) is not None for name in _ADDED)

    def as_in(self, other: "ModelInfo") -> "ModelInfo":
        """Without the fields that ``other``, perhaps of an earlier version, has not."""
        return self.model_copy(update={name: None for name in _ADDED if getattr(other, name) is None})


class LayoutInfo(Frozen):
    """A layout of visual tokens (core/method/layout.py): a plain one's boxes follow from ``grid``."""

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    tokens: int = Field(gt=0, le=VISUAL_TOKENS)
    grid: tuple[Side, Side]  #: rows and columns of the finest cover
    plain: bool

    @model_validator(mode="after")
    def _fits(self) -> Self:
        cells = self.grid[0] * self.grid[1]
        if cells > VISUAL_TOKENS:
            raise ValueError(f"a grid of {self.grid[0]} x {self.grid[1]} patches; at most {VISUAL_TOKENS:,} fit")
        if self.plain and self.tokens != cells:
            raise ValueError(f"a plain grid of {self.grid[0]} x {self.grid[1]} patches with {self.tokens:,} tokens")
        return self


class Skipped(Frozen):
    """A sample that was left out, and why."""

    sample: int
    image: str
    reason: str


class ThresholdsInfo(Frozen):
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

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self.model_dump().items())


class ControlInfo(Frozen):
    """The scan that a control (core/analysis/control.py) belongs to, and the seed of its weights.

    The same seed gives the same weights on the same kind of device, in the same dtype, with the same versions of torch
    and transformers: the weights are drawn there.
    """

    scan_id: str  #: of the scan whose samples, prompt and architecture it has
    seed: int = Field(ge=0)
    #: The scan's ``data_id``, which draws its panel. The control's own differs where the model wrote descriptions: to
    #: the control they came with the images. None in controls of earlier versions, whose panel their own drew.
    data_id: str | None = None

    def __str__(self) -> str:
        return f"of {self.scan_id[:16]}, seed {self.seed}"


class ShardInfo(Frozen):
    """One of several scans that share the samples: the ``number``-th of ``of`` takes every ``of``-th sample."""

    number: PositiveInt  #: from 1
    of: PositiveInt

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.number > self.of:
            raise ValueError(f"shard {self.number} of {self.of}")
        return self

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def has(self, sample: int) -> bool:
        """Whether the sample of this index is its own."""
        return sample % self.of == self.number - 1


class DescribedBy(Frozen):
    """The server that wrote the descriptions that the data lack."""

    model: str  #: as the server names it
    server: str  #: its name and port


class SmallMaps(Frozen):
    """Maps of more top samples than those whose maps are kept whole: pooled, and in 4 bits (core/method/packed.py)."""

    samples: Maps  #: the best so many, those with whole maps too; 0 where none were asked for
    cells: Annotated[int, Field(gt=0, le=255)]  #: rows and columns that they are pooled to, at most
    values: int = Field(ge=0, le=VISUAL_TOKENS)  #: of the largest of them over visual tokens
    words: int = Field(ge=0, le=TOKENS)  #: of a description, from its beginning, that they cover at most


class Progress(Frozen):
    """The progress of a scan that is not whole: one in progress, an interrupted one, or a shard.

    Samples are processed in the order of core/scan/order.py. Those whose description cannot be tokenised come first.
    """

    done: Count  #: samples processed, skipped ones too
    of: Count  #: samples to process: all, or the shard's
    batch: PositiveInt  #: samples that now go through the model together: fewer than at first after an OOM
    shard: ShardInfo | None
    samples_bytes: Count  #: of samples.jsonl, and
    crops_bytes: Count  #: of crops.bin, that belong to it; later bytes are cut off on resuming
    updated: str  #: ISO 8601, UTC


class Manifest(Frozen):
    """Everything about a scan but its arrays. Shapes: L layers, F neurons, N top samples, M maps, V values of a map."""

    format: Literal["vlmscope-scan"] = FORMAT
    schema_version: Literal[5] = SCHEMA
    scan_id: str  #: of ``make_scan_id``; the same scan made again has the same
    created: str  #: ISO 8601, UTC
    model: ModelInfo
    hook: HookPoint
    poles: Poles = Poles.ONE  #: BOTH: each FFN unit has two rows in the arrays, 2 * unit for +, the next one for -
    question: str
    prompt: str  #: the exact text before the description, the image token unexpanded
    data: str  #: where the samples came from, as named by the user
    image_root: str | None  #: the folder that sample images are relative to; ``demo`` for the demo's
    data_id: str  #: SHA-256 over the images' names and the descriptions that came with them
    data_sha256: str  #: over names, images' bytes and descriptions; empty until the scan is whole
    batch: PositiveInt  #: samples of a batch, as planned: it decides the order of the samples
    samples: Samples  #: samples read, skipped ones too
    scanned: Samples  #: samples that count
    skipped: Annotated[tuple[Skipped, ...], FailFast()] = ()
    top_n: TopSamples
    maps: Maps  #: M, top samples whose maps are kept
    visual_tokens_max: int = Field(ge=0, le=VISUAL_TOKENS)  #: V, values of the largest map; 0 where there is none
    layouts: Annotated[tuple[LayoutInfo, ...], FailFast(), Field(max_length=LAYOUTS)]  #: of the samples, by id
    map_cells: Annotated[int, Field(gt=0, le=255)] | None = None  #: rows and columns that maps are pooled to, at most
    text_tokens_max: int = Field(ge=0, le=TOKENS)  #: tokens of the longest description
    small: SmallMaps | None = None  #: None in scans of earlier versions
    #: Names of the fields that the samples' lines have (core/base/fields.py); None in scans of earlier versions.
    fields: FieldNames | None = None
    panel: PanelSamples | None = None  #: samples of the panel that were asked for; None in scans of earlier versions
    visual_tokens: Count  #: visual tokens seen in all
    text_tokens: Count  #: text tokens seen in all
    thresholds: ThresholdsInfo  #: those of the stored votes and labels
    arrays: str = Field(pattern=r"^\w[\w.-]*$")  #: name of the folder, in the scan's own, that holds the arrays
    versions: dict[str, str]
    described: DescribedBy | None = None  #: None where the data have all descriptions, or the model wrote the others
    control: ControlInfo | None = None  #: None where the weights are the model's own
    progress: Progress | None = None  #: None where the scan is whole

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.map_cells is None and any(layout.tokens > self.visual_tokens_max for layout in self.layouts):
            raise ValueError(f"a layout of more visual tokens than the {self.visual_tokens_max:,} of the largest map")
        if len({layout.id for layout in self.layouts}) < len(self.layouts):
            raise ValueError("two layouts of the same id")
        if self.poles is Poles.BOTH and self.hook is not HookPoint.GATE_UP:
            raise ValueError(f"both poles at the hook point {self.hook}; only {HookPoint.GATE_UP} has them")
        if self.model.layers * self.neurons > NEURONS:
            raise ValueError(f"{self.model.layers:,} layers of {self.neurons:,} neurons; at most {NEURONS:,} fit")
        if self.scanned > self.samples:
            raise ValueError(f"{self.scanned:,} samples scanned of {self.samples:,}")
        return self

    def id_beside(self, other: ModelInfo) -> str:
        """The scan's id as the version made it that stored ``other``: earlier ones stored less of a model."""
        model = self.model.as_in(other)
        return (
            self.scan_id
            if model == self.model
            else make_scan_id(model, self.hook, self.prompt, self.top_n, self.data_id, self.poles, self.described)
        )

    @property
    def neurons(self) -> int:
        """F, rows of one layer in the arrays: the model's FFN units, or twice as many where both poles are kept."""
        return self.model.neurons * (2 if self.poles is Poles.BOTH else 1)

    @property
    def read_at(self) -> str:
        """Where activations are read, in words: ``gate``; ``gate_up, both poles``."""
        return read_at(self.hook, self.poles)

    @property
    def numbering(self) -> Numbering:
        """How rows of the arrays are neurons."""
        return Numbering(self.model.layers, self.neurons, self.poles)

    @property
    def stored_boxes(self) -> int:
        """How many boxes are stored: those of the layouts that are not plain."""
        return sum(layout.tokens for layout in self.layouts if not layout.plain)

    @property
    def panel_drawn(self) -> int:
        """P, samples drawn for the panel: all, if the scan has fewer than were asked for; 0 where there is no panel."""
        return min(self.panel or 0, self.samples)

    @property
    def small_kept(self) -> int:
        """K, top samples whose small maps are kept."""
        return 0 if self.small is None else self.small.samples

    @property
    def mapped(self) -> int:
        """How many top samples have a map of either kind."""
        return max(self.maps, self.small_kept)

    @property
    def panel_data_id(self) -> str:
        """The ``data_id`` that draws the panel's samples: a control has the panel of its scan."""
        own = None if self.control is None else self.control.data_id
        return own or self.data_id

    @property
    def is_done(self) -> bool:
        """Whether it will not grow any more: a whole scan, or a shard that has processed all its samples."""
        progress = self.progress
        return progress is None or (progress.shard is not None and progress.done == progress.of)

    def without_skipped(self, descriptions: Sequence[str]) -> list[str | None]:
        """The descriptions of all samples, None in place of a skipped one's."""
        skipped = {skip.sample for skip in self.skipped}
        return [None if index in skipped else one for index, one in enumerate(descriptions)]

    @property
    def valid(self) -> int:
        """Entries in each neuron's top-N: min(N, samples that count)."""
        return min(self.top_n, self.scanned)


def make_scan_id(
    model: ModelInfo,
    hook: HookPoint,
    prompt: str,
    top_n: int,
    data_id: str,
    poles: Poles = Poles.ONE,
    described: DescribedBy | None = None,
) -> str:
    """SHA-256 over model, hook point, prompt, N and ``data_id``.

    Over the poles too, where both are kept, and over the name of another model that wrote descriptions.
    """
    more: list[str] = [] if poles is Poles.ONE else [poles]
    more += [] if described is None else [f"described by {described.model}"]
    identity = json.dumps([model.model_dump(), hook, prompt, top_n, data_id, *more], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()


def _parsed(text: str) -> Manifest:
    """The manifest of this JSON, of schema 2 to 5. Raises ValidationError, a ValueError."""
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        version = first["input"]
        if first["loc"] != ("schema_version",) or type(version) is not int or version not in (2, 3, 4):
            raise
    content = from_json(text)
    return Manifest.model_validate(_from_schema_2(content) if version == 2 else {**content, "schema_version": SCHEMA})


def _from_schema_2(content: dict[str, object]) -> dict[str, object]:
    """A manifest of schema 2 has the grid of all samples in place of the layouts."""
    kept = {name: value for name, value in content.items() if name not in ("grid", "schema_version")}
    layout: dict[str, object] = {"id": "0" * 16, "tokens": 1, "grid": content.get("grid"), "plain": True}
    grid = content.get("grid")
    if isinstance(grid, list) and len(grid) == 2 and all(type(n) is int and 0 < n <= SCALE for n in grid):
        layout["tokens"] = grid[0] * grid[1]
        if grid[0] * grid[1] <= VISUAL_TOKENS:
            layout["id"] = VisualLayout.plain(*grid).id
    return {**kept, "schema_version": SCHEMA, "visual_tokens_max": layout["tokens"], "layouts": [layout]}


def read_manifest(folder: Path) -> Manifest:
    """Read and check ``folder``'s manifest.

    Raises:
        StoreError: if the folder is not a scan, is of another schema version, or its manifest is damaged.
    """
    path = folder / MANIFEST
    try:
        text = read_json(path, MANIFEST_BYTES, MANIFEST_VALUES).decode()
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"{folder} is not a scan: it has no {MANIFEST}.",
            f"{nearest(folder.name, [DEMO])}Name a folder that 'vlmscope scan --out' made, or 'demo'.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        raise StoreError(f"{path} cannot be read: {reason}.", "Check the file and its permissions.") from error
    try:
        return _parsed(text)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]  # the input may be megabytes long
        if first["loc"] == ("schema_version",):
            version = plain(repr(error.errors()[0]["input"]), 40)
            raise StoreError(
                f"{folder} has schema version {version}; this vlmscope reads version {SCHEMA}.",
                "Open it with the vlmscope that made it, or scan again.",
            ) from error
        raise StoreError(
            f"{path} is damaged: {first_problem(error, 'the file')}.", "Copy the scan again from where it was made."
        ) from error
