"""Checkpoints in the shapes that people have: the whole ones load, the others end with a message."""

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlavaConfig, SiglipVisionConfig

from tests.support import family_parts, torchvision_stand_in
from tests.support.families import FAMILIES, make_family
from tests.support.family_squares import llava_config
from tests.support.tiny import make_model
from vlmscope.core.base.errors import ModelError
from vlmscope.core.model import load as loading
from vlmscope.core.model import parts
from vlmscope.core.model.engine import load_vlm
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.store.weights import weights_fingerprint
from vlmscope.core.worker.messages import ModelSpec

Weights = dict[str, Tensor]
LAYER = "model.language_model.layers.1.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("whole") / "model")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def edit_weights(folder: Path, change: Callable[[Weights], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def edit_json(path: Path, **values: Any) -> None:
    """Set values; None removes one."""
    found = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))


def key_of(folder: Path, end: str) -> str:
    return next(key for key in load_file(folder / "model.safetensors") if key.endswith(end))


def refused(folder: Path, match: str) -> ModelError:
    with pytest.raises(ModelError, match=match) as caught:
        load(ModelSpec(str(folder), device="cpu"))
    assert caught.value.hint
    return caught.value


def test_missing_weights_are_named_not_drawn(folder: Path) -> None:
    down, up = key_of(folder, "layers.1.mlp.down_proj.weight"), key_of(folder, "layers.1.mlp.up_proj.weight")
    edit_weights(folder, lambda weights: (weights.pop(down), weights.pop(up)))
    message = refused(folder, "weights missing: 2").message
    assert LAYER in message
    assert LAYER.replace("down_proj", "up_proj") in message


def test_one_missing_weight_of_a_shard_is_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    gone = next(key for key in weights if key.endswith("multi_modal_projector.linear_1.bias"))
    index: dict[str, str] = {}
    for number, keys in enumerate((sorted(weights)[::2], sorted(weights)[1::2])):
        file = f"model-{number + 1:05}-of-00002.safetensors"
        save_file({key: weights[key] for key in keys if key != gone}, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(keys, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    refused(folder, r"weights missing: 1 \(model.multi_modal_projector.linear_1.bias\)")
    (folder / "model-00002-of-00002.safetensors").unlink()
    refused(folder, "cannot be loaded")


def test_the_keys_of_another_architecture_are_refused(folder: Path) -> None:
    """As liuhaotian/llava-v1.5: the decoder's names differ and there is no vision tower."""

    def rename(weights: Weights) -> None:
        for key in list(weights):
            value = weights.pop(key)
            if "vision_tower" not in key:
                weights[
                    key.replace("language_model.", "").replace("multi_modal_projector.linear_1", "mm_projector.0")
                ] = value

    edit_weights(folder, rename)
    error = refused(folder, "weights missing: .*; weights of another architecture: ")
    assert "llava-hf" in error.hint


def test_weights_that_no_layer_takes_are_refused(folder: Path) -> None:
    """A bias that the configuration does not have: without it the activations would be others."""
    key = key_of(folder, "layers.0.self_attn.q_proj.weight").replace("weight", "bias")
    edit_weights(folder, lambda weights: weights.update({key: torch.ones(32)}))
    refused(folder, r"weights of another architecture: 1 \(.*q_proj.bias\)")


def test_stored_buffers_that_no_pass_uses_are_fine(folder: Path) -> None:
    start = key_of(folder, "layers.0.self_attn.q_proj.weight").removesuffix("q_proj.weight")
    edit_weights(folder, lambda weights: weights.update({f"{start}rotary_emb.inv_freq": torch.ones(8)}))
    load(ModelSpec(str(folder), device="cpu"))


def test_weights_of_another_size_are_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit_json(folder / "config.json", text_config=config["text_config"] | {"intermediate_size": 40})
    assert "(32, 48), not (32, 40)" in refused(folder, "weights of another shape: 9").message


def test_a_tied_head_is_not_missing(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "qwen2")
    config = json.loads((folder / "config.json").read_text())
    edit_json(
        folder / "config.json",
        text_config=config["text_config"] | {"tie_word_embeddings": True},
        tie_word_embeddings=True,
    )
    head = key_of(folder, "lm_head.weight")
    edit_weights(folder, lambda weights: weights.pop(head))
    model = load(ModelSpec(str(folder), device="cpu")).model
    assert torch.equal(model.lm_head.weight, model.model.language_model.embed_tokens.weight)


@pytest.mark.parametrize("lacks", [("patch_size", "vision_feature_select_strategy"), ("num_additional_image_tokens",)])
def test_processors_made_before_transformers_446_work(whole: Path, folder: Path, lacks: tuple[str, ...]) -> None:
    edit_json(folder / "processor_config.json", **dict.fromkeys(lacks))
    old, new = (load(ModelSpec(str(path), device="cpu")) for path in (folder, whole))
    prompt = old.prompt("What?")
    picture = Image.new("RGB", (40, 30), (200, 100, 50))
    assert old.describe([picture], prompt) == new.describe([picture], prompt)
    made = old.processor(text=f"{prompt} a train", images=picture, return_tensors="pt")["input_ids"][0].tolist()
    assert made == old.encode(prompt, "a train", picture.size).input_ids.tolist()


def test_a_preprocessor_of_another_size_is_refused(folder: Path) -> None:
    path = folder / "processor_config.json"
    images = json.loads(path.read_text())["image_processor"]
    edit_json(path, image_processor=images | {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}})
    error = refused(folder, "makes pictures of 32 x 32 pixels, its vision tower takes 24 x 24")
    assert "preprocessor" in error.hint
    edit_json(path, image_processor=images | {"do_center_crop": False})  # the sides keep their ratio
    refused(folder, "makes pictures of 24 x 48 pixels")


@pytest.mark.parametrize(
    ("quantised", "reason"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False}, "gptq"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq"),
        ({"quant_method": "no such method"}, "qzeros"),  # transformers skips it with a warning
        ({"bits": 4}, "quantised"),
    ],
)
def test_a_quantised_checkpoint_is_a_message(folder: Path, quantised: dict[str, Any], reason: str) -> None:
    edit_json(folder / "config.json", quantization_config=quantised)
    edit_weights(folder, lambda weights: weights.update({"model.language_model.layers.0.mlp.qzeros": torch.ones(2)}))
    refused(folder, reason)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_checkpoint_is_loaded_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int, dtype: torch.dtype
) -> None:
    """What passes the FFN's check loads, in the dtype of the checkpoint's other weights."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    if bits == 8 and dtype != torch.float32:
        pytest.skip("int8 matrices of bitsandbytes give float32 on the CPU")
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    wide = {"hidden_size": 64, "intermediate_size": 128}  # its kernels take multiples of 32
    monkeypatch.setattr(family_parts, "VISION", family_parts.VISION | wide)
    monkeypatch.setitem(FAMILIES, "wide", replace(FAMILIES["llava"], config=llava_config("LlamaConfig", **wide)))
    whole = make_family(tmp_path / "whole", "wide")
    auto: Any = AutoModelForImageTextToText
    packed: Any = BitsAndBytesConfig
    chosen = {"load_in_8bit": True} if bits == 8 else {"load_in_4bit": True, "bnb_4bit_compute_dtype": dtype}
    small = auto.from_pretrained(whole, quantization_config=packed(**chosen), device_map={"": "cpu"}, dtype=dtype)
    folder = shutil.copytree(whole, tmp_path / "small")
    small.save_pretrained(folder)
    vlm, before = load(ModelSpec(str(folder), device="cpu")), load(ModelSpec(str(whole), device="cpu"))
    assert (vlm.layers, vlm.neurons, vlm.model.dtype) == (3, 128, dtype)
    assert vlm.sees((160, 120)) == before.sees((160, 120))
    column, expected = (one.ffns[1].down_column(5).float() for one in (vlm, before))
    assert float((column - expected).abs().max()) < 0.2 * float(expected.abs().max())


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"vision_config": {"model_type": "clip_vision_model", "image_size": 24, "patch_size": 0}}),
        ("config.json", {"text_config": {"model_type": "no such decoder"}}),
        ("config.json", {"text_config": [1]}),
        ("config.json", {"vision_feature_layer": 7}),
        ("config.json", {"image_token_index": 9, "image_token_id": 9}),
        ("tokenizer.json", {"model": {"type": "BPE"}}),
        ("processor_config.json", {"image_processor": {"image_processor_type": "CLIPImageProcessor", "size": "large"}}),
    ],
)
def test_whatever_fails_is_a_message(folder: Path, file: str, values: dict[str, Any]) -> None:
    edit_json(folder / file, **values)
    refused(folder, str(folder.name))


@pytest.mark.parametrize(
    "error",
    [ImportError("no kernel"), TypeError("old"), RuntimeError("mismatch"), KeyError("k"), AssertionError(), EOFError()],
)
def test_each_type_of_error_is_a_message(folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Vlm, "forward", fail)  # the trial pass
    caught = refused(folder, "cannot be loaded: ")
    assert caught.__cause__ is error
    assert (str(error) or type(error).__name__) in caught.message


def test_a_trial_pass_that_takes_all_memory_is_a_message(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Vlm, "forward", fail)
    refused(folder, "does not fit into the memory of cpu")


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()
    refused(folder, folder.name)


@pytest.mark.parametrize(
    ("kind", "words", "hint"),
    [
        (
            "llama",
            "is of type 'llama', which transformers .* does not load as a vision-language model",
            "llava-1.5-7b-hf",
        ),
        ("bert", "is of type 'bert', which", "Qwen3-VL"),
        ("internvl_chat", "is of type 'internvl_chat', which", "a -hf repository: OpenGVLab/InternVL3-8B-hf"),
        ("llava_llama", "is of type 'llava_llama', which", "llava-hf/llava-1.5-7b-hf"),
        ("no_such_type", "cannot be loaded: .*no_such_type", "config.json"),
    ],
)
def test_other_types_are_refused_by_name(folder: Path, kind: str, words: str, hint: str) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    assert hint in refused(folder, words).hint


def test_code_of_a_repository_runs_only_when_it_is_trusted(folder: Path) -> None:
    (folder / "own.py").write_text("raise SystemExit('code ran')\n")
    own = {"AutoConfig": "own.Config", "AutoModelForImageTextToText": "own.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "theirs", "auto_map": own}))
    assert "--trust-remote-code" in refused(folder, "'theirs', which needs code from its repository").hint
    with pytest.raises(SystemExit, match="code ran"):
        load(ModelSpec(str(folder), device="cpu", trust_remote_code=True))


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_processor_that_needs_torchvision_is_named(
    family_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = family_folder("qwen2_5_vl")
    torchvision_stand_in.remove(monkeypatch)
    error = refused(folder, "qwen2_5_vl: its processor needs torchvision, which is not installed")
    assert error.hint.startswith("pip install torchvision")
    assert torch.__version__.partition("+")[0] in error.hint


def test_what_a_processor_needs_is_told_from_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "find_spec", lambda _: None)
    for words, package in (
        ("Package `num2words` is required to run SmolVLM processor.", "num2words"),
        ("\nPixtralProcessor requires the Torchvision library but it was not found", "torchvision"),
        ("Can't load video processor for 'it'.", "torchvision"),
        ("Can't load image processor for 'it'.", None),
    ):
        assert parts.missing_package(OSError(words)) == package
    assert "vlmscope[vlms]" in parts.how_to_get("num2words")
    monkeypatch.setattr(parts, "find_spec", lambda _: "found")
    assert parts.missing_package(ImportError("needs torchvision")) is None


def test_the_class_token_is_counted_in_the_tower(whole: Path) -> None:
    """As for a file of old that lacks the number; a SigLIP tower has no such token."""
    processor: Any = SimpleNamespace(
        num_additional_image_tokens=0, patch_size=None, vision_feature_select_strategy=None
    )
    config: Any = LlavaConfig.from_pretrained(whole)
    parts.complete_processor(processor, config)
    assert vars(processor) == {
        "num_additional_image_tokens": 1,
        "patch_size": 8,
        "vision_feature_select_strategy": "default",
    }
    config.vision_config = SiglipVisionConfig(hidden_size=12, num_hidden_layers=1, patch_size=4)
    parts.complete_processor(processor, config)
    assert (processor.num_additional_image_tokens, processor.patch_size) == (0, 8)  # a patch size that is stated stays


def test_random_weights_are_tried_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(loading, "try_out", lambda vlm: tried.append(vlm.name))
    load(ModelSpec(str(folder), device="cpu"), seed=1)
    assert tried == [f"{folder}, random weights (seed 1)"]


def test_the_fingerprint_is_of_the_weights_alone(folder: Path, tmp_path: Path) -> None:
    before = weights_fingerprint(str(folder))
    assert before is not None
    moved = shutil.copytree(folder, tmp_path / "moved")  # other times, another place
    os.utime(moved / "model.safetensors", (1, 1))
    (moved / "training_args.bin").write_bytes(b"x")
    assert weights_fingerprint(str(moved)) == before
    key = key_of(folder, "layers.2.mlp.down_proj.weight")

    def nudge(weights: Weights) -> None:
        weights[key][3, 5] += 0.01

    edit_weights(folder, nudge)
    after = weights_fingerprint(str(folder))
    assert after != before
    assert weights_fingerprint("demo") is weights_fingerprint("me/llava") is weights_fingerprint(str(tmp_path)) is None


def test_the_fingerprint_of_a_large_file_is_of_samples(tmp_path: Path) -> None:
    """1 MiB at a time, 64 KiB of it: a changed column of a matrix is noticed, and the file's end."""
    path = tmp_path / "model.safetensors"
    size = (1 << 26) + 5
    with path.open("wb") as file:
        file.truncate(size)
    seen = {weights_fingerprint(str(tmp_path))}
    for start in (0, (1 << 26) - (1 << 20), (1 << 26) + 1):
        with path.open("r+b") as file:
            file.seek(start)
            file.write(b"\x01")
        seen.add(weights_fingerprint(str(tmp_path)))
    assert len(seen) == 4


def test_a_model_that_was_trained_on_is_not_the_scanned_one(folder: Path) -> None:
    scanned = load(ModelSpec(str(folder), device="cpu")).info.weights
    spec = ModelSpec(str(folder), device="cpu", weights=scanned)
    load_vlm(spec, lambda *_: None)
    edit_weights(folder, lambda weights: weights[key_of(folder, "lm_head.weight")].add_(1))
    with pytest.raises(ModelError, match="not the model that was scanned") as caught:
        load_vlm(spec, lambda *_: None)
    assert "another folder" in caught.value.hint
    load_vlm(ModelSpec(str(folder), device="cpu"), lambda *_: None)  # a scan made before has no fingerprint


def test_a_processor_that_makes_other_inputs_than_the_scans_is_refused(folder: Path) -> None:
    spec = ModelSpec(str(folder), device="cpu")
    scanned = load(spec).info.processor
    spec = msgspec.structs.replace(spec, processor=scanned)
    assert load(spec).info.processor == scanned
    path = folder / "processor_config.json"
    images = json.loads(path.read_text())["image_processor"]
    edit_json(path, image_processor=images | {"image_mean": [0.5, 0.5, 0.25]})
    with pytest.raises(ModelError, match="makes other inputs of a picture now than when it was scanned") as caught:
        load(spec)
    assert transformers.__version__ in caught.value.message
    assert "manifest.json" in caught.value.hint
    load(msgspec.structs.replace(spec, processor=None))  # a scan of an earlier version has no digest
    # The scan's own options are part of what it makes.
    edit_json(path, image_processor=images)
    with pytest.raises(ModelError, match="makes other inputs"):
        load(msgspec.structs.replace(spec, image_options=("do_normalize=false",)))
