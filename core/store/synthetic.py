"""A made-up scan of any size, for benchmarks and tests: random numbers in the shapes of a real model."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmscope.core.base.fields import Fields
from vlmscope.core.base.neuron import HookPoint, Poles
from vlmscope.core.method.bfloat16 import encoded
from vlmscope.core.method.distribution import BINS
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT, Thresholds, label_neurons
from vlmscope.core.method.layout import WHOLE, VisualLayout
from vlmscope.core.store.arrays import SMALL_TEXT, SMALL_VISUAL, array_shapes
from vlmscope.core.store.layouts import distinct, largest_map, layout_arrays, layout_infos
from vlmscope.core.store.manifest import Manifest, ModelInfo, SmallMaps, ThresholdsInfo
from vlmscope.core.store.panel import draw_panel
from vlmscope.core.store.settings import QUESTION, SMALL_CELLS, SMALL_WORDS
from vlmscope.core.store.writer import StoreWriter

WORDS = ("a", "the", "red", "blue", "train", "dog", "cake", "on", "left", "corner", "river", "two", "small", "plane")


def tiled_layout(thumbnail: tuple[int, int] = (4, 4), tiles: tuple[int, int] = (8, 12)) -> VisualLayout:
    """A thumbnail, then tiles, each as a grid over the whole picture, as LLaVA-NeXT has them."""
    parts = [VisualLayout.plain(*grid) for grid in (thumbnail, tiles)]
    cover = np.repeat(np.arange(2), [len(part) for part in parts])
    return VisualLayout.of(np.concatenate([part.boxes for part in parts]), cover)


def write_synthetic_scan(
    out: Path,
    *,
    layers: int = 32,
    neurons: int = 11008,
    samples: int = 60,
    top_n: int = 50,
    maps: int = 4,
    grid: tuple[int, int] = (24, 24),
    layouts: Sequence[VisualLayout] = (),
    image: int = 168,
    seed: int = 0,
    panel: int | None = None,
    poles: Poles = Poles.ONE,
    small_maps: int = 0,
    fields: Sequence[Fields] = (),
) -> None:
    """Write a scan of random numbers: sparse in memory and quick, because each layer repeats the first one's maps.

    Args:
        out: the folder to make.
        grid: of the visual tokens of all samples, if no layouts are given.
        layouts: the samples' layouts, in turn; the crops then have the shape of their grids.
        image: longer side of the made-up crops in pixels.
        panel: samples of the panel; None for a scan without one. On top samples the panel's activations are theirs, on
            others they are less.
        poles: with both, ``neurons`` are the poles of half as many units.
        small_maps: top samples that have small maps.
        fields: of the samples, in turn.
    """
    layouts = layouts or [VisualLayout.plain(*grid)]
    rng = np.random.default_rng(seed)
    shape = (layers, neurons, top_n)
    text_tokens, most, small = 40, largest_map(layouts, None), largest_map(layouts, SMALL_CELLS)
    # Orders of magnitude as in a real scan: falling scores over the ranks, thresholds near the middle.
    base = (rng.random((layers, neurons, 1), dtype=np.float32) + 0.2) * np.linspace(1, 0.5, top_n, dtype=np.float32)
    lean = rng.random((layers, neurons, 1), dtype=np.float32)
    top_visual = np.stack([base * (lean * (0.9**k)) for k in range(VISUAL_KEPT)])
    top_text = np.stack([base * ((1 - lean) * (0.8**k)) for k in range(TEXT_KEPT)])
    maximum = np.maximum(top_visual[0, ..., 0], top_text[0, ..., 0]) * np.float32(1.1)
    maps_visual, maps_text = (
        np.broadcast_to(rng.integers(0, 256, (neurons, maps, size), dtype=np.uint8), (layers, neurons, maps, size))
        for size in (most, text_tokens)
    )
    of_samples = [layouts[index % len(layouts)] for index in range(samples)]
    tokens = np.array([*map(len, of_samples), most], dtype=np.uint16)  # the last where there is no sample
    thresholds = Thresholds()
    valid = min(top_n, samples)
    labels = label_neurons(top_visual[thresholds.n_v - 1], top_text[thresholds.n_t - 1], maximum, valid, thresholds)
    top_sample = np.full(shape, -1, dtype=np.int32)
    top_sample[..., :valid] = np.argsort(rng.random((neurons, samples), dtype=np.float32), axis=-1)[:, :valid]
    manifest = Manifest(
        scan_id=f"synthetic-{layers}x{neurons}-{seed}",
        created="2026-01-01T00:00:00+00:00",
        model=ModelInfo(
            name="synthetic",
            revision=None,
            architecture="made up",
            dtype="float32",
            layers=layers,
            neurons=neurons if poles is Poles.ONE else neurons // 2,
        ),
        hook=HookPoint.GATE if poles is Poles.ONE else HookPoint.GATE_UP,
        poles=poles,
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
        visual_tokens_max=most,
        layouts=layout_infos(distinct(layouts)),
        text_tokens_max=text_tokens,
        fields=tuple(dict.fromkeys(name for own in fields for name in own)),
        panel=panel,
        small=SmallMaps(samples=small_maps, cells=SMALL_CELLS, values=small, words=SMALL_WORDS),
        visual_tokens=sum(map(len, of_samples)),
        text_tokens=samples * text_tokens,
        thresholds=ThresholdsInfo.of(thresholds),
        arrays="arrays-1",
        versions={},
    )
    with StoreWriter(out, samples) as writer:
        for index in range(samples):
            buffer = io.BytesIO()
            noise = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            (rows, columns), own = of_samples[index].grid, of_samples[index].id
            size = (image * columns // max(rows, columns), image * rows // max(rows, columns))
            Image.fromarray(noise).resize(size).save(buffer, "JPEG", quality=85)
            words = [" " + str(word) for word in rng.choice(WORDS, text_tokens)]
            writer.add_sample(
                f"image_{index:04}.jpg",
                "".join(words).strip(),
                words,
                buffer.getvalue(),
                layout=own,
                seen=WHOLE,
                fields=fields[index % len(fields)] if fields else None,
            )
        writer.finish(
            manifest,
            {
                "top_sample": top_sample,
                "top_visual": top_visual,
                "top_text": top_text,
                "peak_visual": rng.integers(0, most, shape, dtype=np.uint16) % tokens[top_sample],
                "peak_text": rng.integers(0, text_tokens, shape, dtype=np.uint16),
                "maps_visual": maps_visual,
                "maps_text": maps_text,
                **_small_arrays(manifest, np.random.default_rng([seed, 2])),
                "maximum": maximum,
                "content_maximum": maximum,
                "moments": rng.random((2, 2, layers, neurons), dtype=np.float32),
                "histogram": rng.integers(0, 1000, (2, layers, neurons, BINS), dtype=np.uint32),
                "votes": labels.votes,
                **_panel_arrays(manifest, top_sample, top_visual[0], top_text[0], seed),
                **layout_arrays(distinct(layouts)),
            },
        )


def _small_arrays(manifest: Manifest, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """The arrays of small maps; as the other maps, each layer's are the first one's."""
    return {
        name: np.broadcast_to(rng.integers(0, 256, shape[1:], dtype=np.uint8), shape)
        for name, (_, shape) in array_shapes(manifest).items()
        if name in (SMALL_VISUAL, SMALL_TEXT)
    }


def _panel_arrays(
    manifest: Manifest,
    top_sample: NDArray[np.int32],
    visual: NDArray[np.float32],
    text: NDArray[np.float32],
    seed: int,
) -> dict[str, NDArray[Any]]:
    """The arrays of a panel; ``visual`` and ``text``, float32 (L, F, N), have the top samples' largest activations."""
    if not manifest.panel_drawn:
        return {}
    rng = np.random.default_rng([seed, 1])  # of its own: the other arrays stay as they are without a panel
    samples = np.array(draw_panel(manifest.panel_data_id, manifest.samples, manifest.panel_drawn), dtype=np.int32)
    rank = np.full((manifest.neurons, manifest.samples), -1, dtype=np.int16)  # of every layer: see top_sample
    np.put_along_axis(rank, top_sample[0, :, : manifest.valid], np.arange(manifest.valid, dtype=np.int16)[None], axis=1)
    rank = rank[:, samples]
    found: dict[str, NDArray[Any]] = {"panel_sample": samples}
    for name, top in (("panel_visual", visual), ("panel_text", text)):
        found[name] = np.empty((*top.shape[:2], len(samples)), dtype=np.uint16)
        for layer, values in enumerate(top):
            below = values[:, manifest.valid - 1, None] * (rng.random(rank.shape, dtype=np.float32) ** 4 * 1.1 - 0.1)
            listed = np.take_along_axis(values, np.maximum(rank, 0), axis=1)
            found[name][layer] = encoded(np.where(rank >= 0, listed, below))
    return found
