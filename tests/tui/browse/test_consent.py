"""What a scan from elsewhere needs a yes for: a model that would be downloaded, and pictures without digests."""

import json
from pathlib import Path

import pytest

from tests.support.explain_parts import picture
from tests.support.screen_app import Driver, running
from vlmscope.core.store.manifest import MANIFEST
from vlmscope.core.store.original import UNCHECKED
from vlmscope.tui.browse import model_link
from vlmscope.tui.dialogs.confirm import ConfirmScreen

NAME = "someone/llava-tiny"


def named(scan: Path, model: str = "demo", **changes: object) -> Path:
    """The scan with another model's name, and other fields of the manifest."""
    content = json.loads((scan / MANIFEST).read_text())
    content["model"]["name"] = model
    (scan / MANIFEST).write_text(json.dumps(content | changes))
    return scan


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No model of the hub is here; the names that were looked for."""
    looked: list[str] = []

    def would_download(name: str, _revision: str | None) -> bool:
        looked.append(name)
        return name == NAME

    monkeypatch.setattr(model_link, "would_download", would_download)
    return looked


async def ask(on: Driver) -> None:
    await on.press("a")
    await on.until(lambda: isinstance(on.app.screen, ConfirmScreen))


async def beyond_the_maps(on: Driver) -> None:
    await on.press("l", "l", "l")
    await on.settled()
    await on.press("X")


def reason(on: Driver) -> str:
    """Why there is no map; on the page it is wrapped."""
    return "" if on.scene.picture is None else on.scene.picture.map_problem


async def test_a_model_that_would_be_downloaded_is_loaded_after_a_yes(scan_copy: Path, away: list[str]) -> None:
    async with running(named(scan_copy, NAME)) as on:
        assert away == [], "nothing is looked up before the model is needed"
        await beyond_the_maps(on)
        await on.until(lambda: "would be downloaded" in reason(on))
        assert NAME in reason(on) and "a allows it" in reason(on)
        await on.until(lambda: "no map:" in on.page)
        await on.type(":restart")
        await on.until(lambda: "would be downloaded" in on.notes)
        await on.press("w")
        await on.until(lambda: "would be downloaded" in on.page.split("against")[0])
        assert on.models == []
        await ask(on)
        assert NAME in on.screen and "downloaded from the hub" in on.screen and "digest" in on.screen
        await on.press("n")
        assert on.models == []
        await ask(on)
        await on.press("y")
        await on.until(lambda: bool(on.models) and len(on.models[0].maps) == 1)
        await on.until(lambda: "no map" not in on.page)
        await on.press("a")
        await on.until(lambda: "There is nothing to allow" in on.notes)


async def test_a_model_that_is_here_is_loaded_as_ever(scan_copy: Path, away: list[str]) -> None:
    async with running(named(scan_copy, "someone/here")) as on:
        await beyond_the_maps(on)
        await on.until(lambda: bool(on.models) and len(on.models[0].maps) == 1)
        assert away == ["someone/here"]


async def test_pictures_without_digests_are_read_after_a_yes(scan_copy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    async with running(named(scan_copy, image_root=str(folder))) as on:
        for index in range(on.store.manifest.samples):
            (folder / on.store.sample(index).image).write_bytes(picture())
        await beyond_the_maps(on)
        await on.until(lambda: UNCHECKED in reason(on))
        assert "a allows it" in reason(on)
        await on.until(lambda: "no map:" in on.page)
        assert on.models == []
        await ask(on)
        assert str(folder)[:40] in "".join(on.screen.split()) and "no digests of its pictures" in on.screen
        assert "downloaded" not in on.screen
        await on.press("y")
        await on.until(lambda: bool(on.models) and len(on.models[0].maps) == 1)
        assert Path(on.models[0].maps[0].image).parent == folder


async def test_a_yes_holds_for_later_checkpoints(scan_copy: Path, tmp_path: Path) -> None:
    from vlmscope.core.store.reader import ScanStore
    from vlmscope.tui.browse.incoming import replace_store
    from vlmscope.tui.views.columns import Columns

    async with running(named(scan_copy, image_root=str(tmp_path))) as on:
        later = [ScanStore(scan_copy) for _ in range(2)]
        replace_store(on.session, Columns(later[0], later[0].stored_labels(), None))
        assert not later[0].images_trusted
        on.session.load_page()
        await ask(on)
        await on.press("y")
        replace_store(on.session, Columns(later[1], later[1].stored_labels(), None))
        assert later[1].images_trusted


async def test_a_scan_with_digests_has_nothing_to_allow() -> None:
    from vlmscope.core.base.demo import demo_folder

    async with running(demo_folder() / "scan") as on:
        await on.press("a")
        await on.until(lambda: "There is nothing to allow" in on.notes)
