"""Samples as tokens: prompt, picture and teacher-forced description in one sequence, as the model's processor makes it.

Notable:
- The processor expands the picture's place in a prompt once for each size of picture. The expanded prompt with a
  description is then tokenised alone, and the description's tokens are found by their character offsets.
- Batches are made by the processor itself; their ids are compared with those that were encoded.
"""

import inspect
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlmscope.core.base.errors import ModelError, SamplesError
from vlmscope.core.base.text import first_line, plain
from vlmscope.core.method.layout import WHOLE, Box, VisualLayout
from vlmscope.core.model.geometry import Geometry
from vlmscope.core.model.layouts import Inputs
from vlmscope.core.model.processing import Expanded, Processing

_Size = tuple[int, int]
Places = tuple[NDArray[np.int64], VisualLayout, Box]


@dataclass(frozen=True)
class Encoded:
    """One sample as tokens: prompt, image and teacher-forced description.

    Attributes:
        prompt, description: what it was made of.
        input_ids: int64 (T,), as the processor makes them.
        visual: int64 (V,), positions of the visual tokens, ascending. Every other one before ``text`` is template.
        text: positions of the description's tokens.
        tokens: the description's tokens, spelled; joined they are the description.
        layout: where each visual token looks, in the part of the picture that the model sees.
        seen: that part, as shares of the picture.
    """

    prompt: str
    description: str
    input_ids: Tensor
    visual: NDArray[np.int64]
    text: slice
    tokens: tuple[str, ...]
    layout: VisualLayout
    seen: Box = WHOLE


@dataclass(frozen=True)
class Prompted:
    """A prompt with a picture of one size.

    Attributes:
        visual, layout, seen: as in ``Encoded``.
        images: how many tokens stand for the picture's features, with and without a place.
    """

    expanded: Expanded
    visual: NDArray[np.int64]
    layout: VisualLayout
    seen: Box
    images: int


class Encoder:
    """Encodes samples for a model. Threads may share it."""

    def __init__(self, model: Any, processing: Processing, name: str, busy: threading.RLock) -> None:
        """``name``: of the model. ``busy`` is held while the model runs."""
        self._processing = processing
        self._name = name
        self._dtype: torch.dtype = model.dtype
        self._context: int = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
        taken = {*inspect.signature(model.forward).parameters, *inspect.signature(model.model.forward).parameters}
        self._taken = taken - {"labels"}
        self._geometry = Geometry(model, name, self.made, busy)
        self._prompted: dict[tuple[str, _Size], Prompted] = {}
        self._expanded: dict[tuple[str | None, str, str], Expanded] = {}
        self.needs_mask = True  #: whether a padded batch needs the mask; the trial pass at load sets it

    @property
    def context(self) -> int:
        """How many tokens the decoder takes."""
        return self._context

    def prompted(self, prompt: str, size: _Size) -> Prompted:
        """The prompt with a picture of ``size`` (width, height), kept for the next sample.

        Raises:
            ModelError: if the processor's tokens are not understood, or no picture's places can be measured.
            SamplesError: if it is so for this size alone.
        """
        found = self._prompted.get((prompt, size))
        if found is None:
            expanded, inputs, (visual, layout, seen) = self._measured(prompt, size)
            images = len(self._geometry.image_positions(inputs["input_ids"]))
            parts = (expanded.first, expanded.before, expanded.after)
            expanded = self._expanded.setdefault(parts, expanded)  # many sizes share one
            found = self._prompted[prompt, size] = Prompted(expanded, visual, layout, seen, images)
        return found

    def _measured(self, prompt: str, size: _Size) -> tuple[Expanded, Inputs, Places]:
        try:
            expanded, made = self._processing.expanded(prompt, Image.new("RGB", size))
            inputs = self.for_model(made)
            return expanded, inputs, self._geometry.places(prompt, size, inputs)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except ModelError as error:
            if not self._prompted:
                raise
            raise SamplesError(error.message) from error  # others could be measured: it is the picture's shape
        except Exception as error:
            # Processors and vision towers refuse sizes by many types of errors.
            why = plain(first_line(error), 200) or type(error).__name__
            raise SamplesError(f"the model takes no picture of {size[0]} x {size[1]} pixels: {why}") from error

    def encode(self, prompt: str, description: str, size: _Size) -> Encoded:
        """Tokenise prompt and description as one sequence, for a picture of ``size`` (width, height).

        Raises:
            SamplesError: if the description is empty, holds the image token, or is longer than the model's context; as
                ``prompted``.
            ModelError: as ``prompted``.
        """
        words = description.strip()
        if not words:
            raise SamplesError("the description is empty")
        if any(token in words for token in self._processing.reserved):
            raise SamplesError("the description holds the image token, or no text")
        prompted = self.prompted(prompt, size)
        spelled = self._processing.spelled(prompted.expanded, words)
        ids = torch.tensor(spelled.ids)
        images = self._geometry.image_positions(ids[None])
        if len(images) != prompted.images or not spelled.text:
            raise SamplesError("the description holds the image token, or no text")
        if len(ids) > self._context:
            raise SamplesError(f"the description is too long: {len(ids)} tokens, the model takes {self._context}")
        tokens = tuple(words[a:b] for a, b in zip([0, *spelled.ends], spelled.ends, strict=False))
        text = slice(spelled.text[0], spelled.text[-1] + 1)
        return Encoded(prompt, words, ids, prompted.visual, text, tokens, prompted.layout, prompted.seen)

    def excess(self, prompt: str, words: str, size: _Size) -> int:
        """By how many tokens prompt, picture and description are longer than the decoder takes; 0 if they fit.

        Args:
            words: the description, not empty, without white space around it. size: of the picture.

        Raises:
            ModelError, SamplesError: as ``prompted``.
        """
        ids = self._processing.spelled(self.prompted(prompt, size).expanded, words).ids
        return max(0, len(ids) - self._context)

    def inputs(self, encoded: Sequence[Encoded], images: Sequence[Image.Image]) -> Inputs:
        """A batch as the model's own processor makes it, padded on the right. Several threads may call it at once.

        Raises:
            ModelError: if its tokens are not those of ``encoded``: the processor reads more than a picture's size.
        """
        made = self._processing.batch([one.prompt for one in encoded], [one.description for one in encoded], images)
        for row, one in zip(made["input_ids"], encoded, strict=True):
            if not torch.equal(row[: len(one.input_ids)], one.input_ids):
                raise ModelError(
                    f"{self._name}: its processor makes other tokens of a picture than of a blank one of its size.",
                    "Such a model cannot be scanned. Report this with the model's name.",
                )
        inputs = self.for_model(made)
        return inputs if self.needs_mask else {name: part for name, part in inputs.items() if name != "attention_mask"}

    def to_continue(self, prompts: Sequence[str], images: Sequence[Image.Image]) -> Inputs:
        """A batch without descriptions, padded on the left, as generation needs it."""
        return self.for_model(self._processing.batch(prompts, None, images))

    def for_model(self, made: Inputs) -> Inputs:
        """The tensors that the model takes, floats in its dtype."""
        return {
            name: part.to(self._dtype) if part.is_floating_point() else part
            for name, part in made.items()
            if name in self._taken
        }

    def made(self, prompt: str, image: Image.Image) -> Inputs:
        """What the model takes of a prompt and a picture, with a mark for the description."""
        return self.for_model(self._processing.expanded(prompt, image)[1])
