"""A plain grid's reduction is that of the version which had only those: the digests of its arrays are kept here.

A panel adds its own arrays, and changes no other.

The activations are multiples of 1/1024 and small, so that sums are exact on every machine.
"""

import hashlib

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.core.scan.test_kernels import RUNS, interpreted  # noqa: F401  # a fixture
from tests.support.sizes import manifest_of
from vlmscope.core.method.bfloat16 import encoded
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.model.vlm import Encoded
from vlmscope.core.scan.reduction import Batch, BatchReduction
from vlmscope.core.scan.state import ScanState
from vlmscope.core.store.panel import draw_panel

LAYERS, NEURONS, SAMPLES, START = 2, 24, 19, 15
PLAIN = VisualLayout.plain(3, 3)
#: SHA-256, the first digits, as commit 3d5a05d made them in batches of 1, 3 and 8.
DIGESTS = {
    "content_maximum": "29e38f707e52927f",
    "histogram": "e6b3d8aaa22902b9",
    "maps_text": "e9d2538475333598",
    "maps_visual": "b7a47f2c50f18399",
    "maximum": "af773dd96d6680ad",
    "moments": "4a4df03125f8d9cf",
    "peak_text": "de9306bc54eacd42",
    "peak_visual": "0f6a0748fb3f52f4",
    "sums": "ff1cc60c0b708220",
    "top_sample": "960bd78a2bf48049",
    "top_text": "8031a017cee45722",
    "top_visual": "236b4b4898ac2272",
    "votes": "009b4f7f96fc0445",
}


def made() -> list[tuple[Encoded, NDArray[np.float32]]]:
    """Samples with the activations of their tokens, float32 (L, T, F); every other one ends with a closing token."""
    rng = np.random.default_rng(13)
    found = []
    for index in range(SAMPLES):
        words, closing = int(rng.integers(1, 9)), index % 2
        a = (rng.integers(-1000, 1000, (LAYERS, START + words + closing, NEURONS)) / 1024).astype(np.float32)
        a[..., ::3] = (a[..., ::3] * 8).round() / 8 + 0.0  # no -0.0, which the kernels may sort either way
        a[..., 1] = -np.abs(a[..., 1])
        ids, text = torch.zeros(a.shape[1], dtype=torch.int64), slice(START, START + words)
        found.append((Encoded("", "", ids, np.arange(3, 12), text, ("w",) * words, PLAIN), a))
    return found


@pytest.mark.parametrize(
    ("size", "fused", "panel"),
    [
        (1, False, None),
        (3, False, None),
        (3, False, 7),
        (8, False, 100),
        pytest.param(8, True, 7, marks=pytest.mark.skipif(not RUNS, reason="neither a GPU nor an interpreter")),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.usefixtures("interpreted")
def test_all_arrays_are_those_of_the_version_before_layouts(size: int, fused: bool, panel: int | None) -> None:
    sizes = {"top_n": 5, "maps": 3, "visual_tokens_max": 9, "text_tokens_max": 8, "panel": panel}
    manifest = manifest_of(np.zeros((LAYERS, NEURONS, 1), np.int32), SAMPLES, ()).model_copy(update=sizes)
    state, samples = ScanState(manifest, pending=8), made()
    for start in range(0, SAMPLES, size):
        part = samples[start : start + size]
        batch = Batch(torch.arange(start, start + len(part)), tuple(one for one, _ in part))
        reduction = BatchReduction(state, batch, fused)
        for layer, hook in reduction.hooks().items():
            padded = np.full((len(part), max(a.shape[1] for _, a in part), NEURONS), np.inf, np.float32)
            for row, (_, a) in zip(padded, part, strict=True):
                row[: a.shape[1]] = a[layer]
            hook(torch.from_numpy(padded))
        assert not reduction.non_finite()
        reduction.commit()
    visual_tokens, text_tokens = state.totals.tokens
    arrays = state.arrays(manifest.model_copy(update={"visual_tokens": visual_tokens, "text_tokens": text_tokens}))
    for index, sample in enumerate(draw_panel("", SAMPLES, panel or 0)):
        one, a = samples[sample]
        for name, places in (("panel_visual", one.visual), ("panel_text", one.text)):
            assert np.array_equal(arrays[name][..., index], encoded(a[:, places].max(axis=1)))
    for name in ("panel_visual", "panel_text"):
        assert (arrays.pop(name, None) is None) == (panel is None)
    found = {
        name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
        for name, array in sorted(arrays.items())
    }
    assert found == DIGESTS
