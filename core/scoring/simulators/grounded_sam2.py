"""The paper's simulator of visual tokens: what Grounding DINO and SAM 2 find of the explanation's phrases.

They run in the model process (``core.model.segmentation``), on the exact crop that the inspected model sees. This file
has the requests to them and the use of their answers.
"""

import re
from collections.abc import Collection

import numpy as np

from vlmscope.core.base.config import Simulate
from vlmscope.core.base.errors import SamplesError, WorkerError
from vlmscope.core.base.text import plain
from vlmscope.core.method.correlation import TokenKind
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.scoring.protocol import SCALE, HeldOut, NoPrediction, Prediction
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.messages import SegmentRequest

PHRASES = 20  #: of one explanation, at most
PHRASE_LENGTH = 100

#: A full stop separates phrases for the detector; it takes question marks, [CLS] and [SEP] for separators too.
_SEPARATORS = re.compile(r"[.?\[\]]+")
_PIECES = re.compile(r"[,;:.!?\n]+")


class GroundedSam2:
    """Each patch's share inside the masks of what the phrases name, weighted by the detector's score, times 10."""

    name = "grounded-sam2"
    kinds: Collection[TokenKind] = frozenset({TokenKind.VISUAL})
    independent = True
    paid = False

    def __init__(self, settings: Simulate, model: Asks) -> None:
        self._settings = settings
        self._model = model

    def search_phrases(self, explanation: Explanation) -> tuple[str, ...]:
        """The phrases that the detector is given."""
        return detector_phrases(explanation)

    async def simulate(self, explanation: Explanation, sample: HeldOut) -> Prediction | NoPrediction:
        """See ``Simulator``. Where nothing is found in the picture, the prediction is 0 everywhere.

        Raises:
            WorkerError: as in ``Simulator``, and if the detector or the segmenter cannot be loaded, or memory is short.
        """
        phrases = self.search_phrases(explanation)
        if not phrases:
            return NoPrediction("the explanation names nothing that a detector could look for")
        if sample.picture is None:
            return NoPrediction(sample.picture_problem)
        request = SegmentRequest(
            image=str(sample.picture),
            sample=sample.sample,
            phrases=phrases,
            detector=self._settings.detector,
            segmenter=self._settings.segmenter,
            device=self._settings.device,
            box_threshold=self._settings.box_threshold,
            text_threshold=self._settings.text_threshold,
        )
        try:
            answer = await self._model.ask(request, Lane.BACKGROUND)
        except WorkerError as error:
            # Of all failures the picture's own alone leaves the other samples a chance.
            if error.title != SamplesError.title:
                raise
            return NoPrediction(plain(error.message, 300))
        if answer.weights.shape != sample.grid:
            return NoPrediction("the model's answer does not fit the scan: another model made it")
        return Prediction(visual=answer.weights * np.float32(SCALE))


def detector_phrases(explanation: Explanation) -> tuple[str, ...]:
    """The explanation's visual phrases as the detector takes them: lower case, without its separators, each once.

    A person's or a paper's words without any are themselves the phrases, piece by piece ("airplanes, motorcycles"). An
    API was asked for phrases: where it gives none, a detector has nothing to look for.
    """
    found = explanation.visual_phrases
    if not found and explanation.source is not Source.API:
        found = tuple(_PIECES.split(explanation.text))
    cleaned = (" ".join(_SEPARATORS.sub(" ", plain(phrase)).lower().split()) for phrase in found)
    return tuple(dict.fromkeys(phrase[:PHRASE_LENGTH].strip() for phrase in cleaned if phrase))[:PHRASES]
