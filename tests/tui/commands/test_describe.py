"""``vlmscope describe`` and ``scan --describe-with``, as a user types them, on a tiny random model."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.scan.test_served import describing
from tests.support.api_server import ApiServer, api_server, error
from tests.support.tiny import make_images, make_model
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return make_images(tmp_path / "data", 6, descriptions=False).parent


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    monkeypatch.setattr("vlmscope.core.llm.retry.BACK_OFF_S", 0.0)
    with api_server() as found:
        found.otherwise = describing
        yield found


def test_a_listing_by_a_server_is_what_a_scan_reads_and_reuses(
    model: str, images: Path, server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--images", str(images), "--describe-with", server.url, "--describe-model", "served"]
    assert main(["describe", *given]) == 0
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["image"] for line in lines] == sorted(path.name for path in images.glob("*.png"))
    assert all(line["description"].startswith("mean colour") for line in lines)
    assert "6 pictures to describe with served" in said.err
    listing = tmp_path / "listing.jsonl"
    assert main(["describe", *given, "--out", str(listing)]) == 0  # all of them from the cache
    assert listing.read_text() == said.out and len(server.bodies) == 6
    assert f"--image-root {images}" in capsys.readouterr().err
    assert main(["describe", *given, "--out", str(listing)]) == 2  # nothing is overwritten

    out = tmp_path / "scan"
    assert main(["scan", "--model", model, *given, "--out", str(out), "--top-n", "3"]) == 0
    store = ScanStore(out)
    assert [store.sample(index).description for index in range(6)] == [line["description"] for line in lines]
    described = store.manifest.described
    assert described is not None and described.model == "served" and described.server in server.url
    assert len(server.bodies) == 6
    named = tmp_path / "named"
    again = ["scan", "--model", model, "--images", str(listing), "--image-root", str(images), "--out", str(named)]
    assert main([*again, "--top-n", "3"]) == 0
    assert read_manifest(named).described is None
    assert (ScanStore(named).arrays["top_visual"] == store.arrays["top_visual"]).all()


def test_the_model_itself(model: str, images: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vlmscope.core.model.vlm.DESCRIPTION_TOKENS", 6)
    out, scanned = tmp_path / "listing.jsonl", tmp_path / "scan"
    assert main(["describe", "--model", model, "--images", str(images), "--limit", "3", "--out", str(out)]) == 0
    assert main(["scan", "--model", model, "--images", str(images), "--limit", "3", "--out", str(scanned)]) == 0
    store = ScanStore(scanned)
    found = [json.loads(line)["description"] for line in out.read_text().splitlines()]
    assert found == [store.sample(index).description for index in range(3)]


def test_a_scan_without_descriptions_leaves_nothing_behind(
    model: str, images: Path, server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.otherwise = error(400, "this model is text only")
    out = tmp_path / "scan"
    given = ["--images", str(images), "--describe-with", server.url]
    assert main(["scan", "--model", model, *given, "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "text only" in said and "sees pictures" in said and not out.exists()


@pytest.mark.parametrize(
    ("typed", "code", "message"),
    [
        (["describe"], 2, "Describing needs --images"),
        (["describe", "--images", "{images}"], 2, "Describing needs --images"),
        (["describe", "--images", "{images}", "--describe-with", "{url}"], 2, "The server's model has no name"),
        (["describe", "--images", "{images}", "--model", "x", "--describe-with", "localhost"], 2, "is not a URL"),
        (["describe", "--images", "{images}", "--model", "x", "--describe-model", "y"], 2, "needs a server"),
        (["scan", "--control", "demo", "--describe-with", "{url}"], 2, "--describe-with does not go with --control"),
        # OpenAI's models have a price, and nobody can be asked whether that may be paid
        (["describe", "--images", "{images}", "--model", "gpt-4o", "--describe-with", "{url}"], 2, "Add --yes"),
    ],
)
def test_wrong_use(
    typed: list[str],
    code: int,
    message: str,
    images: Path,
    server: ApiServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([part.format(images=images, url=server.url) for part in typed]) == code
    assert message in capsys.readouterr().err and not server.bodies
