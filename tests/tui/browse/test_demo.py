"""The screen on the scan that everybody sees first: the demo's, with real pictures, captions and a trained model."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.screen_app import running
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.store.reader import ScanStore


@pytest.fixture
def demo() -> Path:
    """The demo scan; ``VLMSCOPE_TEST_DEMO`` names another, where the demo is being made."""
    named = os.environ.get("VLMSCOPE_TEST_DEMO")
    return Path(named) if named else scan_folder("demo")


@pytest.mark.parametrize("size", [(80, 24), (140, 40), (200, 60)])
async def test_the_demo_opens_at_every_size(demo: Path, size: tuple[int, int]) -> None:
    store = ScanStore(demo)
    async with running(demo, size=size, name="demo") as on:
        if size == (80, 24):
            await on.press("enter")
        lines = on.screen.split("\n")
        assert {len(line) for line in lines} == {size[0]}
        assert "demo" in lines[0]
        assert "▄▄" in on.page
        sample = store.sample(int(store.arrays["top_sample"][0, 0, 0]))
        first = sample.description.split()[0]
        assert first in on.page


async def test_a_visual_neuron_of_the_demo_shows_where_it_fires(demo: Path) -> None:
    store = ScanStore(demo)
    labels = store.stored_labels()
    share = np.where(labels.label == Label.VISUAL, labels.votes[..., Label.VISUAL], 0)
    layer, index = (int(at) for at in np.unravel_index(int(share.argmax()), share.shape))
    top = store.example(Neuron(layer, index), 0, labels.thresholds)
    async with running(demo, start=Neuron(layer, index)) as on:
        assert re.search(rf"L{layer}/N{index}  V visual", on.page)
        assert "vote V visual" in on.page or "vote M multimodal" in on.page
        assert f"· #{top.sample.index} " in on.page
        assert re.search(r"peak ≈\d+\.\d", on.page)
        word = max(store.peak_tokens(Neuron(layer, index)), key=lambda item: item[1], default=("", 0))[0]
        assert word in on.page


async def test_every_layer_of_the_demo_can_be_walked(demo: Path) -> None:
    store = ScanStore(demo)
    async with running(demo) as on:
        for layer in range(1, store.layers):
            await on.press("]")
            assert on.neuron == Neuron(layer, 0)
        await on.press("G")
        await on.settled()
        assert on.neuron == Neuron(store.layers - 1, store.neurons - 1)
        for mode in ("v", "z", "m"):
            await on.press(mode)
            await on.settled()
        assert f"L{store.layers - 1}/N{store.neurons - 1} " in on.page
