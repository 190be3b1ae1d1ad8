"""The feed-forward networks of a decoder: found by the names of their parts, checked with numbers, hooked.

No family is named. A block whose parts have known names is only a candidate: three random vectors pass through it
alone, and the input of its down projection must be what the names promise, ``activation * up`` or ``activation``. What
does not compute that is refused, never misread.
"""

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vlmscope.core.base.errors import ModelError
from vlmscope.core.base.neuron import HookPoint

Take = Callable[[Tensor], None]

_VECTORS = 3  #: random vectors of the check
_UNITS = 256  #: units whose columns are computed at once, where the weights cannot be read
#: Names of the activation module. Where a block has none of them, it calls one of ``_FUNCTIONS``.
_ACTIVATIONS = ("act_fn", "activation_fn", "act", "activation")
_EXPERTS = ("experts", "local_experts", "shared_experts", "shared_expert")
_DENSE = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_HINT_DENSE = "Models with one FFN a layer can be scanned, e.g. Qwen/Qwen3-VL-8B-Instruct."


class FfnKind(StrEnum):
    """What an FFN computes from its input x."""

    GATED = "gated"  #: down(activation(gate(x)) * up(x))
    FUSED = "gated, fused"  #: the same, with gate and up in one matrix
    PLAIN = "plain"  #: down(activation(up(x)))


class _Parts(NamedTuple):
    """Names of a block's parts: the projection that the activation reads, the other one, the one back."""

    kind: FfnKind
    gate: str
    up: str | None
    down: str


#: Tried in this order: the names of a plain FFN are among those of a gated one.
_NAMES = (
    _Parts(FfnKind.GATED, "gate_proj", "up_proj", "down_proj"),
    _Parts(FfnKind.GATED, "w1", "w3", "w2"),
    _Parts(FfnKind.FUSED, "gate_up_proj", None, "down_proj"),
    _Parts(FfnKind.PLAIN, "fc1", None, "fc2"),
    _Parts(FfnKind.PLAIN, "up_proj", None, "down_proj"),
    _Parts(FfnKind.PLAIN, "dense_h_to_4h", None, "dense_4h_to_h"),
)
_FUNCTIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    nn.functional.silu,
    nn.functional.gelu,
    lambda x: nn.functional.gelu(x, approximate="tanh"),
    nn.functional.relu,
    lambda x: nn.functional.relu(x).square(),
)


@dataclass(frozen=True, eq=False)
class Ffn:
    """The FFN of one layer.

    Attributes:
        kind: what it computes.
        width: F, how many neurons it has.
        block: the module that computes it, with the residual stream's input and output.
        gate: the projection that the activation reads; of a fused FFN its first half is the gate.
        up: the projection that the activation is multiplied with; None for the other kinds.
        down: the projection back; its input is what neurons write.
        activation: the module of the activation function; None where the block calls ``function``.
        function: what the block calls, found by trying.
        dtype: of its input and output.
        up_first: of a fused FFN: whether the up branch is the first half.
    """

    kind: FfnKind
    width: int
    block: nn.Module
    gate: nn.Module
    up: nn.Module | None
    down: nn.Module
    activation: nn.Module | None
    function: Callable[[Tensor], Tensor] | None = None
    dtype: torch.dtype = torch.float32
    up_first: bool = False

    @property
    def up_source(self) -> nn.Module | None:
        """The module whose output holds the up branch; None where there is none."""
        return self.gate if self.kind is FfnKind.FUSED else self.up

    def up_branch(self, out: Tensor) -> Tensor:
        """The up branch (..., F), from the output of ``up_source``."""
        if self.kind is not FfnKind.FUSED:
            return out
        return out[..., : self.width] if self.up_first else out[..., self.width :]

    def hook(self, point: HookPoint, take: Take) -> RemovableHandle:
        """Call ``take`` with the activation (..., F) in every pass, until the handle is removed.

        At ``gate`` that is the output of the activation function, at ``gate_up`` the input of the down projection. In a
        plain FFN both are the same.
        """
        if point is HookPoint.GATE_UP:
            return self.down.register_forward_pre_hook(lambda _, args: take(args[0]))
        if self.activation is not None:
            return self.activation.register_forward_hook(lambda _m, _in, out: take(out))
        return self.gate.register_forward_hook(lambda _m, _in, out: take(self._activated(out)))

    def _activated(self, projected: Tensor) -> Tensor:
        assert self.function is not None
        return self.function(projected[..., : self.width])

    @torch.no_grad()
    def down_column(self, index: int) -> Tensor:
        """What a unit of one neuron's output adds to the FFN's output: (H,), in the dtype of the weights.

        A column of the down projection's weights. Where these are quantised or elsewhere, it is what the projection
        makes of that unit.
        """
        if type(self.down) is nn.Linear and self.down.weight.dtype in _DENSE and not self.down.weight.is_meta:
            return self.down.weight[:, index]
        unit = torch.zeros(2, self.width, dtype=self.dtype, device=_device(self.down))
        unit[1, index] = 1
        none, one = self.down(unit)
        column: Tensor = one - none
        return column

    @torch.no_grad()
    def down_columns(self, indices: Tensor) -> Tensor:
        """``down_column`` of each of N neurons: (N, H). ``indices``: int64 (N,)."""
        if type(self.down) is nn.Linear and self.down.weight.dtype in _DENSE and not self.down.weight.is_meta:
            return self.down.weight.T[indices.to(self.down.weight.device)]
        units = torch.zeros(len(indices) + 1, self.width, dtype=self.dtype, device=_device(self.down))
        units[torch.arange(len(indices)), indices] = 1
        out: Tensor = self.down(units)
        return out[:-1] - out[-1]  # the last is the bias

    @torch.no_grad()
    def column_norms(self) -> Tensor:
        """The length of each neuron's column of the down projection: float32 (F,), on the host."""
        if type(self.down) is nn.Linear and self.down.weight.dtype in _DENSE and not self.down.weight.is_meta:
            lengths: Tensor = self.down.weight.float().norm(dim=0)
            return lengths.cpu()
        found = []
        for start in range(0, self.width, _UNITS):
            count = min(_UNITS, self.width - start)
            units = torch.zeros(count + 1, self.width, dtype=self.dtype, device=_device(self.down))
            units[torch.arange(count), start + torch.arange(count)] = 1
            out: Tensor = self.down(units)
            found.append((out[:-1] - out[-1]).float().norm(dim=-1).cpu())  # the last is the bias
        return torch.cat(found)


def decoder_of(model: Any) -> Any:
    """The module that has a model's decoder layers and their final norm. ``model`` is of transformers."""
    decoder = model.get_decoder()
    if not hasattr(decoder, "layers") and hasattr(decoder, "get_decoder"):
        return decoder.get_decoder()  # some models give the language model with its head
    return decoder


def decoder_layers(model: Any, name: str) -> Sequence[nn.Module]:
    """The layers of a model's decoder.

    Args:
        model: of transformers. name: for messages.

    Raises:
        ModelError: if it has no stack of decoder layers.
    """
    decoder = decoder_of(model)
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers):
        raise ModelError(f"{name}: no decoder layers are found in its {type(decoder).__name__}.", _HINT_DENSE)
    return list(layers)


def named_ffns(layers: Sequence[nn.Module], name: str) -> list[Ffn]:
    """The FFN of each layer by the names of its parts alone: for a model without weights, on the device "meta".

    Args:
        layers: of the decoder. name: of the model, for messages.

    Raises:
        ModelError: if a layer is a mixture of experts, or has no FFN of a known form; if their widths differ.
    """
    ffns = [_candidate(layer, number, name) for number, layer in enumerate(layers)]
    widths = sorted({ffn.width for ffn in ffns})
    if len(widths) > 1:
        raise ModelError(
            f"{name}: its layers have FFNs of different widths ({', '.join(map(str, widths))}).",
            "Models whose layers all have as many neurons can be scanned, e.g. google/gemma-3-4b-it.",
        )
    return ffns


def find_ffns(layers: Sequence[nn.Module], name: str, hidden: int, dtype: torch.dtype) -> list[Ffn]:
    """The FFN of each layer, checked with numbers. A module that several layers share is copied for each: a hook needs
    one for its layer.

    Args:
        layers, name: as for ``named_ffns``.
        hidden: width of the residual stream. dtype: in which the check runs: the model's.

    Raises:
        ModelError: as ``named_ffns``; if an FFN does not compute what its parts' names promise.
    """
    shared: set[int] = set()
    ffns = []
    for number, found in enumerate(named_ffns(layers, name)):
        ffn = found
        if ffn.activation is not None:
            if id(ffn.activation) in shared:
                ffn = _with_own_activation(ffn)
            shared.add(id(ffn.activation))
        ffns.append(check_formula(replace(ffn, dtype=dtype), number, name, hidden))
    return ffns


def _candidate(layer: nn.Module, number: int, name: str) -> Ffn:
    """The only block of a layer whose parts have known names."""
    parts = {path.rsplit(".", 1)[-1] for path, _ in layer.named_modules()}
    if parts & set(_EXPERTS):
        raise ModelError(
            f"{name}: its layer {number} is a mixture of experts: a neuron there has an activation only for tokens "
            "sent to its expert.",
            _HINT_DENSE,
        )
    found = [ffn for block in layer.modules() if block is not layer and (ffn := _named(block)) is not None]
    if len(found) != 1:
        kind = type(layer).__name__
        how = "no FFN of a known form" if not found else f"{len(found)} FFNs: {', '.join(_class(f) for f in found)}"
        raise ModelError(f"{name}: its layer {number} ({kind}) has {how}.", _HINT_DENSE)
    return found[0]


def _named(block: nn.Module) -> Ffn | None:
    """The FFN that the names of a block's parts promise; None if they are not those of an FFN."""
    children = dict(block.named_children())
    for parts in _NAMES:
        gate, down = children.get(parts.gate), children.get(parts.down)
        up = None if parts.up is None else children.get(parts.up)
        if gate is None or down is None or (parts.up is not None and up is None):
            continue
        width = _in_features(down)
        if width is None:
            continue
        kind = parts.kind
        if kind is FfnKind.PLAIN and _out_features(gate) == 2 * width:
            kind = FfnKind.FUSED
        activation = next((children[key] for key in _ACTIVATIONS if key in children), None)
        return Ffn(kind, width, block, gate, up, down, activation)
    return None


def _with_own_activation(ffn: Ffn) -> Ffn:
    own = copy.deepcopy(ffn.activation)
    name = next(name for name, module in ffn.block.named_children() if module is ffn.activation)
    setattr(ffn.block, name, own)
    return replace(ffn, activation=own)


def check_formula(ffn: Ffn, number: int, name: str, hidden: int) -> Ffn:
    """The FFN if its block computes what its kind promises, with the function that it calls where that is hidden."""
    taken: dict[str, Tensor] = {}

    def keep(key: str) -> Callable[..., None]:
        return lambda _m, args, out=None: taken.__setitem__(key, args[0] if out is None else out)

    hooks = [ffn.gate.register_forward_hook(keep("gate")), ffn.down.register_forward_pre_hook(keep("written"))]
    hooks += [ffn.up.register_forward_hook(keep("up"))] if ffn.up is not None else []
    hooks += [ffn.activation.register_forward_hook(keep("active"))] if ffn.activation is not None else []
    # A generator of its own: the caller's random numbers stay as they are.
    noise = torch.randn(1, _VECTORS, hidden, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            ffn.block(noise.to(_device(ffn.block), ffn.dtype))
    except Exception as error:
        raise _refused(ffn, number, name, f"cannot be run alone ({type(error).__name__})") from error
    finally:
        for hook in hooks:
            hook.remove()
    if {"gate", "written", *(["up"] if ffn.up is not None else [])} - taken.keys():
        raise _refused(ffn, number, name, "does not use its parts")
    gate, written = taken["gate"], taken["written"]
    other = gate[..., ffn.width :] if ffn.kind is FfnKind.FUSED else taken.get("up")
    if ffn.activation is not None:
        if "active" in taken and _is_product(taken["active"], other, written):
            return ffn
        if "active" in taken and ffn.kind is FfnKind.FUSED:  # the halves may be swapped
            first = gate[..., : ffn.width]
            if _is_product(taken["active"], first, written):
                return replace(ffn, up_first=True)
        ffn = replace(ffn, activation=None)
    for function in _FUNCTIONS:
        if _is_product(function(gate[..., : ffn.width]), other, written):
            return replace(ffn, function=function)
    raise _refused(ffn, number, name, "does not compute what the names of its parts promise")


def _is_product(active: Tensor, other: Tensor | None, written: Tensor) -> bool:
    """Whether ``written`` is ``active``, times ``other`` where there is one, but for rounding in its dtype."""
    expected = active if other is None else active * other
    if expected.shape != written.shape:
        return False
    precision = torch.finfo(written.dtype).eps
    return torch.allclose(expected.float(), written.float(), rtol=4 * precision, atol=1e-30)


def _refused(ffn: Ffn, number: int, name: str, why: str) -> ModelError:
    return ModelError(f"{name}: the FFN of its layer {number} ({_class(ffn)}) {why}.", _HINT_DENSE)


def _class(ffn: Ffn) -> str:
    return type(ffn.block).__name__


def _device(module: nn.Module) -> torch.device:
    """Where a module's input goes. Weights that accelerate keeps elsewhere are on "meta" until they are used."""
    first = next(itertools.chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None or first.is_meta else first.device


def _in_features(down: nn.Module) -> int | None:
    found = getattr(down, "in_features", None)
    return found if isinstance(found, int) else None


def _out_features(projection: nn.Module) -> int | None:
    found = getattr(projection, "out_features", None)
    return found if isinstance(found, int) else None
