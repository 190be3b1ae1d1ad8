"""``vlmscope bench scan``: the two-pass baseline against the scan, FLOP counts, the models that are made."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlavaForConditionalGeneration, Qwen2Config

from tests.support.encoding import encoded_sample
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.errors import ModelError, SamplesError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.bench.architectures import SIZES, Architecture
from vlmscope.core.bench.baseline_two_pass import two_pass
from vlmscope.core.bench.flops import forward_flop, sample_flop
from vlmscope.core.bench.gpu_peaks import peak_tflops
from vlmscope.core.bench.peak_memory import PeakMemory
from vlmscope.core.bench.random_models import described, made_data, made_vlm, made_word, make_processor, model_config
from vlmscope.core.bench.scan import ScanFigures, bench_scan
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import Data, read_data
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Hook, Inputs, Vlm
from vlmscope.core.scan.scan import scan
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import QUESTION, ScanOptions
from vlmscope.core.worker.messages import ModelSpec


def silent(what: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    return load(ModelSpec(str(make_model(tmp_path_factory.mktemp("model"))), device="cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return read_data(str(make_images(tmp_path_factory.mktemp("data"), 24)))


@pytest.fixture(scope="module")
def made() -> Vlm:
    return made_vlm(Architecture.TINY, 0, device="cpu")


@pytest.mark.parametrize(
    ("hook", "thresholds", "top_n"),
    [
        (HookPoint.GATE, Thresholds(), 10),  # less than the samples
        (HookPoint.GATE_UP, Thresholds(T_v=1, n_v=2, T_t=5, n_t=1), 40),  # and more
    ],
)
def test_the_usual_way_finds_what_the_scan_finds(
    vlm: Vlm, data: Data, tmp_path: Path, hook: HookPoint, thresholds: Thresholds, top_n: int
) -> None:
    scan(vlm, data, tmp_path / "scan", ScanOptions(hook, top_n, batch=1, thresholds=thresholds), silent)
    store = ScanStore(tmp_path / "scan")
    found = two_pass(vlm, data, vlm.prompt(QUESTION), hook, top_n, thresholds, silent)
    expected = store.stored_labels()
    assert np.array_equal(found.top_sample, store.arrays["top_sample"])
    assert np.array_equal(found.maximum, store.maximum)
    assert np.array_equal(found.labels.votes, expected.votes)
    assert np.array_equal(found.labels.label, expected.label)
    assert np.array_equal(found.labels.high_confidence, expected.high_confidence)
    assert len({*expected.label.ravel().tolist()}) > 1  # the data has several labels


def test_the_usual_way_breaks_ties_and_takes_half_precision_as_the_scan_does(data: Data, tmp_path: Path) -> None:
    """In bfloat16, of samples that come twice, scores are often equal."""
    vlm = load(ModelSpec(str(make_model(tmp_path / "model")), device="cpu", dtype="bfloat16"))
    twice = replace(data, sources=data.sources[:8] * 2)
    scan(vlm, twice, tmp_path / "scan", ScanOptions(top_n=6, batch=1), silent)
    store = ScanStore(tmp_path / "scan")
    found = two_pass(vlm, twice, vlm.prompt(QUESTION), HookPoint.GATE, 6, Thresholds(), silent)
    assert np.array_equal(found.top_sample, store.arrays["top_sample"])
    assert np.array_equal(found.labels.votes, store.stored_labels().votes)


def figures(vlm: Vlm, data: Data, against: bool = False) -> ScanFigures:
    return bench_scan(vlm, data, ScanOptions(batch=5), 2, silent, against_two_pass=against)


def test_figures_on_the_cpu(vlm: Vlm, data: Data) -> None:
    shown: list[tuple[str, int, int]] = []
    few = replace(data, sources=data.sources[:7])
    found = bench_scan(vlm, few, ScanOptions(batch=5), 2, lambda *step: shown.append(step), against_two_pass=True)
    assert (found.samples, found.batch, found.repeats, found.layers, found.neurons) == (7, 5, 2, 3, 144)
    assert (found.device, found.dtype) == ("cpu", "float32")
    assert found.samples_per_s == pytest.approx(7 / found.scan_s)
    lengths = [len(vlm.encode(vlm.prompt(QUESTION), s.description or "", (40, 30)).input_ids) for s in few.sources]
    assert found.tokens_per_sample == pytest.approx(np.mean(lengths))
    assert found.flop_per_sample == round(np.mean([forward_flop(vlm.model.config, n) for n in lengths]))
    assert 50 < found.peak_memory_mib < 20_000
    assert "resident" in found.peak_memory_of
    assert found.peak_tflops is found.forward_share_of_peak is found.scan_share_of_peak is None
    assert found.two_pass_s is not None and found.two_pass_s > 0
    assert found.times_faster is not None and found.times_faster > 0
    assert found.same_labels is not None and found.same_labels > 0.95
    assert {what for what, _, _ in shown} == {"measuring"}
    done = [at for _, at, _ in shown]
    assert done == sorted(done)
    assert shown[-1][1] == shown[-1][2] == 7 * (1 + 2 * 5)
    assert found.pass_s > 0 and found.pass_ratio > 0


def test_without_being_asked_for_the_usual_way_is_not_run(
    vlm: Vlm, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("vlmscope.core.bench.scan.two_pass")
    found = figures(vlm, replace(data, sources=data.sources[:3]))
    assert found.two_pass_s is found.times_faster is found.same_labels is None


def test_shares_of_a_known_chip_are_work_done_in_time(vlm: Vlm, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmscope.core.bench.scan.peak_tflops", lambda device, dtype: 0.5)
    found = figures(vlm, replace(data, sources=data.sources[:3]))
    assert found.flop_per_sample is not None
    work = found.flop_per_sample * 3 / 0.5e12
    assert found.forward_share_of_peak == pytest.approx(work / found.forward_s, rel=1e-6)
    assert found.scan_share_of_peak == pytest.approx(work / found.scan_s, rel=1e-6)


@pytest.mark.parametrize("bad", ["empty description", "no picture"])
def test_data_that_cannot_be_scanned_whole_is_refused(vlm: Vlm, data: Data, bad: str) -> None:
    sources = list(data.sources[:4])
    empty = bad.startswith("empty")
    sources[2] = replace(sources[2], description=" ") if empty else replace(sources[2], image="gone.png")
    expected = f"1 of the 4 samples of .* cannot be scanned, the first, {sources[2].image}: "
    with pytest.raises(SamplesError, match=expected):
        figures(vlm, replace(data, sources=tuple(sources)))


def test_the_forward_passes_run_the_scans_own_batches(vlm: Vlm, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Vlm.forward
    seen: list[tuple[bool, tuple[int, ...]]] = []

    def watched(self: Vlm, inputs: Inputs, hooks: dict[int, Hook], hook: HookPoint) -> None:
        seen.append((bool(hooks), tuple(inputs["input_ids"].shape)))
        plain(self, inputs, hooks, hook)

    monkeypatch.setattr(Vlm, "forward", watched)
    found = bench_scan(vlm, data, ScanOptions(batch=None), 1, silent)
    assert found.batch == 8  # as the CPU's scans take, where it is left open
    bare = [shape for hooked, shape in seen if not hooked]
    scanned = [shape for hooked, shape in seen if hooked]
    assert len(bare) == 3
    assert scanned == bare * 3  # two scans, and the passes in turns with the bare ones
    assert len({length for _, length in bare}) > 1  # like lengths together


def meta_model(name: Architecture) -> LlavaForConditionalGeneration:
    with torch.device("meta"):
        return LlavaForConditionalGeneration(model_config(SIZES[name]))


@pytest.mark.parametrize(
    ("name", "weights", "tflop"),
    [(Architecture.LLAVA_7B, 7_063_427_072, 9.6), (Architecture.LLAVA_13B, 13_351_494_656, 18.4)],
)
def test_known_architectures_have_the_published_number_of_weights(
    name: Architecture, weights: int, tflop: float
) -> None:
    model = meta_model(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == weights
    assert forward_flop(model.config, 700) / 1e12 == pytest.approx(tflop, rel=0.01)
    assert sample_flop(model, 700, 576) == forward_flop(model.config, 700)
    assert sample_flop(model, 700, 2880) is None  # tiles: the tower runs five times
    config: Any = model.config
    config.text_config.intermediate_size += 1
    assert sample_flop(model, 700, 576) is None  # weights that the formula does not count
    del config.vision_config.image_size
    assert sample_flop(model, 700, 576) is None  # another tower
    assert model.config.image_token_id == 32_000
    assert model.config.image_seq_length == 576


@pytest.mark.parametrize("decoder", ["llama", "llama of other widths", "qwen2, fewer keys"])
def test_flop_are_those_that_torch_counts(decoder: str) -> None:
    sizes = SIZES[Architecture.TINY]
    if "widths" in decoder:
        text = {"hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 80, "num_hidden_layers": 2}
        vision = {"patch_size": 4, "hidden_size": 24, "num_hidden_layers": 3}
        sizes = replace(sizes, text=sizes.text | text, vision=sizes.vision | vision)
    config: Any = model_config(sizes)  # its parts are of any configuration's type
    if decoder.startswith("qwen2"):
        config.text_config = Qwen2Config(
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            vocab_size=576,
        )
    config._attn_implementation = "eager"  # as plain matrix products, all of which torch counts
    model = LlavaForConditionalGeneration(config).train(False)
    tokens = config.image_seq_length + 30
    ids = torch.full((1, tokens), 7)
    ids[0, 3 : 3 + config.image_seq_length] = sizes.image_token
    side = sizes.vision["image_size"]
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model.model(input_ids=ids, pixel_values=torch.zeros(1, 3, side, side), use_cache=False)
    assert counter.get_total_flops() == forward_flop(config, tokens, causal=False)
    text_config = config.text_config
    whole = 4 * tokens**2 * text_config.hidden_size * text_config.num_hidden_layers
    assert forward_flop(config, tokens, causal=False) - forward_flop(config, tokens) == whole // 2


def test_a_made_processor_spells_and_prepares_as_a_real_one(made: Vlm, tmp_path: Path) -> None:
    name = Architecture.TINY
    data = made_data(name, tmp_path, 12, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == [s.image for s in data.sources]
    prompt = made.prompt(QUESTION)
    assert prompt == "USER: <image>\nCould you describe the image? ASSISTANT:"
    lengths = []
    for source in data.sources:
        assert source.description is not None
        encoded, inputs = encoded_sample(made, load_image(tmp_path / source.image), source.description, prompt)
        assert encoded.text.stop == len(encoded.input_ids)
        assert encoded.visual.tolist() == list(range(3, 19))
        assert "".join(encoded.tokens) == source.description
        assert 0 not in encoded.input_ids.tolist()  # no word is unknown
        lengths.append(len(encoded.tokens))
        pixels = inputs["pixel_values"]
        assert pixels.shape == (1, 3, 32, 32) and float(pixels.std()) > 0.2
    assert 85 < np.mean(lengths) < 115 and np.std(lengths) > 10


def test_made_data_follows_its_seed(tmp_path: Path) -> None:
    name = Architecture.TINY
    folders = [tmp_path / str(i) for i in range(3)]
    for folder in folders:
        folder.mkdir()
    first, again, other = (made_data(name, folder, 3, seed) for folder, seed in zip(folders, (1, 1, 2), strict=True))
    assert first.sources == again.sources != other.sources
    contents = [(folder / "000000.jpg").read_bytes() for folder in folders]
    assert contents[0] == contents[1] != contents[2]


def test_missing_descriptions_are_made_up_and_others_kept(data: Data) -> None:
    sources = (replace(data.sources[0], description=None), *data.sources[1:3])
    found = described(replace(data, sources=sources), Architecture.TINY, 0)
    assert found.sources[1:] == data.sources[1:3]
    assert len((found.sources[0].description or "").split()) >= 20


def test_the_published_vocabulary_is_filled() -> None:
    processor = make_processor(SIZES[Architecture.LLAVA_7B])
    tokenizer = processor.tokenizer
    assert len(tokenizer) == 32_064
    assert (processor.image_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id) == (32_000, 32_001, 1)
    assert processor.image_processor.crop_size["height"] == 336
    assert len({made_word(i) for i in range(32_064)}) == 32_064
    assert all(made_word(i).isalpha() for i in range(0, 32_064, 1000))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_made_weights_give_activations_that_are_finite_and_differ(dtype: str, tmp_path: Path) -> None:
    vlm = made_vlm(Architecture.TINY, 0, device="cpu", dtype=dtype)
    assert vlm.info.dtype == dtype and vlm.info.name == "tiny, random weights (seed 0)"
    data = made_data(Architecture.TINY, tmp_path, 1, 0)
    _, inputs = encoded_sample(vlm, load_image(tmp_path / data.sources[0].image), data.sources[0].description or "")
    taken: list[torch.Tensor] = []
    hooks = dict.fromkeys(range(vlm.layers), lambda activation: taken.append(activation.float()))
    vlm.forward(inputs, hooks, HookPoint.GATE)
    assert len(taken) == 3
    for activation in taken:
        assert activation.isfinite().all()
        assert (activation.std(dim=1) > 1e-4).all()


def test_made_weights_follow_their_seed(made: Vlm) -> None:
    def weight(vlm: Vlm) -> torch.Tensor:
        weight: torch.Tensor = vlm.model.lm_head.weight
        return weight

    state = torch.random.get_rng_state()
    assert torch.equal(weight(made), weight(made_vlm(Architecture.TINY, 0, device="cpu")))
    assert not torch.equal(weight(made), weight(made_vlm(Architecture.TINY, 1, device="cpu")))
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="no device"):
        made_vlm(Architecture.TINY, 0, device="cuda:77")


@pytest.mark.parametrize(
    ("device", "dtype", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.4),
        ("NVIDIA H100 80GB HBM3", "float32", 66.9),
        ("NVIDIA H100 PCIe", "float16", 756.0),
        ("NVIDIA H100 NVL", "bfloat16", 835.5),
        ("NVIDIA H200", "bfloat16", 989.4),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312.0),
        ("NVIDIA A10", "bfloat16", 125.0),
        ("NVIDIA A10G", "bfloat16", None),
        ("NVIDIA L4", "bfloat16", 121.0),
        ("NVIDIA L40S", "bfloat16", 362.0),
        ("NVIDIA GeForce RTX 4090", "bfloat16", 165.2),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bfloat16", None),
        ("NVIDIA GeForce RTX 3090 Ti", "bfloat16", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16", None),
        ("Tesla V100-SXM2-16GB", "float16", 125.0),
        ("Tesla T4", "bfloat16", None),
        ("Tesla T4", "float16", 65.0),
        ("cpu", "float32", None),
    ],
)
def test_peaks_are_of_the_very_chip(device: str, dtype: str, peak: float | None) -> None:
    assert peak_tflops(device, dtype) == peak


def test_peak_memory_is_that_since_the_reset() -> None:
    def fill(mib: int) -> None:
        np.ones(mib << 20, dtype=np.uint8)

    memory = PeakMemory(torch.device("cpu"))
    fill(400)
    memory.reset()
    low = memory.mib()
    fill(300)
    if memory.kind == "resident in this process":
        assert 200 < memory.mib() - low < 400
    else:
        assert memory.mib() == low  # 400 MiB more were there before
