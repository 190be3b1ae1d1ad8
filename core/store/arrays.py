"""The arrays of a scan on disk: their shapes, opened and checked, and written layer by layer."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.files import open_regular
from vlmscope.core.base.text import plain
from vlmscope.core.method.distribution import BINS
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT
from vlmscope.core.method.packed import packed_size
from vlmscope.core.store.manifest import Manifest

COPY_AGAIN = "Copy the scan again from where it was made."
SMALL_VISUAL, SMALL_TEXT = "small_visual", "small_text"
NO_PEAK = 0xFFFF  #: peak of an entry that has no token of that kind

#: Arrays without layers.
_WITHOUT_LAYERS = frozenset({"sample_lines", "panel_sample", "layout_edges", "layout_cover"})
#: The layers' axis of the other arrays in which it is not the first.
_LAYER_AXIS = {"top_visual": 1, "top_text": 1, "histogram": 1, "moments": 2, "sums": 2}

#: The header that ``numpy.save`` writes for these arrays. The reader of numpy evaluates any expression of 10 KB.
_HEADER = re.compile(r"\{'descr': '([<>|=]?\w{1,8})', 'fortran_order': (?:False|True), 'shape': \(([\d, ]*)\), \} *\n")
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER_BYTES = 1024  #: at most; 128 are usual

Shapes = dict[str, tuple[type[np.generic], tuple[int, ...]]]  #: dtype and shape by array


def array_shapes(manifest: Manifest) -> Shapes:
    """Name, dtype and shape of every array of a scan."""
    layers, neurons, n, m = manifest.model.layers, manifest.neurons, manifest.top_n, manifest.maps
    shapes: Shapes = {
        "sample_lines": (np.int64, (manifest.samples, 2)),
        "top_sample": (np.int32, (layers, neurons, n)),
        "top_visual": (np.float32, (VISUAL_KEPT, layers, neurons, n)),
        "top_text": (np.float32, (TEXT_KEPT, layers, neurons, n)),
        "peak_visual": (np.uint16, (layers, neurons, n)),
        "peak_text": (np.uint16, (layers, neurons, n)),
        "maps_visual": (np.uint8, (layers, neurons, m, manifest.visual_tokens_max)),
        "maps_text": (np.uint8, (layers, neurons, m, manifest.text_tokens_max)),
        **_small_maps(manifest),
        "maximum": (np.float32, (layers, neurons)),
        "content_maximum": (np.float32, (layers, neurons)),
        "moments": (np.float32, (2, 2, layers, neurons)),
        "histogram": (np.uint32, (2, layers, neurons, BINS)),
        "votes": (np.uint16, (layers, neurons, 4)),
    }
    if panel := manifest.panel_drawn:
        shapes["panel_sample"] = (np.int32, (panel,))
        shapes["panel_visual"] = (np.uint16, (layers, neurons, panel))
        shapes["panel_text"] = (np.uint16, (layers, neurons, panel))
    if manifest.progress is not None:
        shapes["sums"] = (np.float64, (2, 2, layers, neurons))
    if boxes := manifest.stored_boxes:
        shapes["layout_edges"] = (np.uint16, (boxes, 4))
        shapes["layout_cover"] = (np.uint8, (boxes,))
    return shapes


def _small_maps(manifest: Manifest) -> Shapes:
    small = manifest.small
    if small is None or not small.samples:
        return {}
    shape = (manifest.model.layers, manifest.neurons, small.samples)
    words = min(small.words, manifest.text_tokens_max)
    return {
        SMALL_VISUAL: (np.uint8, (*shape, packed_size(small.values))),
        SMALL_TEXT: (np.uint8, (*shape, packed_size(words))),
    }


def open_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...], hint: str = COPY_AGAIN) -> NDArray[Any]:
    """Map ``path``'s array into memory, read-only.

    Raises:
        StoreError: with ``hint``, if it is missing, damaged, or not of this dtype and shape.
    """
    try:
        with open(open_regular(path), "rb") as file:  # noqa: PTH123  # a descriptor, not a path
            found_dtype, found_shape = _read_header(file)
            if found_dtype != dtype or found_shape != shape:
                found = plain(f"{found_dtype} {found_shape}", 80)
                raise StoreError(
                    f"{path} holds {found}; the manifest promises {np.dtype(dtype)} {shape}.",
                    hint if hint != COPY_AGAIN else f"The parts of this scan do not belong together. {hint}",
                )
            begin, size = file.tell(), math.prod(shape) * np.dtype(dtype).itemsize
            if (there := os.fstat(file.fileno()).st_size - begin) < size:
                raise ValueError(f"it holds {there:,} of {size:,} bytes")
            # An empty array cannot be mapped.
            return np.memmap(file, dtype, "r", begin, shape) if size else np.empty(shape, dtype)
    except FileNotFoundError:
        raise StoreError(f"{path} is missing.", hint) from None
    except (OSError, ValueError, OverflowError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        raise StoreError(f"{path} is damaged or truncated: {reason}.", hint) from error


def _read_header(file: BinaryIO) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The dtype and shape of a NumPy file, which is left at its first value; raises ValueError if it is not one."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it is not a NumPy array of version 1.0")
    length = int.from_bytes(file.read(2), "little")
    header = file.read(length) if length <= _HEADER_BYTES else b""
    found = _HEADER.fullmatch(header.decode("latin-1"))
    if len(header) < length or found is None:
        raise ValueError("its header cannot be read")
    try:
        dtype = np.dtype(found[1])
    except TypeError as error:
        raise ValueError(f"{found[1]} is not a dtype") from error
    if "True" in found[0]:
        raise ValueError("its values are in Fortran order")
    return dtype, tuple(int(size) for size in found[2].split(",") if size.strip())


def of_layer(name: str, array: NDArray[Any], layer: int) -> NDArray[Any]:
    """One layer of the array ``name``, its axis kept; read into memory where ``array`` is mapped."""
    return np.array(array[(slice(None),) * _LAYER_AXIS.get(name, 0) + (slice(layer, layer + 1),)])


def join_layers(name: str, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The array ``name`` of all layers, from those of layers that follow each other."""
    return np.concatenate(parts, axis=_LAYER_AXIS.get(name, 0))


def layers_of(name: str, array: NDArray[Any], layers: range) -> NDArray[Any]:
    """Some layers of the array ``name``, which follow each other; a view."""
    return array[(slice(None),) * _LAYER_AXIS.get(name, 0) + (slice(layers.start, layers.stop),)]


def layer_shapes(manifest: Manifest) -> Shapes:
    """Name, dtype and shape of one layer of every array that has layers: the scan's with 1 for them."""
    return {
        name: (dtype, tuple(1 if axis == _LAYER_AXIS.get(name, 0) else size for axis, size in enumerate(shape)))
        for name, (dtype, shape) in array_shapes(manifest).items()
        if name not in _WITHOUT_LAYERS
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
        header: Any = npy  # untyped before numpy 2.4
        for name in self._shapes:
            dtype, shape = whole[name]
            file = self._files[name] = (folder / f"{name}.npy").open("wb")
            descr = header.dtype_to_descr(np.dtype(dtype))
            header.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
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
