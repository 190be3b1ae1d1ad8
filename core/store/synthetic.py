"""A made-up scan of any size, for benchmarks and tests: random numbers in the shapes of a real model."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.method.distribution import BINS
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT, Thresholds, label_neurons
from vlmscope.core.store.manifest import Manifest, ModelInfo, ThresholdsInfo
from vlmscope.core.store.settings import QUESTION
from vlmscope.core.store.writer import StoreWriter

WORDS = ("a", "the", "red", "blue", "train", "dog", "cake", "on", "left", "corner", "river", "two", "small", "plane")


def write_synthetic_scan(
    out: Path,
    *,
    layers: int = 32,
    neurons: int = 11008,
    samples: int = 60,
    top_n: int = 50,
    maps: int = 4,
    grid: tuple[int, int] = (24, 24),
    image: int = 168,
    seed: int = 0,
) -> None:
    """Write a scan of random numbers: sparse in memory and quick, because each layer repeats the first one's maps.

    Args:
        out: the folder to make.
        image: side of the made-up crops in pixels.
    """
    rng = np.random.default_rng(seed)
    shape = (layers, neurons, top_n)
    text_tokens = 40
    # Orders of magnitude as in a real scan: falling scores over the ranks, thresholds near the middle.
    base = (rng.random((layers, neurons, 1), dtype=np.float32) + 0.2) * np.linspace(1, 0.5, top_n, dtype=np.float32)
    lean = rng.random((layers, neurons, 1), dtype=np.float32)
    top_visual = np.stack([base * (lean * (0.9**k)) for k in range(VISUAL_KEPT)])
    top_text = np.stack([base * ((1 - lean) * (0.8**k)) for k in range(TEXT_KEPT)])
    maximum = np.maximum(top_visual[0, ..., 0], top_text[0, ..., 0]) * np.float32(1.1)
    patches = grid[0] * grid[1]
    maps_visual, maps_text = (
        np.broadcast_to(rng.integers(0, 256, (neurons, maps, size), dtype=np.uint8), (layers, neurons, maps, size))
        for size in (patches, text_tokens)
    )
    thresholds = Thresholds()
    valid = min(top_n, samples)
    labels = label_neurons(top_visual[thresholds.n_v - 1], top_text[thresholds.n_t - 1], maximum, valid, thresholds)
    top_sample = np.full(shape, -1, dtype=np.int32)
    top_sample[..., :valid] = np.argsort(rng.random((neurons, samples), dtype=np.float32), axis=-1)[:, :valid]
    manifest = Manifest(
        scan_id=f"synthetic-{layers}x{neurons}-{seed}",
        created="2026-01-01T00:00:00+00:00",
        model=ModelInfo(
            name="synthetic", revision=None, architecture="made up", dtype="float32", layers=layers, neurons=neurons
        ),
        hook=HookPoint.GATE,
        question=QUESTION,
        prompt=f"USER: <image>\n{QUESTION} ASSISTANT:",
        data="synthetic",
        image_root=None,
        data_id="",
        data_sha256="",
        batch=8,
        samples=samples,
        scanned=samples,
        top_n=top_n,
        maps=maps,
        grid=grid,
        text_tokens_max=text_tokens,
        visual_tokens=samples * patches,
        text_tokens=samples * text_tokens,
        thresholds=ThresholdsInfo.of(thresholds),
        arrays="arrays-1",
        versions={},
    )
    with StoreWriter(out, samples) as writer:
        for index in range(samples):
            buffer = io.BytesIO()
            noise = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((image, image)).save(buffer, "JPEG", quality=85)
            words = [" " + str(word) for word in rng.choice(WORDS, text_tokens)]
            writer.add_sample(f"image_{index:04}.jpg", "".join(words).strip(), words, buffer.getvalue())
        writer.finish(
            manifest,
            {
                "top_sample": top_sample,
                "top_visual": top_visual,
                "top_text": top_text,
                "peak_visual": rng.integers(0, patches, shape, dtype=np.uint16),
                "peak_text": rng.integers(0, text_tokens, shape, dtype=np.uint16),
                "maps_visual": maps_visual,
                "maps_text": maps_text,
                "maximum": maximum,
                "content_maximum": maximum,
                "moments": rng.random((2, 2, layers, neurons), dtype=np.float32),
                "histogram": rng.integers(0, 1000, (2, layers, neurons, BINS), dtype=np.uint32),
                "votes": labels.votes,
            },
        )
