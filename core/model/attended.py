"""What the layers of a decoder attend to: keys and values, kept in one pass, so that another may run the last positions
alone. It works for models whose attention is PyTorch's (``sdpa``), by an attention of our own that transformers calls.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "vlmscope_attended"  #: of the attention that hands keys, values and mask to ``_of_thread.take``
#: From module, key, value (B, heads, T, size) and mask to those that the layer attends to.
Take = Callable[[nn.Module, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor, Tensor | None]]


@dataclass(frozen=True, eq=False)
class Attended:
    """Of one layer, in a pass of a batch of one.

    Attributes:
        key, value: (1, heads, T, size). mask: what attention is given; None where each position attends to all before
            it.
        arguments: of the layer's call, but for the stream: a tuple, and a dictionary by name.
    """

    key: Tensor
    value: Tensor
    mask: Tensor | None
    arguments: tuple[tuple[Any, ...], dict[str, Any]]


class _OfThread(threading.local):
    take: Take | None = None


_of_thread = _OfThread()


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **named: Any
) -> Any:
    assert _of_thread.take is not None
    key, value, attention_mask = _of_thread.take(module, key, value, attention_mask)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **named)


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)


@contextmanager
def attending(layers: Sequence[nn.Module], take: Take) -> Iterator[None]:
    """The layers attend to what ``take`` gives while the block runs; as ever, where their attention is another one."""
    modules = (module for layer in layers for module in layer.modules())
    found = (getattr(module, "config", None) for module in modules)
    configs: list[Any] = list({id(config): config for config in found if config is not None}.values())
    changed = [config for config in configs if getattr(config, "_attn_implementation_internal", None) == "sdpa"]
    before, _of_thread.take = _of_thread.take, take
    for config in changed:
        config._attn_implementation_internal = _NAME
    try:
        yield
    finally:
        _of_thread.take = before
        for config in changed:
            config._attn_implementation_internal = "sdpa"


def from_position(tree: Any, first: int, length: int) -> Any:
    """Arguments over ``length`` positions, from position ``first`` on: of each tensor the first such dimension."""
    if isinstance(tree, Tensor):
        axis = next((axis for axis in range(tree.ndim) if tree.shape[axis] == length), None)
        return tree if axis is None else tree.narrow(axis, first, length - first)
    if isinstance(tree, dict):
        return {key: from_position(value, first, length) for key, value in tree.items()}
    return type(tree)(from_position(one, first, length) for one in tree) if type(tree) in (list, tuple) else tree
