"""The tokens that a neuron promotes: the extremes of its output weights, read through the model's head.

It is a first-order reading: later layers may change it. With the hook point ``gate`` the neuron's output is its
activation times the up projection, whose sign may turn promoted into suppressed.
"""

from itertools import islice

import torch

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.worker.messages import PromotedAnswer


def promoted(vlm: Vlm, neuron: Neuron, count: int) -> PromotedAnswer:
    """The ``count`` most promoted and most suppressed tokens; of equal ones the lower token comes first.

    Tokens that are not text (special ones, rows that only pad the head) are left out; there may be fewer than
    ``count``. A negative pole writes the opposite of its unit's column.
    """
    logits = vlm.logits.effect(neuron.layer, neuron.unit).cpu()
    order = torch.argsort(logits, descending=True, stable=True).tolist()
    rising = torch.argsort(logits, stable=True).tolist()
    sides = []
    for ids in (order, rising):
        spelled = ((word, token) for token in ids if (word := vlm.spelled(token)) is not None)
        found = list(islice(spelled, count))
        sides.append((tuple(word for word, _ in found), logits[[token for _, token in found]].numpy()))
    (top, top_logits), (bottom, bottom_logits) = sides
    return PromotedAnswer(neuron.whole, top, top_logits, bottom, bottom_logits).of_pole(neuron)
