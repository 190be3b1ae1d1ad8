"""The scan's kernels: torch's against lists and loops, Triton's against torch's.

Without a GPU Triton's interpreter runs the kernels, slowly: cases share a launch, as neurons of one batch.
"""

import json
import os
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.reference_reduction import Kinds, reduce_torch
from vlmscope.core.method.distribution import BINS, EDGES
from vlmscope.core.method.packed import packed, unpacked
from vlmscope.core.scan.kernels import (
    Reduced,
    fused_works,
    insert_maps_fused,
    insert_maps_torch,
    reduce_fused,
)
from vlmscope.core.scan.positions import SLACK
from vlmscope.core.scan.top_samples import EMPTY, key_sample, order_key

ROOT = Path(__file__).parents[3]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
INF = float("inf")
# Older interpreters use what numpy no longer supports.
RUNS = find_spec("triton") is not None and (
    DEVICE == "cuda" or tuple(map(int, version("triton").split(".")[:2])) >= (3, 7)
)
fused = pytest.mark.skipif(not RUNS, reason="neither a GPU nor an interpreter for Triton")
# The interpreter is numpy, which warns of what a GPU computes in silence.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.*")


@pytest.fixture(scope="module", autouse=True)
def interpreted() -> Iterator[None]:
    """The kernels as Triton's interpreter runs them, where there is no GPU, whatever was imported before."""
    name = "vlmscope.core.scan.kernels_triton"
    before = sys.modules.pop(name, None)
    with pytest.MonkeyPatch.context() as patch:
        if DEVICE == "cpu":
            patch.setenv("TRITON_INTERPRET", "1")
        yield
    sys.modules.pop(name, None)
    if before is not None:
        sys.modules[name] = before


def spans(visual: slice, text_start: int, text_stop: list[int], stop: list[int]) -> Kinds:
    """Kinds of tokens as LLaVA-1.5 has them: side by side, in the same places in all samples."""
    patches = list(range(visual.start, visual.stop))
    return Kinds([patches] * len(stop), [list(range(text_start, end)) for end in text_stop], stop)


def activations(batch: int, tokens: int, neurons: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Neurons of every sort: (B, T, F)."""
    g = torch.Generator().manual_seed(seed)
    a = torch.randn((batch, tokens, neurons), generator=g)
    sorts = torch.arange(neurons) % 10
    a[..., sorts == 1] = a[..., sorts == 1].round()  # ties, zeros of both signs
    a[..., sorts == 2] = torch.randint(0, 2, a[..., sorts == 2].shape, generator=g).float()
    a[..., sorts == 3] = -a[..., sorts == 3].abs() - 0.25
    a[..., sorts == 4] = 1.5
    a[..., sorts == 5] = -1.5
    a[..., sorts == 6] = -0.0
    a[..., sorts == 7] *= 2.0 ** torch.randint(-14, 10, a[..., sorts == 7].shape, generator=g)
    a[..., sorts == 8] = torch.nn.functional.silu(a[..., sorts == 8])
    return a.to(dtype).to(DEVICE)


def bin_of(value: float) -> int:
    return bisect_right(EDGES.tolist(), value) if value >= 2.0**-127 else 0


def by_hand(activation: Tensor, kinds: Kinds) -> Reduced:
    """What ``reduce_torch`` returns, one value at a time."""
    batch, _tokens, neurons = activation.shape
    out = Reduced.empty(batch, neurons)
    for b, length in enumerate(kinds.lengths):
        for f in range(neurons):
            row = activation[b, :length, f].tolist()
            out.maximum[b, f] = max(row)
            for k, (places, kept) in enumerate([(kinds.visual[b], out.visual), (kinds.text[b], out.text)]):
                part = [row[place] for place in places]
                most = kept.shape[1]
                kept[b, :, f] = torch.tensor((sorted(part, reverse=True) + [-INF] * most)[:most])
                out.peak[b, k, f] = part.index(max(part)) if part else -1
                out.sums[b, k, 0, f] = sum(part)
                out.sums[b, k, 1, f] = sum(x * x for x in part)
                for x in part:
                    out.histogram[k, f, bin_of(x)] += 1
    return out


def assert_same(one: Reduced, other: Reduced, tokens: int) -> None:
    for name in ("maximum", "visual", "text", "peak", "histogram", "finite"):
        torch.testing.assert_close(getattr(one, name).cpu(), getattr(other, name).cpu(), rtol=0, atol=0, msg=name)
    sums, squares = ((one.sums - other.sums.to(DEVICE)).abs()[:, :, power].cpu() for power in (0, 1))
    expected = other.sums.cpu()[:, :, 1]
    assert (squares <= 1e-5 * expected).all()
    assert (sums <= 1e-5 * (tokens * expected).sqrt()).all()  # a sum is at most that, whatever its signs


def fused_reduction(activation: Tensor, where: Kinds) -> Reduced:
    out = Reduced.empty(activation.shape[0], activation.shape[2], DEVICE)
    reduce_fused(activation, where.positions(DEVICE), out)
    return out


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Kinds]:
    """Tokens of any kinds in any order, others in each sample; or as LLaVA-1.5 has them."""
    batch, neurons = draw(st.integers(1, 3)), draw(st.integers(1, 10))
    visual, text, lengths = [], [], []
    if draw(st.booleans()):
        before, patches, between = (draw(st.integers(0, n)) for n in (2, 14, 2))
        start = before + patches + between
        words = draw(st.lists(st.integers(0, 6), min_size=batch, max_size=batch))
        after = draw(st.lists(st.integers(0, 1), min_size=batch, max_size=batch))
        text_stop = [start + n for n in words]
        # An empty sequence has no maximum.
        stop = [max(n + more, 1) for n, more in zip(text_stop, after, strict=True)]
        kinds = spans(slice(before, before + patches), start, text_stop, stop)
    else:
        for _ in range(batch):
            roles = draw(st.lists(st.sampled_from("tvw"), min_size=1, max_size=30))
            visual.append([at for at, role in enumerate(roles) if role == "v"])
            text.append([at for at, role in enumerate(roles) if role == "w"])
            lengths.append(len(roles))
        kinds = Kinds(visual, text, lengths)
    tokens = max(kinds.lengths) + 1
    return activations(batch, tokens, neurons, draw(st.sampled_from(DTYPES)), draw(st.integers(0, 99))), kinds


@given(batches())
def test_torch_reduces_as_lists_do(made: tuple[Tensor, Kinds]) -> None:
    activation, where = made
    assert_same(reduce_torch(activation, where), by_hand(activation, where), activation.shape[1])


def test_the_bins_are_those_of_the_distribution() -> None:
    values = [*EDGES, *(EDGES * (1 - 2**-20)), -0.0, -1.0, 1e-45, 5e-39, 6e-39, 2e-38, 1e15]
    activation = torch.tensor(values, dtype=torch.float32, device=DEVICE)[None, :, None]
    where = spans(slice(0, len(values)), len(values), [len(values)], [len(values)])
    assert_same(reduce_torch(activation, where), by_hand(activation, where), 1000)


@fused
@pytest.mark.parametrize("dtype", DTYPES)
def test_fused_equals_torch_and_writes_nowhere_else(dtype: torch.dtype) -> None:
    activation = activations(3, 30, 70, dtype)  # two blocks of neurons, the second not full
    activation[0, -1] = INF  # padding
    where = spans(slice(3, 13), 15, [26, 15, 18], [28, 16, 18])
    expected = reduce_torch(activation, where)
    around = Reduced(
        maximum=torch.full((5, 2, 70), 99.0, device=DEVICE),
        visual=torch.full((2, 5, 8, 70), 99.0, device=DEVICE),
        text=torch.full((2, 5, 5, 70), 99.0, device=DEVICE),
        peak=torch.full((2, 5, 2, 70), 99, dtype=torch.int32, device=DEVICE),
        sums=torch.full((2, 2, 5, 70, 2), 99.0, device=DEVICE).transpose(3, 4).contiguous(),
        histogram=torch.full((2, 2, 70, BINS), 3, dtype=torch.int32, device=DEVICE),
        finite=torch.ones(5, dtype=torch.bool, device=DEVICE),
    )
    around.finite[3] = False
    out = Reduced(
        maximum=around.maximum[1:4, 1],
        visual=around.visual[1, 1:4],
        text=around.text[1, 1:4, 1:],
        peak=around.peak[1, 1:4],
        sums=around.sums.permute(2, 0, 1, 3, 4)[1:4, :, :, 1],
        histogram=around.histogram[:, 1],
        finite=around.finite[1:4],
    )
    reduce_fused(activation, where.positions(DEVICE), out)
    assert out.finite.tolist() == [True, True, False]  # what was false stays so
    assert_same(replace(out, histogram=out.histogram - 3, finite=expected.finite), expected, 30)
    for part, mine in ((around.maximum, out.maximum), (around.visual, out.visual), (around.text, out.text)):
        assert (part == 99).sum() == part.numel() - mine.numel()
    assert (around.sums == 99).sum() == around.sums.numel() - out.sums.numel()
    assert (around.peak == 99).sum() == around.peak.numel() - out.peak.numel()
    assert (around.histogram[:, 0] == 3).all()


@fused
# Without a GPU each costs a second in Triton's interpreter, so that even the long profile has five, the same each time.
@settings(max_examples=5, derandomize=True)
@given(batches())
def test_fused_equals_torch_whatever_the_spans(made: tuple[Tensor, Kinds]) -> None:
    activation, where = made
    assert_same(fused_reduction(activation, where), reduce_torch(activation, where), activation.shape[1])


@fused
@pytest.mark.parametrize("where", [(slice(0, 0), 0, [0], [2]), (slice(1, 4), 4, [6], [6]), (slice(2, 2), 3, [8], [8])])
def test_fused_without_tokens_of_a_kind_or_with_few(where: tuple[slice, int, list[int], list[int]]) -> None:
    activation = activations(1, 8, 10, torch.float32)
    assert_same(fused_reduction(activation, spans(*where)), reduce_torch(activation, spans(*where)), 8)


@fused
def test_counters_hold_more_tokens_than_their_bits() -> None:
    activation = activations(1, 530, 10, torch.bfloat16)
    activation[..., 9] = 100.0  # all in the last bin
    where = spans(slice(0, 270), 270, [530], [530])
    assert_same(fused_reduction(activation, where), reduce_torch(activation, where), 530)


@fused
@pytest.mark.parametrize("reduction", [reduce_torch, fused_reduction])
def test_only_the_sample_with_no_number_is_bad(reduction: Callable[[Tensor, Kinds], Reduced]) -> None:
    clean = activations(6, 14, 66, torch.bfloat16)
    where = spans(slice(2, 6), 8, [11] * 6, [12] * 6)
    activation = clean.clone()
    activation[1, 3, 65] = torch.nan  # visual
    activation[2, 0, 0] = INF  # before
    activation[3, 9, 7] = -INF  # text
    activation[4, 11, 1] = torch.nan  # after the description
    activation[5, 12, 2], activation[5, 13, 3] = torch.nan, INF  # padding
    found = reduction(activation, where)
    assert found.finite.tolist() == [True, False, False, False, False, True]
    expected = reduce_torch(clean, where)
    for name in ("maximum", "visual", "text", "peak"):
        assert torch.equal(getattr(found, name)[[0, 5]], getattr(expected, name)[[0, 5]])


@fused
def test_other_strides_are_refused() -> None:
    activation = activations(1, 8, 10, torch.float32).transpose(1, 2).contiguous().transpose(1, 2)
    with pytest.raises(ValueError, match="contiguous"):
        fused_reduction(activation, spans(slice(0, 2), 2, [8], [8]))


PATCHES, WIDTH, NEURONS = 37, 5, 40  # more patches than are copied at once, not a multiple
POOLED = np.array([[3, -1, 0], [5, -1, 1], [-1, -1, 36]])  #: slots of the tokens of three values, of the second none


def empty_maps(entries: int, values: int = PATCHES) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.full((NEURONS, entries), EMPTY, device=DEVICE),
        torch.full((NEURONS, entries, values), 7, dtype=torch.uint8, device=DEVICE),
        torch.full((NEURONS, entries, WIDTH), 7, dtype=torch.uint8, device=DEVICE),
    )


#: Shorter and longer descriptions than WIDTH, and none; then tokens in any order, fewer of them, words among patches.
SAME = spans(slice(2, 2 + PATCHES), 41, [43, 47, 41], [43, 48, 42])
MIXED = Kinds(
    [list(range(1, 47, 2))[:20], [0, *range(5, 41)], [7]],
    [[0, 2, 4, 44, 45, 46, 47], [1, 2, 3, 4], []],
    [48, 42, 8],
)


def map_batches(seed: int, kinds: Kinds = SAME) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Three batches: activation, scores, samples in no order, which are finite."""
    made = []
    samples = torch.randperm(9, generator=torch.Generator().manual_seed(seed)).to(DEVICE).view(3, 3)
    for n in range(3):
        activation = activations(3, 48, NEURONS, DTYPES[n], seed + n)
        activation[:, :, 0] = 1e-38 if n != 2 else 0  # 255 over it is larger than float32
        found = reduce_torch(activation, kinds)
        score = torch.maximum(found.visual[:, 0], found.text[:, 0])
        finite = torch.tensor([True, n != 1, True], device=DEVICE)
        made.append((activation, score, samples[n], finite))
    return made


@pytest.mark.parametrize("kinds", [SAME, MIXED], ids=["same", "mixed"])
@pytest.mark.parametrize("entries", [1, 3, 4, 20])
def test_torch_keeps_the_maps_of_the_best(entries: int, kinds: Kinds) -> None:
    keys, visual, text = empty_maps(entries)
    where = kinds.positions(DEVICE, values=PATCHES)
    maps: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    ranked: dict[int, list[tuple[float, int]]] = {f: [] for f in range(NEURONS)}
    for activation, score, samples, finite in map_batches(4, kinds):
        insert_maps_torch(activation, where, score, samples, finite, (keys, visual, text))
        for b, sample in enumerate(samples.tolist()):
            for f in range(NEURONS):
                if finite[b]:
                    ranked[f].append((-score[b, f].item(), sample))
                best = score[b, f].item()
                scale = min(255 / best, torch.finfo(torch.float32).max) if best > 0 else 0.0
                shades = (activation[b, :, f].double().clamp(min=0) * scale).round().int()
                patches, words = (shades[places].tolist() for places in (kinds.visual[b], kinds.text[b]))
                maps[f, sample] = ((patches + [0] * PATCHES)[:PATCHES], (words + [0] * WIDTH)[:WIDTH])
    for f in range(NEURONS):
        expected = [sample for _, sample in sorted(ranked[f])][:entries]
        order = keys[f].argsort(descending=True)
        found = [sample for sample in key_sample(keys[f, order]).tolist() if sample >= 0]
        assert found == expected
        for place, sample in zip(order.tolist(), found, strict=False):
            for mine, theirs in zip((visual[f, place], text[f, place]), maps[f, sample], strict=True):
                # Rounded at another place, a half may fall to the other side.
                assert max(abs(int(a) - b) for a, b in zip(mine, theirs, strict=True)) <= 1


@pytest.mark.parametrize("insert", [insert_maps_torch, pytest.param(insert_maps_fused, marks=fused)])
def test_pooled_maps_have_the_largest_of_each_values_tokens(insert: Callable[..., None]) -> None:
    """Two samples are pooled, to three values and to four; the third keeps its own."""
    four = np.array([[35, 0, 2, -1]])
    where = SAME.positions(DEVICE, [POOLED, four, None], values=PATCHES)
    assert where.cells.shape == (3, 3, PATCHES)
    plain_maps, pooled_maps = empty_maps(9), empty_maps(9)
    for batch in map_batches(1):
        insert_maps_torch(batch[0], SAME.positions(DEVICE, values=PATCHES), *batch[1:], plain_maps)
        insert(batch[0], where, *batch[1:], pooled_maps)
    (key, plain, text), (same_key, pooled, same_text) = best_first(*plain_maps), best_first(*pooled_maps)
    assert torch.equal(key, same_key) and torch.equal(text, same_text)
    place = {int(sample): b for batch in map_batches(1) for b, sample in enumerate(batch[2])}
    compared = [0, 0, 0]
    for f, entry in (key != EMPTY).nonzero().tolist():
        b = place[int(key_sample(key[f, entry]))]
        whole = plain[f, entry].tolist()
        few = [[max([0, *(whole[s] for s in slot if s >= 0)]) for slot in slots.T] for slots in (POOLED, four)]
        expected = whole if b == 2 else few[b] + [0] * (PATCHES - len(few[b]))
        assert pooled[f, entry].tolist() == expected
        compared[b] += max(expected) > 0
    assert min(compared) > 20


@pytest.mark.parametrize("insert", [insert_maps_torch, pytest.param(insert_maps_fused, marks=fused)])
def test_small_maps_are_the_others_in_sixteen_levels(insert: Callable[..., None]) -> None:
    """Pooled ones of three values, an odd number; of the words the first four alone are kept."""
    where = SAME.positions(DEVICE, [POOLED] * 3, values=4)
    whole, small = empty_maps(9), [part[..., :size] for part, size in zip(empty_maps(9), (9, 2, 2), strict=True)]
    small = [part.contiguous() for part in small]
    for batch in map_batches(1):
        insert_maps_torch(batch[0], where, *batch[1:], whole)
        insert(batch[0], where, *batch[1:], small, packed=True)
    (key, visual, text), (same_key, levels, words) = best_first(*whole), best_first(*small)
    assert torch.equal(key, same_key)
    there = key != EMPTY
    for bytes_, found, size in ((visual[..., :4], levels, 4), (text[..., :4], words, 4)):
        expected = packed(bytes_.cpu().numpy())
        assert np.array_equal(found[there].cpu().numpy(), expected[there.cpu().numpy()])
        near = unpacked(expected, size).astype(float) * 17 - bytes_.cpu().numpy()
        assert np.abs(near).max() <= 8 < np.unique(unpacked(expected, size)).size


def test_the_shade_of_half_is_up() -> None:
    key, visual, text = (
        torch.full(shape, EMPTY if n == 0 else 0, dtype=dtype, device=DEVICE)
        for n, (shape, dtype) in enumerate([((1, 1), torch.int64), ((1, 1, 3), torch.uint8), ((1, 1, 2), torch.uint8)])
    )
    activation = torch.tensor([255.0, 2.5, -3.0, 1.4], device=DEVICE).view(1, 4, 1)
    where = spans(slice(0, 3), 3, [4], [4])
    score, sample = torch.full((1, 1), 255.0, device=DEVICE), torch.tensor([6], device=DEVICE)
    good = torch.ones(1, dtype=torch.bool, device=DEVICE)
    insert_maps_torch(activation, where.positions(DEVICE), score, sample, good, (key, visual, text))
    assert visual.tolist() == [[[255, 3, 0]]] and text.tolist() == [[[1, 0]]]
    assert torch.equal(key, order_key(score, sample))


@fused
@pytest.mark.parametrize("kinds", [SAME, MIXED], ids=["same", "mixed"])
@pytest.mark.parametrize("entries", [0, 1, 3, 4])
def test_fused_maps_equal_torchs(entries: int, kinds: Kinds) -> None:
    expected, found = empty_maps(entries), empty_maps(entries)
    where = kinds.positions(DEVICE, values=PATCHES)
    for batch in map_batches(entries, kinds):
        insert_maps_torch(batch[0], where, *batch[1:], expected)
        insert_maps_fused(batch[0], where, *batch[1:], found)
        for mine, theirs in zip(best_first(*found), best_first(*expected), strict=True):
            assert torch.equal(mine, theirs)


@fused
def test_kernels_read_no_further_than_the_order_has_places() -> None:
    from vlmscope.core.scan.kernels_triton import PACK

    assert PACK.value <= SLACK


def best_first(key: Tensor, visual: Tensor, text: Tensor) -> list[Tensor]:
    """Entries are in any order; where a key is EMPTY there is nothing to compare."""
    order = key.argsort(dim=1, descending=True)
    by_row = order[..., None]
    return [key.gather(1, order), *(x.gather(1, by_row.expand_as(x)) for x in (visual, text))]


COMPILE = """
import json, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from vlmscope.core.scan import kernels_triton

pointers = {
    "activation": "*bf16", "order": "*i32", "ends": "*i32", "cells": "*i32", "peak": "*i32", "histogram": "*i32",
    "finite": "*u8", "scores": "*fp32", "samples": "*i64", "keys": "*i64", "maximum": "*fp32", "sums": "*fp32",
}
reduced, maps = {"visual": "*fp32", "text": "*fp32"}, {"visual": "*u8", "text": "*u8"}
plain = {"num_warps": 4, "enable_fp_fusion": False}
for kernel, more, constants, options in (
    (kernels_triton.reduce_kernel, reduced, {"BLOCK": 64}, {"num_warps": 2, "enable_fp_fusion": True}),
    (kernels_triton.insert_kernel, maps, {"BLOCK": 32, "TOKENS": 32, "VALUES": 1}, plain),
    (kernels_triton.insert_kernel, maps, {"BLOCK": 32, "TOKENS": 32, "VALUES": 2}, plain),
):
    names = kernel.arg_names
    signature = {n: "constexpr" if n in constants else {**pointers, **more}.get(n, "i32") for n in names}
    source = ASTSource(kernel, signature, {(names.index(n),): value for n, value in constants.items()})
    for architecture in (80, 90):
        compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
        print(json.dumps({"bytes": len(compiled.asm["cubin"]), "fused": compiled.asm["ptx"].count("fma.")}))
"""


@fused
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Triton brings the assembler for Linux")
def test_both_kernels_compile_without_a_gpu(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    env["TRITON_CACHE_DIR"] = str(tmp_path)
    command = [sys.executable, "-c", COMPILE]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reduced_80, reduced_90, *of_maps = (json.loads(line) for line in done.stdout.splitlines())
    assert reduced_80["bytes"] and reduced_90["bytes"] and len(of_maps) == 4
    for inserted in of_maps:
        assert inserted["bytes"]
        assert not inserted["fused"]  # a map's byte is rounded twice, as torch rounds it


def test_where_the_kernels_cannot_run_one_warning_is_logged_and_torch_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler\nlong text")

    monkeypatch.setattr("vlmscope.core.scan.kernels.find_spec", lambda _: True)
    monkeypatch.setattr("vlmscope.core.scan.kernels.reduce_fused", fails)
    fused_works.cache_clear()
    try:
        assert [fused_works(torch.device("cpu")) for _ in range(2)] == [False, False]
    finally:
        fused_works.cache_clear()
    assert [record.getMessage() for record in caplog.records] == [
        "The scan's GPU kernels cannot run, torch is used instead: Failed to find C compiler"
    ]


def test_without_triton_torch_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmscope.core.scan.kernels.find_spec", lambda _: None)
    fused_works.cache_clear()
    try:
        assert not fused_works(torch.device("cpu"))
    finally:
        fused_works.cache_clear()
