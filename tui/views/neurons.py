"""A list of neurons that answers a question: who fires here, who makes the model say a word, who is like this one."""

from dataclasses import dataclass

from vlmscope.core.base.neuron import Neuron


@dataclass(frozen=True)
class NeuronRow:
    """One neuron; ``texts`` stand behind its address, one for each of the table's heads."""

    neuron: Neuron
    texts: tuple[str, ...]


@dataclass(frozen=True)
class NeuronTable:
    """The list, best first.

    Attributes:
        title: what the list is.
        lines: above the rows: what was found, how, and its limits.
        heads: of the rows' texts.
    """

    title: str
    lines: tuple[str, ...]
    heads: tuple[str, ...] = ()
    rows: tuple[NeuronRow, ...] = ()
