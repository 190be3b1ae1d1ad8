"""A model's own processor: prompts, batches, and prompts with the picture's place expanded. Threads may share it."""

import copy
import hashlib
import inspect
import re
import threading
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from vlmscope.core.base.errors import ModelError

Inputs = Mapping[str, Tensor]
Options = Mapping[str, Any]

_MARK = "\ue000"  #: stands for the description in a trial text: of the private use area, in no prompt
#: Arguments of a tokenizer's call that concern the batch, not the text.
_OF_A_BATCH = ("text_pair", "padding", "padding_side", "return_tensors")


@dataclass(frozen=True)
class Expanded:
    """A prompt as the processor writes it for pictures of one size, with a token's text for each token of the picture.

    Attributes:
        first: the text before the description's own text; None if both are one text.
        before, after: what the processor puts around the description.
        options: of the tokenizer's call.
    """

    first: str | None
    before: str
    after: str
    options: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Spelled:
    """A text's tokens.

    Attributes:
        ids: of all tokens.
        text: the description's, in order.
        ends: for each of these, where it ends in the description, in characters.
    """

    ids: list[int]
    text: list[int]
    ends: list[int]


class Processing:
    """A processor of transformers with what its calls are given."""

    def __init__(self, processor: Any, name: str, image_options: Options, chat_options: Options) -> None:
        """Wrap ``processor``; it is left as it was.

        Args:
            image_options: arguments for the part for pictures. chat_options: for the chat template.

        Raises:
            ModelError: if its tokenizer is slow: it cannot tell where a token's characters are.
        """
        if not getattr(processor.tokenizer, "is_fast", False):
            raise ModelError(
                f"{name}: its tokenizer {type(processor.tokenizer).__name__} is not a fast one, so the characters of "
                "its tokens are not known.",
                "Give the model's folder a tokenizer.json. AutoTokenizer of transformers makes one of most tokenizers.",
            )
        self.name = name
        self.image_options, self.chat_options = dict(image_options), dict(chat_options)
        _check_taken(name, processor, image_options, chat_options)
        self.whole: Any = copy.copy(processor)
        self.whole.tokenizer = self.tokenizer = _locked(processor.tokenizer)
        self.placeholder: str = processor.image_token
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.unk_token
        #: Prefix language models have the description apart from the prompt, which their tokens see both ways.
        self._is_prefixed = "suffix" in inspect.signature(type(processor).__call__).parameters
        self._added = tuple(str(token) for token in self.tokenizer.added_tokens_decoder.values())
        medias = (getattr(processor, f"{kind}_token", None) for kind in ("image", "video", "audio"))
        self.reserved = tuple(str(token) for token in medias if token)

    def prompt(self, question: str, template: str | None) -> str:
        """The text before the description: the processor's own chat template, or ``template`` with ``{question}``.

        Raises:
            ModelError: if the text does not hold the image token exactly once.
        """
        image = self.placeholder
        if template is not None:
            text = template.replace("{question}", question)
        elif getattr(self.whole, "chat_template", None):
            content = [{"type": "image"}, {"type": "text", "text": question}]
            text = self.whole.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=False,
                **self.chat_options,
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

    def joined(self, prompt: str, words: str) -> str:
        """Prompt and description as one text.

        With a space between them, as generation puts one before its first token; without it after white space and
        after a special token.
        """
        apart = prompt[-1:].isspace() or prompt.endswith(self._added)
        return f"{prompt}{'' if apart else ' '}{words}"

    def batch(self, prompts: Sequence[str], words: Sequence[str] | None, images: Sequence[Image.Image]) -> Inputs:
        """What the processor makes of a batch: padded on the right, or without ``words``, to generate, on the left."""
        return self._batch(self.whole, prompts, words, images)

    def _batch(
        self, whole: Any, prompts: Sequence[str], words: Sequence[str] | None, images: Sequence[Image.Image]
    ) -> Inputs:
        texts = list(prompts)
        more: dict[str, Any] = {}
        if words is not None:
            if self._is_prefixed:
                more["suffix"] = list(words)
            else:
                texts = [self.joined(prompt, one) for prompt, one in zip(prompts, words, strict=True)]
        if self.image_options:
            more["images_kwargs"] = self.image_options
        made = whole(
            text=texts,
            images=[[image] for image in images],
            text_kwargs={"padding": True, "padding_side": "left" if words is None else "right"},
            return_tensors="pt",
            **more,
        )
        return {name: part for name, part in made.items() if isinstance(part, Tensor)}

    def digest(self) -> str:
        """What the processor makes of a fixed picture and text, as SHA-256: 64 hexadecimal digits.

        Of all tensors: names, shapes, integers, and floats in steps of 1/16. (A grey level is about 1/60 of a
        normalised value; steps keep the last bits of another machine's arithmetic out.)
        """
        made = self.batch([self.placeholder], ["A picture of 2 dogs."], [_fixed_picture()])
        digest = hashlib.sha256()
        for name, part in sorted(made.items()):
            values = part.numpy()
            whole = np.rint(values * 16) if values.dtype.kind == "f" else values
            digest.update(f"{name} {values.shape}\n".encode())
            digest.update(whole.astype("<i8").tobytes())
        return digest.hexdigest()

    def expanded(self, prompt: str, image: Image.Image) -> tuple[Expanded, Inputs]:
        """The prompt as the processor writes it for this picture, and the batch of one sample that it makes.

        Raises:
            ModelError: if the tokenizer alone makes other tokens of that text.
        """
        texts: list[tuple[Any, dict[str, Any]]] = []
        whole = copy.copy(self.whole)
        whole.tokenizer = _recording(self.tokenizer, lambda text, named: texts.append((text, named)))
        made = self._batch(whole, [prompt], [_MARK], [image])
        ids = made["input_ids"][0].tolist()
        for text, named in reversed(texts):
            found = self._found(text, named)
            if found is not None and self.spelled(found, _MARK).ids == ids:
                return found, made
        raise ModelError(
            f"{self.name}: its processor does not tokenise prompt and description as one text, or changes them: "
            f"{texts[-1][0]!r}."
            if texts
            else f"{self.name}: its processor does not use its tokenizer.",
            "Use the processor's files of the model that the weights come from.",
        )

    @staticmethod
    def _found(text: Any, named: dict[str, Any]) -> Expanded | None:
        """What a recorded call of the tokenizer was given around the mark; None if it was another text."""
        own, pair = (one[0] if isinstance(one, list) and one else one for one in (text, named.get("text_pair")))
        marked = own if pair is None else pair
        if not isinstance(own, str) or not isinstance(marked, str) or marked.count(_MARK) != 1:
            return None
        before, _, after = marked.partition(_MARK)
        options = tuple((key, value) for key, value in named.items() if key not in _OF_A_BATCH)
        return Expanded(None if pair is None else own, before, after, options)

    def spelled(self, expanded: Expanded, words: str) -> Spelled:
        """The tokens of a prompt with a description: ``words``, not empty, without white space around it."""
        own = f"{expanded.before}{words}{expanded.after}"
        start, stop = len(expanded.before), len(expanded.before) + len(words)
        pair = {} if expanded.first is None else {"text_pair": own}
        first = own if expanded.first is None else expanded.first
        made = self.tokenizer(first, **pair, **dict(expanded.options), return_offsets_mapping=True)
        ids: list[int] = made["input_ids"]
        spans: list[tuple[int, int]] = made["offset_mapping"]
        part = int(expanded.first is not None)
        inside = [
            place
            for place, (begin, end) in enumerate(spans)
            if end > start and begin < stop and made.encodings[0].sequence_ids[place] == part
        ]
        begins = [spans[place][0] for place in inside[1:]] + [stop]
        ends = [_with_marks(own, spans[place][1], begin) for place, begin in zip(inside, begins, strict=True)]
        return Spelled(ids, inside, [min(end, stop) - start for end in ends])


def _with_marks(text: str, end: int, begin: int) -> int:
    """Where a token ends, with the combining marks up to the next token's ``begin``.

    A tokenizer that composes characters gives the place of the letter alone.
    """
    while end < begin and unicodedata.combining(text[end]):
        end += 1
    return end


def _check_taken(name: str, processor: Any, image_options: Options, chat_options: Options) -> None:
    """Check that the options are known. Otherwise a misspelt one would be passed over in silence.

    Raises:
        ModelError: if one is not.
    """
    taken = getattr(getattr(processor.image_processor, "valid_kwargs", None), "__annotations__", image_options)
    unknown = next((key for key in image_options if key not in taken), None)
    if unknown is not None:
        raise ModelError(
            f"{name}: its processor's part for pictures takes no {unknown}, which --image-option names.",
            f"It takes {', '.join(sorted(taken))}.",
        )
    template = str(getattr(processor, "chat_template", None))
    unknown = next((key for key in chat_options if not re.search(rf"\b{re.escape(key)}\b", template)), None)
    if unknown is not None:
        raise ModelError(
            f"{name}: its chat template does not read {unknown}, which --chat-option names.",
            "Look into the template, or write the prompt with --prompt-template.",
        )


def _fixed_picture() -> Image.Image:
    """160 x 120 pixels with slopes, edges and fine detail in all colours, by whole numbers alone."""
    y, x = np.mgrid[:120, :160]
    channels = [(x * 255) // 159, ((x * y) // 7) % 256, np.where((x // 20 + y // 15) % 2 == 0, 230, 25)]
    return Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))


def _locked(tokenizer: Any) -> Any:
    """A copy of a tokenizer whose calls wait for each other.

    A call sets the padding of the tokenizer's Rust part, which fails, or pads otherwise, if a second one runs.
    """
    lock = threading.RLock()
    kind: Any = type(tokenizer)

    def call(self: Any, *args: Any, **named: Any) -> Any:
        with lock:
            return kind.__call__(self, *args, **named)

    return _of_class(tokenizer, {"__call__": call})


def _recording(tokenizer: Any, record: Callable[[Any, dict[str, Any]], object]) -> Any:
    """A copy of a tokenizer that records what its calls are given."""
    kind: Any = type(tokenizer)

    def call(self: Any, text: Any = None, *args: Any, **named: Any) -> Any:
        record(text, named)
        return kind.__call__(self, text, *args, **named)

    return _of_class(tokenizer, {"__call__": call})


def _of_class(tokenizer: Any, methods: dict[str, Any]) -> Any:
    """A copy that shares all parts, of a class of its own: processors check what class a tokenizer has."""
    kind: Any = type(tokenizer)
    copied = copy.copy(tokenizer)
    copied.__class__ = type(kind.__name__, (kind,), methods)
    return copied
