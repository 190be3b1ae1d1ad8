"""The settings of a scan, and whether an existing scan was made with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlmscope.core.base.errors import StoreError, UsageError
from vlmscope.core.base.neuron import HookPoint, Poles
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.store.manifest import ControlInfo, Manifest, ShardInfo, SmallMaps

QUESTION = "Could you describe the image?"  #: the paper's
SMALL_MAPS, SMALL_CELLS, SMALL_WORDS = 20, 12, 192  #: samples, rows and columns, words of the small maps
PANEL = 256  #: samples of the panel, unless told otherwise
SAVE_SECONDS = 60.0
#: The share of the time for saving: a checkpoint that took 3 s to write is followed by the next after 150 s at least.
SAVE_SHARE = 0.02
#: The longest time between checkpoints: a scan that has not saved for a quarter of an hour counts as stopped.
LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class ScanOptions:
    """The settings of a scan.

    Attributes:
        top_n: N, samples kept for each neuron; the paper's 50.
        maps: M, how many of these have stored maps.
        batch: samples that go through the model together; None for as many as fit.
        prompt_template: the literal prompt with ``{question}``, instead of the processor's chat template.
        control: the scan that this is a control of, with the seed of the model's random weights.
        shard: its part of the samples; None for all.
        save_seconds: time from a checkpoint to the next, if saving does not take more than its share.
        save_samples: samples from a checkpoint to the next, at most; None for time alone.
        map_cells: rows and columns that maps are pooled to, at most; None to keep each visual token's value.
        small_maps: how many of the N have small maps.
        panel: samples drawn at random on which every neuron's largest activations are kept; 0 for none.
        poles: BOTH keeps each sign of an activation as a neuron of its own: twice the arrays.
    """

    hook: HookPoint = HookPoint.GATE
    top_n: int = 50
    maps: int = 4
    batch: int | None = 8
    thresholds: Thresholds = field(default_factory=Thresholds)
    question: str = QUESTION
    prompt_template: str | None = None
    control: ControlInfo | None = None
    shard: ShardInfo | None = None
    save_seconds: float = SAVE_SECONDS
    save_samples: int | None = None
    map_cells: int | None = None
    panel: int = PANEL
    small_maps: int = SMALL_MAPS
    poles: Poles = Poles.ONE

    def __post_init__(self) -> None:
        """Raise UsageError for both poles where an activation has no two meanings."""
        if self.poles is Poles.BOTH and self.hook is not HookPoint.GATE_UP:
            raise UsageError(
                f"--poles both needs the hook point {HookPoint.GATE_UP}: at {self.hook} an activation below 0 is only "
                "the little that the activation function lets through.",
                "Add --hook gate_up, or leave --poles out.",
            )

    @property
    def maps_kept(self) -> int:
        """M; there are no more top samples than N."""
        return min(self.maps, self.top_n)

    def small(self, values: int) -> SmallMaps:
        """The small maps of a scan whose largest one has so many values over visual tokens."""
        kept = min(self.small_maps, self.top_n)
        return SmallMaps(samples=kept, cells=SMALL_CELLS, values=values, words=SMALL_WORDS)


WEIGHTS = "the model's weights"
FIELDS = "the fields of the listing"
PROCESSOR = "what the model's processor makes of a picture"
SHOWN = 16  #: digits of both digests that are shown and compared
#: The settings that decide a scan's numbers, by the option that sets them, as a manifest has them.
_SETTINGS: Mapping[str, Callable[[Manifest], object]] = {
    "--model": lambda m: m.model.name,
    WEIGHTS: lambda m: None if m.model.weights is None else m.model.weights[:SHOWN],
    PROCESSOR: lambda m: None if m.model.processor is None else m.model.processor[:SHOWN],
    "--revision": lambda m: m.model.revision,
    "--image-option": lambda m: ", ".join(m.model.image_options) or None,
    "--chat-option": lambda m: ", ".join(m.model.chat_options) or None,
    "--dtype": lambda m: m.model.dtype,
    "--hook": lambda m: str(m.hook),
    "--poles": lambda m: str(m.poles),
    "--question": lambda m: m.question,
    "--prompt-template": lambda m: m.prompt,
    "--images": lambda m: m.data_id,
    "--top-n": lambda m: m.top_n,
    "--maps": lambda m: m.maps,
    "--map-cells": lambda m: m.map_cells,
    "--small-maps": lambda m: None if m.small is None else m.small.samples,
    "--panel": lambda m: m.panel,
    "--batch": lambda m: m.batch,
    "--shard": lambda m: None if m.progress is None or m.progress.shard is None else str(m.progress.shard),
    "--describe-model": lambda m: None if m.described is None else m.described.model,
    "--control": lambda m: None if m.control is None else str(m.control),
    FIELDS: lambda m: None if m.fields is None else fields_text(m.fields),
    "the number of samples": lambda m: m.samples,
    "the thresholds": lambda m: str(m.thresholds),
}
#: Not compared where one of two scans has none: it was made before vlmscope stored it, or there is nothing to compare.
OPTIONAL = (WEIGHTS, PROCESSOR, FIELDS, "--panel", "--small-maps")


def fields_text(names: Sequence[str]) -> str:
    """The fields' names as a setting."""
    return ", ".join(names) or "none"


OTHER_IMAGES = "--images: other names or descriptions"  #: their digests mean nothing to a reader


def settings_of(manifest: Manifest) -> dict[str, object]:
    """The settings that decided the scan's numbers, by the option that sets them."""
    return {name: value(manifest) for name, value in _SETTINGS.items()}


def check_resumable(out: Path, saved: Manifest, wanted: Mapping[str, object]) -> bool:
    """Whether the scan ``out`` is finished, if it was begun with these settings (some of ``settings_of``).

    Raises:
        StoreError: if it was begun with others.
    """
    own = settings_of(saved)
    absent = {name for name in OPTIONAL if own[name] is None}
    wanted = {name: value for name, value in wanted.items() if name not in absent}
    differ = {name: f"{name}: {own[name]}, now {value}" for name, value in wanted.items() if own[name] != value}
    if "--images" in differ:
        differ["--images"] = OTHER_IMAGES
        if "the number of samples" in differ:  # then the data differ in any case
            del differ["--images"]
    if differ:
        raise StoreError(
            f"{out} was begun with other settings. {'. '.join(differ.values())}.",
            "Give the settings it was begun with, or name another folder with --out.",
        )
    return saved.is_done
