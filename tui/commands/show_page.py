"""All that is shown of one neuron, as a value."""

from dataclasses import dataclass

from vlmscope.core.analysis.firmness import NeuronFirmness, neuron_firmness
from vlmscope.core.analysis.panel import RangeSample, across_range
from vlmscope.core.analysis.published import Published, published
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.concepts import ConceptList
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.notebook.values import Entry
from vlmscope.core.store.example import Example
from vlmscope.core.store.reader import ScanStore


@dataclass(frozen=True)
class ShownNeuron:
    """All that is shown of one neuron.

    Attributes:
        votes: of its top samples: visual, text, multimodal, unknown.
        maximum: gmax, the activation whose norm is 10.
        samples: best first.
        across: panel samples across the range of its activations; None where the scan has no panel.
        entry: what the notebook holds.
    """

    store: ScanStore
    neuron: Neuron
    thresholds: Thresholds
    label: Label
    high_confidence: bool
    votes: tuple[int, ...]
    maximum: float
    samples: tuple[Example, ...]
    across: tuple[RangeSample, ...] | None
    entry: Entry

    @classmethod
    def of(cls, store: ScanStore, neuron: Neuron, thresholds: Thresholds, entry: Entry | None = None) -> "ShownNeuron":
        labels = store.labels_of(neuron, thresholds)
        return cls(
            store=store,
            neuron=neuron,
            thresholds=thresholds,
            label=Label(int(labels.label[0])),
            high_confidence=bool(labels.high_confidence[0]),
            votes=tuple(int(count) for count in labels.votes[0]),
            maximum=float(store.maximum[neuron.layer, neuron.index]),
            samples=tuple(store.example(neuron, rank, thresholds) for rank in range(store.manifest.valid)),
            across=None if store.panel is None else across_range(store, store.panel, neuron),
            entry=entry or Entry(neuron),
        )

    @property
    def published(self) -> Published | None:
        """What the paper says of it, if it is one of the paper's neurons."""
        return published(self.store.manifest).get(self.neuron)

    @property
    def firmness(self) -> NeuronFirmness:
        """How firm the label is."""
        return neuron_firmness(self.store, self.neuron, self.thresholds)

    @property
    def concepts(self) -> ConceptList | None:
        """The words that stand out, or None where the scan has no concepts."""
        found = self.store.concepts
        return None if found is None else found.of(self.neuron)

    @property
    def fractions(self) -> dict[str, float | None]:
        """The share of the top samples that voted for each label; None where there are no samples."""
        valid = len(self.samples)
        return {which.word: self.votes[which] / valid if valid else None for which in Label}
