"""Tables of neurons: related ones, those that fire at a place, those that a word rests on."""

from typing import TYPE_CHECKING

from vlmscope.tui.views.neurons import NeuronRow, NeuronTable

if TYPE_CHECKING:
    from vlmscope.core.analysis.related import RelatedNeurons

_SAMPLES = 4  #: shared samples that a row names


def related_table(found: "RelatedNeurons") -> NeuronTable:
    """The neurons that share the most top samples, with the reasons."""
    rows = tuple(
        NeuronRow(
            one.neuron,
            (str(one.shared), one.label.letter, one.concept, _samples(one.samples)),
        )
        for one in found.found
    )
    return NeuronTable(
        f"related to {found.neuron}",
        (f"{found.summary}.".replace("..", "."),),
        ("shared", "label", "concept", "first of them"),
        rows,
    )


def _samples(samples: tuple[int, ...]) -> str:
    return " ".join(f"#{sample}" for sample in samples[:_SAMPLES]) + (" …" if len(samples) > _SAMPLES else "")
