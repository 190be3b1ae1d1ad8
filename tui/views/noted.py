"""What the notebook holds, read into the columns and hits that lists are made from: for the notebook's own thread."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.views.columns import ListScore, Noted, TextHits, text_terms
from vlmscope.tui.views.filters import Filter

if TYPE_CHECKING:
    from vlmscope.core.analysis.published import Published
    from vlmscope.core.notebook.notebook import Notebook


def read_noted(notebook: "Notebook", layers: int, neurons: int) -> Noted:
    """The notebook's marks and scores as columns."""
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
    """Which neurons' texts have what a filter asks for. Slow: all texts are read for each of its terms."""
    return {(kind, words): notebook.with_text(words, layers, neurons, kind) for kind, words in text_terms(filter_)}


def with_paper(
    found: NDArray[np.int64], words: str, known: "Mapping[Neuron, Published]", neurons: int
) -> NDArray[np.int64]:
    """The same flat numbers, and those of the neurons whose text in the paper has ``words``."""
    wanted = words.casefold()
    paper = [one.layer * neurons + one.index for one, of in known.items() if wanted in of.text.casefold()]
    return np.union1d(found, np.array(paper, dtype=np.int64))
