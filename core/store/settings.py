"""How to scan, and whether a scan that exists was made that way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.store.manifest import ControlInfo, Manifest, ShardInfo

QUESTION = "Could you describe the image?"  #: the paper's
SAVE_SECONDS = 60.0
#: What saving may take of the time: a checkpoint that took 3 s to write is followed by the next after 150 s at least.
SAVE_SHARE = 0.02
#: But it never waits longer: whoever looks takes a scan that has not saved for a quarter of an hour for stopped.
LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class ScanOptions:
    """How to scan.

    Attributes:
        top_n: N, samples kept for each neuron; the paper's 50.
        maps: M, of how many of these the maps are kept.
        batch: samples that go through the model together; None for as many as fit.
        prompt_template: the literal prompt with ``{question}``, instead of the processor's chat template.
        control: what this scan is a control of, with the seed of the model's random weights.
        shard: which of the samples it takes; None for all.
        save_seconds: how long after a checkpoint the next is due, if saving does not take more than its share.
        save_samples: after how many samples it is due at the latest; None for time alone.
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

    @property
    def maps_kept(self) -> int:
        """M; there are no more top samples than N."""
        return min(self.maps, self.top_n)


#: What decides a scan's numbers, by the option that sets it, as a manifest has it.
_SETTINGS: Mapping[str, Callable[[Manifest], object]] = {
    "--model": lambda m: m.model.name,
    "--revision": lambda m: m.model.revision,
    "--dtype": lambda m: m.model.dtype,
    "--hook": lambda m: str(m.hook),
    "--question": lambda m: m.question,
    "--prompt-template": lambda m: m.prompt,
    "--images": lambda m: m.data_id,
    "--top-n": lambda m: m.top_n,
    "--maps": lambda m: m.maps,
    "--batch": lambda m: m.batch,
    "--shard": lambda m: None if m.progress is None or m.progress.shard is None else str(m.progress.shard),
    "--control": lambda m: None if m.control is None else str(m.control),
    "the number of samples": lambda m: m.samples,
    "the thresholds": lambda m: str(m.thresholds),
}
_UNSAID = {"--images": "--images: other names or descriptions"}  #: whose values mean nothing to a reader


def settings_of(manifest: Manifest) -> dict[str, object]:
    """What decided the scan's numbers, by the option that sets it."""
    return {name: value(manifest) for name, value in _SETTINGS.items()}


def check_resumable(out: Path, saved: Manifest, wanted: Mapping[str, object]) -> bool:
    """Whether the scan ``out`` is finished, if it was begun with these settings (some of ``settings_of``).

    Raises:
        StoreError: if it was begun with others.
    """
    differ = differing(saved, wanted)
    if differ:
        raise StoreError(
            f"{out} was begun with other settings. {'. '.join(differ)}.",
            "Give the settings it was begun with, or name another folder with --out.",
        )
    return saved.is_done


def differing(manifest: Manifest, wanted: Mapping[str, object]) -> list[str]:
    """Which settings of ``wanted`` (some of ``settings_of``) a scan was not made with, and how, for people."""
    own = settings_of(manifest)
    counts = "the number of samples"
    if wanted.get(counts, own[counts]) != own[counts]:  # then the data differ too: once is enough
        wanted = {name: value for name, value in wanted.items() if name != "--images"}
    return [
        _UNSAID.get(name) or f"{name}: {own[name]}, now {value}" for name, value in wanted.items() if own[name] != value
    ]
