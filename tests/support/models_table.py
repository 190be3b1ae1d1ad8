"""The table of docs/models.md: every architecture that transformers loads as image-text-to-text, and what a scan makes
of it. ``python -m tests.support.models_table`` writes it again.

Models are made from their default configurations on the device "meta", without weights. The FFN's formula is checked
with numbers on small projections put into the block of the first layer. Where the visual tokens look is measured
only with a processor: for the families of the tests.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.auto import image_processing_auto, processing_auto
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from tests.support.families import FAMILIES, REFUSED, SCANNED, make_tokenizer
from vlmscope.core.base.errors import ModelError
from vlmscope.core.model.ffn import Ffn, FfnKind, check_formula, decoder_layers, named_ffns

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
START = "<!-- Made by `python -m tests.support.models_table` with transformers {version}. -->"
END = "<!-- The end of the made table. -->"
HEAD = ("| `model_type` | FFN | processor needs | a scan |", "| --- | --- | --- | --- |")
_x: Any = transformers  # untyped in large parts
SMALL = 16  #: width of the residual stream for the check


def architectures() -> tuple[str, ...]:
    """The types of configuration that the installed transformers loads as image-text-to-text."""
    return tuple(sorted(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES))


def lines() -> Iterator[str]:
    """The table's rows."""
    _x.logging.set_verbosity_error()
    yield from HEAD
    for kind in architectures():
        ffn, result = _outcome(kind)
        yield f"| `{kind}` | {ffn} | {_packages(kind)} | {result} |"


def _outcome(kind: str) -> tuple[str, str]:
    """The form of the FFN, and what a scan makes of the architecture."""
    try:
        config = _config(kind)
        if getattr(config, "is_encoder_decoder", False):
            return "", "refused: an encoder-decoder"
        auto: Any = AutoModelForImageTextToText
        with torch.device("meta"):
            model = auto.from_config(config)
    except ImportError as error:
        package = re.search(r"requires the (\S+) library|No module named '(\w+)'", str(error))
        return "?", f"not tried: needs {(package[1] or package[2]).lower() if package else 'another package'}"
    except Exception:  # noqa: BLE001 - the defaults of a configuration fail in many ways, none of them documented
        return "?", "not tried: its default configuration makes no model"
    try:
        first = named_ffns(decoder_layers(model, kind), kind)[0]
        check_formula(_shrunk(first), 0, kind, SMALL)
    except ModelError as error:
        return "", f"refused: {_reason(error.message, kind)}"
    form = str(first.kind)
    if kind in SCANNED:
        return form, "**works**, in the tests"
    if kind in REFUSED:
        return form, f"refused: {_plain(str(FAMILIES[kind].refused))}"
    return form, "its FFN fits; not tried"


def _config(kind: str) -> Any:
    if kind in FAMILIES:
        family = FAMILIES[kind]
        return family.config(make_tokenizer(family.tokens).convert_tokens_to_ids)
    return AutoConfig.for_model(kind)


def _reason(message: str, kind: str) -> str:
    words = message.removeprefix(f"{kind}: ").removesuffix(".")
    for long, short in (
        (r"its layer \d+ is a mixture of experts.*", "mixture of experts"),
        (r"no decoder layers are found in its (\w+)", r"no decoder layers in its \1"),
        (r"its layer \d+ \((\w+)\) has no FFN of a known form", r"no FFN of a known form in its \1"),
    ):
        words = re.sub(long, short, words)
    return words


def _plain(pattern: str) -> str:
    return pattern.replace("\\", "")


def _packages(kind: str) -> str:
    """What the processor needs beside Pillow: its class, and the classes for pictures, by transformers' own tables."""
    names, images = (
        vars(module)[f"{part}_MAPPING_NAMES"]
        for module, part in ((processing_auto, "PROCESSOR"), (image_processing_auto, "IMAGE_PROCESSOR"))
    )
    if not names.get(kind):
        return "?"
    processor = getattr(_x, names[kind])
    needs = []
    if (
        type(processor).__name__ == "DummyObject"
        or "torchvision" in getattr(processor, "__backends", ())
        or (hasattr(processor, "get_attributes") and "video_processor" in processor.get_attributes())
        or "pil" not in images.get(kind, {"pil": None})
    ):
        needs.append("torchvision")
    if kind == "smolvlm":
        needs.append("num2words")
    return ", ".join(needs)


def _shrunk(ffn: Ffn) -> Ffn:
    """The block with small random projections in place of its own."""
    block = copy.deepcopy(ffn.block)
    width = 2 * SMALL
    small: dict[str, nn.Module] = {}
    for name, child in ffn.block.named_children():
        if child is ffn.down:
            small[name] = nn.Linear(width, SMALL)
        elif child is ffn.gate:
            small[name] = nn.Linear(SMALL, 2 * width if ffn.kind is FfnKind.FUSED else width)
        elif child is ffn.up:
            small[name] = nn.Linear(SMALL, width)
        elif child is ffn.activation:
            small[name] = copy.deepcopy(child).to_empty(device="cpu")
            for parameter in [*small[name].parameters(), *small[name].buffers()]:
                nn.init.constant_(parameter, 0.5)
    for name, child in small.items():
        setattr(block, name, child)
    part = {id(old): small[name] for name, old in ffn.block.named_children() if name in small}
    up = None if ffn.up is None else part[id(ffn.up)]
    activation = None if ffn.activation is None else part[id(ffn.activation)]
    return replace(
        ffn, width=width, block=block, gate=part[id(ffn.gate)], up=up, down=part[id(ffn.down)], activation=activation
    )


def made() -> tuple[str, list[str]]:
    """The version of transformers that the page's table was made with, and its rows."""
    found = re.search(rf"{START.format(version='(.*)')}\n\n(.*)\n\n{END}", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, f"{PAGE} has no place for the table"
    return found[1], found[2].splitlines()


def write() -> None:
    """Make the page's table again."""
    version, rows = made()
    old = [START.format(version=version), "", *rows]
    new = [START.format(version=transformers.__version__), "", *lines()]
    PAGE.write_text(PAGE.read_text(encoding="utf-8").replace("\n".join(old), "\n".join(new)), encoding="utf-8")


if __name__ == "__main__":
    write()
