"""Explanations on the screen: asked for, agreed to, paid, kept, chosen, stopped. A real server, a real notebook."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.api_server import GOOD, KEY, ApiServer, Gate, api_server, completion
from tests.support.screen_app import Driver, running
from tests.support.silent_scan import silent_scan
from vlmscope.core.base.config import Api, Config
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.explanation import Explanation, FailedExplanation
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.dialogs.confirm import ConfirmScreen


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with api_server() as server:
        yield server


def settings(api: ApiServer, budget: float = 5.0) -> Config:
    return Config(api=Api(base_url=api.url, budget_usd=budget))


def notebook(scan: Path) -> Notebook:
    scan_id = read_manifest(scan).scan_id
    return Notebook.open(notebook_path(scan_id, scan, "data"), scan_id)


async def agree(on: Driver) -> None:
    """Press E and say yes."""
    await on.press("E")
    await on.until(lambda: isinstance(on.app.screen, ConfirmScreen))
    await on.press("y")


async def idle(on: Driver) -> None:
    await on.until(lambda: not on.scene.working)


async def explained(on: Driver) -> None:
    await idle(on)
    await on.until(lambda: "trains and railway tracks" in on.page)


async def test_without_a_key_nothing_is_sent_and_the_variable_is_named(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("E")
        await on.until(lambda: "OPENAI_API_KEY" in on.notes)
        assert "OPENAI_BASE_URL" in on.notes
        assert "Concepts need neither" in on.notes
        assert not isinstance(on.app.screen, ConfirmScreen)
        assert not on.scene.working


async def test_a_connection_that_cannot_be_set_up_is_told(
    scan: Path, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    async with running(scan, config=settings(api)) as on:
        await agree(on)
        await on.until(lambda: "cannot be set up" in on.notes)
        assert "SSL_CERT_FILE" in on.notes
        await idle(on)
    assert api.bodies == []


async def test_nothing_is_paid_before_a_yes(scan: Path, api: ApiServer) -> None:
    async with running(scan, config=settings(api)) as on:
        await on.press("E")
        await on.until(lambda: isinstance(on.app.screen, ConfirmScreen))
        for shown in ("explain L0/N0", "gpt-4o at http", "At most $", "prices of", "Budget: $5.00"):
            assert shown in on.screen
        await on.press("n")
        await on.until(lambda: not isinstance(on.app.screen, ConfirmScreen))
        assert not on.scene.working
        assert api.bodies == []
        # The next E asks again: a no is no yes.
        await on.press("E")
        await on.until(lambda: isinstance(on.app.screen, ConfirmScreen))


async def test_an_explanation_is_kept_shown_and_marked_and_the_next_is_not_asked_for(
    scan: Path, api: ApiServer
) -> None:
    async with running(scan, config=settings(api)) as on:
        await agree(on)
        await explained(on)
        assert "gpt-4o-2024-08-06, high confidence" in on.page.replace("\n", " ").replace("  ", "")
        await on.until(lambda: on.list.line_text(0).startswith("▸    0   e"))
        assert "$0.0060" in on.title
        assert "2 of 4 samples" in on.notes  # the scan keeps 3 maps, and its pictures are nowhere
        await on.press("j", "E")
        await on.until(lambda: len(api.bodies) == 2)
        await explained(on)
        assert "$0.0120" in on.title
    async with running(scan) as on:
        await on.until(lambda: "trains and railway tracks" in on.page)
    with notebook(scan) as kept:
        assert [saved.explanation.cost_usd for saved in kept.explanations(Neuron(0, 0))] == [0.006]
    assert len(api.bodies) == 2


@pytest.mark.parametrize("panel", [40, None])
async def test_contrast_follows_the_setting_and_the_dialog_has_it(
    tmp_path: Path, api: ApiServer, panel: int | None
) -> None:
    store = silent_scan(tmp_path / "scan", panel)
    config = Config(api=Api(base_url=api.url, contrast=True, contrast_samples=3))
    async with running(store.folder, config=config, start=Neuron(2, 5)) as on:
        for again in (False, True):
            await on.press("E")
            await on.until(lambda: isinstance(on.app.screen, ConfirmScreen))
            assert ("top samples and 3 on which it is silent (" in " ".join(on.screen.split())) == bool(panel)
            assert ("No contrast: Contrastive evidence needs a panel" in on.screen) == (not panel)
            assert ("has explained it already" in on.screen) == again
            await on.press("n" if again else "y")
            await on.until(lambda: not isinstance(on.app.screen, ConfirmScreen))
            await explained(on)
    assert len(api.bodies) == 1
    silent = [part for part in api.bodies[0]["messages"][1]["content"] if part.get("text", "").startswith("Silent")]
    assert len(silent) == (3 if panel else 0)
    with notebook(store.folder) as kept:
        assert len(kept.explanations(Neuron(2, 5))[0].explanation.samples) == (5 if panel else 2)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_the_model_gives_exact_maps_where_the_pictures_are(
    scan_copy: Path, tmp_path: Path, api: ApiServer, elsewhere: bool
) -> None:
    pictures = (tmp_path if elsewhere else scan_copy) / "pictures"
    pictures.mkdir()
    for index in range(12):
        Image.new("RGB", (40, 40), (index, 120, 200)).save(pictures / f"image_{index:04}.jpg")
    manifest = read_manifest(scan_copy).model_copy(update={"image_root": str(pictures)})
    (scan_copy / "manifest.json").write_text(manifest.model_dump_json())
    async with running(scan_copy, config=settings(api)) as on:
        if elsewhere:  # the scan has no digests: without a yes the stored crops are sent
            await agree(on)
            await explained(on)
            await on.until(lambda: "has no digest of the picture" in on.notes)
            assert "a allows it" in on.notes and on.models == []
            await on.press("a")
            await on.until(lambda: isinstance(on.app.screen, ConfirmScreen))
            await on.press("y")
            api.script.append(completion())
        await on.press("E")
        await on.until(lambda: "The model is loaded first" in on.screen)
        await on.press("y")
        await explained(on)
        await on.until(lambda: bool(on.models) and len(on.models[0].maps) >= 4)
        await idle(on)
        asked = [request for request in on.models[0].maps if request.crop]
        assert [request.neuron for request in asked] == [Neuron(0, 0)] * 4  # ranks 1, 3, 5, 7 of 8
        assert elsewhere or "of 4 samples" not in on.notes
    with notebook(scan_copy) as kept:
        samples = kept.explanations(Neuron(0, 0))[0].explanation.samples
        assert samples == tuple(ScanStore(scan_copy).arrays["top_sample"][0, 0, :8:2].tolist())


async def test_asking_again_says_so_and_both_stand_side_by_side(scan: Path, api: ApiServer) -> None:
    other = completion(
        '{"pattern_found": true, "explanation": "[red]dogs[/red]\\u001b[31m", "visual_phrases": ["dog"],'
        ' "text_cue": "", "confidence": "low"}'
    )
    api.script.extend([completion(), other])
    async with running(scan, config=settings(api)) as on:
        await agree(on)
        await explained(on)
        await on.press("E")
        await on.until(lambda: "has explained it already" in on.screen)
        await on.press("y")
        await idle(on)
        await on.until(lambda: "[red]dogs[/red]" in on.page)
        assert "1 more" in on.page
        await on.press("e")
        for shown in (
            "#2 · gpt-4o-2024-08-06, low confidence",
            "#1 · gpt-4o-2024-08-06, high confidence",
            "looks for: train, rail",
            "2,000 + 100 tokens",
            "$0.0060",
        ):
            assert shown in on.page
        assert on.page.index("[red]dogs") < on.page.index("trains and railway tracks")
        await on.press("c")
        await on.press("b")
        await on.until(lambda: "▸ #1 · gpt-4o-2024-08-06, high confidence" in on.page)
        await on.press("e")
        assert "trains and railway tracks" in on.page
        assert "[red]dogs" not in on.page
    assert len(api.bodies) == 2
    async with running(scan) as on:
        await on.until(lambda: "trains and railway tracks" in on.page)


async def test_a_refusal_is_shown_as_one_and_is_no_explanation(scan: Path, api: ApiServer) -> None:
    api.script.append(completion("", refusal="I cannot describe people."))
    async with running(scan, config=settings(api)) as on:
        await agree(on)
        await on.until(lambda: "refused: I cannot describe people." in on.page)
        await on.press("j")
        await on.settled()
        assert "refused" not in on.page
        await on.press("k")
        await on.until(lambda: "refused: I cannot describe people." in on.page)
    with notebook(scan) as kept:
        assert kept.explanations(Neuron(0, 0)) == ()
        (failure,) = kept.failures(Neuron(0, 0))
        assert isinstance(failure, FailedExplanation)
        assert failure.refused


async def test_a_server_that_accepts_nothing_is_explained(scan: Path, api: ApiServer) -> None:
    from tests.support.api_server import error

    api.otherwise = error(401, "Incorrect API key provided", code="invalid_api_key")
    async with running(scan, config=settings(api)) as on:
        await agree(on)
        await on.until(lambda: "refuses the key in OPENAI_API_KEY" in on.notes)
        assert "none yet" in on.page
        assert not on.scene.working


async def test_escape_stops_a_request_in_the_air_and_keeps_nothing(scan: Path, api: ApiServer) -> None:
    gate = Gate(completion())
    api.script.append(gate)
    async with running(scan, config=settings(api)) as on:
        await agree(on)
        await on.until(gate.entered.is_set)
        await on.until(lambda: "asking gpt-4o" in on.page)
        assert "esc stop" in on.keys
        await on.press("escape")
        await idle(on)
        await on.until(lambda: "none yet" in on.page)
        assert "$" not in on.title
        gate.opened.set()
        await on.press("E")  # agreed to already
        await explained(on)
    with notebook(scan) as kept:
        assert len(kept.explanations(Neuron(0, 0))) == 1
        assert kept.failures(Neuron(0, 0)) == ()


async def test_quitting_with_a_request_in_the_air(scan: Path, api: ApiServer) -> None:
    gate = Gate(completion())
    api.script.append(gate)
    async with running(scan, config=settings(api)) as on:
        await agree(on)
        await on.until(gate.entered.is_set)
        await on.pilot.press("q")
        await on.until(lambda: on.app._exit)
    gate.opened.set()
    assert on.app.return_code == 0
    path = notebook_path(read_manifest(scan).scan_id, scan, "data")
    assert not path.exists()


async def test_the_budget_stops_before_anything_is_sent(scan: Path, api: ApiServer) -> None:
    async with running(scan, config=settings(api, budget=0.001)) as on:
        await on.press("E")
        await on.until(lambda: "budget" in on.notes)
        assert not isinstance(on.app.screen, ConfirmScreen)
    assert api.bodies == []


async def test_what_another_vlmscope_writes_appears(scan: Path, api: ApiServer) -> None:
    async with running(scan, config=settings(api)) as on:
        await agree(on)
        await explained(on)
        with notebook(scan) as other:
            mine = other.explanations(Neuron(0, 0))[0].explanation
            other.add_explanation(Neuron(0, 0), Explanation(**vars(mine) | {"text": "written elsewhere"}))
        on.browse.controllers.look()
        await on.until(lambda: "written elsewhere" in on.page)


async def test_a_notebook_that_cannot_be_read_is_told_once_and_browsing_goes_on(scan: Path) -> None:
    path = notebook_path(read_manifest(scan).scan_id, scan, "data")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 100)
    async with running(scan) as on:
        await on.until(lambda: "no notebook" in on.page)
        for _ in range(3):
            on.browse.controllers.look()
            await on.pilot.pause(0.02)
        (what,) = on.notes.splitlines()
        assert "The notebook cannot be used: " in what and what.endswith(" Move the file away.")
        await on.press("j")
        await on.settled()
        assert on.neuron == Neuron(0, 1)


async def test_looking_makes_no_files(scan: Path, own_home: Path) -> None:
    async with running(scan) as on:
        await on.press("j", "e", "e", "]")
        await on.settled()
    assert [path for path in own_home.rglob("*") if path.is_file()] == []


async def test_the_key_is_written_nowhere(
    scan: Path, api: ApiServer, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    answer = completion(
        '{"pattern_found": true, "explanation": "' + GOOD["explanation"] + '", "visual_phrases": [],'
        ' "text_cue": "", "confidence": "high"}'
    )
    api.script.append(answer)
    async with running(scan, config=settings(api)) as on:
        await agree(on)
        await explained(on)
        assert KEY not in on.screen + on.notes
    assert api.keys == [f"Bearer {KEY}"]
    files = [path for path in own_home.rglob("*") if path.is_file()]
    assert len(files) >= 2  # the notebook and the cache
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
