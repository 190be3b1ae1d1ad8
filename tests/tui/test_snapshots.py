"""What the screens look like, kept as SVG: a change shows at a glance what it does to them.

``pytest tests/tui/test_snapshots.py --snapshot-update`` makes the files again, in ``__snapshots__`` beside this one.
"""

import re
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.image import SVGImageSnapshotExtension

from tests.support.api_server import KEY
from tests.support.records import put_records
from tests.support.screen_app import Driver, running
from vlmscope.core.base.config import Api, Config
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.data.images import png
from vlmscope.core.store.synthetic import tiled_layout, write_synthetic_scan
from vlmscope.tui.dialogs.choice import ChoiceScreen
from vlmscope.tui.dialogs.confirm import ConfirmScreen
from vlmscope.tui.dialogs.help import HelpScreen
from vlmscope.tui.dialogs.neurons import NeuronsScreen
from vlmscope.tui.shares.screen import SharesScreen

SCAN = Path(__file__).parents[1] / "fixtures/before"
SMALL, LARGE = (80, 24), (140, 42)


def keys(*names: str) -> Callable[[Driver], Awaitable[None]]:
    async def press(on: Driver) -> None:
        for name in names:
            await on.press(name)
            await on.settled()

    return press


def opens(key: str, screen: type[object], *before: str) -> Callable[[Driver], Awaitable[None]]:
    async def press(on: Driver) -> None:
        await on.press(*before, key)
        await on.until(lambda: isinstance(on.app.screen, screen))

    return press


@dataclass(frozen=True)
class Case:
    """One screen: ``action`` leads there."""

    name: str
    action: Callable[[Driver], Awaitable[None]] = Driver.settled
    sizes: tuple[tuple[int, int], ...] = (SMALL, LARGE)
    start: Neuron | None = None
    config: Config = field(default_factory=Config)
    colours: bool = True


async def _shares(on: Driver) -> None:
    await opens("L", SharesScreen)(on)
    await on.until(lambda: "…" not in on.screen)


async def _sheet(on: Driver) -> None:
    await on.press("z")
    await on.until(lambda: on.scene.sheet is not None)
    await on.settled()


NOTED = Neuron(0, 1)  #: the neuron of which the notebook holds most
API = Config(api=Api(base_url="http://127.0.0.1:9/v1"))
CASES = (
    Case("list"),
    Case("page", keys("enter"), start=NOTED),
    Case("zoom", keys("Z"), start=NOTED),
    Case("sheet", _sheet, start=NOTED),
    Case("compare", keys("=", "j", "Z"), (SMALL,), NOTED),
    Case("statistics", keys("enter", "v"), start=NOTED),
    Case("meaning", keys("enter", "e"), start=NOTED),
    Case("score", keys("enter", "s"), start=NOTED),
    Case("shares", _shares),
    Case("help", opens("question_mark", HelpScreen)),
    Case("point", keys("enter", "P"), start=NOTED),
    Case("neurons", opens("r", NeuronsScreen), (SMALL,), NOTED),
    Case("choice", opens("c", ChoiceScreen), (LARGE,), NOTED),
    Case("confirm", opens("E", ConfirmScreen), (LARGE,), NOTED, API),
    Case("light", keys("enter"), (LARGE,), NOTED, Config(theme="textual-light")),
    Case("no_colour", keys("enter"), (LARGE,), NOTED, colours=False),
)


@pytest.fixture
def snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(SVGImageSnapshotExtension)


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """The small scan with its notebook, which lies beside it."""
    shutil.copy(SCAN / "scan.notebook.sqlite", tmp_path)
    return Path(shutil.copytree(SCAN / "scan", tmp_path / "scan"))


def shown(on: Driver) -> str:
    """The screen as an SVG that depends on nothing but what it shows: no fonts from the net, no made-up ids; short."""
    svg = on.app.export_screenshot(title="vlmscope")
    for cut in (
        r"@font-face \{.*?\}\s*",
        r"<clipPath id=\S+-line-\d+\">.*?</clipPath>\s*",
        r' clip-path="url\(#\S+-line-\d+\)"',
        r' shape-rendering="crispEdges"',
        r"terminal-\d+-(?=r\d)",
    ):
        svg = re.sub(cut, "", svg, flags=re.DOTALL)
    svg = re.sub(r"terminal-\d+", "terminal", svg).replace("&#160;", "\N{NO-BREAK SPACE}")
    return svg.replace("/><rect", "/>\n<rect").replace("</text><text", "</text>\n<text")  # so that a diff is short


@pytest.mark.parametrize(
    ("case", "size"),
    [pytest.param(case, size, id=f"{case.name}-{size[0]}x{size[1]}") for case in CASES for size in case.sizes],
)
async def test_looks(
    noted: Path, snapshot: SnapshotAssertion, case: Case, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    if not case.colours:
        monkeypatch.setenv("NO_COLOR", "1")
    async with running(noted, size, case.config, case.start, "scan") as on:
        await on.until(lambda: "triaged" in on.screen or size == SMALL)
        await on.settled()  # help begins with the words of the page
        await case.action(on)
        await on.pilot.pause()
        assert shown(on) == snapshot


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of pictures of 3 by 2, each covered by a thumbnail and by tiles; their crop is a gradient without loss."""
    out = tmp_path_factory.mktemp("tiled") / "scan"
    write_synthetic_scan(out, layers=2, neurons=8, samples=6, top_n=6, maps=6, layouts=[tiled_layout()], image=96)
    x, y = np.meshgrid(np.arange(96), np.arange(64))
    crop = png(Image.fromarray(np.stack([x * 2, y * 3, 255 - x - y], axis=-1).astype(np.uint8)))
    (out / "crops.bin").write_bytes(crop)
    put_records(out, crop=[0, len(crop)])
    return out


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "140x42"])
@pytest.mark.parametrize("presses", [(), ("M",)], ids=["all", "thumbnail"])
async def test_covers_look(
    tiled: Path, snapshot: SnapshotAssertion, presses: tuple[str, ...], size: tuple[int, int]
) -> None:
    async with running(tiled, size, start=Neuron(1, 3), name="tiled") as on:
        await keys("enter", *presses)(on)
        await on.pilot.pause()
        assert shown(on) == snapshot
