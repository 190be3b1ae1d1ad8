"""Lookups in tables, such as those of positions, checked before they are made.

On a CPU an index outside a table is an exception. On a GPU it ends the whole process's use of the GPU, so a pass over
inputs of a new shape is made under this check first.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_ops: Any = torch.ops.aten
_ROWS = (_ops.embedding,)  #: of a table and indices of its rows
#: Of a table, a dimension and indices along it.
_ALONG = (
    _ops.gather,
    _ops.index_select,
    _ops.scatter,
    _ops.scatter_,
    _ops.scatter_add,
    _ops.scatter_add_,
    _ops.index_add,
    _ops.index_add_,
)
_INDEXED = (_ops.index, _ops.index_put, _ops.index_put_)  #: of a table and indices for its dimensions, as in x[i, j]


def _dispatch(
    _self: Any, func: Any, _types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
) -> Any:
    """Check the lookup that ``func`` is, if it is one, and make it."""
    kind = getattr(func, "overloadpacket", None)
    if kind in _ROWS:
        _check(args[1], 0, args[0].shape[0])
    elif kind in _ALONG and args[0].ndim:
        _check(args[2], 0, args[0].shape[args[1]])
    elif kind in _INDEXED:
        _check_indexed(args[0], args[1])
    return func(*args, **(kwargs or {}))


#: Torch's class has no types.
_Checking: Any = type("_Checking", (TorchDispatchMode,), {"__torch_dispatch__": _dispatch})


@contextmanager
def within_tables() -> Iterator[None]:
    """Check every lookup by a tensor of indices while the block runs. On a GPU each check waits for it.

    Raises:
        IndexError: if an index is outside its table; the lookup is not made.
    """
    with _Checking():
        yield


def _check_indexed(table: Tensor, indices: Sequence[Tensor | None]) -> None:
    at = 0
    for index in indices:
        if index is not None and index.dtype in (torch.bool, torch.uint8):  # a mask stands for its dimensions
            at += index.ndim
            continue
        if index is not None:
            _check(index, -table.shape[at], table.shape[at])
        at += 1


def _check(index: Tensor, low: int, high: int) -> None:
    if index.is_meta or not index.numel():
        return
    least, most = (int(end) for end in torch.aminmax(index))
    if least < low or most >= high:
        raise IndexError(f"index {least if least < low else most} is outside a table of {high}")
