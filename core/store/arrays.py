"""The arrays of a scan on disk: their shapes, opened and checked, and written layer by layer."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from vlmscope.core.base.errors import StoreError
from vlmscope.core.method.distribution import BINS
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT
from vlmscope.core.store.manifest import Manifest

COPY_AGAIN = "Copy the scan again from where it was made."
NO_PEAK = 0xFFFF  #: peak of an entry that has no token of that kind

#: The layers' axis of the arrays in which it is not the first; ``sample_lines`` has none.
_LAYER_AXIS = {"top_visual": 1, "top_text": 1, "histogram": 1, "moments": 2, "sums": 2}

Shapes = dict[str, tuple[type[np.generic], tuple[int, ...]]]  #: dtype and shape by array


def array_shapes(manifest: Manifest) -> Shapes:
    """Name, dtype and shape of every array of a scan."""
    layers, neurons, n, m = manifest.model.layers, manifest.model.neurons, manifest.top_n, manifest.maps
    patches = manifest.grid[0] * manifest.grid[1]
    shapes: Shapes = {
        "sample_lines": (np.int64, (manifest.samples, 2)),
        "top_sample": (np.int32, (layers, neurons, n)),
        "top_visual": (np.float32, (VISUAL_KEPT, layers, neurons, n)),
        "top_text": (np.float32, (TEXT_KEPT, layers, neurons, n)),
        "peak_visual": (np.uint16, (layers, neurons, n)),
        "peak_text": (np.uint16, (layers, neurons, n)),
        "maps_visual": (np.uint8, (layers, neurons, m, patches)),
        "maps_text": (np.uint8, (layers, neurons, m, manifest.text_tokens_max)),
        "maximum": (np.float32, (layers, neurons)),
        "content_maximum": (np.float32, (layers, neurons)),
        "moments": (np.float32, (2, 2, layers, neurons)),
        "histogram": (np.uint32, (2, layers, neurons, BINS)),
        "votes": (np.uint16, (layers, neurons, 4)),
    }
    if manifest.progress is not None:
        shapes["sums"] = (np.float64, (2, 2, layers, neurons))
    return shapes


def open_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...], hint: str = COPY_AGAIN) -> NDArray[Any]:
    """Map ``path``'s array into memory, read-only.

    Raises:
        StoreError: with ``hint``, if it is missing, damaged, or not of this dtype and shape.
    """
    try:
        # An empty array cannot be mapped.
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


def of_layer(name: str, array: NDArray[Any], layer: int) -> NDArray[Any]:
    """One layer of the array ``name``, its axis kept; read into memory where ``array`` is mapped."""
    return np.array(array[(slice(None),) * _LAYER_AXIS.get(name, 0) + (slice(layer, layer + 1),)])


def layer_shapes(manifest: Manifest) -> Shapes:
    """Name, dtype and shape of one layer of every array that has layers: the scan's with 1 for them."""
    return {
        name: (dtype, tuple(1 if axis == _LAYER_AXIS.get(name, 0) else size for axis, size in enumerate(shape)))
        for name, (dtype, shape) in array_shapes(manifest).items()
        if name != "sample_lines"
    }


def check_array(name: str, array: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    """Raise ValueError if an array to be written is of another dtype or shape."""
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name}: {array.dtype} {array.shape} is not {np.dtype(dtype)} {shape}")


class LayerArrays:
    """A context manager that writes the arrays of a scan into a new folder; all layers must be put before it ends.

    The files are written, not mapped: where the disk is full, a mapped file would end the process without a word.
    Raises OSError if they cannot be written.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        folder.mkdir()
        self._layers = manifest.model.layers
        self._shapes = layer_shapes(manifest)
        self._files: dict[str, BinaryIO] = {}
        self._begin: dict[str, int] = {}
        whole = array_shapes(manifest)
        for name in self._shapes:
            dtype, shape = whole[name]
            file = self._files[name] = (folder / f"{name}.npy").open("wb")
            descr = npy.dtype_to_descr(np.dtype(dtype))
            npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
            self._begin[name] = file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for file in self._files.values():
            try:
                if error is None:
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                file.close()

    def put(self, layer: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write one layer. Raises ValueError if an array is of another dtype or shape than in ``layer_shapes``."""
        for name, (dtype, shape) in self._shapes.items():
            check_array(name, arrays[name], dtype, shape)
            rows = np.ascontiguousarray(arrays[name]).reshape(int(np.prod(shape[: _LAYER_AXIS.get(name, 0)])), -1)
            file, size = self._files[name], rows.shape[1] * rows.itemsize
            for outer, row in enumerate(rows):
                file.seek(self._begin[name] + (outer * self._layers + layer) * size)
                file.write(row.data)
