"""The lens as a simulator: what the inspected model itself would say at each position. It is not independent.

Notable:
- The words of the scan's concept vocabulary compete, by their first tokens: no list of nouns is needed in any language,
  but colours and numbers among them compete too. The ``WORDS`` most frequent take part.
- Words with the same first token ("cactus", "cacti") cannot be distinguished. Each token's probability counts once.
- Of several words the probabilities are added: they are shares of one whole.
- A patch is read in place, but in the demo's model three patches later: it names an object only once it has read on.
  In 120 of its scenes the probability of an object's word and each patch's share inside its boxes correlate with 0.04
  to 0.05 in place, and with 0.06, 0.12, 0.14, 0.13 and 0.11 one to five patches later. Larger models were not measured.
- A sample's table holds all words, so that any number of explanations costs one pass.
"""

from collections import OrderedDict
from collections.abc import Collection
from copy import copy

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.demo import DEMO
from vlmscope.core.base.errors import Cancelled, StoreError, WorkerError
from vlmscope.core.base.text import plain
from vlmscope.core.method.concepts import Concepts
from vlmscope.core.method.correlation import TokenKind
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.scoring.protocol import SCALE, HeldOut, NoPrediction, Prediction
from vlmscope.core.scoring.search_phrases import wanted_words
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.messages import LensAnswer, LensRequest, Phase

WORDS = 4096  #: that compete, at most: a table of LLaVA's 576 patches then takes 9 MB
KEPT_BYTES = 256 << 20
DEMO_DELAY = 3  #: patches, in reading order


class Lens:
    """Each position's probability of the explanation's words among the concept words, times 10."""

    name = "lens"
    kinds: Collection[TokenKind] = frozenset(TokenKind)
    independent = False
    paid = False

    def __init__(self, concepts: Concepts | None, model: Asks, delay: int = 0) -> None:
        """Choose the words.

        Args:
            delay: how many patches later, row by row, a patch is read; the last ones are read at the last.

        Raises:
            StoreError: if the scan has no concepts.
        """
        if concepts is None or not concepts.words:
            raise StoreError(
                "The lens needs the scan's concept words, and it has none.", "Find them once: vlmscope concepts SCAN"
            )
        order = np.argsort(-concepts.frequency, kind="stable")[:WORDS]
        self.words = tuple(concepts.words[at] for at in sorted(order.tolist()))
        self._places = {word: at for at, word in enumerate(self.words)}
        self._model = model
        self._delay = delay
        self._tables: OrderedDict[int, LensAnswer] = OrderedDict()

    @classmethod
    def of(cls, store: ScanStore, model: Asks) -> "Lens":
        """The lens of a scan's model. Raises as ``Lens``."""
        return cls(store.concepts, model, DEMO_DELAY if store.manifest.model.name == DEMO else 0)

    def in_place(self) -> "Lens":
        """The same lens, each patch read in place; both keep their tables together."""
        found = copy(self)
        found._delay = 0  # its own
        return found

    def search_phrases(self, explanation: Explanation) -> tuple[str, ...]:
        """The concept words that it names."""
        return wanted_words(explanation, self._places)

    async def simulate(self, explanation: Explanation, sample: HeldOut) -> Prediction | NoPrediction:
        """See ``Simulator``."""
        wanted = self.search_phrases(explanation)
        if not wanted:
            return NoPrediction("the explanation has no word in common with the scan's concepts")
        table = await self._table(sample)
        if isinstance(table, NoPrediction):
            return table
        columns = sorted({table.columns[self._places[word]] for word in wanted})
        visual, text = (part[columns].sum(axis=0) * np.float32(SCALE) for part in (table.visual, table.text))
        return Prediction(_later(visual, self._delay), text)

    async def _table(self, sample: HeldOut) -> LensAnswer | NoPrediction:
        known = self._tables.get(sample.sample)
        if known is not None:
            self._tables.move_to_end(sample.sample)
            return known
        if sample.picture is None:
            return NoPrediction(sample.picture_problem)
        request = LensRequest(str(sample.picture), sample.prompt, sample.description, sample.sample, self.words)
        try:
            answer = await self._model.ask(request, Lane.BACKGROUND)
        except Cancelled:
            raise
        except WorkerError as error:
            if self._model.status.phase is Phase.FAILED:
                raise
            return NoPrediction(plain(error.message, 300))
        if answer.visual.shape[1:] != sample.grid or answer.text.shape[1:] != (len(sample.tokens),):
            return NoPrediction("the model's answer does not fit the scan: another model made it")
        self._tables[sample.sample] = answer
        while (
            len(self._tables) > 1
            and sum(one.visual.nbytes + one.text.nbytes for one in self._tables.values()) > KEPT_BYTES
        ):
            self._tables.popitem(last=False)
        return answer


def _later(visual: NDArray[np.float32], delay: int) -> NDArray[np.float32]:
    """What stands ``delay`` patches later, row by row: float32 (rows, columns)."""
    row = visual.ravel()
    at = np.minimum(np.arange(row.size) + delay, row.size - 1)
    later: NDArray[np.float32] = row[at].reshape(visual.shape)
    return later
