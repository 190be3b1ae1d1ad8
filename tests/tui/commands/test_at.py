"""``vlmscope at``: without the model, with it, and what is refused."""

import json
from pathlib import Path

import pytest

from tests.core.causal.test_pointing import Model
from tests.support.explain_parts import picture
from tests.tui.commands.test_trust import strange  # noqa: F401  # a fixture
from vlmscope.core.base.errors import WorkerError
from vlmscope.core.store.manifest import MANIFEST
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.interventions import (
    AttributionRequest,
    FiringRequest,
    InterventionAnswer,
    InterventionRequest,
)
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.tui.__main__ import main

Captured = pytest.CaptureFixture[str]
BICYCLE = ("at", "demo", "--sample", "3", "--word", "bicycle", "--before")


@pytest.fixture
def models(scan_copy: Path, strange: Path, monkeypatch: pytest.MonkeyPatch) -> list[Model]:  # noqa: F811
    """The model processes that are started; ``scan_copy`` has concepts, and pictures without digests elsewhere."""
    assert strange == scan_copy
    started: list[Model] = []

    class Process(Model):
        def __init__(self, _spec: ModelSpec, *_: object, **__: object) -> None:
            super().__init__(ScanStore(scan_copy))
            started.append(self)

        async def close(self) -> None:
            """Nothing to end."""

    monkeypatch.setattr("vlmscope.tui.commands.at.ModelProcess", Process)
    return started


def test_a_scan_alone_answers_for_its_top_samples(models: list[Model], capsys: Captured) -> None:
    assert main([*BICYCLE, "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert not models
    assert '#3, word "bicycle", where it is predicted, by bar: ' in captured.err
    assert "--all asks about all" in captured.err
    assert found[3]["concepts"][0]["word"] == "bicycle" and found[0]["by"] == "bar" and found[0]["value"] > 1
    assert all(1 <= one["top_sample"] <= 50 and one["written"] is one["exact"] is None for one in found)
    values = [one["value"] for one in found]
    assert values == sorted(values, reverse=True)
    assert main(list(BICYCLE)) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["neuron", "label", "bar", "activation", "top", "sample", "concepts"]
    for one, line in zip(found, lines, strict=True):
        assert line.startswith(f"{one['neuron']} ") and f" {one['value']:.2f} " in line
        assert f" {one['top_sample']}  {one['concepts'][0]['word']} " in line


def test_a_patch_of_the_scan_needs_no_model(models: list[Model], capsys: Captured) -> None:
    assert main(["at", "demo", "--sample", "3", "--patch", "2,2", "--by", "rare"]) == 0
    captured = capsys.readouterr()
    assert not models and " 1 in " in captured.out
    assert "patch 2,2, by rare: 7 neurons have it as top sample and a peak there, or one patch away" in captured.err
    assert "words here: three x2 (chance 0.3)" in captured.err


@pytest.mark.parametrize("more", [("--all",), ("--by", "written"), ("--image", "FILE")])
def test_the_model_is_asked_about_all_neurons(
    more: tuple[str, ...], models: list[Model], scan_copy: Path, capsys: Captured
) -> None:
    own = scan_copy.parent / "own.png"
    own.write_bytes(picture())
    which = ("--image", str(own)) if more[0] == "--image" else ("--sample", "3", *more)
    assert main(["at", str(scan_copy), *which, "--patch", "1,2", "--trust-images", "--limit", "200"]) == 0
    captured = capsys.readouterr()
    (model,) = models
    assert [type(request) for request in model.interventions] == [FiringRequest]
    assert "the model was asked about all neurons" in captured.err
    head, *lines = captured.out.splitlines()
    value = "written" if "written" in more else "bar"
    top = [] if more[0] == "--image" else ["top", "sample"]
    assert head.split() == ["neuron", "label", value, "activation", "writes", *top, "concepts"]
    assert len(lines) > 60
    assert ("the model's description: A cat." in captured.err) == (more[0] == "--image")
    assert ("have this picture among their own top samples" in captured.err) == (more[0] != "--image")


def test_effects_come_with_exact_ablations(models: list[Model], scan_copy: Path, capsys: Captured) -> None:
    word = ScanStore(scan_copy).sample(3).tokens[5].strip()
    at = ("at", str(scan_copy), "--sample", "3", "--word", word, "--trust-images")
    assert main([*at, "--by", "effect", "--limit", "30", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [type(request) for request in models[0].interventions] == [AttributionRequest, InterventionRequest]
    assert [one["exact"] for one in found] == [-2] * 20 + [None] * 10
    assert [one["value"] for one in found] == [-2] * 24 + [-1.5] * 6  # six indices of each layer give -2
    assert main([*at, "--by", "effect", "--limit", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[:4] == ["neuron", "label", "effect", "exact"]
    assert main([*at, "--exact", "0", "--by", "effect"]) == 0
    assert len(models[2].interventions) == 1
    assert main([*at, "--exact", "2"]) == 0  # what the scan alone gives, then ablated
    assert [type(request) for request in models[3].interventions] == [InterventionRequest]


def test_the_first_word_is_predicted_in_the_prompt_which_the_model_reads(
    models: list[Model], scan_copy: Path, capsys: Captured
) -> None:
    word = ScanStore(scan_copy).sample(3).tokens[0].strip()
    at = ("at", str(scan_copy), "--sample", "3", "--word", word, "--trust-images")
    assert main([*at, "--before"]) == 0
    (request,) = models[0].interventions
    assert isinstance(request, FiringRequest) and request.before and request.text == (0,)
    assert "where it is predicted, by bar: the model was asked" in capsys.readouterr().err
    assert main(list(at)) == 0 and len(models) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--sample", "3"), "Name one place."),
        (("--sample", "3", "--patch", "1,1", "--word", "two"), "Name one place."),
        (("--patch", "1,1"), "Name one picture."),
        (("--sample", "3", "--image", "x.png", "--patch", "1,1"), "Name one picture."),
        (("--sample", "3", "--patch", "12,0"), "Rows go from 0 to 11, columns from 0 to 11."),
        (("--sample", "3", "--patch", "0,-1"), "Rows go from 0 to 11, columns from 0 to 11."),
        (("--sample", "3", "--patch", "one"), "--patch is 'one', not a row and a column."),
        (("--sample", "1500", "--patch", "1,1"), "Samples go from 0 to 1499."),
        (("--sample", "-1", "--patch", "1,1"), "Samples go from 0 to 1499."),
        (("--sample", "3", "--word", "zebra"), "It has: top, right, corner, three, small, houses, large, bicycle"),
        (("--sample", "3", "--word", ""), "'' is not in this description."),
        (("--sample", "3", "--patch", "1,1", "--before"), "--before is for --word."),
        (("--sample", "3", "--patch", "1,1", "--by", "effect"), "--by effect is about a word's log-odds."),
        (("--sample", "3", "--patch", "1,1", "--exact", "3"), "--exact is about a word's log-odds."),
        (("--sample", "3", "--patch", "1,1", "--by", "size"), "maximum"),
        (("--image", "gone.png", "--patch", "1,1"), "There is no picture at gone.png."),
        (("--image", ".", "--patch", "1,1"), "There is no picture at ."),
    ],
)
def test_wrong_use_is_refused(more: tuple[str, ...], words: str, models: list[Model], capsys: Captured) -> None:
    assert main(["at", "demo", *more]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and words in captured.err and not models


def test_a_picture_without_a_digest_is_read_only_if_it_is_trusted(
    models: list[Model], scan_copy: Path, capsys: Captured
) -> None:
    assert main(["at", str(scan_copy), "--sample", "3", "--patch", "1,1", "--all"]) == 1
    assert "If you trust the scan, add --trust-images." in capsys.readouterr().err
    assert not models
    assert main(["at", str(scan_copy), "--sample", "3", "--patch", "1,1"]) == 0


def test_a_control_is_pointed_at_without_a_model(models: list[Model], scan_copy: Path, capsys: Captured) -> None:
    content = json.loads((scan_copy / MANIFEST).read_text())
    content["control"] = {"scan_id": "x", "seed": 0}
    (scan_copy / MANIFEST).write_text(json.dumps(content))
    at = ("at", str(scan_copy), "--sample", "3", "--patch", "1,1", "--trust-images")
    assert main(list(at)) == 0
    assert main([*at, "--all"]) == 2
    assert "This scan is a control" in capsys.readouterr().err
    assert not models


def test_a_failure_of_the_model_is_reported(
    models: list[Model],
    scan_copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    async def fail(_: object, __: object) -> InterventionAnswer:
        raise WorkerError("out of memory")

    monkeypatch.setattr(Model, "firing", fail)
    assert main(["at", str(scan_copy), "--sample", "3", "--patch", "1,1", "--all", "--trust-images"]) == 1
    assert "out of memory" in capsys.readouterr().err
    assert len(models) == 1
