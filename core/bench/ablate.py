"""How many ablations a second a restart makes, against full passes: in one run, in turns."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from vlmscope.core.base.callbacks import OnProgress
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import Data
from vlmscope.core.model.clean import Sample, clean_pass
from vlmscope.core.model.devices import keep_freed_memory
from vlmscope.core.model.edits import Places, edited
from vlmscope.core.model.intervene import Interventions
from vlmscope.core.model.readings import read
from vlmscope.core.model.vlm import Inputs, Vlm

PICTURES = 3
ROWS = 16  #: ablations of each layer in a request
SEED = 0


@dataclass(frozen=True)
class AblateFigures:
    """Ablations a second; every token of the description is read. Medians over the repeats.

    Attributes:
        model, device, dtype: of the model. layers, neurons: of each layer.
        seconds: what is counted: ``cpu`` time of the process on a CPU, else the ``clock``.
        pictures, tokens: how many, and mean length of their sequences.
        full_per_s: full passes of one row, vision tower and all logits too.
        clean_per_s: clean passes, one for each picture, which the others do not count.
        all_by_layer, answer_by_layer: by restart, ``--at all`` and ``answer``, for each layer.
        all_per_s, answer_per_s: over as many ablations of each layer.
        all_ratio, answer_ratio: to ``full_per_s``.
        largest_difference: of a change of log-odds by restart, to that of a full pass.
    """

    model: str
    device: str
    dtype: str
    layers: int
    neurons: int
    seconds: str
    pictures: int
    tokens: float
    full_per_s: float
    clean_per_s: float
    all_by_layer: tuple[float, ...]
    answer_by_layer: tuple[float, ...]
    all_per_s: float
    answer_per_s: float
    all_ratio: float
    answer_ratio: float
    largest_difference: float


def bench_ablate(vlm: Vlm, data: Data, prompt: str, repeats: int, progress: OnProgress) -> AblateFigures:
    """Measure on the first pictures of ``data``, whose samples have descriptions.

    Raises:
        SamplesError: if a sample cannot be used.
    """
    keep_freed_memory()  # as the model process does
    seconds = _seconds(vlm)
    interventions = Interventions(vlm)
    samples, inputs = [], []
    for source in data.sources[:PICTURES]:
        image = load_image(data.root / source.image)
        encoded = vlm.encode(prompt, source.description or "", image.size)
        inputs.append(vlm.inputs([encoded], [image]))
        samples.append(Sample(image, encoded, clean_pass(vlm, inputs[-1])))
    rows = _rows(vlm)
    full, clean = [], []
    by_layer: dict[Positions, list[list[float]]] = {Positions.ALL: [], Positions.ANSWER: []}
    done, of = 0, (repeats + 1) * len(samples)
    for turn in range(repeats + 1):  # the first one warms up
        full.append(0.0)
        clean.append(0.0)
        for timed in by_layer.values():
            timed.append([0.0] * vlm.layers)
        for sample, given in zip(samples, inputs, strict=True):
            progress("ablations", done, of)
            done += 1
            one_each = [of_layer[turn % ROWS] for of_layer in rows]
            full[turn] += seconds(partial(_full, vlm, sample, given, one_each)) / vlm.layers
            clean[turn] += seconds(partial(clean_pass, vlm, given))
            for at, timed in by_layer.items():
                for layer, of_layer in enumerate(rows):
                    timed[turn][layer] += seconds(partial(interventions.intervene, sample, of_layer, at)) / ROWS
    progress("ablations", of, of)
    times = {at: np.median(timed[1:], axis=0) / len(samples) for at, timed in by_layer.items()}
    full_s, clean_s = (float(np.median(timed[1:])) / len(samples) for timed in (full, clean))
    every = [row for of_layer in rows for row in of_layer[:1]]
    ask = partial(interventions.intervene, samples[0], every)
    differences = [ask(at).changes - ask(at, full=True).changes for at in by_layer]
    return AblateFigures(
        model=vlm.name,
        device=str(vlm.device),
        dtype=str(vlm.model.dtype).removeprefix("torch."),
        layers=vlm.layers,
        neurons=vlm.neurons,
        seconds="cpu" if vlm.device.type == "cpu" else "clock",
        pictures=len(samples),
        tokens=float(np.mean([len(sample.encoded.input_ids) for sample in samples])),
        full_per_s=1 / full_s,
        clean_per_s=1 / clean_s,
        all_by_layer=tuple(float(1 / one) for one in times[Positions.ALL]),
        answer_by_layer=tuple(float(1 / one) for one in times[Positions.ANSWER]),
        all_per_s=1 / float(times[Positions.ALL].mean()),
        answer_per_s=1 / float(times[Positions.ANSWER].mean()),
        all_ratio=full_s / float(times[Positions.ALL].mean()),
        answer_ratio=full_s / float(times[Positions.ANSWER].mean()),
        largest_difference=float(np.abs(differences).max()),
    )


def _rows(vlm: Vlm) -> list[list[tuple[Edit, ...]]]:
    """Neurons drawn at random, each ablated alone, for each layer."""
    rng = np.random.default_rng(SEED)
    drawn = [rng.choice(vlm.neurons, ROWS, replace=vlm.neurons < ROWS).tolist() for _ in range(vlm.layers)]
    return [[(Edit(Neuron(layer, index)),) for index in indices] for layer, indices in enumerate(drawn)]


@torch.inference_mode()
def _full(vlm: Vlm, sample: Sample, inputs: Inputs, rows: Sequence[Sequence[Edit]]) -> None:
    """The usual way: a pass of the whole model for each row, and the predictions read from its logits."""
    encoded = sample.encoded
    places = Places.of_sample(Positions.ALL, encoded)
    before = slice(encoded.text.start - 1, encoded.text.stop - 1)
    reference = vlm.logits.of_all(sample.clean.hidden[0, before])
    on_device = {name: part.to(vlm.device) for name, part in inputs.items()}
    for row in rows:
        with edited(vlm.ffns, [row], places):
            logits = vlm.model(**on_device, use_cache=False).logits[0, before].float()
        read(lambda both: both, torch.stack([reference, logits]), encoded.input_ids[encoded.text])


def _seconds(vlm: Vlm) -> Callable[[Callable[[], object]], float]:
    """Times a call: CPU time where the model runs there, which others' work on the machine changes less."""
    cuda = vlm.device.type == "cuda"
    clock = time.process_time if vlm.device.type == "cpu" else time.perf_counter

    def seconds(call: Callable[[], object]) -> float:
        with torch.cuda.device(vlm.device) if cuda else nullcontext():
            began = clock()
            call()
            if cuda:
                torch.cuda.synchronize()
            return clock() - began

    return seconds
