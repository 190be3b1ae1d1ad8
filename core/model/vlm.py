"""A loaded vision-language model: passes with hooks, descriptions. ``encode.py`` makes its inputs.

Notable:
- No family is named: the decoder is ``model.get_decoder()``, the head ``model.get_output_embeddings()``, and
  ``model.model`` is all but the head.
- The language-model head and the KV cache are left out of measuring passes.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from vlmscope.core.base.callbacks import Stopped, check, not_cancelled
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.base.options import written_options
from vlmscope.core.data.images import seen_part
from vlmscope.core.method.layout import Box, VisualLayout
from vlmscope.core.model.devices import input_device
from vlmscope.core.model.encode import Encoded, Encoder
from vlmscope.core.model.ffn import decoder_layers, find_ffns
from vlmscope.core.model.layouts import Inputs
from vlmscope.core.model.logits import Logits
from vlmscope.core.model.processing import Processing
from vlmscope.core.store.manifest import ModelInfo
from vlmscope.core.store.weights import is_model_folder, weights_fingerprint

__all__ = ["DESCRIPTION_TOKENS", "Encoded", "Hook", "Inputs", "Vlm"]

DESCRIPTION_TOKENS = 300  #: longest description that is generated (method.md)
Hook = Callable[[Tensor], None]


class Vlm:
    """A loaded model with its processor, in evaluation mode."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        name: str,
        image_options: Mapping[str, Any] | None = None,
        chat_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            image_options: arguments for the processor's part for pictures. chat_options: for its chat template.

        Raises:
            ModelError: if its FFNs cannot be read, or its tokenizer is slow.
        """
        self.model = model.train(False).requires_grad_(False)  # measuring takes gradients of pictures alone
        self.name = name
        layers = decoder_layers(model, name)
        hidden: int = model.config.get_text_config(decoder=True).hidden_size
        self.ffns = find_ffns(layers, name, hidden, model.dtype)
        self.layers, self.neurons = len(self.ffns), self.ffns[0].width
        self._decoder_layers = layers
        self._processing = Processing(processor, name, image_options or {}, chat_options or {})
        self._busy = threading.RLock()  # held while the model runs: measuring changes its attention for a moment
        self.encoder = Encoder(model, self._processing, name, self._busy)
        self.logits = Logits(model, name, self.ffns, self._processing.tokenizer, self._busy, self._decode)

    @property
    def processor(self) -> Any:
        """The processor of transformers, with a tokenizer that threads can share."""
        return self._processing.whole

    @property
    def busy(self) -> threading.RLock:
        """Held while the model runs; a thread that hooks it for longer than a pass holds it meanwhile."""
        return self._busy

    @property
    def placeholder(self) -> str:
        """The text that stands for the picture in a prompt."""
        return self._processing.placeholder

    @property
    def device(self) -> torch.device:
        """Where inputs go and activations are taken."""
        return input_device(self.model)

    @property
    def layer_devices(self) -> tuple[torch.device, ...]:
        """Where each layer's FFN has its weights: several devices if the model is spread over them."""
        found = (next(ffn.down.parameters()).device for ffn in self.ffns)
        return tuple(self.device if device.type == "meta" else device for device in found)  # meta: kept elsewhere

    @cached_property
    def column_norms(self) -> NDArray[np.float32]:
        """The length of what a unit of each neuron's output adds to its FFN's output: float32 (L, F)."""
        with self._busy:
            return np.stack([ffn.column_norms().numpy() for ffn in self.ffns])

    @cached_property
    def processor_digest(self) -> str:
        """What the processor makes of a fixed picture and text, as SHA-256: 64 hexadecimal digits."""
        return self._processing.digest()

    @cached_property
    def info(self) -> ModelInfo:
        """The model's entry in a manifest; a folder is named by its absolute path."""
        config: Any = self.model.config
        return ModelInfo(
            name=str(Path(self.name).resolve()) if is_model_folder(self.name) else self.name,
            revision=getattr(config, "_commit_hash", None),
            architecture=f"{config.model_type} + {config.get_text_config().model_type}",
            dtype=str(self.model.dtype).removeprefix("torch."),
            layers=self.layers,
            neurons=self.neurons,
            weights=weights_fingerprint(self.name),
            processor=self.processor_digest,
            image_options=written_options(self._processing.image_options),
            chat_options=written_options(self._processing.chat_options),
        )

    def prompt(self, question: str, template: str | None = None) -> str:
        """The text before the description: the processor's own chat template, or ``template`` with ``{question}``.

        Raises:
            ModelError: if the text does not hold the image token exactly once.
        """
        return self._processing.prompt(question, template)

    def encode(self, prompt: str, description: str, size: tuple[int, int]) -> Encoded:
        """Tokenise prompt and description as one sequence, for a picture of ``size`` (width, height).

        The first picture of a size takes some calls of the processor, the first of a shape a few passes of the vision
        tower: they are kept. Several threads may call it at once.

        Raises:
            SamplesError: if the description is empty, holds the image token, or is longer than the model's context.
            ModelError: if it cannot be measured where the visual tokens look.
        """
        return self.encoder.encode(prompt, description, size)

    def inputs(self, encoded: Sequence[Encoded], images: Sequence[Image.Image]) -> Inputs:
        """A batch as the model's own processor makes it, padded on the right. Several threads may call it at once.

        Returns:
            what the model's forward takes, of a batch of B, on the host, floats in the model's dtype; ``input_ids`` is
            int64 (B, T).

        Raises:
            ModelError: if its tokens are not those of ``encoded``.
        """
        return self.encoder.inputs(encoded, images)

    def sees(self, size: tuple[int, int]) -> tuple[VisualLayout, Box]:
        """Where the visual tokens of a picture of ``size`` (width, height) look, and the part that the model sees.

        Raises:
            ModelError: as ``encode``.
        """
        prompted = self.encoder.prompted(self.placeholder, size)
        return prompted.layout, prompted.seen

    def crop(self, image: Image.Image) -> Image.Image:
        """The part of the picture that the model sees."""
        return seen_part(image, self.sees(image.size)[1])

    @torch.inference_mode()
    def forward(self, inputs: Inputs, hooks: dict[int, Hook], hook: HookPoint) -> None:
        """One pass over a batch, calling ``hooks[layer]`` with that layer's activation (B, T, F)."""
        with self._busy, self._hooked(hooks, hook):
            self._decode(inputs)

    def _decode(self, inputs: Inputs) -> Any:
        """The decoder's output, without the head."""
        return self.model.model(**{name: part.to(self.device) for name, part in inputs.items()}, use_cache=False)

    @contextmanager
    def differentiable(self) -> Iterator[None]:
        """Hold the model while the block runs, in which autograd records."""
        with self._busy, torch.inference_mode(False), torch.enable_grad():
            yield

    def decode(self, inputs: Inputs) -> Tensor:
        """The residual stream of a batch after the decoder's final norm: (B, T, H)."""
        with self._busy:
            hidden: Tensor = self._decode(inputs).last_hidden_state
        return hidden

    @torch.inference_mode()
    def describe(self, images: Sequence[Image.Image], prompt: str, stopped: Stopped = not_cancelled) -> list[str]:
        """Let the model continue after ``prompt``, greedily, at most 300 tokens for each image.

        A description that fills the model's context loses its last tokens, so that it can be encoded.

        Raises:
            SamplesError: if the model takes no picture of an image's size; the model has not run then.
            ModelError: as ``encode``.
            Cancelled: when ``stopped`` turns true, which is read after every token.
        """
        for image in images:
            self.encoder.prompted(prompt, image.size)

        class Stop(StoppingCriteria):
            def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:  # noqa: ARG002
                return torch.full((input_ids.shape[0],), stopped(), device=input_ids.device)

        inputs = self.encoder.to_continue([prompt] * len(images), images)
        length = inputs["input_ids"].shape[1]
        with self._busy:
            out = self.model.generate(
                **{name: part.to(self.device) for name, part in inputs.items()},
                max_new_tokens=max(1, min(DESCRIPTION_TOKENS, self.encoder.context - length)),
                do_sample=False,
                temperature=None,
                top_p=None,
                stopping_criteria=StoppingCriteriaList([Stop()]),
            )
        check(stopped, "The description was stopped.")
        new: list[list[int]] = out[:, length:].tolist()
        return [self._fitting(prompt, self._until_end(ids), image.size) for ids, image in zip(new, images, strict=True)]

    def _fitting(self, prompt: str, ids: list[int], size: tuple[int, int]) -> str:
        """The text of a description's tokens, of fewer where the whole is longer than the context.

        Tokenised again a text may have more tokens than the model wrote: a space before it, characters in parts.
        """
        whole = text = self._text(ids)
        while text and (excess := self.encoder.excess(prompt, text, size)):
            ids = ids[: max(0, len(ids) - excess)]
            text = self._text(ids)
        return text or whole

    def _text(self, ids: list[int]) -> str:
        text: str = self.processor.decode(ids, skip_special_tokens=True)
        return text.strip()

    def _until_end(self, ids: list[int]) -> list[int]:
        """The tokens before the end token. A row that ends early is padded, perhaps with a token that is text."""
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        return ids[: next((place for place, token in enumerate(ids) if token in ends), None)]

    def first_token(self, word: str) -> int:
        """The token that a word begins with inside a sentence, after a space."""
        before = "a "
        found = self.processor.tokenizer(before + word, return_offsets_mapping=True)
        for token, (_, end) in zip(found["input_ids"], found["offset_mapping"], strict=True):
            if end > len(before):  # as in ``encode``: the space may be part of it, or a token of its own
                return int(token)
        raise UsageError(f"{word!r} has no token.", "Name a word.")

    def spelled(self, token: int) -> str | None:
        """A token of the vocabulary as text; None for one that is not text (special, or a row that pads the head)."""
        tokenizer = self.processor.tokenizer
        if token >= len(tokenizer) or token in self._not_text:
            return None
        text: str = tokenizer.decode([token])
        return text

    @cached_property
    def _not_text(self) -> frozenset[int]:
        tokenizer = self.processor.tokenizer
        return frozenset(tokenizer.all_special_ids) | frozenset(tokenizer.added_tokens_decoder)

    @contextmanager
    def stoppable(self, stopped: Stopped, message: str) -> Iterator[None]:
        """Read ``stopped`` before each decoder layer while the block runs; once it is true, ``Cancelled`` ends it."""
        with ExitStack() as hooks:
            for layer in self._decoder_layers:
                hooks.enter_context(layer.register_forward_pre_hook(lambda *_: check(stopped, message)))
            yield

    def _brought(self, take: Hook) -> Hook:
        """``take`` with activations brought to ``device``: layers may be on several (``--device-map``)."""
        device = self.device
        return lambda activation: take(activation.to(device))

    @contextmanager
    def _hooked(self, hooks: dict[int, Hook], hook: HookPoint) -> Iterator[None]:
        with ExitStack() as hooked:
            for layer, take in hooks.items():
                hooked.enter_context(self.ffns[layer].hook(hook, self._brought(take)))
            yield
