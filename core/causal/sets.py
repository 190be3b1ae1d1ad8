"""Sets of neurons that are changed all at once: by concept, by verdict, by tag, by address."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vlmscope.core.base.errors import StoreError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.causal.words import one_word
from vlmscope.core.notebook.events import folded
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.store.reader import ScanStore

NAMED = 3  #: addresses that a set's name holds
TAG_LENGTH = 60


@dataclass(frozen=True)
class NeuronSet:
    """Neurons with a name.

    Attributes:
        name: empty for one neuron that was named by its address.
        word: the concept that they share; empty for other sets.
    """

    name: str
    neurons: tuple[Neuron, ...]
    word: str = ""


def of_addresses(neurons: Sequence[Neuron]) -> NeuronSet:
    """These neurons, each FFN unit once; one is not a set."""
    found = _units(neurons)
    if len(found) == 1:
        return NeuronSet("", found)
    more = " ..." if len(found) > NAMED else ""
    return NeuronSet(", ".join(map(str, found[:NAMED])) + more, found)


def of_concept(store: ScanStore, typed: str, limit: int | None = None) -> NeuronSet:
    """The neurons that have a word among their concepts, those first for which it stands out most.

    Args:
        limit: at most so many.

    Raises:
        UsageError: if it is not one word, or no neuron has it.
        StoreError: if the scan has no concepts.
    """
    concepts = store.concepts
    if concepts is None:
        raise StoreError(f"{store.folder} has no concepts.", "Find them once: vlmscope concepts SCAN.")
    word = one_word(typed, concepts)
    strength = concepts.find(word)
    found = np.argwhere(strength > 0)
    if not len(found):
        similar = [one for one in concepts.similar(word) if concepts.find(one).any()]
        hint = f"Similar words: {', '.join(similar)}." if similar else "vlmscope search finds words that neurons have."
        raise UsageError(f"No neuron has {plain(word, TAG_LENGTH)!r} among its concepts.", hint)
    order = np.argsort(-strength[tuple(found.T)], kind="stable")
    return NeuronSet(f"concept {word}", _units(store.numbering.at(*at) for at in found[order].tolist())[:limit], word)


def of_kept(store: ScanStore, notebook: Notebook | None) -> NeuronSet:
    """The neurons with the verdict keep, by layer and index.

    Raises:
        UsageError: if there are none.
        NotebookError: if the notebook cannot be read.
    """
    marks = {} if notebook is None else notebook.marks()
    found = _within(store, (neuron for neuron, mark in marks.items() if mark.verdict is Verdict.KEEP))
    if not found:
        raise UsageError("No neuron has the verdict keep.", "Decide on some: vlmscope verdict SCAN ADDRESS keep.")
    return NeuronSet("kept", found)


def of_tag(store: ScanStore, notebook: Notebook | None, tag: str) -> NeuronSet:
    """The neurons with a tag, in any spelling of capitals, by layer and index.

    Raises:
        UsageError: if there are none.
        NotebookError: if the notebook cannot be read.
    """
    wanted = tag.strip()
    marks = {} if notebook is None else notebook.marks()
    found = _within(
        store,
        (
            neuron
            for neuron, mark in marks.items()
            if notebook is not None
            and mark.has_tags
            and folded(wanted) in {folded(one) for one in notebook.entry(neuron).tags}
        ),
    )
    if not found:
        raise UsageError(f"No neuron has the tag {plain(wanted, TAG_LENGTH)!r}.", "vlmscope verdict --tag adds one.")
    return NeuronSet(f"tag {plain(wanted, TAG_LENGTH)}", found)


def _within(store: ScanStore, neurons: Iterable[Neuron]) -> tuple[Neuron, ...]:
    return _units(sorted(one for one in neurons if store.numbering.has(one)))


def _units(neurons: Iterable[Neuron]) -> tuple[Neuron, ...]:
    """Each FFN unit once, by the first of its poles: an intervention is on whole units."""
    found: dict[Neuron, Neuron] = {}
    for neuron in neurons:
        found.setdefault(neuron.whole, neuron)
    return tuple(found.values())
