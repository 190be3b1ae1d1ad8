"""The notebook's notes, tags and explanations, folded once to be searched often."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.notebook.values import Entry

#: Characters that are kept folded, at most: 64 MiB of memory where they are Latin letters. The explanations of 50,000
#: neurons have about 5 million.
FOLDED_CHARACTERS = 64 * 1024 * 1024


class TextKind(StrEnum):
    """What a text in the notebook is."""

    NOTE = "note"
    TAG = "tag"
    EXPLANATION = "explanation"


class FoldedTexts:
    """The texts of every neuron that has any, by its flat number ``layer * F + index``."""

    def __init__(self, neurons: int) -> None:
        """No texts yet; ``neurons`` is F."""
        self.characters = 0
        self._neurons = neurons
        self._by_kind: dict[TextKind, dict[int, str]] = {kind: {} for kind in TextKind}

    def add(self, at: int, kind: TextKind, text: str) -> None:
        """Add a text of the neuron ``at``."""
        texts = self._by_kind[kind]
        known = texts.get(at)
        both = text.casefold() if known is None else f"{known}\n{text.casefold()}"
        self.characters += len(both) - len(known or "")
        texts[at] = both

    def put(self, entry: Entry) -> None:
        """Replace the texts of a neuron by those of ``entry``."""
        at = entry.neuron.layer * self._neurons + entry.neuron.index
        for texts in self._by_kind.values():
            self.characters -= len(texts.pop(at, ""))
        if entry.note:
            self.add(at, TextKind.NOTE, entry.note)
        for tag in entry.tags:
            self.add(at, TextKind.TAG, tag)
        for saved in entry.explanations:
            self.add(at, TextKind.EXPLANATION, saved.explanation.text)

    def find(self, words: str, kind: TextKind | None = None) -> NDArray[np.int64]:
        """The flat numbers of the neurons with ``words`` in one of their texts, ignoring case.

        Args:
            words: on one line, as line breaks divide the texts of a neuron.
            kind: of the texts; None: of any kind. A tag of the kind TAG is ``words``; other texts hold them.
        """
        wanted = words.casefold()
        if kind is TextKind.TAG:
            found = (at for at, text in self._by_kind[kind].items() if wanted in text.split("\n"))
        else:
            kinds = list(TextKind) if kind is None else [kind]
            found = (at for one in kinds for at, text in self._by_kind[one].items() if wanted in text)
        return np.array(sorted(set(found)), dtype=np.int64)
