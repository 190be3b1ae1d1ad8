"""How often lists of neurons are about the right object: pointing at it, and neurons related to one of its.

The demo's scenes are known: a box for each object. Notable:
- A neuron is about the object that its leading concept names. Concepts come from the same pictures, so that figures on
  a scan's pictures are partly circular. Without the picture's own neurons, those that have it among their top samples,
  the list is counted again.
- Related neurons come from the same top samples as concepts, too. The share of a related neuron's *other* top pictures
  that name the object is not circular.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from vlmscope.core.analysis.pointing import PointedNeuron, Rule, point_at_all, point_in_scan
from vlmscope.core.analysis.related import related
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.pictures import of_sample
from vlmscope.core.method.concepts import Concepts
from vlmscope.core.method.patches import Corners
from vlmscope.core.method.place import Place, patch_place, token_place
from vlmscope.core.method.word_place import word_tokens, words_with_tokens
from vlmscope.core.method.words import singular
from vlmscope.core.scoring.simulators.oracle import Oracle, read_scenes
from vlmscope.core.store.example import Sample
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.interventions import AttributionRequest, FiringRequest

OBJECTS = 200  #: pointed at
FIRST = 10  #: neurons of a list that count
NEIGHBOURS = 5  #: of a neuron that has related ones
LEAST_PURITY = 0.5  #: of a neuron whose related ones are counted
LONG = 500  #: entries of a list: more than a picture's own neurons on the demo
SEED = 0
_WORD = "word"  #: the list that is read at the word

OnCount = Callable[[int, int], None]


@dataclass(frozen=True)
class ListPrecision:
    """Mean over the objects.

    Attributes:
        at_10, at_1: the share of the first 10 listed neurons, and of the first, that are about the object.
        others_at_10, others_at_1: without the neurons that have the picture among their own top samples.
    """

    at_10: float
    at_1: float
    others_at_10: float
    others_at_1: float


@dataclass(frozen=True)
class PointingPrecision:
    """Pointing at the middle of objects that the description names.

    Attributes:
        objects, pictures: how many.
        chance: the share of all neurons that are about the object.
        rules: by rule, with the model. word: by bar where the model is about to write the object's word. effect: by
            effect on that word. Both are given the word, not the patch.
        words_first: the share of objects that come first in the line "words here", by bar.
        scan_at_10, scan_at_1, scan_listed: without the model, by bar; and how many neurons it lists.
    """

    objects: int
    pictures: int
    chance: float
    rules: dict[str, ListPrecision]
    word: ListPrecision
    effect: ListPrecision
    words_first: float
    scan_at_10: float
    scan_at_1: float
    scan_listed: float


@dataclass(frozen=True)
class RelatedPrecision:
    """Related neurons of neurons whose leading concept is an object, of a purity of at least 0.5.

    Attributes:
        neurons: how many. with_related: how many of them have any.
        at_5, chance: the share of the first five with the same leading concept, and of all neurons.
        elsewhere, elsewhere_chance: the share of a related neuron's top pictures which are not shared whose description
            names the object, and of all pictures.
    """

    neurons: int
    with_related: int
    at_5: float
    chance: float
    elsewhere: float
    elsewhere_chance: float


@dataclass
class _Counts:
    """Shares of right neurons, one for each object."""

    at_10: list[float] = field(default_factory=list)
    at_1: list[float] = field(default_factory=list)

    def add(self, neurons: Sequence[PointedNeuron], name: str) -> None:
        right = [one.concept == name for one in neurons[:FIRST]]
        self.at_10.append(sum(right) / FIRST)
        self.at_1.append(float(any(right[:1])))


@dataclass(frozen=True)
class NamedObject:
    """An object of a scene that the description names, at its largest box. ``token``: the word's first token."""

    sample: Sample
    name: str
    place: Place
    token: int


def named_objects(store: ScanStore, count: int) -> list[NamedObject]:
    """Objects of pictures drawn at random; there may be fewer than ``count``."""
    scenes, found = read_scenes(), list[NamedObject]()
    for index in np.random.default_rng(SEED).permutation(store.manifest.samples).tolist():
        if len(found) >= count:
            break
        if not store.processed(index):
            continue
        sample = store.sample(index)
        largest: dict[str, Corners] = {}
        for name, box in scenes.get(sample.picture.name, ()):
            largest[name] = max(largest.get(name, box), box, key=_area)
        for name, box in largest.items():
            tokens = word_tokens(sample.tokens, name)
            if tokens:
                found.append(NamedObject(sample, name, _middle(sample, box), tokens[0]))
    return found[:count]


def _area(box: Corners) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _middle(sample: Sample, box: Corners) -> Place:
    """The patch at the middle of a box."""
    with Image.open(sample.picture) as image:
        width, height = image.size
    left, top, right, bottom = sample.seen or (0.0, 0.0, 1.0, 1.0)
    rows, columns = sample.layout.grid
    x = ((box[0] + box[2]) / 2 / width - left) / (right - left)
    y = ((box[1] + box[3]) / 2 / height - top) / (bottom - top)
    row, column = (min(max(int(share * count), 0), count - 1) for share, count in ((y, rows), (x, columns)))
    return patch_place(sample.layout, row, column)


async def pointing_precision(
    store: ScanStore, model: Asks, count: int = OBJECTS, on_object: OnCount = lambda _done, _of: None
) -> PointingPrecision:
    """Point at objects of the demo, by every rule.

    Raises:
        StoreError: if the demo is damaged. WorkerError: as ``Asks.ask``.
    """
    objects, labels = named_objects(store, count), store.stored_labels()
    lists = {name: (_Counts(), _Counts()) for name in (*Rule, _WORD)}
    alone, listed, words_first = _Counts(), list[int](), list[bool]()
    for done, one in enumerate(objects, start=1):
        ref = of_sample(one.sample, store.manifest.prompt).ref
        fired = await model.ask(FiringRequest(ref, one.place.visual), Lane.BACKGROUND)
        said = await model.ask(FiringRequest(ref, (), (one.token,), before=True), Lane.BACKGROUND)
        effects = (await model.ask(AttributionRequest(ref, one.token), Lane.BACKGROUND)).effects
        said_place = token_place((one.token,), one.name, before=True)
        for name, (every, others) in lists.items():
            rule, place, at = (Rule.BAR, said_place, said) if name == _WORD else (Rule(name), one.place, fired)
            found = point_at_all(store, labels, one.sample.index, place, rule, at.activation, at.written, effects, LONG)
            every.add(found.neurons, one.name)
            others.add([each for each in found.neurons if each.rank is None], one.name)
            if name == Rule.BAR:
                words_first.append(bool(found.words) and found.words[0].word == one.name)
        in_scan = point_in_scan(store, labels, one.sample.index, one.place, limit=LONG)
        alone.add(in_scan.neurons, one.name)
        listed.append(in_scan.total)
        on_object(done, len(objects))
    precision = {
        str(name): ListPrecision(_mean(one.at_10), _mean(one.at_1), _mean(other.at_10), _mean(other.at_1))
        for name, (one, other) in lists.items()
    }
    word, effect = precision.pop(_WORD), precision.pop(Rule.EFFECT)
    return PointingPrecision(
        objects=len(objects),
        pictures=len({one.sample.index for one in objects}),
        chance=_mean([_share_led(store.concepts, one.name) for one in objects]),
        rules=precision,
        word=word,
        effect=effect,
        words_first=_mean(words_first),
        scan_at_10=_mean(alone.at_10),
        scan_at_1=_mean(alone.at_1),
        scan_listed=_mean(listed),
    )


def related_precision(store: ScanStore, oracle: Oracle) -> RelatedPrecision:
    """Related neurons of the demo's neurons of objects.

    Raises:
        StoreError: if the demo is damaged.
    """
    labels, neurons = store.stored_labels(), object_neurons(store, oracle.names)
    named = [_names(store.sample(index), oracle.names) for index in range(store.manifest.samples)]
    same, chance, elsewhere, everywhere = list[float](), list[float](), list[float](), list[float]()
    for neuron in neurons:
        assert store.concepts is not None  # it has neurons of objects
        name = store.concepts.leading(neuron.layer, neuron.index)
        found = related(store, neuron, labels, NEIGHBOURS).found
        if not found:
            continue
        same.append(_mean([one.concept == name for one in found]))
        chance.append(_share_led(store.concepts, name))
        not_shared = [set(store.top_samples(one.neuron)) - set(one.samples) for one in found]
        elsewhere.append(_mean([name in named[index] for samples in not_shared for index in samples]))
        everywhere.append(_mean([name in words for words in named]))
    return RelatedPrecision(len(neurons), len(same), _mean(same), _mean(chance), _mean(elsewhere), _mean(everywhere))


def object_neurons(store: ScanStore, objects: Collection[str], layer: int | None = None) -> list[Neuron]:
    """The neurons that an object's word leads with a purity of at least 0.5, by address; of one layer, or of all."""
    concepts = store.concepts
    if concepts is None:
        return []
    pure = concepts.purity() >= np.float32(LEAST_PURITY)
    layers = range(store.layers) if layer is None else (layer,)
    every = [store.numbering.at(at, index) for at in layers for index in np.flatnonzero(pure[at]).tolist()]
    return [one for one in every if concepts.leading(one.layer, one.index) in objects]


def _names(sample: Sample, objects: Collection[str]) -> frozenset[str]:
    """The objects that a description names."""
    words = {word for word, _ in words_with_tokens(sample.tokens)}
    return frozenset(objects) & (words | {singular(word, objects) for word in words})


def _share_led(concepts: Concepts | None, name: str) -> float:
    """The share of all neurons that a word leads."""
    if concepts is None or name not in concepts.words:
        return 0.0
    return float((concepts.word[..., 0] == concepts.words.index(name)).mean())


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
