"""A loaded LLaVA-1.5 style model: text and pictures to tokens, passes with hooks, descriptions, logits.

Notable:
- Any decoder with one FFN a layer can be run (``vlmscope.core.model.ffn``); others are refused.
- Sequences are padded on the right and there is no attention mask: in a causal decoder later padding does not affect
  earlier tokens, and attention takes its fast causal path.
- The language-model head and the KV cache are left out of measuring passes.
- Text is tokenised with one image token, which is then repeated as the processor does it (a test compares them). So a
  description's tokens are found by their character offsets.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, StoppingCriteria, StoppingCriteriaList

from vlmscope.core.base.callbacks import Stopped, check, not_cancelled
from vlmscope.core.base.errors import ModelError, SamplesError, UsageError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.method.layout import WHOLE, Box, VisualLayout
from vlmscope.core.model.ffn import decoder_layers, find_ffns
from vlmscope.core.store.manifest import ModelInfo
from vlmscope.core.store.weights import is_model_folder, weights_fingerprint

DESCRIPTION_TOKENS = 300  #: longest description that is generated (method.md)
Hook = Callable[[Tensor], None]
#: What the model's forward takes, of a batch of B: on the host, floats in the model's dtype; input_ids int64 (B, T).
Inputs = Mapping[str, Tensor]


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

    @property
    def shape(self) -> tuple[int, int]:
        """Where the description starts, and how many tokens there are: what decides who shares a batch."""
        return self.text.start, len(self.input_ids)


class Vlm:
    """A loaded model with its processor, in evaluation mode."""

    def __init__(self, model: LlavaForConditionalGeneration, processor: Any, name: str) -> None:
        """Wrap a loaded model.

        Raises:
            ModelError: if its visual tokens do not form a plain grid, or its FFNs cannot be read.
        """
        self.model = model.train(False)
        self.processor = processor
        self.name = name
        config: Any = model.config
        vision = config.vision_config
        if config.vision_feature_select_strategy != "default":
            raise ModelError(
                f"{name} keeps the vision tower's class token: its visual tokens do not form a plain grid.",
                "Models with vision_feature_select_strategy 'default', as LLaVA-1.5 has it, can be scanned.",
            )
        side = vision.image_size // vision.patch_size
        self.grid = (side, side)
        self.image_size: int = vision.image_size
        self.context: int = getattr(config.text_config, "max_position_embeddings", 1 << 30)
        self.image_token_id: int = config.image_token_id
        hidden: int = config.get_text_config(decoder=True).hidden_size
        self.ffns = find_ffns(decoder_layers(model, name), name, hidden, model.dtype)
        self.layers, self.neurons = len(self.ffns), self.ffns[0].width

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @cached_property
    def info(self) -> ModelInfo:
        """The model's entry in a manifest; a folder is named by its absolute path."""
        config: Any = self.model.config
        return ModelInfo(
            name=str(Path(self.name).resolve()) if is_model_folder(self.name) else self.name,
            revision=getattr(config, "_commit_hash", None),
            architecture=f"{config.model_type} + {config.text_config.model_type}",
            dtype=str(self.model.dtype).removeprefix("torch."),
            layers=self.layers,
            neurons=self.neurons,
            weights=weights_fingerprint(self.name),
        )

    def prompt(self, question: str, template: str | None = None) -> str:
        """The text before the description: the processor's own chat template, or ``template`` with ``{question}``.

        Raises:
            ModelError: if the text does not hold the image token exactly once.
        """
        image: str = self.processor.image_token
        if template is not None:
            text = template.replace("{question}", question)
        elif getattr(self.processor, "chat_template", None):
            content = [{"type": "image"}, {"type": "text", "text": question}]
            text = self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
            )
        else:
            raise ModelError(
                f"{self.name} has no chat template.",
                f"Give one: --prompt-template 'USER: {image}\\n{{question}} ASSISTANT:'",
            )
        if text.count(image) != 1:
            raise ModelError(
                f"The prompt holds the image token {image} {text.count(image)} times, not once: {text!r}.",
                "Correct --prompt-template or the question.",
            )
        return text

    def encode(self, prompt: str, description: str, size: tuple[int, int]) -> Encoded:  # noqa: ARG002
        """Tokenise prompt and description as one sequence, for a picture of ``size`` (width, height).

        Raises:
            SamplesError: if the description is empty or longer than the model's context.
        """
        words = description.strip()
        if not words:
            raise SamplesError("the description is empty")
        text_whole = self._joined(prompt, words)
        start = len(text_whole) - len(words)
        whole = self.processor.tokenizer(text_whole, return_offsets_mapping=True)
        ids: list[int] = whole["input_ids"]
        spans: list[tuple[int, int]] = whole["offset_mapping"]
        first_patch = ids.index(self.image_token_id)
        patches = self.grid[0] * self.grid[1]
        of_text = [i for i, (_, end) in enumerate(spans) if end > start]
        if ids.count(self.image_token_id) != 1 or not of_text:
            raise SamplesError("the description holds the image token, or no text")
        ids = [*ids[:first_patch], *[self.image_token_id] * patches, *ids[first_patch + 1 :]]
        if len(ids) > self.context:
            raise SamplesError(f"the description is too long: {len(ids)} tokens, the model takes {self.context}")
        ends = [spans[i][1] - start for i in of_text]
        tokens = tuple(words[a:b] for a, b in zip([0, *ends], ends, strict=False))
        text = slice(of_text[0] + patches - 1, of_text[-1] + patches)
        visual = np.arange(first_patch, first_patch + patches)
        return Encoded(prompt, words, torch.tensor(ids), visual, text, tokens, VisualLayout.plain(*self.grid))

    @staticmethod
    def _joined(prompt: str, words: str) -> str:
        """Prompt and description, with a space between them, as generation puts one before its first token."""
        return prompt + ("" if prompt[-1:].isspace() else " ") + words

    def inputs(self, encoded: Sequence[Encoded], images: Sequence[Image.Image]) -> Inputs:
        """A batch as the model's own processor makes it, padded on the right. Several threads may call it at once."""
        texts = [self._joined(one.prompt, one.description) for one in encoded]
        made = self.processor(text=texts, images=list(images), padding=True, padding_side="right", return_tensors="pt")
        return {
            name: part.to(self.model.dtype) if part.is_floating_point() else part
            for name, part in made.items()
            if name != "attention_mask"  # a causal decoder's earlier tokens do not see padding
        }

    def crop(self, image: Image.Image) -> Image.Image:
        """The part of the picture that the model sees."""
        pixels: Tensor = self.processor.image_processor(images=image, return_tensors="pt")["pixel_values"][0]
        processor = self.processor.image_processor
        # In numpy: with several threads that prepare images, torch's own threads would slow each other down.
        mean, std = (
            np.array(x, dtype=np.float32).reshape(3, 1, 1) for x in (processor.image_mean, processor.image_std)
        )
        rgb = np.nan_to_num(((pixels.numpy() * std + mean) * 255).round().clip(0, 255)).astype(np.uint8)
        return Image.fromarray(np.ascontiguousarray(rgb.transpose(1, 2, 0)))

    @torch.inference_mode()
    def forward(self, inputs: Inputs, hooks: dict[int, Hook], hook: HookPoint) -> None:
        """One pass over a batch, calling ``hooks[layer]`` with that layer's activation (B, T, F)."""
        with self._hooked(hooks, hook):
            self._decode(inputs)

    def _decode(self, inputs: Inputs) -> Any:
        """The decoder's output, without the head."""
        return self.model.model(**{name: part.to(self.device) for name, part in inputs.items()}, use_cache=False)

    @torch.inference_mode()
    def describe(self, images: Sequence[Image.Image], prompt: str, stopped: Stopped = not_cancelled) -> list[str]:
        """Let the model continue after ``prompt``, greedily, at most 300 tokens for each image.

        Raises:
            Cancelled: when ``stopped`` turns true, which is read after every token.
        """

        class Stop(StoppingCriteria):
            def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:  # noqa: ARG002
                return torch.full((input_ids.shape[0],), stopped(), device=input_ids.device)

        inputs = self.processor(text=[prompt] * len(images), images=list(images), return_tensors="pt")
        inputs = inputs.to(self.device)
        out = self.model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            pixel_values=inputs["pixel_values"].to(self.model.dtype),
            max_new_tokens=max(1, min(DESCRIPTION_TOKENS, self.context - inputs["input_ids"].shape[1])),
            do_sample=False,
            temperature=None,
            top_p=None,
            stopping_criteria=StoppingCriteriaList([Stop()]),
        )
        check(stopped, "The description was stopped.")
        new: list[list[int]] = out[:, inputs["input_ids"].shape[1] :].tolist()
        texts: list[str] = self.processor.batch_decode([self._until_end(ids) for ids in new], skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _until_end(self, ids: list[int]) -> list[int]:
        """The tokens before the end token. A row that ends early is padded, perhaps with a token that is text."""
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        return ids[: next((place for place, token in enumerate(ids) if token in ends), None)]

    @torch.inference_mode()
    def logit_effect(self, layer: int, index: int) -> Tensor:
        """What one unit of a neuron's output adds to every token's logit, to first order: float32 (V,).

        The neuron's ``down_proj`` column through the final norm's scale and the language-model head, as the logit lens
        does (nostalgebraist, 2020; Geva et al., 2022, arXiv 2203.14680); the norm's division by the residual stream's
        size is left out.
        """
        text: Any = self.model.model.language_model
        column = self.ffns[layer].down_column(index)
        scale = text.norm(torch.ones_like(column))  # an RMS norm of ones is its own scale
        head = self.model.lm_head.weight
        logits: Tensor = head @ (column * scale).to(head.device, head.dtype)
        return logits.float()

    @torch.inference_mode()
    def token_logits(self, inputs: Inputs, tokens: Tensor) -> Tensor:
        """The logits of some tokens after each position of a sample: final norm and head after the last layer.

        Args:
            inputs: of one sample. tokens: int64 (C,).

        Returns:
            float32 (T, C).
        """
        hidden = self._decode(inputs).last_hidden_state[0]  # the final norm is part of the decoder
        head = self.model.lm_head
        places = tokens.to(head.weight.device)
        bias = None if head.bias is None else head.bias[places]
        logits: Tensor = nn.functional.linear(hidden, head.weight[places], bias)
        return logits.float()

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
        if token >= len(tokenizer) or token in tokenizer.all_special_ids or token in tokenizer.added_tokens_decoder:
            return None
        text: str = tokenizer.decode([token])
        return text

    @contextmanager
    def stoppable(self, stopped: Stopped, message: str) -> Iterator[None]:
        """Read ``stopped`` before each decoder layer while the block runs; once it is true, ``Cancelled`` ends it."""
        with ExitStack() as hooks:
            for layer in self.model.model.language_model.layers:
                hooks.enter_context(layer.register_forward_pre_hook(lambda *_: check(stopped, message)))
            yield

    @contextmanager
    def _hooked(self, hooks: dict[int, Hook], hook: HookPoint) -> Iterator[None]:
        with ExitStack() as hooked:
            for layer, take in hooks.items():
                hooked.enter_context(self.ffns[layer].hook(hook, take))
            yield
