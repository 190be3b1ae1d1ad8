"""Which of a few words the model predicts at each position: the logit lens after the last layer.

Source: nostalgebraist, 2020 (the logit lens), narrowed to competing words. Over the whole vocabulary the probability
shows that there is an object; among nouns it shows which.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vlmscope.core.base.callbacks import Stopped, not_cancelled
from vlmscope.core.base.errors import UsageError
from vlmscope.core.model.vlm import Encoded, Inputs, Vlm


def lens(
    vlm: Vlm, encoded: Encoded, inputs: Inputs, words: Sequence[str], stopped: Stopped = not_cancelled
) -> tuple[tuple[int, ...], NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities of the words' first tokens, by a softmax over these C tokens, each counted once.

    Args:
        inputs: of the sample that is ``encoded``.

    Returns:
        each word's place among the C tokens; float32 (C, rows, columns) at the visual tokens, on the layout's grid;
        float32 (C, tokens) one position before each of the description's tokens.

    Raises:
        UsageError: if no words are given.
        Cancelled: when ``stopped`` turns true, which is read before every layer.
    """
    if not words:
        raise UsageError("The lens needs words to choose among.")
    firsts = [vlm.first_token(word) for word in words]
    tokens = list(dict.fromkeys(firsts))
    with vlm.stoppable(stopped, "The pass was stopped."):
        logits = vlm.logits.of_tokens(inputs, torch.tensor(tokens))
    chances = logits.softmax(dim=-1).T.cpu().numpy()  # (C, T)
    before = slice(encoded.text.start - 1, encoded.text.stop - 1)
    visual = encoded.layout.cells(chances[:, encoded.visual], *encoded.layout.grid)
    return tuple(tokens.index(first) for first in firsts), visual, np.ascontiguousarray(chances[:, before])
