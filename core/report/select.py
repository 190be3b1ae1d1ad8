"""Which neurons a report is about."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.notebook.events import folded
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Mark, Verdict
from vlmscope.core.store.reader import ScanStore


@dataclass(frozen=True)
class NeuronChoice:
    """What must be true of a neuron, all of it."""

    verdicts: Collection[Verdict] | None = None  #: one of these; None: any, or none at all
    label: Label | None = None  #: at the thresholds of the report
    high_confidence: bool = False  #: the label must be
    tag: str | None = None  #: one of its tags, in any spelling of capitals
    bookmarked: bool = False
    checked: bool = False  #: it has a causal check of its own


def chosen(
    store: ScanStore,
    notebook: Notebook | None,
    thresholds: Thresholds,
    choice: NeuronChoice,
    named: Sequence[Neuron] | None = None,
) -> tuple[Neuron, ...]:
    """The neurons of which ``choice`` is true, by layer and index, each once.

    Args:
        notebook: None where there is none yet.
        named: choose among these; None: among all of which the notebook holds anything.

    Raises:
        UsageError: if a neuron is none of this scan.
        NotebookError: if the notebook cannot be read.
    """
    marks = {} if notebook is None else notebook.marks()
    checked = set() if notebook is None else set(notebook.checked_neurons())
    found = []
    for neuron in sorted({*marks, *checked} if named is None else set(named)):
        store.numbering.checked(neuron)
        if choice.checked and neuron not in checked:
            continue
        if not _marked(marks.get(neuron, Mark()), choice):
            continue
        if choice.tag is not None and (notebook is None or not _tagged(notebook, neuron, choice.tag)):
            continue
        if choice.label is not None or choice.high_confidence:
            labels = store.labels_of(neuron, thresholds)
            if choice.label not in (None, Label(int(labels.label[0]))):
                continue
            if choice.high_confidence and not labels.high_confidence[0]:
                continue
        found.append(neuron)
    return tuple(found)


def _marked(mark: Mark, choice: NeuronChoice) -> bool:
    """Whether the marks alone allow it."""
    if choice.verdicts is not None and mark.verdict not in choice.verdicts:
        return False
    if choice.bookmarked and not mark.bookmark:
        return False
    return choice.tag is None or mark.has_tags


def _tagged(notebook: Notebook, neuron: Neuron, tag: str) -> bool:
    return folded(tag.strip()) in {folded(one) for one in notebook.entry(neuron).tags}
