"""A neuron with a known effect, planted into a model: it makes the model say one word where an object is named next.

The gate's row and the up projection's row are both ``c * v``. Then z = silu(x) * x of x = c * v . h, which is never
negative, although neither projection has a bias. v is the mean of the FFN's input h where the next token names an
object, less its mean elsewhere. The column points from the mean of the head's rows to the word's row.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vlmscope.core.base.demo import samples_file
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.model.vlm import Encoded, Inputs, Vlm

_LEVEL = 3.0  #: x, on average, where an object is named next: z is 8.6 there


@torch.no_grad()
def naming(vlm: Vlm, layer: int, samples: Sequence[tuple[Encoded, Inputs]], objects: Collection[str]) -> Tensor:
    """c * v of a layer: (H,). ``objects``: words, as tokens of the descriptions spell them, without the space."""
    there, elsewhere = [], []
    for encoded, inputs in samples:
        taken: list[Tensor] = []
        with vlm.ffns[layer].block.register_forward_pre_hook(lambda _, args, taken=taken: taken.append(args[0][0])):
            vlm.model.model(**inputs, use_cache=False)
        before = [encoded.text.start + at - 1 for at, word in enumerate(encoded.tokens) if word.strip() in objects]
        mask = torch.zeros(len(taken[0]), dtype=torch.bool)
        mask[before] = True
        there.append(taken[0][mask])
        elsewhere.append(taken[0][~mask])
    mean = torch.cat(there).mean(dim=0)
    direction = mean - torch.cat(elsewhere).mean(dim=0)
    return direction * (_LEVEL / (direction @ mean))


@contextmanager
def planted(vlm: Vlm, neuron: Neuron, reads: Tensor, word: str, strength: float) -> Iterator[None]:
    """Put the neuron into the place of another while the block runs.

    Args:
        reads: (H,), what ``naming`` gives. word: whose logit it raises. strength: the length of its column.
    """
    ffn: Any = vlm.ffns[neuron.layer]
    parts = [
        (ffn.gate.weight, (neuron.index,)),
        (ffn.up.weight, (neuron.index,)),
        (ffn.down.weight, (slice(None), neuron.index)),
    ]
    kept = [weights[at].clone() for weights, at in parts]
    head = vlm.model.get_output_embeddings().weight
    norm = vlm.model.get_decoder().norm.weight
    column = (head[vlm.first_token(word)] - head.mean(dim=0)) * norm
    column = column * (strength / column.norm())
    with torch.no_grad():
        for (weights, at), new in zip(parts, (reads, reads, column), strict=True):
            weights[at] = new
    vars(vlm).pop("column_norms", None)  # a property that is computed once
    try:
        yield
    finally:
        with torch.no_grad():
            for (weights, at), old in zip(parts, kept, strict=True):
                weights[at] = old
        vars(vlm).pop("column_norms", None)


def demo_scenes() -> tuple[list[dict[str, Any]], set[str]]:
    """The lines of the demo's samples, and the names of all objects in them."""
    lines = [json.loads(line) for line in samples_file().read_text(encoding="utf-8").splitlines()]
    return lines, {each["name"] for line in lines for each in line["objects"]}


def saying(line: dict[str, Any], word: str) -> str | None:
    """A sample's description with the first object that it names called ``word``; None where there is no such place.

    Only places without a colour before the object, in the singular: the model knows there that it names an object next.
    """
    text: str = line["description"]
    for each in line["objects"]:
        phrase = f" a {each['name']} "
        if phrase in text and f" {word}" not in text:
            return text.replace(phrase, f" a {word} ", 1)
    return None
