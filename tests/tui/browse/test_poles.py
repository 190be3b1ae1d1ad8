"""A scan of both poles on the screen: addresses typed and shown, the list, the notebook, what a pole promotes."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.screen_app import running
from vlmscope.core.base.neuron import Neuron, Poles
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.core.worker.messages import PromotedAnswer
from vlmscope.core.worker.promoted_cache import kept_promoted, load_promoted, save_promoted
from vlmscope.tui.browse.answers import PROMOTED

MINUS = Neuron.parse("L1/N5-")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    folder = tmp_path / "poled"
    write_synthetic_scan(
        folder, layers=4, neurons=32, samples=12, top_n=8, maps=3, grid=(4, 4), image=32, poles=Poles.BOTH
    )
    return folder


async def test_poles_are_typed_walked_and_noted(scan: Path) -> None:
    model = read_manifest(scan).model
    logits = np.array([2.0, 1.0], dtype=np.float32)
    save_promoted(model, PromotedAnswer(MINUS, ("minus", "less"), logits, ("plus", "more"), -logits), PROMOTED)
    async with running(scan) as on:
        assert str(on.neuron) == "L0/N0+" and "gate_up, both poles" in on.screen
        await on.type(":1.5")
        await on.until(lambda: "L1/N5 has two poles in this scan" in on.notes)
        await on.type("/5")
        await on.until(lambda: "Write L0/N5+ or L0/N5-." in on.notes)
        await on.type("/5-")
        assert str(on.neuron) == "L0/N5-"
        await on.press("]")
        assert str(on.neuron) == "L1/N5-" and on.neuron == Neuron(1, 11)
        await on.until(lambda: on.page.splitlines()[0].split()[0] == "L1/N5-" and "minus" in on.page)
        assert "5+ " in on.screen and "5- " in on.screen
        await on.press("1")
        await on.until(lambda: on.scene.noted.bits_of(MINUS) == 1)
        await on.press("k")
        assert str(on.neuron) == "L1/N5+" and "plus" in on.page
        await on.press("u")
        await on.until(lambda: "L1/N5-" in on.notes and on.scene.noted.bits_of(MINUS) == 0)
        at = on.neuron
        await on.pilot.press("q")
        await on.until(lambda: on.app._exit)
    async with running(scan) as on:
        await on.until(lambda: str(on.neuron) == str(at))
        assert on.neuron.poled and at.layer == 1


def test_what_a_unit_promotes_is_kept_once(scan: Path) -> None:
    model = read_manifest(scan).model
    logits = np.array([2.0], dtype=np.float32)
    save_promoted(model, PromotedAnswer(MINUS, ("minus",), logits, ("plus",), -3 * logits), 1)
    assert kept_promoted(model, 1) == {Neuron(1, 5)} == {MINUS.whole}
    for address, top, by in (("L1/N5-", "minus", 2), ("L1/N5+", "plus", 6), ("L1/N5", "plus", 6)):
        found = load_promoted(model, Neuron.parse(address), 1)
        assert found is not None and str(found.neuron) == address
        assert (found.top, found.top_logits.tolist()) == ((top,), [by])
