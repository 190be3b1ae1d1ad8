"""``:contrast`` on the screen: the same neurons as the command's, ranked by either answer, and what goes wrong."""

from pathlib import Path

import pytest

from tests.support.screen_app import Driver, running
from tests.support.silent_scan import silent_scan
from vlmscope.core.analysis.contrast import Answer, contrast
from vlmscope.core.analysis.groups import Group, two_groups
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.dialogs.choice import ChoiceScreen
from vlmscope.tui.dialogs.neurons import NeuronsScreen
from vlmscope.tui.views.neurons import NeuronTable


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ScanStore:
    return silent_scan(tmp_path_factory.mktemp("contrast") / "scan")


def table(on: Driver) -> NeuronTable:
    screen = on.app.screen
    assert isinstance(screen, NeuronsScreen)
    return screen.question.table()


async def listed(on: Driver) -> NeuronTable:
    await on.until(lambda: isinstance(on.app.screen, NeuronsScreen) and table(on).lines != ("…",))
    await on.pilot.pause()
    return table(on)


async def test_both_rankings_are_the_commands(store: ScanStore) -> None:
    groups = Group.parse("samples:0-19"), Group.parse("samples:20-49")
    wanted = {by: contrast(store, *two_groups(store, *groups), by, 50) for by in Answer}
    async with running(store.folder, size=(80, 24)) as on:
        await on.type(":contrast samples:0-19 samples:20-49")
        found = await listed(on)
        assert found.title == "samples:0-19 against samples:20-49"
        assert [row.neuron for row in found.rows] == [one.neuron for one in wanted[Answer.TOP].ranked]
        assert found.heads == ("of a", "chance", "odds", "q", "AUC", "a - b", "q", "label", "concept")
        first = wanted[Answer.TOP].ranked[0]
        assert found.rows[0].texts[0] == f"{first.top.of_a}/{first.top.samples}"
        assert first.panel is not None and found.rows[0].texts[4] == f"{first.panel.auc:.2f}"
        assert "a: samples:0-19, 20 samples" in on.screen
        await on.press("o")
        await on.until(lambda: isinstance(on.app.screen, ChoiceScreen))
        await on.press("p")
        await on.until(lambda: isinstance(on.app.screen, NeuronsScreen) and "(AUC)" in " ".join(table(on).lines))
        found = table(on)
        assert [row.neuron for row in found.rows] == [one.neuron for one in wanted[Answer.PANEL].ranked]
        await on.press("j", "enter")
        await on.until(lambda: on.scene.state.neuron == found.rows[1].neuron)


async def test_what_cannot_be_compared(store: ScanStore, tmp_path: Path) -> None:
    async with running(store.folder) as on:
        for typed, note in (
            ("zebra", "'zebra' is not a group of samples"),
            ("", "0 groups, not one or two"),
            ("rest rest rest", "3 groups, not one or two"),
        ):
            await on.type(f":contrast {typed}")
            await on.until(lambda note=note: note in on.notes)  # type: ignore[misc]
        for typed, line in (
            ("samples:0-9 samples:5-19", "overlap: samples in both: 5"),
            ("rest", "Both groups are the rest"),
            ("samples:0,99", "There is no sample 99"),
            ("field:culture=Thai", "has the field 'culture'"),
        ):
            await on.type(f":contrast {typed}")
            found = await listed(on)
            assert line in found.lines[0] and not found.rows
            await on.press("escape")
        await on.type(":contrast samples:0-9 samples:5-19 drop-shared")
        found = await listed(on)
        assert "a: samples:0-9, 5 samples" in found.lines[0] and "b: samples:5-19, 10 samples" in found.lines[1]
        assert found.lines[2] == "left out, as both have them: 5 samples" and found.rows
    bare = silent_scan(tmp_path / "bare", panel=None)
    async with running(bare.folder) as on:
        await on.type(":contrast samples:0-19")
        found = await listed(on)
        assert "The scan has no panel" in found.lines[-1] and "AUC" not in found.heads and found.rows
        await on.press("o", "p")
        await on.until(lambda: "needs a panel of random samples" in table(on).lines[0])
