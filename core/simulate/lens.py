"""The lens as a simulator: what the inspected model itself would say at each position. It is not independent.

Notable:
- The words of the scan's concept vocabulary compete, by their first tokens: no list of nouns is needed in any language,
  but colours and numbers among them compete too. The ``WORDS`` most frequent take part.
- Words with the same first token ("cactus", "cacti") cannot be told apart. Each token's probability counts once.
- Of several words the probabilities are added: they are shares of one whole.
- A sample's table holds all words, so that any number of explanations costs one pass.
"""

from collections import OrderedDict
from collections.abc import Collection

import numpy as np

from core.concepts import Concepts
from core.errors import Cancelled, StoreError, WorkerError
from core.explanation import Explanation
from core.model_messages import LensAnswer, LensRequest, Phase
from core.plain_text import plain
from core.simulate.asking import ask
from core.simulate.phrases import wanted_words
from core.simulate.protocol import SCALE, HeldOut, ModelSide, NoPrediction, Prediction, TokenKind

WORDS = 4096  #: that compete, at most: a table of LLaVA's 576 patches then takes 9 MB
KEPT_BYTES = 256 << 20


class Lens:
    """Each position's probability of the explanation's words among the concept words, times 10."""

    name = "lens"
    kinds: Collection[TokenKind] = frozenset(TokenKind)
    independent = False
    paid = False

    def __init__(self, concepts: Concepts | None, model: ModelSide) -> None:
        """Choose the words.

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
        self._tables: OrderedDict[int, LensAnswer] = OrderedDict()

    def looks_for(self, explanation: Explanation) -> tuple[str, ...]:
        """The concept words that it names."""
        return wanted_words(explanation, self._places)

    async def simulate(self, explanation: Explanation, sample: HeldOut) -> Prediction | NoPrediction:
        """See ``Simulator``."""
        wanted = self.looks_for(explanation)
        if not wanted:
            return NoPrediction("the explanation has no word in common with the scan's concepts")
        table = await self._table(sample)
        if isinstance(table, NoPrediction):
            return table
        columns = sorted({table.columns[self._places[word]] for word in wanted})
        visual, text = (part[columns].sum(axis=0) * np.float32(SCALE) for part in (table.visual, table.text))
        return Prediction(visual, text)

    async def _table(self, sample: HeldOut) -> LensAnswer | NoPrediction:
        known = self._tables.get(sample.sample)
        if known is not None:
            self._tables.move_to_end(sample.sample)
            return known
        if sample.picture is None:
            return NoPrediction("its picture is not here")
        request = LensRequest(str(sample.picture), sample.prompt, sample.description, sample.sample, self.words)
        try:
            answer = await ask(self._model.lens, request)
        except Cancelled:
            raise
        except WorkerError as error:
            if self._model.status.phase is Phase.FAILED:
                raise
            return NoPrediction(plain(error.message, 300))
        if answer.visual.shape[1:] != sample.grid or answer.text.shape[1:] != (len(sample.tokens),):
            return NoPrediction("the model's answer does not fit the scan: another model made it")
        self._tables[sample.sample] = answer
        while len(self._tables) > 1 and sum(_size(one) for one in self._tables.values()) > KEPT_BYTES:
            self._tables.popitem(last=False)
        return answer


def _size(table: LensAnswer) -> int:
    return table.visual.nbytes + table.text.nbytes
