"""The notebook's notes, tags and explanations, folded once to be searched often."""

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.notebook.values import Entry

#: Characters that are kept folded, at most: 64 MiB of memory where they are Latin letters. The explanations of 50,000
#: neurons have about 5 million.
FOLDED_CHARACTERS = 64 * 1024 * 1024


class FoldedTexts:
    """The texts of every neuron that has any, by its flat number ``layer * F + index``."""

    def __init__(self, neurons: int) -> None:
        """No texts yet; ``neurons`` is F."""
        self.characters = 0
        self._neurons = neurons
        self._by_neuron: dict[int, str] = {}

    def add(self, at: int, text: str) -> None:
        """Add a text of the neuron ``at``."""
        known = self._by_neuron.get(at)
        both = text.casefold() if known is None else f"{known}\n{text.casefold()}"
        self.characters += len(both) - len(known or "")
        self._by_neuron[at] = both

    def put(self, entry: Entry) -> None:
        """Replace the texts of a neuron by those of ``entry``."""
        at = entry.neuron.layer * self._neurons + entry.neuron.index
        self.characters -= len(self._by_neuron.pop(at, ""))
        said = (saved.explanation.text for saved in entry.explanations)
        for text in (*([entry.note] if entry.note else ()), *entry.tags, *said):
            self.add(at, text)

    def find(self, words: str) -> NDArray[np.int64]:
        """The flat numbers of the neurons with ``words`` in one of their texts, ignoring case.

        Args:
            words: on one line, as line breaks divide the texts of a neuron.
        """
        wanted = words.casefold()
        return np.array(sorted(at for at, text in self._by_neuron.items() if wanted in text), dtype=np.int64)
