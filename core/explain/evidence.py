"""The evidence of a neuron's explanation: its top samples with their exact activations.

Of the top samples the odd ranks explain; the even ones are held out for scoring, so that no explanation is ever scored
on a sample that it was written from. With contrast there are panel samples too, on which the neuron stays silent; they
need no map.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from vlmscope.core.base.errors import ApiError, Cancelled, WorkerError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.explain.silent import NONE_FOUND, SilentSample, silent_samples
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.store.example import Example
from vlmscope.core.store.original import MISSING
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.messages import MapRequest

RANKS = (1, 3, 5, 7, 9)  #: of the top samples that explain, from 1
REASON_LENGTH = 300


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that a neuron's explanation is written from."""

    neuron: Neuron
    label: Label
    samples: tuple[Example, ...]  #: best first
    silent: tuple[SilentSample, ...] = ()  #: contrastive evidence, nearest in words first
    note: str = ""  #: what is missing, for the user; empty if nothing is

    @property
    def wants_model(self) -> bool:
        """Whether there are pictures at hand from which the model can compute exact maps."""
        return any(one.sample.picture_here is not None and not one.exact for one in self.samples)

    @property
    def shown(self) -> tuple[int, ...]:
        """The indices of all samples that are shown, silent ones last: the explanation is scored on none of them."""
        top, silent = (one.sample for one in self.samples), (one.sample for one in self.silent)
        return tuple(sample.index for sample in (*top, *silent))


def gather(
    store: ScanStore, neuron: Neuron, label: Label, contrast: int = 0, thresholds: Thresholds | None = None
) -> Evidence:
    """The scan's own part, without a model: enough for an estimate of the cost.

    Args:
        contrast: silent samples at most; 0 for none.
        thresholds: what silent means; the scan's own by default.

    Raises:
        StoreError: if the scan is damaged, or has no contrastive evidence (``contrast_problem``).
    """
    samples = tuple(store.example(neuron, rank - 1) for rank in RANKS if rank <= store.manifest.valid)
    if not contrast or not samples:
        return Evidence(neuron, label, samples)
    silent = silent_samples(store, neuron, thresholds or store.manifest.thresholds.value(), contrast)
    return Evidence(neuron, label, samples, silent, "" if silent else NONE_FOUND)


async def complete(evidence: Evidence, store: ScanStore, model: Asks | None) -> Evidence:
    """The evidence with activations for each of its samples; those that have none are left out, and ``note`` says so.

    Where a sample's picture is at hand, ``model`` is asked for the exact activations and the lossless crop; elsewhere,
    or if the model cannot answer, the scan's own maps serve, where it keeps them.

    Raises:
        Cancelled: if the model was stopped.
        ApiError: if no sample has activations.
    """
    found: list[Example] = []
    failure = ""
    for one in evidence.samples:
        picture = one.sample.picture_here
        if model is not None and picture is not None and not one.exact:
            try:
                found.append(await _exact(evidence.neuron, one, picture, store, model))
                continue
            except Cancelled:
                raise
            except WorkerError as error:
                failure = failure or plain(error.message, REASON_LENGTH)
        if one.visual_map is not None and not one.small:
            found.append(one)
    if not found:
        raise _nothing(evidence, store, failure)
    notes = (_note(evidence, found, store, failure), evidence.note)
    return replace(evidence, samples=tuple(found), note="; ".join(note for note in notes if note))


async def _exact(neuron: Neuron, one: Example, picture: Path, store: ScanStore, model: Asks) -> Example:
    manifest, sample = store.manifest, one.sample
    request = MapRequest(neuron, str(picture), manifest.prompt, sample.description, sample.index, crop=True)
    answer = await model.ask(request, Lane.BACKGROUND)
    if not answer.fits(sample.layout, len(sample.tokens)):
        raise WorkerError(f"The model's map of sample #{sample.index} does not fit the scan: another model made it.")
    read_crop = (lambda: answer.crop) if answer.crop else one.read_crop
    return replace(
        one,
        read_crop=read_crop,
        visual_values=answer.visual,
        map_layout=answer.layout,
        text_map=answer.text,
        exact=True,
    )


def _note(evidence: Evidence, found: list[Example], store: ScanStore, failure: str) -> str:
    if all(sample.exact for sample in found) and len(found) == len(evidence.samples):
        return ""
    inexact = "" if any(sample.exact for sample in found) else ", activations read from 8 bits"
    return f"{len(found)} of {len(evidence.samples)} samples{inexact}: {_why(evidence, store, failure)}"


def _why(evidence: Evidence, store: ScanStore, failure: str) -> str:
    kept = store.manifest.maps
    keeps = f"the scan keeps {kept} maps" if kept else "the scan keeps no maps"
    if failure:
        return f"{keeps} and the model gave none ({failure.rstrip('.')})"
    if evidence.wants_model:
        return f"{keeps} and the model was not asked"
    problems = [one.sample.picture_problem for one in evidence.samples]
    foreign = [problem for problem in problems if problem and not problem.startswith(MISSING)]
    return f"{keeps} and {plain(foreign[0], REASON_LENGTH) if foreign else 'its pictures are not here'}"


def _nothing(evidence: Evidence, store: ScanStore, failure: str) -> ApiError:
    if not evidence.samples:
        return ApiError(f"{evidence.neuron} has no top samples: there is nothing to explain it from.")
    return ApiError(
        f"{evidence.neuron} has no activations to show: {_why(evidence, store, failure)}.",
        f"Bring the scan's pictures back to {plain(store.manifest.image_root or '')}, or scan with --maps 9.",
    )
