"""A batch that does not fit into the GPU's memory."""

import torch

from vlmscope.core.base.errors import ModelError


def halved(size: int, error: torch.OutOfMemoryError, message: str, hint: str) -> int:
    """Free the memory that a batch of ``size`` took, and return half of its size, to try next.

    Raises:
        ModelError: with this message and hint, if it was a batch of one.
    """
    if size == 1:
        raise ModelError(message, hint) from error
    # The exception's frames hold the tensors that did not fit; without them the memory can be freed.
    error.__traceback__ = None
    torch.cuda.empty_cache()
    return size // 2
