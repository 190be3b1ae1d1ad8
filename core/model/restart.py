"""Passes that begin at any layer, from what a clean pass keeps; no family is named.

The decoder's own code runs, called with the arguments of the clean pass made those of a larger batch; layers before the
start hand on what was kept. So masks, positions, features that are added between layers and the final norm are the
model's own, and the vision tower is skipped. What a model allows is checked with numbers, once for each form of its
arguments.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlmscope.core.base.callbacks import Stopped, not_cancelled
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.model.arguments import Tree, batch_axes, copied, repeated, shape_of
from vlmscope.core.model.attended import Attended, Take, attending, from_position
from vlmscope.core.model.clean import STOPPED, CleanPass, stream
from vlmscope.core.model.edits import Places, Row, edited
from vlmscope.core.model.ffn import decoder_of
from vlmscope.core.model.vlm import Inputs, Vlm

#: How much of a vector's length rounding may change, over a layer or a pass.
_ROUNDING = {torch.float32: 1e-3, torch.float64: 1e-6, torch.float16: 0.02, torch.bfloat16: 0.05}

#: What a layer misses shows as any of these.
_MISSING = (TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError, RuntimeError)


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


class _Reached(Exception):  # noqa: N818  # ends a pass early; it is not an error
    pass


class Restart:
    """Restarts of one model. The model is held while it runs."""

    def __init__(self, vlm: Vlm) -> None:
        self._vlm = vlm
        self._decoder = decoder_of(vlm.model)
        self._layers: Sequence[nn.Module] = list(self._decoder.layers)
        self._ways: dict[object, Ways | None] = {}

    def ways(
        self, clean: CleanPass, two: Callable[[], Inputs], first: int, stopped: Stopped = not_cancelled
    ) -> Ways | None:
        """What the model allows with such a sample; None if nothing. Measured once: about four passes.

        Args:
            two: makes the inputs of a batch with the sample twice. first: the position at which its answer begins.

        Raises:
            Cancelled: when ``stopped`` turns true, which is read before every layer.
        """
        key = shape_of(clean.arguments)
        if key not in self._ways:
            self._ways[key] = self._measured(clean, two(), first, stopped)
        return self._ways[key]

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

    def _measured(self, clean: CleanPass, two: Inputs, first: int, stopped: Stopped) -> Ways | None:
        try:
            axes = batch_axes(clean.arguments, self._called(two))
        except ValueError:
            return None
        layers = len(self._layers)
        trial = Ways(axes, (True,) * (layers + 1), (False,) * layers)
        one_by_one = [self._layer(clean, trial, layer, stopped) for layer in range(layers)]
        starts = [same for same, _ in one_by_one]
        starts.append(self._same(clean, trial, layers, stopped))
        if not all(starts):  # a layer needs what another one hands on beside the stream: only whole passes tell
            starts = [self._same(clean, trial, layer, stopped) for layer in range(layers + 1)]
        if not any(starts):
            return None
        ways = Ways(axes, tuple(starts), tuple(adds for _, adds in one_by_one))
        begin = ways.start(layers - 1)
        if begin is None:
            return ways
        # What the keys and values of other positions come from changes the result, and so is not narrow.
        narrow = tuple(
            module
            for module in self._position_wise()
            if self._same(clean, replace(ways, narrow=(module,)), begin, stopped)
        )
        ways = replace(ways, narrow=narrow)
        return replace(ways, last=self._lasts(clean, ways, first, stopped))

    def _lasts(self, clean: CleanPass, ways: Ways, first: int, stopped: Stopped) -> bool:
        """Whether a pass from ``first`` on ends as one over all positions, where a neuron writes much more there."""
        if clean.attended is None or not (ways.starts[0] and ways.starts[-1]):
            return False
        length = clean.hidden.shape[1]
        index = int(self._vlm.column_norms[0].argmax())
        more = float(stream(clean.left[0]).float().norm(dim=-1).median() / max(self._vlm.column_norms[0, index], 1e-30))
        rows = [[], [Edit(Neuron(0, index), 1.0, more, more)]]
        places = Places.of(Positions.ANSWER, length, np.zeros(0, np.int64), first)
        read = list(range(first, length))
        expected = self.run(clean, ways, 0, rows, places, read, stopped=stopped).float()
        try:
            found = self.run_last(clean, ways, 0, rows, places, read, first, stopped=stopped)
        except _MISSING as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            return False
        return all(_close(one.float(), other, found.dtype) for one, other in zip(found, expected, strict=True))

    def _position_wise(self) -> list[nn.Module]:
        """Modules of the last layer that read one position at a time: its FFN, and linear ones outside it."""
        block = self._vlm.ffns[-1].block
        inside = set(block.modules())
        others = [one for one in self._layers[-1].modules() if isinstance(one, nn.Linear) and one not in inside]
        return [block, *others]

    def _called(self, inputs: Inputs) -> Tree:
        """What the decoder is called with."""
        called: list[Tree] = []

        def take(_module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            called.append((copied(args), copied(named)))
            raise _Reached

        hooked = self._decoder.register_forward_pre_hook(take, with_kwargs=True)
        with self._vlm.busy, torch.inference_mode(), hooked, suppress(_Reached):
            self._vlm.decode(inputs)
        return called[0]

    def _layer(self, clean: CleanPass, ways: Ways, layer: int, stopped: Stopped) -> tuple[bool, bool]:
        """Whether a layer that begins a pass gives what it gave, and whether it adds its FFN's output.

        It runs for two rows. In the second one neuron writes so much more that the stream becomes about twice as long.
        """
        ffn, expected = self._vlm.ffns[layer], stream(clean.left[layer])[0].float()
        index = int(self._vlm.column_norms[layer].argmax())
        column = ffn.down_column(index).float().to(expected.device)
        more = expected.norm(dim=-1) / column.norm().clamp(min=1e-30)  # (T,)
        added: list[Tensor] = []
        left: list[Tensor] = []

        def write(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            z = args[0].clone()
            before = args[0][1, :, index].float()
            z[1, :, index] = (before + more.to(z.device)).to(z.dtype)
            added.append(z[1, :, index].float() - before)
            return (z, *args[1:])

        def leave(_module: nn.Module, _args: Any, out: Any) -> None:
            left.append(copied(stream(out)))
            raise _Reached

        with self._layers[layer].register_forward_hook(leave), ffn.down.register_forward_pre_hook(write):
            self._try(clean, ways, layer, stopped)
        if not left or not added:
            return False, False
        first, second = left[0].float()
        dtype = left[0].dtype
        delta = added[0].to(expected.device)[:, None] * column
        return _close(first, expected, dtype), _close(second - first, delta, dtype)

    def _same(self, clean: CleanPass, ways: Ways, start: int, stopped: Stopped) -> bool:
        """Whether a pass of two rows from ``start`` ends as the clean pass."""
        hidden = self._try(clean, ways, start, stopped)
        expected = clean.hidden[0, self._some(clean)].float()
        return hidden is not None and all(_close(row.float(), expected, hidden.dtype) for row in hidden)

    def _some(self, clean: CleanPass) -> list[int]:
        """Every other position of the last half."""
        length = clean.hidden.shape[1]
        return list(range(length // 2, length, 2))

    def _try(self, clean: CleanPass, ways: Ways, start: int, stopped: Stopped) -> Tensor | None:
        """A pass without edits of two rows; None if it ends early."""
        places = Places.of(Positions.PICTURE, clean.hidden.shape[1], np.zeros(0, np.int64), 0)
        try:
            return self.run(clean, ways, start, [[], []], places, self._some(clean), stopped=stopped)
        except _Reached:
            return None
        except _MISSING as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            return None


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


def _close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Whether two streams (T, H) are the same at every position, but for rounding in ``dtype``."""
    least = _ROUNDING[dtype] * expected.norm(dim=-1)
    return bool((found - expected).norm(dim=-1).le(least).all())
