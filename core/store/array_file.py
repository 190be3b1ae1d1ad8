"""One array of a scan, opened and checked."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import StoreError

COPY_AGAIN = "Copy the scan again from where it was made."


def open_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...], hint: str = COPY_AGAIN) -> NDArray[Any]:
    """Map ``path``'s array into memory, read-only.

    Raises:
        StoreError: with ``hint``, if it is missing, damaged, or not of this dtype and shape.
    """
    try:
        # An empty array cannot be mapped; there is nothing in it to map either.
        array: NDArray[Any] = np.load(path, mmap_mode="r" if 0 not in shape else None, allow_pickle=False)
    except FileNotFoundError:
        raise StoreError(f"{path} is missing.", hint) from None
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"{path} is damaged or truncated: {error}.", hint) from error
    if array.dtype != dtype or array.shape != shape:
        raise StoreError(
            f"{path} holds {array.dtype} {array.shape}; the manifest promises {np.dtype(dtype)} {shape}.",
            hint if hint != COPY_AGAIN else f"The parts of this scan do not belong together. {hint}",
        )
    return array
