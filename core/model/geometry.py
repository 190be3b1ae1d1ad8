"""Where a model's visual tokens look in pictures of each size: measured when a size is new, and kept."""

import hashlib
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlmscope.core.base.errors import ModelError
from vlmscope.core.method.layout import Box, VisualLayout
from vlmscope.core.model.boxes import snapped
from vlmscope.core.model.layouts import Inputs, Measured, Reach, coordinates, measure, reached

_STEP = math.log(1.01)  #: sides of pictures are rounded to powers of 1.01: places hardly change within 1 %
_SMALL = 256  #: pixels: a picture with a smaller side is measured enlarged, if its inputs are alike
_SIZE = "the picture's size"  #: stands in a signature for integers that are width and height
_MOST_LOST = 0.1  #: of the numbers, which may reach tokens of other ids than the picture's
MOST_TOKENS = 65534  #: visual tokens of a sample: a store counts them in 16 bits

_Size = tuple[int, int]
_Signature = tuple[object, ...]


class Geometry:
    """Measures a model's layouts. Threads may share it.

    Notable: a picture's tokens are named by their rank among the tokens of the picture's ids, so that one measurement
    holds for all prompts.
    """

    def __init__(
        self, model: Any, name: str, process: Callable[[str, Image.Image], Inputs], busy: threading.RLock
    ) -> None:
        """Measure nothing yet.

        Args:
            name: of the model, for messages. process: makes what the model takes of a prompt and a picture.
            busy: held while the model runs.
        """
        self._model, self._name, self._process, self._busy = model, name, process, busy
        self._lock = threading.RLock()
        self._ids = np.zeros(0, dtype=np.int64)  # ids of the picture's tokens, once known
        self._nearby: dict[tuple[str, _Size], _Signature] = {}
        self._reached: dict[tuple[_Signature, _Size | None], Reach] = {}
        self._measured: dict[tuple[_Signature, _Size], Measured] = {}
        self._layouts: dict[str, VisualLayout] = {}

    def places(self, prompt: str, size: _Size, inputs: Inputs) -> tuple[NDArray[np.int64], VisualLayout, Box]:
        """Where the visual tokens are in the sequence, and where each looks.

        Args:
            size: width and height of the picture. inputs: what the model takes of a picture of that size.

        Returns:
            int64 (V,), positions, ascending; the layout, one object for equal ones; the part of the picture that the
            model sees.

        Raises:
            ModelError: if that cannot be measured, or there are too many tokens.
        """
        with self._lock:
            measured = self._of_size(prompt, size, inputs)
            layout = self._layouts.setdefault(measured.layout.id, measured.layout)
        if len(layout) > MOST_TOKENS:
            raise ModelError(
                f"{self._name}: a picture of {size[0]} x {size[1]} pixels has {len(layout):,} visual tokens; "
                f"{MOST_TOKENS:,} can be stored.",
                "Let the processor make pictures smaller: --image-option.",
            )
        rows, columns = layout.grid
        positions = self.image_positions(inputs["input_ids"])[measured.tokens]
        return positions, layout, snapped(measured.seen, size, columns, rows)

    def image_positions(self, input_ids: Tensor) -> NDArray[np.int64]:
        """int64, ascending: where a sequence (1, T) has tokens of a picture, with and without a place.

        It is for after the first ``places``, which finds the picture's ids.
        """
        return np.flatnonzero(np.isin(input_ids[0].cpu().numpy(), self._ids))

    def _of_size(self, prompt: str, size: _Size, inputs: Inputs) -> Measured:
        """Measured on a picture of a rounded size, one for all that are about as large, where its inputs are alike."""
        if not len(self._ids):
            self._ids, positions = self._first(prompt, size, inputs)
            self._reached[_reach_key(self._signature(size, inputs), size)] = self._ranked(positions, inputs)
        signature = self._signature(size, inputs)
        near = _nearby(size)
        if near != size:
            if (prompt, near) not in self._nearby:
                self._nearby[prompt, near] = self._signature(near, self._process(prompt, Image.new("RGB", near)))
            if self._nearby[prompt, near] == signature:
                size = near
        if (signature, size) not in self._measured:
            key = _reach_key(signature, size)
            if key not in self._reached:
                inputs = self._process(prompt, Image.new("RGB", size))
                with self._busy:
                    positions = reached(self._model, inputs, self._name)
                self._reached[key] = self._ranked(positions, inputs)
            places = coordinates(lambda image: self._process(prompt, image), size)
            self._measured[signature, size] = measure(self._reached[key], places, self._name)
        return self._measured[signature, size]

    def _first(self, prompt: str, size: _Size, inputs: Inputs) -> tuple[NDArray[np.int64], Reach]:
        """The ids of tokens that have a place, and the positions that the inputs reach."""
        with self._busy:
            positions = reached(self._model, inputs, self._name)
        places = coordinates(lambda image: self._process(prompt, image), size)
        measured = measure(positions, places, self._name)
        return np.unique(inputs["input_ids"][0].cpu().numpy()[measured.tokens]), positions

    def _ranked(self, positions: Reach, inputs: Inputs) -> Reach:
        """Ranks among the picture's tokens instead of positions."""
        rank = np.full(inputs["input_ids"].shape[1] + 1, -1)  # the last is for -1
        own = self.image_positions(inputs["input_ids"])
        rank[own] = np.arange(len(own))
        found = {name: rank[part] for name, part in positions.items()}
        reaching = sum(int((part >= 0).sum()) for part in positions.values())
        if sum(int((part >= 0).sum()) for part in found.values()) < (1 - _MOST_LOST) * reaching:
            raise ModelError(
                f"{self._name}: a picture's tokens have other ids in some pictures than in others.",
                "Such a model cannot be scanned. Report this with the model's name.",
            )
        return found

    def _signature(self, size: _Size, inputs: Inputs) -> _Signature:
        """What decides which token each number reaches: shapes, integers, and the number of the picture's tokens."""
        tokens = inputs["input_ids"].shape
        found: list[object] = [len(self.image_positions(inputs["input_ids"]))]
        for name, part in sorted(inputs.items()):
            if part.shape == tokens:
                continue  # of the text
            found += [name, tuple(part.shape)]
            if not part.is_floating_point():
                values = part.cpu().contiguous().numpy()
                is_size = values.ravel().tolist() in (list(size), list(size[::-1]))
                found.append(_SIZE if is_size else hashlib.sha256(values.tobytes()).digest())
        return tuple(found)


def _reach_key(signature: _Signature, size: _Size) -> tuple[_Signature, _Size | None]:
    """Which token a number reaches depends on the size only where the model is given it."""
    return signature, size if _SIZE in signature else None


def _nearby(size: _Size) -> _Size:
    """A rounded size; a small picture's is enlarged, as its few pixels tell few places apart."""
    larger = max(1, math.ceil(_SMALL / min(size)))
    width, height = (round(math.exp(round(math.log(side * larger) / _STEP) * _STEP)) for side in size)
    return width, height
