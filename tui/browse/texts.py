"""The notebook's texts, which filters and searches find words in: read when a filter first asks for them."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.session import Session
from vlmscope.tui.views.columns import Noted, text_terms
from vlmscope.tui.views.filters import Filter

if TYPE_CHECKING:
    from vlmscope.core.notebook.texts import FoldedTexts, TextKind


@dataclass(eq=False)
class TextReader:
    """Reads the texts into the session, or, where they are too many to be kept, what a filter finds in them."""

    session: Session
    notebook: NotebookLink
    _too_many: Noted | None = None  # the notebook's columns for which its texts were more than are kept
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self, filter_: Filter) -> None:
        """Read the notebook's texts, if a filter asks for any: once, and kept where they are not too many."""
        session, terms = self.session, text_terms(filter_)
        if not terms or session.texts is not None:
            return
        async with self._reading:
            if session.texts is None:
                await self._keep_texts()
            for term in terms if session.texts is None else ():
                if term not in session.text_hits:
                    session.text_hits[term] = await self._read_hits(*term)

    async def _keep_texts(self) -> None:
        session, noted = self.session, self.session.scene.noted
        layers, neurons = session.store.layers, session.store.neurons
        if self._too_many is noted:
            return
        session.text_hits.clear()
        none: FoldedTexts | None = None
        texts = await self.notebook.read(lambda notebook: notebook.texts(layers, neurons), none)
        if texts is None:
            self._too_many = noted
        elif session.scene.noted is noted:  # nothing was written meanwhile
            session.texts = texts

    async def _read_hits(self, kind: "TextKind | None", words: str) -> NDArray[np.int64]:
        """The neurons that have ``words`` in the notebook, whose texts are searched where they are."""
        layers, neurons = self.session.store.layers, self.session.store.neurons
        none = np.zeros(0, dtype=np.int64)
        return await self.notebook.read(lambda notebook: notebook.with_text(words, layers, neurons, kind), none)
