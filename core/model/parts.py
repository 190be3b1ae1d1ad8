"""The configuration and the processor of a vision-language model: whether there are such, and what they lack.

No family is listed: what transformers loads as an image-text-to-text model is tried.
"""

from importlib.util import find_spec
from typing import Any

import torch
import transformers
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModel,
    AutoProcessor,
    PreTrainedConfig,
)

from vlmscope.core.base.demo import model_source
from vlmscope.core.base.errors import ModelError
from vlmscope.core.base.text import plain

Options = dict[str, Any]  #: ``revision`` and ``trust_remote_code``, as transformers' loaders take them

AUTO_CLASS = "AutoModelForImageTextToText"
_HINT_KIND = (
    "Models that transformers loads as image-text-to-text can be scanned, e.g. llava-hf/llava-1.5-7b-hf or "
    "Qwen/Qwen3-VL-8B-Instruct."
)
#: Types of repositories in a format of their authors, with a conversion that transformers loads.
_CONVERTED = {
    "internvl_chat": "OpenGVLab/InternVL3-8B-hf",
    "llava_llama": "llava-hf/llava-1.5-7b-hf",
    "llava_mistral": "llava-hf/llava-v1.6-mistral-7b-hf",
    "llava_qwen": "llava-hf/llava-onevision-qwen2-7b-ov-hf",
}
#: Packages that some processors need, with what else names them in an error.
_PACKAGES = {"torchvision": "video processor", "num2words": "num2words"}
_CLASS_TOKENS = {"class_embedding", "cls_token"}


def read_config(name: str, options: Options) -> PreTrainedConfig:
    """The configuration of ``name``, of a type that transformers, or the repository's trusted code, loads.

    Raises:
        ModelError: if it is of another type. Whatever transformers raises for files that cannot be read.
    """
    source = model_source(name)
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(source, **options)
    except ValueError as error:  # among others, for a type that this version of transformers does not have
        kind = PreTrainedConfig.get_config_dict(source, revision=options.get("revision"))[0].get("model_type")
        if kind in _CONVERTED:
            raise _other_type(name, kind) from None
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{name} is of type {plain(str(kind), 60)!r}, which needs code from its repository: it runs only "
                "where you trust it.",
                "Read the repository's code, then give --trust-remote-code; or use a model that transformers has.",
            ) from error
        raise
    own_code = options.get("trust_remote_code") and AUTO_CLASS in (getattr(config, "auto_map", None) or {})
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and not own_code:
        raise _other_type(name, config.model_type)
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{name} is not a decoder-only language model: it has an encoder for text.", _HINT_KIND)
    return config


def _other_type(name: str, kind: str) -> ModelError:
    converted = _CONVERTED.get(kind)
    return ModelError(
        f"{name} is of type {plain(str(kind), 60)!r}, which transformers {transformers.__version__} does not load as a "
        "vision-language model.",
        _HINT_KIND if converted is None else f"Use its conversion for transformers, a -hf repository: {converted}.",
    )


def read_processor(name: str, config: PreTrainedConfig, options: Options) -> Any:
    """The processor of ``name``, with what follows from the configuration filled in.

    Raises:
        ModelError: if it has no part for pictures or text, or needs a package that is not installed. Whatever
            transformers raises for files that cannot be read.
    """
    auto: Any = AutoProcessor  # untyped in transformers
    try:
        processor = auto.from_pretrained(model_source(name), **options)
    except (ImportError, ValueError, OSError) as error:
        package = missing_package(error)
        if package is None:
            raise
        raise ModelError(
            f"{name}: its processor needs {package}, which is not installed.", how_to_get(package)
        ) from error
    if not all(getattr(processor, part, None) for part in ("image_processor", "tokenizer")):
        raise ModelError(
            f"{name} has no processor for pictures and text.",
            "It needs preprocessor_config.json and the tokenizer's files of the model that the weights come from.",
        )
    complete_processor(processor, config)
    return processor


def missing_package(error: Exception) -> str | None:
    """The package whose absence an error of transformers is about; None if it is about something else."""
    words = str(error).lower()
    for package, named in _PACKAGES.items():
        if find_spec(package) is None and (package in words or named in words):
            return package
    return None


def how_to_get(package: str) -> str:
    """How to install a package that some processors need."""
    if package != "torchvision":
        return f"pip install {package}, or vlmscope[vlms] for all that processors need."
    version, _, build = torch.__version__.partition("+")
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    return f"pip install torchvision{index}, in the version that belongs to torch {version}; or vlmscope[vlms]."


def complete_processor(processor: Any, config: Any) -> None:
    """Give a processor the values that follow from the model: files made before transformers 4.46 lack them.

    A processor without them writes too few image tokens, or divides by None. The number of tokens beside the patches is
    always that of the tower: files have it wrong, 1 for a SigLIP tower without a class token, too.
    """
    vision = getattr(config, "vision_config", None)
    for name, source in (("patch_size", vision), ("vision_feature_select_strategy", config)):
        if getattr(processor, name, "") is None and getattr(source, name, None) is not None:
            setattr(processor, name, getattr(source, name))
    if hasattr(processor, "num_additional_image_tokens"):
        processor.num_additional_image_tokens = _class_tokens(vision)


def _class_tokens(vision: Any) -> int:
    """How many tokens a vision tower puts before those of the patches: 1 for a class token, else 0."""
    auto: Any = AutoModel
    with torch.device("meta"):  # shapes alone
        tower = auto.from_config(vision)
    return int(any(name.rsplit(".", 1)[-1] in _CLASS_TOKENS for name, _ in tower.named_parameters()))
