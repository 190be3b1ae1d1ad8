"""Reports: what is in them, where they are written, and that nothing half-written remains."""

import errno
import io
import itertools
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vlmscope.core.report.write
from tests.support.checks import check
from tests.support.report_parts import KEPT, REJECTED, UNDECIDED, explanation, open_notebook, triage
from vlmscope.core.analysis.firmness import neuron_firmness
from vlmscope.core.analysis.published import Published
from vlmscope.core.base.errors import ReportError, StoreError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import shade
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.notebook.explanation import Source
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Entry, Verdict
from vlmscope.core.report.checks import LEGEND, NOT_EXPLAINED
from vlmscope.core.report.collect import PROMOTED, collect
from vlmscope.core.report.folder import check_report_folder
from vlmscope.core.report.pictures import FONT, GAP, SIDE, picture
from vlmscope.core.report.schema import Report, SamplePart
from vlmscope.core.report.select import NeuronChoice, chosen
from vlmscope.core.report.write import Format, neuron_markdown, write_report
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.core.worker.messages import PromotedAnswer
from vlmscope.core.worker.promoted_cache import save_promoted
from vlmscope.tui.browse.answers import PROMOTED as ASKED

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
OWN = Thresholds()


@pytest.fixture
def store(scan: Path) -> ScanStore:
    return ScanStore(scan)


@pytest.fixture
def notebook(store: ScanStore) -> Iterator[Notebook]:
    with open_notebook(store) as opened:
        triage(opened)
        yield opened


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def markdown(store: ScanStore, notebook: Notebook | None, out: Path, *neurons: Neuron, **more: Any) -> str:
    return write_report(out, store, notebook, neurons or KEPT, OWN, when=NOON, **more).file.read_text(encoding="utf-8")


def parsed(store: ScanStore, notebook: Notebook | None, out: Path, *neurons: Neuron, **more: Any) -> Report:
    written = write_report(out, store, notebook, neurons or KEPT, OWN, Format.JSON, when=NOON, **more)
    text = written.file.read_bytes().decode("ascii")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return Report.model_validate_json(text)


def section(text: str, neuron: Neuron) -> str:
    return text.split(f"\n## {neuron}\n")[1].split("\n## ", maxsplit=1)[0]


def test_a_report_says_what_it_was_made_from(store: ScanStore, notebook: Notebook, tmp_path: Path) -> None:
    manifest = store.manifest.model_copy(
        update={
            "model": store.manifest.model.model_copy(update={"name": "org/name", "revision": "main"}),
            "versions": {"vlmscope": "0.0.9", "torch": "2.9", "transformers": "5.3"},
        }
    )
    store.manifest = manifest
    thresholds = Thresholds(T_v=2.5)
    written = write_report(tmp_path / "out", store, notebook, KEPT, thresholds, when=NOON)
    head = written.file.read_text(encoding="utf-8").split("## Summary")[0]
    assert head.startswith("# 3 neurons of org/name, on 12 samples of synthetic\n")
    assert "votes: visual from 4 patches above norm 2.5 on, text from 2 words above 3 on" in head
    assert "norm 10, the neuron's maximum, is the picture itself" in head
    for said in (
        "org/name, revision main",
        manifest.scan_id,
        "Hook point: gate",
        "Data: synthetic, 12 of 12 samples",
        "the top 8 of",
        "Tv 2.5, nv 4, Tt 3, nt 2",
        "the scan's own: Tv 2, nv",
        "vlmscope 0.0.9, torch 2.9, transformers 5.3",
        "- Date: 2026-11-22T12:00:00+00:00\n",
    ):
        assert said in head


def test_a_neuron_with_everything(store: ScanStore, notebook: Notebook, tmp_path: Path) -> None:
    neuron = KEPT[0]
    tokens = np.array([2, 1], dtype=np.float32)
    answer = PromotedAnswer(neuron, (" train", " Train"), tokens, (" cat", "\n"), -tokens)
    save_promoted(store.manifest.model, answer, PROMOTED)
    found = section(markdown(store, notebook, tmp_path / "out"), neuron)
    part = collect(store, notebook.entry(neuron), OWN, 3)
    assert f"**{Label[part.label.upper()].letter} {part.label}**" in found
    assert "verdict: keep · bookmarked · tags: rails, To check" in found
    assert f"| votes | {' | '.join(str(count) for count in vars(part.votes).values())} |" in found
    assert f"| fraction | {' | '.join(f'{value:.2f}' for value in vars(part.fractions).values())} |" in found
    assert f"- Maximum: {store.maximum[0, 3]:.4g}" in found
    firm = neuron_firmness(store, neuron, OWN)
    assert f"- Vote: share {firm.share:.2f} (95 % interval {firm.low:.2f} to {firm.high:.2f}), margin" in found
    assert part.firmness is not None and vars(part.firmness) == vars(firm)
    assert "reading of its output weights): train · Train; suppressed: cat · ␣" in found
    assert (
        "**Explanation** by gpt-4o-2024-08-06, prompt explain-1, high confidence, 2026-11-22T10:00:00+00:00:\n\n> t"
        in found
    )
    assert "- Looks for: train, rail\n- Words: names of trains\n" in found
    assert "visual, top: 0.61 \\[0.50, 0.70\\] (bootstrap), baseline 0.10, 19 of 20 samples" in found
    assert "visual, top+random: n/a, baseline n/a, 38 of 40 samples, the predicted activation is 0 everywhere" in found
    assert found.count("**Explained**") == 2
    assert "in a person's own words" in found and "in the words of the paper" in found
    assert "**Note**\n\n> trains" in found
    for rank, sample in enumerate(part.samples, start=1):
        assert f"![{neuron}, sample {rank}: origin and activation](images/L0-N3-{rank}.png)" in found
        assert f"`{sample.image}`" in found
        assert f"> {sample.description}" in found.replace("**", "")
        assert [word in found for word in _strong(sample)] == [True] * len(_strong(sample))
        assert f"score {sample.score:.4g}, vote" in found
    other = section(markdown(store, notebook, tmp_path / "other"), KEPT[1])
    assert "was refused (gpt-4o, 2026-11-22T10:00:00+00:00):\n\n> trains" in other
    assert "Promoted" not in other and "**Note**" not in other and "**Explanation**" not in other


def _strong(sample: SamplePart) -> list[str]:
    """The words above Tt as the report has them."""
    assert sample.above
    ends = [(0, 0), *sample.above]
    for (_, before), (first, last) in itertools.pairwise(ends):
        assert before <= first < last <= len(sample.description)
    return [f"**{sample.description[first:last]}**" for first, last in sample.above]


def test_checks_of_a_neuron_and_of_its_sets(store: ScanStore, notebook: Notebook, tmp_path: Path) -> None:
    neuron, other, out = KEPT[0], KEPT[1], iter(range(9))
    plain = markdown(store, notebook, tmp_path / str(next(out)))
    assert "| score |\n" in plain and "Causal check" not in plain and "## Sets" not in plain
    none = check(neuron, word="dog", effect=0.0, p=1.0, note="few pictures")
    notebook.add_check(none)
    notebook.add_check(check(neuron))
    notebook.add_check(check(neuron, *(Neuron(3, at) for at in range(30)), name="tag to_do"))
    notebook.add_check(check(other, name="kept"))
    text = markdown(store, notebook, tmp_path / str(next(out)), neuron)
    found = section(text, neuron)
    assert "| score | check |\n" in text and text.count(LEGEND) == 1
    assert "| shirt -2.96, beyond all 39 (p 0.05), 1 more |\n" in text
    assert f"**Causal check** ({NOT_EXPLAINED})" in found
    assert found.index("less sure of the word: it supports it.") < found.index("No effect found: ")
    assert '- "shirt" -&gt; 0' not in found  # a list begins with the address
    assert (
        '- L0/N3 "shirt" -> 0, all tokens: 7 pictures, 39 matched neurons of L0 (2026-03-01T12:00:00+00:00)\n'
        "  - Beyond all 39 matched neurons (p 0.05, the least there can be). Without it" in found
    )
    assert "Few pictures.\n" in found
    sets = text.split("\n## Sets\n")[1]
    assert "tag to_do (31 neurons)" in sets and "L3/N18 and 11 more" in sets and "kept" not in sets
    report = parsed(store, notebook, tmp_path / str(next(out)), neuron)
    assert [one.id for one in report.neurons[0].checks] == [saved.id for saved in notebook.checks(neuron)]
    first = report.neurons[0].checks[0]
    made = check(neuron)
    assert (first.word, first.effect, first.p, first.beyond_all, first.neurons) == (
        "shirt",
        -2.957,
        0.05,
        True,
        ("L0/N3",),
    )
    assert [(one.effect, one.written) for one in first.controls] == [(one.effect, one.written) for one in made.matched]
    assert [one.change for one in first.pictures] == made.values
    assert first.settings.seed == 0 and first.outcome == "beyond all 39 (p 0.05)"
    assert [(one.name, len(one.neurons)) for one in report.sets] == [("tag to_do", 31)]
    assert neuron_markdown(store, notebook.entry(neuron), neuron, OWN).count("Causal check") == 1


def test_checked_neurons_can_be_chosen(store: ScanStore, notebook: Notebook) -> None:
    alone, kept = Neuron(3, 2), KEPT[0]
    before = chosen(store, notebook, OWN, NeuronChoice())
    assert chosen(store, notebook, OWN, NeuronChoice(checked=True)) == ()
    notebook.add_check(check(alone))
    notebook.add_check(check(kept))
    notebook.add_check(check(KEPT[1], Neuron(3, 4), name="kept"))
    assert chosen(store, notebook, OWN, NeuronChoice(checked=True)) == (kept, alone)
    assert chosen(store, notebook, OWN, NeuronChoice((Verdict.KEEP,), checked=True)) == (kept,)
    assert chosen(store, notebook, OWN, NeuronChoice()) == tuple(sorted((*before, alone)))
    assert chosen(store, None, OWN, NeuronChoice(checked=True), [alone]) == ()


def test_the_promoted_tokens_are_those_that_the_screen_keeps() -> None:
    assert PROMOTED == ASKED


def test_labels_follow_the_thresholds(store: ScanStore) -> None:
    thresholds = Thresholds(T_v=6.5, n_v=2, T_t=5, n_t=1, high_confidence=0.5)
    labels = store.labels(thresholds)
    for neuron in (Neuron(0, 0), Neuron(3, 31), *KEPT):
        part = collect(store, Entry(neuron), thresholds, 1)
        at = (neuron.layer, neuron.index)
        assert part.label == Label(int(labels.label[at])).word
        assert part.high_confidence == bool(labels.high_confidence[at])
        assert list(vars(part.votes).values()) == labels.votes[at].tolist()


def test_the_summary_links_to_every_section(store: ScanStore, notebook: Notebook, tmp_path: Path) -> None:
    text = markdown(store, notebook, tmp_path / "out", *reversed(KEPT), KEPT[0])
    rows = [line for line in text.splitlines() if line.startswith("| [L")]
    assert [row.split("|")[1].strip() for row in rows] == ["[L0/N3](#l0n3)", "[L2/N1](#l2n1)", "[L2/N17](#l2n17)"]
    assert [line for line in text.splitlines() if line.startswith("## L")] == [f"## {neuron}" for neuron in KEPT]
    assert "| keep | trains | visual, top+random: Pearson n/a by lens |" in rows[0]
    assert rows[2].endswith("| keep |  |  |")


def test_the_same_export_twice_differs_in_the_date_alone(store: ScanStore, notebook: Notebook, tmp_path: Path) -> None:
    for form in Format:
        first, second = tmp_path / f"{form}1", tmp_path / f"{form}2"
        write_report(first, store, notebook, KEPT, OWN, form, when=NOON)
        later = (NOON + timedelta(days=1)).astimezone(timezone(timedelta(hours=5)))
        write_report(second, store, notebook, KEPT[::-1], OWN, form, when=later)
        one, two = tree(first), tree(second)
        lines = [found.pop(form.file).decode().splitlines() for found in (one, two)]
        assert one == two
        assert len(one) == 9
        differing = [pair for pair in zip(*lines, strict=True) if pair[0] != pair[1]]
        assert len(differing) == 1
        assert "2026-11-22T12:00:00+00:00" in differing[0][0] and "2026-11-23T12:00:00+00:00" in differing[0][1]


def test_pictures_are_small_and_show_both(store: ScanStore, notebook: Notebook, tmp_path: Path) -> None:
    markdown(store, notebook, tmp_path / "out")
    for path in (tmp_path / "out/images").iterdir():
        image = Image.open(path)
        assert image.format == "PNG" and image.mode == "P"
        assert image.width <= 400
        assert path.stat().st_size < 60_000
    crop = io.BytesIO()
    Image.new("RGB", (48, 24), (200, 0, 0)).save(crop, "PNG")
    activation = np.zeros((2, 4), dtype=np.float32)
    activation[0, 0] = 2
    made = Image.open(io.BytesIO(picture(crop.getvalue(), activation, 2.0))).convert("RGB")
    half = SIDE + 2
    assert made.size == (2 * half + GAP, 98)
    assert made.getpixel((20, 20)) == made.getpixel((half - 20, 70)) == (200, 0, 0)
    assert made.getpixel((half + GAP + 20, 20)) == (200, 0, 0)
    assert made.getpixel((2 * half + GAP - 20, 70)) == (255, 255, 255)


@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (2, 3000), (336, 336), (193, 10)])
def test_a_crop_of_any_shape_fits(size: tuple[int, int]) -> None:
    crop = io.BytesIO()
    Image.new("RGB", size, "blue").save(crop, "PNG")
    made = Image.open(io.BytesIO(picture(crop.getvalue(), np.ones((3, 3), dtype=np.float32), float("nan"))))
    assert made.width <= 400 and made.height <= SIDE + 2


def test_a_picture_carries_address_activation_and_scale(store: ScanStore, tmp_path: Path) -> None:
    written = write_report(
        tmp_path / "out", store, None, [Neuron(1, 3)], Thresholds(), when=datetime.now(UTC), samples=1
    )
    example = store.example(Neuron(1, 3), 0)
    with Image.open(written.file.parent / "images" / "L1-N3-1.png") as image:
        image.load()
        found = image.info
    assert found["Neuron"] == "L1/N3" and found["Activation"] == f"{example.activation:.6g}"
    assert found["Scale"].endswith(f"maximum activation, {example.maximum:.6g}") and found["Colour map"] == "fade"
    shown = Image.open(io.BytesIO((written.file.parent / "images" / "L1-N3-1.png").read_bytes())).convert("L")
    below = np.asarray(shown)[-FONT:]
    assert shown.height > SIDE + 2 and below.min() < 60  # address and activation, and the scale from white to black
    assert len(np.unique(below)) > 15


def test_words_stand_in_the_place_of_a_map_without_a_patch_above_the_threshold(
    store: ScanStore, tmp_path: Path
) -> None:
    neuron = Neuron(1, 3)
    shown = []
    for name, at in (("map", Thresholds(T_v=2, T_t=0.5)), ("words", Thresholds(T_v=10, T_t=0.5))):
        written = write_report(tmp_path / name, store, None, [neuron], at, when=NOON, samples=1)
        assert "the words stand in the map's place" in written.file.read_text(encoding="utf-8")
        with Image.open(written.file.parent / "images" / "L1-N3-1.png") as image:
            shown.append(np.asarray(image.convert("RGB")).astype(int))
    of_map, of_words = shown
    half = SIDE + 2
    assert np.abs(of_map[:half, :half] - of_words[:half, :half]).mean() < 20, "what the model saw, in few colours"
    norms = store.example(neuron, 0).text_norms
    assert norms is not None and norms.max() > 0.5
    green = np.array(shade(float(norms.max())))
    assert not np.array_equal(green, np.array(shade(0.0)))
    scales = [one[half:, half + GAP + SIDE // 2 :] for one in shown]
    greenest = [int((one[..., 1] - one[..., 0]).max()) for one in scales]
    assert greenest[0] < 20 < greenest[1], "the scale of a map is grey, that of words has their shades"
    below = np.abs(of_words[:half, half + GAP :] - green).max(axis=2) < 4
    assert below.sum() > 100 and (of_words[:half, half + GAP :].max(axis=2) < 60).sum() > 50, "a shade, and letters"
    assert (np.abs(of_map[:half, half + GAP :] - green).max(axis=2) < 12).sum() < below.sum() // 4


def test_samples_without_maps_have_no_picture(store: ScanStore, notebook: Notebook, tmp_path: Path) -> None:
    report = parsed(store, notebook, tmp_path / "out", samples=5)  # the scan keeps maps of 3
    for neuron in report.neurons:
        assert [sample.picture is None for sample in neuron.samples] == [False, False, False, True, True]
        assert [len(sample.words) > 0 for sample in neuron.samples] == [True, True, True, False, False]
    text = markdown(store, notebook, tmp_path / "none", samples=0)
    assert "Sample" not in text and "![" not in text
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["report.md"]
    assert "L0-N3-6" not in markdown(store, notebook, tmp_path / "many", samples=10_000)


def test_the_json_holds_all_of_it(store: ScanStore, notebook: Notebook, tmp_path: Path) -> None:
    report = parsed(store, notebook, tmp_path / "out")
    assert (report.format, report.schema_version) == ("vlmscope-report", 1)
    assert report.created == "2026-11-22T12:00:00+00:00"
    assert report.scan.scan_id == store.manifest.scan_id
    assert [neuron.neuron for neuron in report.neurons] == [str(neuron) for neuron in KEPT]
    first = report.neurons[0]
    assert (first.verdict, first.bookmark, first.tags, first.note) == (
        Verdict.KEEP,
        True,
        ("rails", "To check"),
        "trains",
    )
    assert [said.source for said in first.explanations] == [Source.API, Source.PAPER, Source.USER]
    assert first.explanations[0].scores[0].body["samples"] == [
        {"sample": 1, "rank": 2, "visual": {"score": 0.5, "reason": ""}}
    ]
    assert report.neurons[1].failure is not None and report.neurons[1].failure.refused
    for neuron in report.neurons:
        for sample in neuron.samples:
            assert sample.picture is not None
            assert (tmp_path / "out" / sample.picture).read_bytes().startswith(b"\x89PNG")


def test_numbers_that_do_not_exist_are_null(scan_copy: Path, tmp_path: Path) -> None:
    store = ScanStore(scan_copy)
    store.arrays["maximum"] = np.full((4, 32), np.nan, dtype=np.float32)
    top = np.full((8, 4, 32, 8), -np.inf, dtype=np.float32)
    store.arrays["top_visual"], store.arrays["top_text"] = top, top[:4]
    report = parsed(store, None, tmp_path / "out")
    assert report.neurons[0].maximum is None
    assert report.neurons[0].samples[0].score is None
    assert "Maximum: n/a" in markdown(store, None, tmp_path / "text")


def test_a_scan_without_samples_is_reported(tmp_path: Path) -> None:
    write_synthetic_scan(tmp_path / "scan", layers=1, neurons=2, samples=0, top_n=2, maps=1, grid=(2, 2), image=8)
    store = ScanStore(tmp_path / "scan")
    report = parsed(store, None, tmp_path / "out", Neuron(0, 1))
    assert report.neurons[0].fractions.visual is None
    assert report.neurons[0].samples == ()
    assert "| fraction | n/a |" in markdown(store, None, tmp_path / "text", Neuron(0, 1))


def test_one_neuron_for_the_clipboard_is_its_section_without_pictures(
    store: ScanStore, notebook: Notebook, tmp_path: Path
) -> None:
    text = markdown(store, notebook, tmp_path / "out")
    for neuron in KEPT:
        alone = neuron_markdown(store, notebook.entry(neuron), neuron, OWN)
        assert alone.startswith(f"## {neuron}\n")
        blocks = [block for block in section(text, neuron).strip().split("\n\n") if not block.startswith("![")]
        without = "\n\n".join(blocks).replace(", with origin and activation side by side", "")
        assert alone == f"## {neuron}\n\n{without}\n"
    other = neuron_markdown(store, notebook.entry(KEPT[0]), KEPT[2], OWN)
    assert other.startswith(f"## {KEPT[2]}\n") and "**Note**" not in other
    with pytest.raises(UsageError, match="L9/N0 lies outside"):
        neuron_markdown(store, Entry(Neuron(9, 0)), Neuron(9, 0), OWN)


def test_a_published_neuron_has_the_papers_words(store: ScanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Published(KEPT[0], Label.TEXT, "teddy bears, stuffed animals", "3b", ("000000065793",))
    monkeypatch.setattr(
        "vlmscope.core.report.collect.published", lambda manifest: {said.neuron: said} if manifest else {}
    )
    text = neuron_markdown(store, Entry(KEPT[0]), KEPT[0], OWN)
    assert "**Published** (arXiv 2502.18485, figure 3b, COCO `000000065793`; text):\n\n> teddy bears, stuffed" in text
    assert "Published" not in neuron_markdown(store, Entry(KEPT[1]), KEPT[1], OWN)


CHOICES = [
    (NeuronChoice(verdicts=(Verdict.KEEP,)), KEPT),
    (NeuronChoice(verdicts=(Verdict.REJECT,)), (REJECTED,)),
    (NeuronChoice(verdicts=(Verdict.UNSURE,)), ()),
    (NeuronChoice(verdicts=tuple(Verdict)), tuple(sorted((*KEPT, REJECTED)))),
    (NeuronChoice(bookmarked=True), (KEPT[0], UNDECIDED)),
    (NeuronChoice(tag=" RAILS "), (KEPT[0], REJECTED)),
    (NeuronChoice(tag="rail"), ()),
    (NeuronChoice(tag="rails", verdicts=(Verdict.REJECT,)), (REJECTED,)),
    (NeuronChoice(), tuple(sorted((*KEPT, REJECTED, UNDECIDED)))),
]


@pytest.mark.parametrize(("choice", "expected"), CHOICES)
def test_neurons_are_chosen_by_what_the_notebook_says(
    store: ScanStore, notebook: Notebook, choice: NeuronChoice, expected: tuple[Neuron, ...]
) -> None:
    assert chosen(store, notebook, OWN, choice) == expected


def test_neurons_are_chosen_by_their_label(store: ScanStore, notebook: Notebook) -> None:
    thresholds = Thresholds(T_v=4.5, n_v=1, T_t=4.5, n_t=1)
    labels = store.labels(thresholds)
    everything = [Neuron(layer, index) for layer in range(4) for index in range(32)]
    assert len(np.unique(labels.label)) > 1 and 0 < labels.high_confidence.sum() < 128
    for label in Label:
        for firm in (False, True):
            expected = tuple(
                one
                for one in everything
                if labels.label[one.layer, one.index] == label
                and (labels.high_confidence[one.layer, one.index] or not firm)
            )
            choice = NeuronChoice(label=label, high_confidence=firm)
            assert chosen(store, notebook, thresholds, choice, everything[::-1]) == expected


def test_without_a_notebook_only_named_neurons_are_found(store: ScanStore) -> None:
    assert chosen(store, None, OWN, NeuronChoice()) == ()
    assert chosen(store, None, OWN, NeuronChoice(), [Neuron(1, 2), Neuron(0, 1), Neuron(1, 2)]) == (
        Neuron(0, 1),
        Neuron(1, 2),
    )
    assert chosen(store, None, OWN, NeuronChoice(verdicts=(Verdict.KEEP,)), [Neuron(1, 2)]) == ()
    assert chosen(store, None, OWN, NeuronChoice(tag="x"), [Neuron(1, 2)]) == ()
    with pytest.raises(UsageError, match="L4/N0 lies outside"):
        chosen(store, None, OWN, NeuronChoice(), [Neuron(4, 0)])


def test_an_empty_folder_is_taken_any_other_is_refused(store: ScanStore, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    linked = tmp_path / "linked"
    linked.symlink_to(empty)
    assert "L0/N3" in markdown(store, None, linked)
    assert (empty / "report.md").exists() and linked.is_symlink()
    before = tree(empty)
    for taken in (empty, linked, empty / "report.md"):
        with pytest.raises(ReportError, match="exists already"):
            markdown(store, None, taken)
        with pytest.raises(ReportError, match="exists already"):
            check_report_folder(taken)
    assert tree(empty) == before
    with pytest.raises(ReportError, match="not a folder that you may write to"):
        markdown(store, None, empty / "report.md/below")


def test_nothing_remains_where_writing_fails(store: ScanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path, __: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ReportError, match="No space left"):
            markdown(store, None, tmp_path / "a/b/out")
    assert list(tmp_path.iterdir()) == []

    def stopped(done: int, total: int) -> None:
        assert total == 3
        assert any(path.name.startswith(".out.") for path in tmp_path.iterdir())
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        markdown(store, None, tmp_path / "out", progress=stopped)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(vlmscope.core.report.write, "picture", lambda *_: (_ for _ in ()).throw(StoreError("damaged")))
    (tmp_path / "out").mkdir()
    with pytest.raises(StoreError, match="damaged"):
        markdown(store, None, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [tmp_path / "out"] and not any((tmp_path / "out").iterdir())


def test_progress_is_told(store: ScanStore, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    markdown(store, None, tmp_path / "out", progress=lambda *step: steps.append(step))
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_scores_of_any_shape_are_shown(store: ScanStore, notebook: Notebook) -> None:
    neuron = Neuron(1, 1)
    said = notebook.add_explanation(neuron, explanation())
    for body in (
        {"pooled": 1, "interval": [0, None]},
        {"pooled": "high", "baseline": True},
        {"anything": [1, {"pooled": 3}]},
        {"deep": {"er": {"pooled": 0.25}}},
    ):
        notebook.add_score(said, "lens", body, "2026")
    text = neuron_markdown(store, notebook.entry(neuron), neuron, OWN)
    lines = [line for line in text.splitlines() if line.startswith("- Score")]
    assert lines == [
        "- Score by lens, deep, er: 0.25, baseline n/a (2026)",
        "- Scored by lens (2026): see report.json",
        "- Score by lens: n/a, baseline n/a (2026)",
        "- Score by lens: 1.00, baseline n/a (2026)",
    ]


def test_the_summary_names_kind_and_simulator_of_the_score_that_comes_first(
    store: ScanStore, notebook: Notebook, tmp_path: Path
) -> None:
    neuron = Neuron(1, 1)
    said = notebook.add_explanation(neuron, explanation())
    for backend, independent, scores in (
        ("oracle", True, {"visual": {"top": 0.7, "top+random": 0.69}}),
        ("grounded-sam2", True, {"visual": {"top": None, "top+random": None}}),
        ("lens", False, {"visual": {"top": 0.9, "top+random": 0.14}, "text": {"top": 0.3, "top+random": 0.2}}),
    ):
        body = {
            "independent": independent,
            "scores": {
                kind: {
                    group: {"pooled": value, "planned": 20 if group == "top" else 40, "counted": 20}
                    for group, value in groups.items()
                }
                for kind, groups in scores.items()
            },
        }
        notebook.add_score(said, backend, body, "2026")
    text = markdown(store, notebook, tmp_path / "out", neuron)
    row = next(line for line in text.splitlines() if line.startswith(f"| [{neuron}]"))
    cell = "visual, top+random: Pearson 0.69 by oracle; text, top+random: Pearson 0.20 by lens (not independent)"
    assert row.split(" | ")[-1].removesuffix(" |") == cell
    assert "each neuron's section has all its scores" in text
    assert "- Score by lens (not independent), visual, top: 0.90" in text
