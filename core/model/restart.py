"""Passes that begin at any layer, from what a clean pass keeps; no family is named.

The decoder's own code runs, called with the arguments of the clean pass made those of a larger batch; layers before the
start hand on what was kept. So masks, positions, features that are added between layers and the final norm are the
model's own, and the vision tower is skipped. What a model allows is measured in ``ways.py``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlmscope.core.base.callbacks import Stopped, not_cancelled
from vlmscope.core.model.arguments import Tree, repeated
from vlmscope.core.model.attended import Attended, Take, attending, from_position
from vlmscope.core.model.clean import STOPPED, CleanPass, stream
from vlmscope.core.model.edits import Places, Row, edited
from vlmscope.core.model.ffn import decoder_of
from vlmscope.core.model.vlm import Vlm


@dataclass(frozen=True)
class Ways:
    """What a model allows, as measured.

    Attributes:
        axes: for the arguments of its decoder, as ``batch_axes`` gives them.
        starts: for each layer, and for the final norm after the last, whether a pass may begin there.
        adds: for each layer, whether its FFN's output is simply added to the residual stream that it gives.
        narrow: modules of the last layer that may run at the positions alone that are read, such as the FFN.
        last: whether the last positions alone may run, with the kept keys and values of those before.
    """

    axes: Tree
    starts: tuple[bool, ...]
    adds: tuple[bool, ...]
    narrow: tuple[nn.Module, ...] = ()
    last: bool = False

    def start(self, layer: int) -> int | None:
        """The last layer up to ``layer`` at which a pass may begin; None if there is none."""
        return next((at for at in range(layer, -1, -1) if self.starts[at]), None)


class Restart:
    """Restarts of one model. The model is held while it runs."""

    def __init__(self, vlm: Vlm) -> None:
        self._vlm = vlm
        self._decoder = decoder_of(vlm.model)
        self._layers: Sequence[nn.Module] = list(self._decoder.layers)

    def run(
        self,
        clean: CleanPass,
        ways: Ways,
        start: int,
        rows: Sequence[Row],
        places: Places,
        read: Sequence[int],
        given: Tensor | None = None,
        stopped: Stopped = not_cancelled,
    ) -> Tensor:
        """Run the layers from ``start`` on, with edits.

        Args:
            start: one of ``ways.starts``; the number of layers for the final norm alone.
            rows: B; edits below ``start`` are not made.
            read: K positions.
            given: the residual stream that enters ``start``, (B, T, H); None for that of the clean pass.

        Returns:
            (B, K, H), after the final norm.

        Raises:
            Cancelled: when ``stopped`` turns true, which is read before every layer.
        """
        if given is None and start > 0:
            given = stream(clean.left[start - 1]).repeat(len(rows), 1, 1)
        last = len(self._layers) - 1
        narrow = ways.narrow if start <= last else ()
        ffn_narrow = self._vlm.ffns[last].block in narrow
        full, short = (
            [
                [
                    edit
                    for edit in row
                    if edit.neuron.layer >= start and (ffn_narrow and edit.neuron.layer == last) is at_last
                ]
                for row in rows
            ]
            for at_last in (False, True)
        )
        with ExitStack() as stack:
            stack.enter_context(self._vlm.busy)
            stack.enter_context(torch.inference_mode())
            stack.enter_context(self._vlm.stoppable(stopped, STOPPED))
            stack.enter_context(self._begun_at(clean, start, given))
            stack.enter_context(edited(self._vlm.ffns, full, places))
            stack.enter_context(edited(self._vlm.ffns, short, places.at(read)))
            stack.enter_context(forwards(narrow, [_narrowed(module.forward, read) for module in narrow]))
            # The final norm is all that follows, so the other positions end here.
            stack.enter_context(self._layers[last].register_forward_hook(_only(read)))
            args, named = repeated(clean.arguments, ways.axes, len(rows))
            hidden: Tensor = self._decoder(*args, **named).last_hidden_state
        return hidden

    def run_last(
        self,
        clean: CleanPass,
        ways: Ways,
        start: int,
        rows: Sequence[Row],
        places: Places,
        read: Sequence[int],
        first: int,
        given: Tensor | None = None,
        stopped: Stopped = not_cancelled,
    ) -> Tensor:
        """As ``run``, at the positions from ``first`` on: before them nothing changes.

        Args:
            read: K positions, none before ``first``. given: (B, T - first, H).
        """
        assert clean.attended is not None
        length = clean.hidden.shape[1]
        if given is None:
            entering = stream(clean.left[start - 1]) if start else clean.embedded
            given = entering[:, first:].repeat(len(rows), 1, 1)
        above = [[edit for edit in row if edit.neuron.layer >= start] for row in rows]
        hidden = given
        with ExitStack() as stack:
            stack.enter_context(self._vlm.busy)
            stack.enter_context(torch.inference_mode())
            stack.enter_context(self._vlm.stoppable(stopped, STOPPED))
            stack.enter_context(edited(self._vlm.ffns, above, places.at(range(first, length))))
            for layer, kept in zip(self._layers[start:], clean.attended[start:], strict=True):
                args, named = from_position(kept.arguments, first, length)
                with attending([layer], _after(kept, first)):
                    hidden = stream(layer(hidden, *args, **named))
        norm = [position - first for position in read]
        return self.run(clean, ways, len(self._layers), [()] * len(rows), places, norm, hidden, stopped)

    def _begun_at(self, clean: CleanPass, start: int, given: Tensor | None) -> AbstractContextManager[None]:
        """The layers before ``start`` do nothing while the block runs; the last of them gives ``given``."""
        gives = [_giving(left, None) for left in clean.left[:start]]
        if start > 0:
            gives[-1] = _giving(clean.left[start - 1], given)
        return forwards(self._layers[:start], gives)


def _after(kept: Attended, first: int) -> Take:
    """Keys and values of the positions before ``first``, in front of those of a pass from there on."""

    def take(_: nn.Module, key: Tensor, value: Tensor, _mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        rows, length = len(key), first + key.shape[2]
        if kept.mask is None:  # each position attends to all up to itself
            mask = torch.ones(length - first, length, dtype=torch.bool, device=key.device).tril(first)
        else:
            mask = kept.mask[..., first:, :]
        before = (one[:, :, :first].expand(rows, -1, -1, -1) for one in (kept.key, kept.value))
        keys, values = (torch.cat(pair, dim=2) for pair in zip(before, (key, value), strict=True))
        return keys, values, mask

    return take


@contextmanager
def forwards(modules: Sequence[nn.Module], others: Sequence[Callable[..., Any]]) -> Iterator[None]:
    """The modules run ``others`` in the place of their forward while the block runs."""
    own = [module.__dict__.get("forward") for module in modules]  # accelerate has its own there
    try:
        for module, other in zip(modules, others, strict=True):
            module.forward = other
        yield
    finally:
        for module, forward in zip(modules, own, strict=True):
            if forward is None:
                module.__dict__.pop("forward", None)
            else:
                module.forward = forward


def _narrowed(forward: Callable[..., Tensor], positions: Sequence[int]) -> Callable[..., Tensor]:
    """A forward at some positions alone: elsewhere it gives zeros."""

    def narrow(x: Tensor) -> Tensor:
        some = forward(x[:, positions])
        out = some.new_zeros(*x.shape[:2], some.shape[-1])
        out[:, positions] = some
        return out

    return narrow


def _only(positions: Sequence[int]) -> Callable[..., Any]:
    """A hook that leaves some positions of the stream that a layer gives."""

    def only(_module: nn.Module, _args: Any, left: Any) -> Any:
        some = stream(left)[:, positions]
        return (some, *left[1:]) if isinstance(left, tuple) else some

    return only


def _giving(kept: Any, given: Tensor | None) -> Callable[..., Any]:
    """In the place of a layer's forward: gives ``given`` in the form of ``kept``, or the stream that comes in."""

    def forward(*args: Any, **named: Any) -> Any:
        out = given if given is not None else args[0] if args else named["hidden_states"]
        return (out, *kept[1:]) if isinstance(kept, tuple) else out

    return forward
