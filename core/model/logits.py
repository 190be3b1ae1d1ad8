"""From activations to the vocabulary: logits of tokens after each position, and what a neuron adds to them."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from vlmscope.core.base.errors import ModelError
from vlmscope.core.model.devices import input_device
from vlmscope.core.model.ffn import Ffn, decoder_of
from vlmscope.core.model.layouts import Inputs

_HEAD_ROWS = 8192  #: rows of the head's weights that are in float32 at a time


@dataclass(frozen=True)
class Readout:
    """What a model makes of its head's logits: a factor (Cohere, Granite), and a cap that they approach (Gemma)."""

    scale: float
    cap: float | None

    def logits(self, plain: Tensor) -> Tensor:
        """The model's logits, from those of its head alone."""
        scaled = plain * self.scale
        return scaled if self.cap is None else self.cap * torch.tanh(scaled / self.cap)


class Logits:
    """A model's final norm and head."""

    def __init__(
        self,
        model: Any,
        name: str,
        ffns: Sequence[Ffn],
        tokenizer: Any,
        busy: threading.RLock,
        decode: Callable[[Inputs], Any],
    ) -> None:
        """Read nothing yet.

        Args:
            name: of the model, for messages. ffns: of its layers. busy: held while the model runs. decode: the
                decoder's output of a batch, without the head.
        """
        self._model, self._name, self._ffns = model, name, ffns
        self._tokenizer, self._busy, self._decode = tokenizer, busy, decode

    @torch.inference_mode()
    def effect(self, layer: int, index: int) -> Tensor:
        """What one unit of a neuron's output adds to every token's logit, to first order: float32 (V,).

        The neuron's ``down_proj`` column through the final norm's scale and the language-model head, as the logit lens
        does (nostalgebraist, 2020; Geva et al., 2022, arXiv 2203.14680); the norm's division by the residual stream's
        size is left out, and so is a cap on logits. Where a layer norms its FFN's output before adding it (Gemma 2, 3
        and 4), that norm is left out, too.
        """
        column = self._ffns[layer].down_column(index)
        head = self._model.get_output_embeddings()
        direction = self._normed(column)
        if head.weight.is_meta:  # accelerate brings the weights only for a call
            both = head(torch.stack([direction, torch.zeros_like(direction)]))  # the second is the bias
            logits: Tensor = both[0] - both[1]
        else:
            logits = head.weight @ direction.to(head.weight.device, head.weight.dtype)
        return logits.float() * self.readout.scale

    def _normed(self, column: Tensor) -> Tensor:
        """A direction through the final norm's linear part: its scale, and, of a LayerNorm, less the mean.

        The scale is (norm(v) - norm(-v)) / 2 * v for a v of 1 and -1 in turns, without the norm's own bias.
        """
        decoder = decoder_of(self._model)
        norm = getattr(decoder, "norm", None) or decoder.embedding_norm
        ones = torch.ones_like(column)
        signs = ones.clone()
        signs[1::2] = -1
        scale = (norm(signs) - norm(-signs)) / 2 * signs
        if torch.equal(norm(ones), norm(-ones)):  # a norm that takes the mean away
            column = column - column.mean()
        normed: Tensor = column * scale
        return normed

    @cached_property
    def readout(self) -> Readout:
        """What the model makes of its head's logits, found by trying: Aya's decoder has a scale that it leaves out.

        Raises:
            ModelError: if it is none of the known ones.
        """
        text: Any = self._model.config.get_text_config()
        scales = {1.0, getattr(text, "logit_scale", None) or 1.0, 1 / (getattr(text, "logits_scaling", None) or 1.0)}
        caps = {None, getattr(text, "final_logit_softcapping", None)}
        ids = torch.tensor([self._tokenizer("a picture")["input_ids"]], device=input_device(self._model))
        with self._busy, torch.inference_mode():
            own = self._model(input_ids=ids, use_cache=False).logits.float()
            plain = self._model.get_output_embeddings()(self._decode({"input_ids": ids}).last_hidden_state).float()
        for scale, cap in product(scales, caps):
            readout = Readout(scale, cap)
            if torch.allclose(readout.logits(plain), own, rtol=0.02, atol=0.02 * float(own.abs().max())):
                return readout
        raise ModelError(f"{self._name}: what it makes of its head's logits is not understood.", "Use another model.")

    @torch.inference_mode()
    def of_tokens(self, inputs: Inputs, tokens: Tensor) -> Tensor:
        """The logits of some tokens after each position of a sample: final norm and head after the last layer.

        A scale of logits (Cohere, Granite) and a cap on them (Gemma) are applied as the model does.

        Args:
            inputs: of one sample. tokens: int64 (C,).

        Returns:
            float32 (T, C).
        """
        with self._busy:
            hidden = self._decode(inputs).last_hidden_state[0]  # the final norm is part of the decoder
        head = self._model.get_output_embeddings()
        if head.weight.is_meta:
            return self.readout.logits(head(hidden)[:, tokens.to(hidden.device)].float())
        places = tokens.to(head.weight.device)
        bias = None if head.bias is None else head.bias[places]
        logits = nn.functional.linear(hidden.to(head.weight.device), head.weight[places], bias)
        return self.readout.logits(logits.float())

    def log_odds(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Log-odds of one token at each of some positions: its logit less the ``logsumexp`` of all others.

        The token itself is left out of the sum, so nothing is lost where its probability is near 1. Autograd passes.

        Args:
            hidden: (N, H), after the final norm. tokens: int64 (N,).

        Returns:
            float32 (N,), on the head's device.
        """
        logits = self.of_all(hidden)
        places = tokens.to(logits.device)[:, None]
        others = logits.scatter(1, places, -torch.inf).logsumexp(dim=1)
        return logits.gather(1, places)[:, 0] - others

    def of_all(self, hidden: Tensor) -> Tensor:
        """The model's logits at some positions. ``hidden``: (N, H), after the final norm. float32 (N, V).

        In half precision the head computes in float32 where its weights are at hand: logits are about 20, which
        bfloat16 rounds by 0.06, more than most neurons change. With gradients it computes as the model does.
        """
        head = self._model.get_output_embeddings()
        half = type(head) is nn.Linear and head.weight.dtype in (torch.float16, torch.bfloat16)
        if not half or head.weight.is_meta or torch.is_grad_enabled():
            hidden = hidden if head.weight.is_meta else hidden.to(head.weight.device)
            return self.readout.logits(head(hidden).float())
        exact = hidden.to(head.weight.device, torch.float32)
        rows = [exact @ weights.float().T for weights in head.weight.split(_HEAD_ROWS)]
        logits = torch.cat(rows, dim=-1)
        return self.readout.logits(logits if head.bias is None else logits + head.bias.float())
