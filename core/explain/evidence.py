"""What a neuron's explanation is written from: its top samples with their exact activations.

Of the top samples the odd ranks explain; the even ones are held out for scoring, so that no explanation is ever scored
on a sample that it was written from.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import ApiError, Cancelled, WorkerError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import Label
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.messages import MapRequest

RANKS = (1, 3, 5, 7, 9)  #: of the top samples that explain, from 1
REASON_LENGTH = 300


@dataclass(frozen=True, eq=False)
class SampleEvidence:
    """One sample that the explanation is written from.

    Attributes:
        rank: among the neuron's top samples, from 1.
        sample: its index in the data.
        picture: where the original picture should lie, or None where it does not.
        tokens: the description's, spelled; joined they are the description.
        crop: what the model saw: the exact crop as a PNG once the model was asked, before that the scan's JPEG.
        visual: float32 (rows, columns), activations; None where they are not known.
        text: float32 (tokens,); None where they are not known.
        exact: whether the activations are the model's own answer, not read from the scan's 8 bits.
    """

    rank: int
    sample: int
    picture: Path | None
    description: str
    tokens: tuple[str, ...]
    crop: bytes
    visual: NDArray[np.float32] | None
    text: NDArray[np.float32] | None
    exact: bool = False

    @property
    def usable(self) -> bool:
        return self.visual is not None and self.text is not None


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that a neuron's explanation is written from.

    Attributes:
        maximum: gmax, the activation whose norm is 10.
        samples: best first.
        note: what is missing, for a person; empty if nothing is.
    """

    neuron: Neuron
    label: Label
    maximum: float
    samples: tuple[SampleEvidence, ...]
    note: str = ""

    @property
    def wants_model(self) -> bool:
        """Whether there are pictures at hand from which the model can compute exact maps."""
        return any(sample.picture is not None and not sample.exact for sample in self.samples)


def gather(store: ScanStore, neuron: Neuron, label: Label) -> Evidence:
    """The scan's own part, without a model: enough for an estimate of the cost.

    Raises:
        StoreError: if the scan is damaged.
    """
    examples = [store.example(neuron, rank - 1) for rank in RANKS if rank <= store.manifest.valid]
    samples = tuple(
        SampleEvidence(
            rank=one.rank + 1,
            sample=one.sample.index,
            picture=one.sample.picture_here,
            description=one.sample.description,
            tokens=one.sample.tokens,
            crop=one.read_crop(),
            visual=one.visual_map,
            text=one.text_map,
        )
        for one in examples
    )
    return Evidence(neuron, label, float(store.maximum[neuron.layer, neuron.index]), samples)


async def complete(evidence: Evidence, store: ScanStore, model: Asks | None) -> Evidence:
    """The evidence with activations for each of its samples; those that have none are left out, and ``note`` says so.

    Where a sample's picture is at hand, ``model`` is asked for the exact activations and the lossless crop; elsewhere,
    or if the model cannot answer, the scan's own maps serve, where it keeps them.

    Raises:
        Cancelled: if the model was stopped.
        ApiError: if no sample has activations.
    """
    found: list[SampleEvidence] = []
    failure = ""
    for sample in evidence.samples:
        if model is not None and sample.picture is not None and not sample.exact:
            try:
                found.append(await _exact(evidence.neuron, sample, store, model))
                continue
            except Cancelled:
                raise
            except WorkerError as error:
                failure = failure or plain(error.message, REASON_LENGTH)
        if sample.usable:
            found.append(sample)
    if not found:
        raise _nothing(evidence, store, failure)
    return replace(evidence, samples=tuple(found), note=_note(evidence, found, store, failure))


async def _exact(neuron: Neuron, sample: SampleEvidence, store: ScanStore, model: Asks) -> SampleEvidence:
    manifest = store.manifest
    request = MapRequest(neuron, str(sample.picture), manifest.prompt, sample.description, sample.sample, crop=True)
    answer = await model.ask(request, Lane.BACKGROUND)
    if answer.visual.shape != manifest.grid or answer.text.shape != (len(sample.tokens),):
        raise WorkerError(f"The model's map of sample #{sample.sample} does not fit the scan: another model made it.")
    return replace(sample, crop=answer.crop or sample.crop, visual=answer.visual, text=answer.text, exact=True)


def _note(evidence: Evidence, found: list[SampleEvidence], store: ScanStore, failure: str) -> str:
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
    return f"{keeps} and its pictures are not here"


def _nothing(evidence: Evidence, store: ScanStore, failure: str) -> ApiError:
    if not evidence.samples:
        return ApiError(f"{evidence.neuron} has no top samples: there is nothing to explain it from.")
    return ApiError(
        f"{evidence.neuron} has no activations to show: {_why(evidence, store, failure)}.",
        f"Bring the scan's pictures back to {plain(store.manifest.image_root or '')}, or scan with --maps 9.",
    )
