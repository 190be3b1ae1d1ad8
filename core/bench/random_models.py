"""Models of a known architecture with random weights, and data made up for them: nothing is read or downloaded.

The published tokenizer needs its files, so a tokenizer of made-up words takes its place, with the same size and the
same ids of special tokens. Each word is one token, and so is an unknown word.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaProcessor, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from vlmscope.core.bench.architectures import SIZES, Architecture, Sizes
from vlmscope.core.data.listings import ListedImage
from vlmscope.core.data.samples import Data
from vlmscope.core.model.load import random_vlm
from vlmscope.core.model.vlm import Vlm

TEMPLATE = (
    "{% for m in messages %}{{ m['role'].upper() }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
UNKNOWN, BEGIN, END, PAD, IMAGE = "<unk>", "<s>", "</s>", "<pad>", "<image>"
WORDS = 2000  #: different words in made-up descriptions; their frequencies follow Zipf's law
LENGTH, SPREAD, SHORTEST, LONGEST = 100, 25, 20, 200  #: words of a description: mean, standard deviation, bounds
PHOTO = (640, 480)  #: pixels of a made-up picture, as most of COCO's


def made_vlm(name: Architecture, seed: int, *, device: str = "auto", dtype: str = "auto") -> Vlm:
    """A model of that architecture with random weights, drawn on the device: the host holds no copy.

    Device and dtype as in ``ModelSpec``.

    Raises:
        ModelError: if it does not fit into the device's memory, or there is no such device.
    """
    sizes = SIZES[name]
    title = f"{name}, random weights (seed {seed})"
    return random_vlm(model_config(sizes), make_processor(sizes), title, seed, device=device, dtype=dtype)


def model_config(sizes: Sizes) -> LlavaConfig:
    """The configuration, as in the model's ``config.json``."""
    vision: Any = CLIPVisionConfig  # untyped arguments; so are those of the classes in ``make_processor``
    text: Any = LlamaConfig
    return LlavaConfig(
        vision_config=vision(**sizes.vision),
        text_config=text(**sizes.text, rms_norm_eps=1e-5),
        image_token_index=sizes.image_token,
        image_seq_length=(sizes.vision["image_size"] // sizes.vision["patch_size"]) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )


def make_processor(sizes: Sizes) -> Any:
    """A processor made in memory, with LLaVA's prompt and CLIP's way to prepare an image."""
    transformers_logging.set_verbosity(logging.ERROR)  # as in core/model/load.py: its hints are not for our callers,
    from transformers import CLIPImageProcessor  # and one (no torchvision) comes with this import

    side = sizes.vision["image_size"]
    special = {UNKNOWN: 0, BEGIN: 1, END: 2, IMAGE: sizes.image_token, PAD: sizes.text["pad_token_id"]}
    ids = sorted(set(range(sizes.text["vocab_size"])) - set(special.values()))
    # The words of the prompt come first, so that it has about as many tokens as with the published tokenizer.
    prompt = ["USER", "ASSISTANT", ":", "?", "Could", "you", "describe", "the", "image"]
    spelled = [*prompt, *(made_word(i) for i in range(len(ids) - len(prompt)))]
    words = special | dict(zip(spelled, ids, strict=True))
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 1)])
    fast: Any = PreTrainedTokenizerFast
    make_images: Any = CLIPImageProcessor
    make: Any = LlavaProcessor
    return make(
        image_processor=make_images(size={"shortest_edge": side}, crop_size={"height": side, "width": side}),
        tokenizer=fast(
            tokenizer_object=tokenizer,
            unk_token=UNKNOWN,
            bos_token=BEGIN,
            eos_token=END,
            pad_token=PAD,
            extra_special_tokens={"image_token": IMAGE},
        ),
        patch_size=sizes.vision["patch_size"],
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )


def made_word(index: int) -> str:
    """The word of this number: three syllables or more, different for each number, letters only."""
    syllables = [consonant + vowel for consonant in "bdfghklmnprstvwz" for vowel in "aeiou"]
    spelled = ""
    for _ in range(3):
        index, syllable = divmod(index, len(syllables))
        spelled += syllables[syllable]
    return spelled + "n" * index


def made_description(rng: np.random.Generator, name: Architecture) -> str:
    """About 100 words of the vocabulary of ``name``."""
    known = min(WORDS, SIZES[name].image_token // 2)
    share = 1 / np.arange(1, known + 1)
    length = int(np.clip(round(rng.normal(LENGTH, SPREAD)), SHORTEST, LONGEST))
    return " ".join(made_word(i) for i in rng.choice(known, length, p=share / share.sum()))


def made_data(name: Architecture, folder: Path, samples: int, seed: int) -> Data:
    """Write ``samples`` pictures of noise into ``folder``, each with a description of about 100 tokens.

    The noise is coarse, so that a JPEG of it is about as large, and as slow to decode, as one of a photo.
    """
    rng = np.random.default_rng(seed)
    sources = []
    for index in range(samples):
        noise = rng.integers(0, 256, (PHOTO[1] // 8, PHOTO[0] // 8, 3), dtype=np.uint8)
        file = f"{index:06}.jpg"
        Image.fromarray(noise).resize(PHOTO, Image.Resampling.BICUBIC).save(folder / file, quality=90)
        sources.append(ListedImage(file, made_description(rng, name)))
    return Data(f"made up (seed {seed})", folder, tuple(sources))


def described(data: Data, name: Architecture, seed: int) -> Data:
    """``data`` with made-up descriptions where it has none: random weights would write noise for minutes."""
    rng = np.random.default_rng(seed)
    missing = [i for i, source in enumerate(data.sources) if source.description is None]
    return data.described({i: made_description(rng, name) for i in missing})
