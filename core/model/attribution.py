"""What the removal of each neuron does to one token's log-odds, to first order: gradient times activation.

``A_i = -sum_t z_i(t) * dlo/dz_i(t)`` is the change of the log-odds lo for a small share of an ablation, taken for the
whole of it; see attribution patching (Nanda, 2023; Kramar et al., 2024, arXiv 2403.00745). It is about what the answer
rests on now, and not about what would steer it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vlmscope.core.base.callbacks import Stopped, check, not_cancelled
from vlmscope.core.base.errors import UsageError
from vlmscope.core.model.arguments import copied
from vlmscope.core.model.clean import STOPPED, CleanPass
from vlmscope.core.model.ffn import decoder_layers, decoder_of
from vlmscope.core.model.restart import forwards
from vlmscope.core.model.vlm import Encoded, Vlm

#: Factors of the log-odds, of which the first is taken that makes no gradient infinite: small ones are 0 in float16.
_SCALES = {torch.float16: (1024.0, 32.0, 1.0)}


def attribution(
    vlm: Vlm, encoded: Encoded, clean: CleanPass, token: int, stopped: Stopped = not_cancelled
) -> NDArray[np.float32]:
    """The first-order effect of ablating each neuron at all positions on the log-odds of one token.

    One forward and one backward pass of the decoder; each layer runs once more on the way back, so that one layer's
    activations are in memory at a time.

    Args:
        clean: of the sample that is ``encoded``. token: a place in the description's tokens.

    Returns:
        float32 (L, F), ``-sum_t z(t) * dlo/dz(t)``.

    Raises:
        UsageError: if the description has no such token.
        Cancelled: when ``stopped`` turns true, which is read before every layer, forward and back.
    """
    if not 0 <= token < len(encoded.tokens):
        raise UsageError(f"The description has {len(encoded.tokens)} tokens; {token} is not the number of one.")
    position = encoded.text.start + token
    for scale in _SCALES.get(vlm.model.dtype, (1.0,)):
        effects = torch.zeros(vlm.layers, vlm.neurons)
        with vlm.differentiable(), _tapped(vlm, effects, stopped), vlm.stoppable(stopped, STOPPED):
            arguments, named = copied(clean.arguments)  # kept tensors cannot be part of a graph
            hidden = decoder_of(vlm.model)(*arguments, **named).last_hidden_state[:, position - 1]
            log_odds = vlm.logits.log_odds(hidden, encoded.input_ids[position : position + 1])
            (log_odds.sum() * scale).backward()  # type: ignore[no-untyped-call]
        if bool(effects.isfinite().all()):
            break
    return (effects / scale).numpy()


class _Tap(torch.autograd.Function):
    """Passes z on; on the way back it writes each neuron's effect into one row of ``effects``."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, effects: Tensor, layer: int, stopped: Stopped) -> Tensor:
        ctx.save_for_backward(z)
        ctx.to = (effects, layer, stopped)
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (z,), (gradient,) = ctx.saved_tensors, gradients
        effects, layer, stopped = ctx.to
        check(stopped, STOPPED)
        effects[layer] = -(z.float() * gradient.float()).flatten(end_dim=-2).sum(dim=0).cpu()
        return gradient, None, None, None


@contextmanager
def _tapped(vlm: Vlm, effects: Tensor, stopped: Stopped) -> Iterator[None]:
    """Gradients begin at the first decoder layer's input, and fill ``effects`` (L, F) while the block runs."""
    layers = decoder_layers(vlm.model, vlm.name)
    with ExitStack() as stack:
        stack.enter_context(layers[0].register_forward_pre_hook(_begin, prepend=True))
        for number, ffn in enumerate(vlm.ffns):
            stack.enter_context(ffn.down.register_forward_pre_hook(_tap(effects, number, stopped)))
        stack.enter_context(_checkpointed(layers))
        yield


def _begin(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (args[0].detach().requires_grad_(), *args[1:])


def _tap(effects: Tensor, layer: int, stopped: Stopped) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    def tap(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (_Tap.apply(args[0], effects, layer, stopped), *args[1:])  # type: ignore[no-untyped-call]

    return tap


@contextmanager
def _checkpointed(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Each layer keeps its input alone for the way back, and computes the rest again (Chen et al., 2016)."""

    def again(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **named: checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **named)

    with forwards(layers, [again(layer.forward) for layer in layers]):
        yield
