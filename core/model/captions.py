"""The model's own words for a picture, with edits of neurons in every step."""

from collections.abc import Sequence

from PIL import Image

from vlmscope.core.base.callbacks import Stopped, not_cancelled
from vlmscope.core.base.intervention import Positions
from vlmscope.core.model.edits import Places, Row, edited
from vlmscope.core.model.vlm import Vlm


def captions(
    vlm: Vlm, image: Image.Image, prompt: str, rows: Sequence[Row], at: Positions, stopped: Stopped = not_cancelled
) -> list[str]:
    """Let the model continue after ``prompt`` once for each row of edits, greedily: one batch.

    Args:
        at: ``picture`` edits the visual tokens while the prompt is read; ``answer`` the prompt's last position, which
            predicts the first token, and each token that is written; ``all`` everything.

    Raises:
        SamplesError, ModelError, Cancelled: as ``Vlm.describe``.
    """
    prompted = vlm.encoder.prompted(prompt, image.size)
    length = vlm.encoder.to_continue([prompt], [image])["input_ids"].shape[1]
    places = Places.of(at, length, prompted.visual, length - 1)
    with vlm.busy, edited(vlm.ffns, rows, places):
        return vlm.describe([image] * len(rows), prompt, stopped)
