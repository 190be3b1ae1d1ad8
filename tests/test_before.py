"""What the version before wrote (tests/fixtures/before) opens, continues and answers as it did."""

import asyncio
import io
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vlmscope.core.base.config import Api, cache_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.data.description_cache import DescriptionCache
from vlmscope.core.data.samples import Data, read_data
from vlmscope.core.explain.cache import cache_key as explain_key
from vlmscope.core.explain.cache import read_cached
from vlmscope.core.explain.evidence import complete, gather
from vlmscope.core.explain.prompt import build_request as explain_request
from vlmscope.core.llm.access import base_url
from vlmscope.core.llm.budget import Ledger
from vlmscope.core.llm.client import Chat
from vlmscope.core.method.correlation import Correlation, IntervalKind, Pooled, ScoredGroup, TokenKind
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.notebook.explanation import Confidence, Explanation, FailedExplanation, Source
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.notebook.values import Change, Kind, Mark, Resume, Verdict
from vlmscope.core.scoring.protocol import HeldOut, Prediction
from vlmscope.core.scoring.report import Failure, SampleScore, ScoreReport
from vlmscope.core.scoring.simulators.api_text import ApiText
from vlmscope.core.store.arrays import array_shapes
from vlmscope.core.store.manifest import SCHEMA, Manifest, ShardInfo, read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.core.worker.promoted_cache import load_promoted
from vlmscope.tui.__main__ import main

FILES = Path(__file__).parent / "fixtures/before"
A, B, C, D = Neuron(0, 1), Neuron(0, 2), Neuron(1, 0), Neuron(1, 15)
WHEN = "2026-11-27T12:00:00+00:00"
BY_API = Explanation(
    "trains and railway tracks",
    Source.API,
    WHEN,
    True,
    ("train", "rail"),
    "words for trains",
    Confidence.HIGH,
    "gpt-4o-2024-08-06",
    "explain-1",
    (0, 2),
    2000,
    100,
    0.006,
)
ADDED = ("checks", "reviews", "own_scores")  #: what is noted on a neuron since then
OPTIONS = ScanOptions(top_n=4, maps=2, batch=2, thresholds=Thresholds(T_v=1.5))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, which is the working folder, with its caches where the user's are."""
    copy = Path(shutil.copytree(FILES, tmp_path / "before"))
    monkeypatch.chdir(copy)
    monkeypatch.setenv("XDG_CACHE_HOME", str(copy / "cache"))
    return copy


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("show-L0N1", "show scan L0/N1"),
        ("show-L1N0", "show scan L1/N0"),
        ("show-L1N15", "show scan L1/N15"),
        ("show-unfinished", "show unfinished L1/N3"),
        ("show-shard", "show shard L1/N3"),
        ("labels", "labels scan"),
        ("labels-unfinished", "labels unfinished --Tv 3"),
        ("stats", "stats scan --scores"),
        ("search", "search scan train"),
    ],
)
def test_commands_print_what_they_printed(
    files: Path, capsys: pytest.CaptureFixture[str], name: str, command: str
) -> None:
    assert main([*command.split(), "--json"]) == 0
    found = capsys.readouterr().out
    if name.startswith("show"):
        shown = json.loads(found)
        without_added(shown["notebook"])
        assert "range" not in shown  # it has no panel
        found = json.dumps(shown, indent=2) + "\n"
    if command.endswith("--scores"):
        rows = json.loads(found)
        assert [row.pop("leads") for row in rows] == [0] * len(rows)  # its only score is n/a
        found = json.dumps(rows, indent=2) + "\n"
    assert found == (files / "outputs" / f"{name}.json").read_text()


def without_added(noted: dict[str, object]) -> None:
    """Take out what later versions note on a neuron, of which there is nothing here."""
    assert [noted.pop(name) for name in ADDED] == [[] for _ in ADDED]


def test_the_report_has_what_it_had(files: Path) -> None:
    assert main(["export", "scan", "--out", "report", "--format", "json", "--verdict", "any"]) == 0
    found, expected = (json.loads(Path(path).read_text()) for path in ("report/report.json", "outputs/report.json"))
    for report in (found, expected):
        assert report.pop("created") and report.pop("vlmscope")
    assert found.pop("sets") == []
    for neuron in found["neurons"]:
        without_added(neuron)
        assert neuron.pop("firmness")["fragile"] in (True, False)
        for sample in neuron["samples"]:
            above = [sample["description"][first:last] for first, last in sample.pop("above")]
            assert {word["token"].strip() for word in sample["words"]} <= set(above)
    assert found == expected


def test_the_scan() -> None:
    store = ScanStore(FILES / "scan")
    manifest = store.manifest
    assert (manifest.model.name, store.layers, store.neurons, store.layout(6)) == (
        "tiny/llava",
        2,
        16,
        VisualLayout.plain(3, 3),
    )
    assert (manifest.schema_version, manifest.visual_tokens_max, store.sample(6).seen) == (SCHEMA, 9, None)
    assert not {"layout_edges", "layout_cover"} & store.arrays.keys()
    assert (manifest.samples, manifest.scanned, [skip.sample for skip in manifest.skipped]) == (10, 9, [3])
    assert manifest.thresholds.value() == Thresholds(T_v=1.5)
    labels = store.stored_labels()
    assert labels.counts().tolist() == [[1, 5, 7, 3], [2, 4, 6, 4]]
    assert store.labels(Thresholds()).counts().tolist() == [[1, 5, 7, 3], [2, 7, 3, 4]]
    neuron = Neuron(1, 3)
    assert store.votes(neuron, labels.thresholds).tolist() == [2, 3, 3, 0]
    assert store.scores(neuron) == pytest.approx([1.3982531, 1.2242166, 1.1349771, 1.0657564])
    assert store.peak_tokens(neuron) == [("Three", 1), ("a", 1), ("at", 1), ("top", 1)]
    top = store.example(neuron, 0, labels.thresholds)
    assert (top.sample.index, top.vote, top.peak_patch, top.peak_token) == (6, Label.MULTIMODAL, 0, 5)
    assert top.visual_map is not None and top.text_map is not None
    assert top.visual_map.ravel()[:2] == pytest.approx([1.3982531, 0.37835085])
    assert top.text_map[[0, 1, 5]] == pytest.approx([1.189886, 0, 1.3708364])
    assert store.example(neuron, 2, labels.thresholds).visual_map is None
    sample = store.sample(6)
    assert (sample.image, sample.tokens[:4]) == ("6.png", ("a", " stands", " of", " corner"))
    assert store.crop(6)[:2] == b"\xff\xd8" and len(store.crop(6)) == 503
    found = store.distribution(neuron, Label.VISUAL)
    assert (found.count, found.mean, found.mean_square) == pytest.approx((81, 0.0476007, 0.1761065), rel=1e-5)
    concepts = store.concepts
    assert concepts is not None and concepts.words == ("cake", "red", "train")
    assert [(one.word, one.strength) for one in concepts.of(A).words] == [("train", 4.5), ("red", 2.25)]


def test_the_notebook(files: Path) -> None:
    store = ScanStore(files / "scan")
    path = notebook_path(store.manifest.scan_id, store.folder, "data")
    assert path == files / "scan.notebook.sqlite"
    with Notebook.open(path, store.manifest.scan_id) as notebook:
        entry = notebook.entry(A)
        assert (entry.verdict, entry.bookmark, entry.tags) == (Verdict.KEEP, True, ("Check again", "trains"))
        assert entry.note == "trains, and\nthe rails: 汽车 \ud83d"
        assert [(one.id, one.leads) for one in entry.explanations] == [
            (10, True),
            (16, False),
            (15, False),
            (12, False),
            (11, False),
        ]
        assert [one.explanation for one in entry.explanations] == [
            BY_API,
            Explanation("dogs", Source.BORROWED, WHEN, model="L1/N0"),
            Explanation("red, train", Source.CONCEPTS, WHEN),
            Explanation("wheels", Source.USER, WHEN),
            replace(BY_API, text="red things", confidence=Confidence.LOW, cost_usd=None),
        ]
        text, lens = entry.scores
        assert (text.id, text.explanation_id, text.backend) == (20, 12, "api-text")
        assert (lens.id, lens.explanation_id, lens.backend, lens.created) == (19, 10, "lens", WHEN)
        pooled = Pooled(0.25, "", (0.1, 0.4), IntervalKind.BOOTSTRAP, 25, 25, 900)
        assert ScoreReport.from_json(text.body) == ScoreReport(
            "api-text",
            True,
            "wheels",
            ("wheels",),
            {TokenKind.TEXT: dict.fromkeys(list(ScoredGroup)[:2], pooled)},
            (),
            (),
            "",
        )
        top = Pooled(0.69, "", (0.61, 0.75), IntervalKind.RANGE, 5, 4, 2304, 0.01, 3)
        none = Pooled(None, "2 of 5 top samples could be scored, less than 60%", None, None, 10, 2, 0)
        assert ScoreReport.from_json(lens.body) == ScoreReport(
            "lens",
            False,
            "trains and railway tracks",
            ("train", "rail"),
            {TokenKind.VISUAL: {ScoredGroup.TOP: top, ScoredGroup.TOP_AND_RANDOM: none}},
            (
                SampleScore(4, 2, {TokenKind.VISUAL: Correlation(0.5)}),
                SampleScore(7, None, {TokenKind.VISUAL: Correlation(None, "constant")}),
            ),
            (Failure(9, None, TokenKind.VISUAL, "nothing was found"), Failure(1, 4, None, "the picture is gone")),
            "a note",
        )
        assert notebook.entry(B).verdict is None
        other = notebook.entry(C)
        assert [one.explanation.source for one in other.explanations] == [Source.PAPER, Source.API]
        assert not other.explanations[1].explanation.pattern_found
        last = notebook.entry(D)
        assert last.failure == FailedExplanation("I cannot describe people.", True, "gpt-4o", WHEN, 1500, 10, 0.004)
        assert (last.verdict, last.note, last.bookmark) == (Verdict.KEEP, "", True)
        assert notebook.marks() == {
            A: Mark(Verdict.KEEP, True, True, True, True, True),
            C: Mark(Verdict.UNSURE, has_tags=True, explained=True),
            D: Mark(Verdict.KEEP, True, failed=True),
        }
        verdicts = Counter(mark.verdict for mark in notebook.marks().values() if mark.verdict)
        assert verdicts == {Verdict.KEEP: 2, Verdict.UNSURE: 1}
        assert notebook.resume() == Resume(A, "layer 0", "clearest")
        assert len(list(notebook.each_text())) == 11
        # What that version undid is redone, and what it did is undone.
        assert notebook.redo() == Change(D, Kind.NOTE, "", "undone")
        assert notebook.undo() == Change(D, Kind.NOTE, "undone", "")
        assert notebook.undo() == Change(D, Kind.VERDICT, Verdict.KEEP, None)
        assert notebook.undo() == Change(A, Kind.LEAD, 10, None)
        assert notebook.undo() == Change(A, Kind.OWN_EXPLANATION, "wheels", None)
        for _ in range(9):
            assert notebook.undo() is not None
        assert notebook.undo() is None
        assert {neuron for neuron, mark in notebook.marks().items() if mark.verdict or mark.bookmark} == set()


def test_what_was_paid_for_is_not_paid_for_again(files: Path) -> None:
    store = ScanStore(files / "scan")
    settings = Api(base_url="http://127.0.0.1:9/v1", model="gpt-4o")
    evidence = asyncio.run(complete(gather(store, A, Label.TEXT), store, None))
    samples = tuple(one.sample.index for one in evidence.samples)
    key = explain_key(explain_request(evidence, settings), base_url(settings), samples)
    assert read_cached(key) == replace(BY_API, samples=(7,))
    tokens = store.sample(0).tokens
    held = HeldOut(0, 1, None, store.manifest.prompt, store.sample(0).description, tokens, store.layout(0))
    # Nothing listens at the server's address.
    found = asyncio.run(ApiText(Chat(settings), Ledger(0)).simulate(BY_API, held))
    assert isinstance(found, Prediction) and found.text is not None
    assert found.text.tolist() == list(range(len(tokens)))


def test_what_the_model_was_asked_is_not_asked_again(files: Path) -> None:
    assert cache_folder() == files / "cache/vlmscope"
    manifest = read_manifest(files / "scan")
    answer = load_promoted(manifest.model, C, 2)
    assert answer is not None
    assert (answer.top, answer.top_logits.tolist()) == (("train", "\ud83d"), [2.5, 1.25])
    assert (answer.bottom, answer.bottom_logits.tolist()) == (("dog", "cake"), [-2.5, -1.25])
    with DescriptionCache().open(manifest.model, manifest.prompt, 512) as descriptions:
        assert descriptions.texts == {"ab" * 32: "a train \ud83d", "cd" * 32: "two dogs"}


def renamed(folder: Path) -> None:
    """Let the scan name the model where it lies now."""
    name = str(Path("model").resolve())
    manifest = read_manifest(folder)
    manifest = manifest.model_copy(update={"model": manifest.model.model_copy(update={"name": name})})
    (folder / "manifest.json").write_text(manifest.model_dump_json())


def assert_like(found: Path, files: Path) -> None:
    """The scan of the version before; its numbers may be another processor's."""
    a, b = ScanStore(found), ScanStore(files / "scan")
    same = {"data_id", "data_sha256", "samples", "scanned", "visual_tokens", "text_tokens", "progress"}
    assert a.manifest.model_dump(include=same) == b.manifest.model_dump(include=same)
    for name in array_shapes(b.manifest):
        if name != "sample_lines":  # in another order
            one, other = a.arrays[name].astype(float), b.arrays[name].astype(float)
            assert np.isclose(one, other, rtol=1e-3, atol=1e-4).mean() > 0.98, name
    for index in range(b.manifest.samples):
        assert replace(a.sample(index), seen=None) == b.sample(index)
        assert bool(a.crop(index)) == bool(b.crop(index))
        if a.crop(index):  # of the picture's own resolution now
            assert np.abs(small(a.crop(index)) - small(b.crop(index))).mean() < 12


def small(crop: bytes) -> NDArray[np.float64]:
    """A crop on 6 x 6 pixels."""
    return np.asarray(Image.open(io.BytesIO(crop)).resize((6, 6), Image.Resampling.BOX)).astype(np.float64)


def go_on(data: Data, out: Path, options: ScanOptions) -> Manifest:
    from vlmscope.core.model.load import load
    from vlmscope.core.scan.scan import scan

    return scan(load(ModelSpec("model")), data, out, options, lambda *_: None, resume=True)


@pytest.mark.slow
def test_an_unfinished_scan_goes_on_and_a_shard_joins_one_of_today(files: Path) -> None:
    from vlmscope.core.scan.merge import merge_scans

    data = replace(read_data("images/samples.jsonl"), root=Path("images"))
    assert read_manifest(Path("unfinished")).progress is not None
    for folder in ("unfinished", "shard"):
        renamed(Path(folder))
    go_on(data, Path("unfinished"), OPTIONS)
    assert_like(Path("unfinished"), files)
    go_on(data, Path("second"), replace(OPTIONS, shard=ShardInfo(number=2, of=2)))
    # The identity has the model's place in it, which is another here; and today that of its weights.
    second, known = read_manifest(Path("second")), read_manifest(Path("shard"))
    assert second.model.weights is not None and second.id_beside(known.model) != second.scan_id
    first = known.model_copy(update={"scan_id": second.id_beside(known.model)})
    assert first.model.weights is None
    Path("shard/manifest.json").write_text(first.model_dump_json())
    merge_scans([Path("second"), Path("shard")], Path("merged"), lambda *_: None)
    assert read_manifest(Path("merged")).scan_id == first.scan_id
    assert read_manifest(Path("merged")).model == first.model
    assert_like(Path("merged"), files)
