"""The pictures that neurons are ablated on: their top samples, or a user's own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.words import place_of
from vlmscope.core.store.example import Sample
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.interventions import SampleRef
from vlmscope.core.worker.messages import DescribeAnswer


@dataclass(frozen=True)
class Described:
    """A picture with its description.

    Attributes:
        ref: as the model process takes it.
        tokens: the description's, spelled.
        image: its name in the data; the file of a user's own.
    """

    ref: SampleRef
    tokens: tuple[str, ...]
    image: str


@dataclass(frozen=True)
class Picked:
    """Pictures to ablate on. ``problems``: why samples that were wanted have no picture, each reason once."""

    pictures: tuple[Described, ...]
    problems: tuple[str, ...] = ()


def of_sample(sample: Sample, prompt: str) -> Described:
    """A scan's sample; its picture must be at hand (``sample.picture_problem`` is empty).

    Args:
        prompt: the manifest's.
    """
    ref = SampleRef(str(sample.picture), prompt, sample.description, sample.index)
    return Described(ref, sample.tokens, sample.image)


def of_answer(answer: DescribeAnswer) -> Described:
    """A user's own picture, described by the model."""
    ref = SampleRef(answer.image, answer.prompt, answer.description, None)
    return Described(ref, answer.tokens, Path(answer.image).name)


def pick(store: ScanStore, neurons: Sequence[Neuron], word: str, count: int) -> Picked:
    """The first ``count`` top samples whose description has ``word``; any, if ``word`` is empty.

    Of several neurons the samples come first that are top samples of most, then those of the best rank. A sample
    whose picture is missing, or is another, is left out, and the next one taken.

    Raises:
        StoreError: if the scan is damaged.
    """
    found: list[Described] = []
    problems: dict[str, None] = {}
    for index in _in_order(store.top_samples(neuron) for neuron in neurons):
        if len(found) == count:
            break
        sample = store.sample(index)
        if word and place_of(sample.tokens, word) is None:
            continue
        problem = sample.picture_problem
        if problem:
            problems[problem] = None
        else:
            found.append(of_sample(sample, store.manifest.prompt))
    return Picked(tuple(found), tuple(problems))


def _in_order(lists: Iterable[Sequence[int]]) -> list[int]:
    """Samples of several lists, those of most lists first, then by their best rank, then by index."""
    times: dict[int, int] = {}
    best: dict[int, int] = {}
    for samples in lists:
        for rank, sample in enumerate(samples):
            times[sample] = times.get(sample, 0) + 1
            best[sample] = min(rank, best.get(sample, rank))
    return sorted(times, key=lambda sample: (-times[sample], best[sample], sample))
