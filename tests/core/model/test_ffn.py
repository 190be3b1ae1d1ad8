"""The FFN of each layer is found by its parts and checked with numbers; what is not sure is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as f

from vlmscope.core.base.errors import ModelError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.model.ffn import Ffn, FfnKind, decoder_layers, find_ffns

_x: Any = transformers
SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
KV = SIZE | {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
MOE = KV | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "decoder_sparse_step": 2}


def decoder(kind: str, config: Any, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    return getattr(_x, kind)(config).to(dtype).train(False)


def ffns_of(model: Any) -> list[Ffn]:
    return find_ffns(decoder_layers(model, "it"), "it", 32, model.dtype)


def taps(model: Any, ffn: Ffn) -> tuple[Tensor, Tensor, Tensor]:
    """What the FFN gets in a pass of the model, and what both hooks take, each once."""
    seen: dict[HookPoint | str, list[Tensor]] = {"in": [], HookPoint.GATE: [], HookPoint.GATE_UP: []}
    handles = [ffn.hook(point, seen[point].append) for point in HookPoint]
    handles.append(ffn.block.register_forward_pre_hook(lambda _, args: seen["in"].append(args[0])))
    with torch.no_grad():
        model(input_ids=torch.arange(3, 13)[None])
    for handle in handles:
        handle.remove()
    assert [len(taken) for taken in seen.values()] == [1, 1, 1]
    return seen["in"][0], seen[HookPoint.GATE][0], seen[HookPoint.GATE_UP][0]


def linear(weight: Tensor, x: Tensor) -> Tensor:
    return x @ weight.T


@pytest.mark.parametrize(
    ("kind", "config", "activation"),
    [
        ("LlamaForCausalLM", _x.LlamaConfig(**KV), f.silu),
        ("Gemma2ForCausalLM", _x.Gemma2Config(**KV, head_dim=8), lambda x: f.gelu(x, approximate="tanh")),
        ("Lfm2ForCausalLM", _x.Lfm2Config(**KV, block_auto_adjust_ff_dim=False), f.silu),
    ],
)
def test_gated_ffns_are_tapped_where_the_formula_says(
    kind: str, config: Any, activation: Callable[[Tensor], Tensor]
) -> None:
    model = decoder(kind, config)
    for ffn in ffns_of(model):
        assert (ffn.kind, ffn.width) == (FfnKind.GATED, 48)
        x, gate, gate_up = taps(model, ffn)
        assert ffn.up is not None
        by_hand = activation(ffn.gate(x))
        assert torch.equal(gate, by_hand)
        assert torch.equal(gate_up, by_hand * ffn.up(x))


def test_fused_ffns_are_split_into_gate_and_up() -> None:
    for kind, config in (
        ("Phi3ForCausalLM", _x.Phi3Config(**KV)),
        ("GlmForCausalLM", _x.GlmConfig(**KV, head_dim=8)),
    ):
        model = decoder(kind, config)
        for ffn in ffns_of(model):
            assert (ffn.kind, ffn.width) == (FfnKind.FUSED, 48)
            x, gate, gate_up = taps(model, ffn)
            both = ffn.gate(x)
            assert torch.equal(gate, f.silu(both[..., :48]))
            assert torch.equal(gate_up, both[..., 48:] * f.silu(both[..., :48]))


def test_plain_ffns_have_one_activation_for_both_hooks() -> None:
    for kind, config, activation in (
        ("GPTNeoXForCausalLM", _x.GPTNeoXConfig(**SIZE), f.gelu),
        ("PersimmonForCausalLM", _x.PersimmonConfig(**SIZE), lambda x: f.relu(x).square()),
    ):
        model = decoder(kind, config)
        for ffn in ffns_of(model):
            assert (ffn.kind, ffn.width) == (FfnKind.PLAIN, 48)
            x, gate, gate_up = taps(model, ffn)
            assert torch.equal(gate, gate_up)
            assert torch.equal(gate, activation(ffn.gate(x)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_check_allows_for_rounding_in_each_dtype(dtype: torch.dtype) -> None:
    assert len(ffns_of(decoder("LlamaForCausalLM", _x.LlamaConfig(**KV), dtype))) == 2
    assert len(ffns_of(decoder("Lfm2ForCausalLM", _x.Lfm2Config(**KV, block_auto_adjust_ff_dim=False), dtype))) == 2


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        (
            "Qwen3MoeForCausalLM",
            _x.Qwen3MoeConfig(**MOE),
            "it: its layer 1 is a mixture of experts: a neuron",
        ),
        ("MixtralForCausalLM", _x.MixtralConfig(**KV, num_local_experts=4), "layer 0 is a mixture of experts"),
        ("OPTForCausalLM", _x.OPTConfig(**SIZE, ffn_dim=48), r"layer 0 \(OPTDecoderLayer\) has no FFN of a known form"),
        (
            "GPT2LMHeadModel",
            _x.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=64),
            "no decoder layers",
        ),
    ],
)
def test_other_forms_are_refused_by_name(kind: str, config: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words) as refused:
        ffns_of(decoder(kind, config))
    assert "can be scanned" in refused.value.hint


class Block(nn.Module):
    """A gated FFN whose formula a test chooses."""

    def __init__(self, formula: Callable[["Block", Tensor], Tensor], width: int = 48, activation: Any = None) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(32, width), nn.Linear(32, width)
        self.down_proj = nn.Linear(width, 32)
        if activation is not None:
            self.act_fn = activation
        self.formula = formula

    def forward(self, x: Tensor) -> Tensor:
        written: Tensor = self.down_proj(self.formula(self, x))
        return written


def layers_of(*blocks: nn.Module) -> list[nn.Module]:
    layers = []
    for block in blocks:
        layer = nn.Module()
        layer.mlp = block
        layers.append(layer)
    return layers


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (lambda b, x: f.silu(b.gate_proj(x)) + b.up_proj(x), "does not compute what the names of its parts promise"),
        (lambda b, x: torch.softmax(b.gate_proj(x), -1) * b.up_proj(x), "does not compute what"),
        (lambda b, x: 1.001 * f.silu(b.gate_proj(x)) * b.up_proj(x), "does not compute what"),
        (lambda b, x: f.silu(b.gate_proj(x)), "does not use its parts"),
        (lambda b, x: f.silu(b.up_proj(x)) * b.gate_proj(x), "does not compute what"),
        (lambda b, x: f.silu(b.up_proj(x)) * x.new_ones(48), "does not use its parts"),
        (lambda b, x: b.nothing(x), r"cannot be run alone \(AttributeError\)"),
        (lambda b, x: f.silu(b.gate_proj(x)) * b.up_proj(x) * float("nan"), "does not compute what"),
    ],
)
def test_a_block_that_computes_something_else_is_refused(formula: Any, words: str) -> None:
    right = Block(lambda b, x: f.silu(b.gate_proj(x)) * b.up_proj(x))
    with pytest.raises(ModelError, match=rf"it: the FFN of its layer 1 \(Block\) {words}"):
        find_ffns(layers_of(right, Block(formula)), "it", 32, torch.float32)
    assert len(find_ffns(layers_of(right, right), "it", 32, torch.float32)) == 2


def test_layers_of_different_widths_are_refused() -> None:
    blocks = [Block(lambda b, x: f.silu(b.gate_proj(x)) * b.up_proj(x), width) for width in (48, 96, 48)]
    with pytest.raises(ModelError, match=r"its layers have FFNs of different widths \(48, 96\)"):
        find_ffns(layers_of(*blocks), "it", 32, torch.float32)


def test_two_ffns_in_a_layer_are_refused() -> None:
    two = nn.Module()
    two.one, two.other = (Block(lambda b, x: f.silu(b.gate_proj(x)) * b.up_proj(x)) for _ in range(2))
    with pytest.raises(ModelError, match=r"layer 0 \(Module\) has 2 FFNs: Block, Block"):
        find_ffns(layers_of(two), "it", 32, torch.float32)


def test_an_activation_that_layers_share_is_tapped_once_for_each_layer() -> None:
    one = nn.SiLU()
    blocks = [Block(lambda b, x: b.act_fn(b.gate_proj(x)) * b.up_proj(x), activation=one) for _ in range(3)]
    ffns = find_ffns(layers_of(*blocks), "it", 32, torch.float32)
    taken: list[Tensor] = []
    ffns[1].hook(HookPoint.GATE, taken.append)
    x = torch.randn(1, 2, 32)
    for block in blocks:
        block(x)
    assert len(taken) == 1
    assert torch.equal(taken[0], f.silu(blocks[1].gate_proj(x)))


def test_the_check_leaves_random_numbers_and_hooks_alone() -> None:
    model = decoder("LlamaForCausalLM", _x.LlamaConfig(**KV))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ffns = ffns_of(model)
    assert torch.equal(torch.rand(3), expected)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in ffns[0].block.modules())


class Int8(nn.Module):
    """A projection whose weights are stored as whole numbers, as quantised ones are."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scale = linear.weight.detach().abs().max() / 127
        self.register_buffer("weight", (linear.weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return f.linear(x, self.whole().to(x.dtype), self.bias)

    def whole(self) -> Tensor:
        return self.weight.float() * self.scale


def test_a_column_of_quantised_weights_is_what_the_projection_makes_of_a_unit() -> None:
    block = Block(lambda b, x: f.silu(b.gate_proj(x)) * b.up_proj(x))
    ffn = find_ffns(layers_of(block), "it", 32, torch.float32)[0]
    assert torch.equal(ffn.down_column(7), block.down_proj.weight[:, 7])
    whole: Any = Int8(block.down_proj)
    block.down_proj = whole
    ffn = find_ffns(layers_of(block), "it", 32, torch.float32)[0]
    assert torch.allclose(ffn.down_column(7), whole.whole()[:, 7], atol=1e-6)
