"""What a model allows of passes that begin at any layer, checked with numbers once for each form of its arguments."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlmscope.core.base.callbacks import Stopped, not_cancelled
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.model.arguments import Tree, batch_axes, copied, shape_of
from vlmscope.core.model.clean import CleanPass, stream
from vlmscope.core.model.edits import Places
from vlmscope.core.model.ffn import decoder_of
from vlmscope.core.model.restart import Restart, Ways
from vlmscope.core.model.vlm import Inputs, Vlm

#: How much of a vector's length rounding may change, over a layer or a pass.
_ROUNDING = {torch.float32: 1e-3, torch.float64: 1e-6, torch.float16: 0.02, torch.bfloat16: 0.05}

#: What a layer misses shows as any of these.
_MISSING = (TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError, RuntimeError)


class _Reached(Exception):  # noqa: N818  # ends a pass early; it is not an error
    pass


class MeasuredWays:
    """What one model allows."""

    def __init__(self, vlm: Vlm, restart: Restart) -> None:
        self._vlm, self._restart = vlm, restart
        self._decoder = decoder_of(vlm.model)
        self._layers: list[nn.Module] = list(self._decoder.layers)
        self._ways: dict[object, Ways | None] = {}

    def of(
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
        expected = self._restart.run(clean, ways, 0, rows, places, read, stopped=stopped).float()
        try:
            found = self._restart.run_last(clean, ways, 0, rows, places, read, first, stopped=stopped)
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
            return self._restart.run(clean, ways, start, [[], []], places, self._some(clean), stopped=stopped)
        except _Reached:
            return None
        except _MISSING as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            return None


def _close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Whether two streams (T, H) are the same at every position, but for rounding in ``dtype``."""
    least = _ROUNDING[dtype] * expected.norm(dim=-1)
    return bool((found - expected).norm(dim=-1).le(least).all())
