"""What the notebook holds, as the columns and hits that lists are made from."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.views.columns import ListScore, Noted, TextHits, TextTerm, text_terms
from vlmscope.tui.views.filters import Filter

if TYPE_CHECKING:
    from vlmscope.core.analysis.published import Published
    from vlmscope.core.notebook.notebook import Notebook
    from vlmscope.core.notebook.texts import FoldedTexts


def read_noted(notebook: "Notebook", layers: int, neurons: int) -> Noted:
    """The notebook's marks and scores as columns: for the notebook's own thread."""
    from vlmscope.core.scoring.preferred import list_score
    from vlmscope.core.scoring.statistics import newest_scores

    scores = {}
    for neuron, reports in newest_scores(notebook).items():
        first = list_score(reports.values())
        if neuron.layer < layers and neuron.index < neurons and first is not None:
            scores[neuron.layer * neurons + neuron.index] = ListScore(first.value, first.independent)
    bits, checked = notebook.mark_bits(layers, neurons), notebook.checked_neurons()
    return Noted.of(bits, scores, neurons, checked, notebook.reviewed_neurons())


def read_hits(notebook: "Notebook", filter_: Filter, layers: int, neurons: int) -> TextHits:
    """Which neurons' texts have what a filter asks for, for the notebook's own thread; each term reads all texts."""
    return {(kind, words): notebook.with_text(words, layers, neurons, kind) for kind, words in text_terms(filter_)}


def with_paper(
    found: NDArray[np.int64], words: str, known: "Mapping[Neuron, Published]", neurons: int
) -> NDArray[np.int64]:
    """The same flat numbers, and those of the neurons whose text in the paper has ``words``."""
    wanted = words.casefold()
    paper = [one.layer * neurons + one.index for one, of in known.items() if wanted in of.text.casefold()]
    return np.union1d(found, np.array(paper, dtype=np.int64))


def found_texts(
    filter_: Filter,
    texts: "FoldedTexts | None",
    hits: TextHits,
    known: "Mapping[Neuron, Published]",
    neurons: int,
) -> TextHits:
    """Which neurons' texts have what a filter asks for, as far as the notebook's texts are read.

    Args:
        texts: the notebook's; None if they are not read, or are too many to be kept.
        hits: what was found in texts that are not kept.
        known: the neurons of the paper. neurons: of one layer.
    """

    def found(term: TextTerm) -> NDArray[np.int64]:
        kind, words = term
        there = texts.find(words, kind) if texts is not None else hits.get(term, np.zeros(0, dtype=np.int64))
        return there if kind is not None else with_paper(there, words, known, neurons)

    return {term: found(term) for term in text_terms(filter_)}
