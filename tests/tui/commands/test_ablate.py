"""``vlmscope ablate``: what it takes, writes, keeps and refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.causal_scan import LinearProcess, ready_scan, starts
from tests.support.made_control import make_control
from vlmscope.core.base.intervention import Intervention, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.ablation import AblatedPicture, Ablation
from vlmscope.core.causal.captions import caption_change
from vlmscope.core.causal.words import place_of
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.store.concept_files import FOLDER
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main
from vlmscope.tui.commands.ablate_output import ablation_lines

Capture = pytest.CaptureFixture[str]
NEURON = (1, 3)  #: train, and boat


@pytest.fixture
def store(scan_copy: Path, tmp_path: Path) -> ScanStore:
    return ready_scan(scan_copy, tmp_path)


@pytest.fixture
def model(store: ScanStore, monkeypatch: pytest.MonkeyPatch) -> LinearProcess:
    made = LinearProcess(store)
    made.weight[NEURON] = 1
    monkeypatch.setattr("vlmscope.tui.commands.ablate.ModelProcess", starts(made))
    return made


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A picture of the user's own."""
    path = tmp_path / "own.png"
    path.write_bytes(b"never read here")
    return str(path)


def ablated(capsys: Capture, store: ScanStore, *args: str, code: int = 0) -> tuple[str, str]:
    assert main(["ablate", str(store.folder), *args, "--trust-images"]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out, captured.err


def as_json(capsys: Capture, store: ScanStore, *args: str) -> Any:
    return json.loads(ablated(capsys, store, *args, "--json")[0])


def notebook_of(store: ScanStore) -> Notebook:
    scan_id = store.manifest.scan_id
    return Notebook.open(notebook_path(scan_id, store.folder, "data"), scan_id)


def test_a_description_is_read_without_and_with_the_neuron(
    capsys: Capture, store: ScanStore, model: LinearProcess
) -> None:
    found = as_json(capsys, store, "L1/N3", "--samples", "2")
    assert list(found) == ["neurons", "name", "intervention", "at", "word", "silent", "pictures"]
    assert (found["neurons"], found["name"], found["intervention"], found["at"]) == (["L1/N3"], None, "zero", "all")
    assert (found["word"], found["silent"], len(found["pictures"])) == ("train", False, 2)
    picture = found["pictures"][0]
    tokens = store.sample(picture["sample"]).tokens
    place = place_of(tokens, "train")
    assert place is not None and picture["word_at"] == place.token
    assert [token["token"] for token in picture["tokens"]] == list(tokens)
    assert picture["tokens"][0]["change"] == pytest.approx(-model.z[NEURON], rel=1e-5)
    assert picture["change"] == picture["tokens"][place.token]["change"]
    assert picture["kl"] == pytest.approx(sum(token["kl"] for token in picture["tokens"]))
    assert picture["caption"] is None
    assert [other["word"] for other in picture["others"]] == ["dog"]


def test_the_text_marks_the_word_and_lists_the_largest_changes(
    capsys: Capture, store: ScanStore, model: LinearProcess
) -> None:
    model.weight[NEURON] = 3
    out, err = ablated(capsys, store, "L1/N3", "--caption")
    lines = out.splitlines()
    assert lines[0] == "L1/N3 -> 0, all tokens"
    assert "[train]" in out
    first = next(line.split() for line in lines if line.startswith("  train "))
    assert first[2:6] == ["p", "0.900", "->", first[5]]
    assert sum("no longer the first choice" in line for line in lines) >= 1
    assert any(line.startswith("  other words  dog ") for line in lines)
    assert any(line.startswith("  KL ") and line.endswith("over the description") for line in lines)
    assert "caption  A [cat] on a train. (lost: dog)" in lines
    assert "silent" not in err


@pytest.mark.usefixtures("model")
def test_several_pictures_are_summed_up(capsys: Capture, store: ScanStore) -> None:
    out, _ = ablated(capsys, store, "L1/N2", "--samples", "3", "--caption")  # dog
    lines = out.splitlines()
    assert lines[1].startswith("  dog ") and lines[1].endswith(
        " over 3 pictures; first choice on 3, 3 with the intervention"
    )
    assert lines[2] == "  captions with the word: 3, 0 with the intervention; other concept words kept: 3 of 3"
    assert as_json(capsys, store, "L1/N8")["word"] is None  # no concept leads it


def test_repeated_words_of_a_caption_are_counted() -> None:
    change = caption_change("A dog.", f"A dog{' cat' * 300} cat.", {"dog"}, "")
    picture = AblatedPicture(None, "own.png", (), None, 0, (), change)
    ablation = Ablation((Neuron(1, 3),), "", Intervention.parse("clamp9"), Positions.ALL, "", (picture,), silent=False)
    assert ablation_lines(ablation)[-1].plain == "caption  A [dog] [cat] x300 [cat.]"


def test_steering_and_places_reach_the_model(capsys: Capture, store: ScanStore, model: LinearProcess) -> None:
    found = as_json(capsys, store, "L1/N3", "--to", "x3", "--at", "answer")
    assert (found["intervention"], found["at"]) == ("x3", "answer")
    assert found["pictures"][0]["tokens"][0]["change"] == pytest.approx(2 * model.z[NEURON], rel=1e-5)
    clamped = as_json(capsys, store, "L1/N3", "--to", "clamp 2")
    assert clamped["intervention"] == "clamp2"
    _, err = ablated(capsys, store, "L1/N3", "--to", "clamp 2")
    assert "A clamp is far outside what the model meets." in err
    assert clamped["pictures"][0]["tokens"][0]["change"] == pytest.approx(5 * model.z[NEURON], rel=1e-5)


@pytest.mark.usefixtures("model")
def test_a_picture_of_ones_own_is_described_first(capsys: Capture, store: ScanStore, own: str) -> None:
    found = as_json(capsys, store, "L1/N3", "--image", own)
    picture = found["pictures"][0]
    assert (picture["sample"], picture["image"], picture["word_at"]) == (None, "own.png", 3)
    _, err = ablated(capsys, store, "L1/N3", "--image", own)
    assert "train takes 2 tokens: the first, 'tr', counts" in err
    _, err = ablated(capsys, store, "L1/N1", "--image", own)
    assert "cat is in none of these descriptions: no word is marked" in err


@pytest.mark.usefixtures("model")
def test_sets_are_changed_together(capsys: Capture, store: ScanStore) -> None:
    both = as_json(capsys, store, "L1/N3", "2:9", "L1/N3")
    assert (both["name"], both["neurons"]) == ("L1/N3, L2/N9", ["L1/N3", "L2/N9"])
    concept = as_json(capsys, store, "--concept", "trains", "--limit", "2")
    assert (concept["name"], concept["word"]) == ("concept train", "train")
    assert len(concept["neurons"]) == 2
    assert len(as_json(capsys, store, "--concept", "dog")["neurons"]) > 20
    scan = str(store.folder)
    assert main(["verdict", scan, "L1/N3", "keep", "--tag", "Red"]) == 0
    assert main(["verdict", scan, "L2/N7", "reject", "--tag", "red"]) == 0
    capsys.readouterr()
    assert as_json(capsys, store, "--kept")["neurons"] == ["L1/N3"]
    tagged = as_json(capsys, store, "--tag", "RED")
    assert (tagged["name"], tagged["neurons"]) == ("tag RED", ["L1/N3", "L2/N7"])


@pytest.mark.usefixtures("model")
def test_a_set_is_checked_and_kept(capsys: Capture, store: ScanStore) -> None:
    args = ("L1/N3", "L2/N9", "--controls", "20", "--samples", "4", "--seed", "5")
    [found] = as_json(capsys, store, *args)
    assert (found["neuron"], found["name"], found["neurons"]) == (None, "L1/N3, L2/N9", ["L1/N3", "L2/N9"])
    assert len(found["controls"]) == len(found["matched"]) == 20
    assert len(found["values"]) == 4
    assert found["p"] == found["q"] == pytest.approx(2 / 21)
    assert found["beyond_all"] is True
    with notebook_of(store) as notebook:
        [saved] = notebook.set_checks()
    assert [one.effect for one in saved.check.matched] == found["controls"]
    assert saved.check.settings.seed == found["seed"] == 5
    assert as_json(capsys, store, *args)[0]["controls"] == found["controls"]
    out, _ = ablated(capsys, store, "L1/N3", "--controls", "20", "--caption")
    assert 'L1/N3 "train"  -> 0, all tokens  10 pictures' not in out  # it has eight top samples
    assert "Beyond all 20 matched neurons (p 0.095, the least there can be)." in out
    assert "caption  A [cat] on a train. (lost: dog)" in out
    [with_caption] = as_json(capsys, store, "L1/N3", "--controls", "20", "--caption", "--samples", "3")
    assert with_caption["neuron"] == "L1/N3"
    assert [one["caption"]["after"] for one in with_caption["ablation"]["pictures"]] == ["A cat on a train."] * 3


def test_silence_is_told(capsys: Capture, store: ScanStore, model: LinearProcess) -> None:
    model.z[NEURON] = 0
    out, err = ablated(capsys, store, "L1/N3")
    assert "KL 0 over the description" in out
    assert "It is silent here: nothing to remove." in err and "Nothing changes" not in err


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "No neuron is named."),
        (("L1/N3", "--kept"), "more than one way"),
        (("L1/N3", "--limit", "3"), "--limit is for --concept"),
        (("L9/N1",), "Layers go from 0 to 3, neurons from 0 to 31."),
        (("L1/N3", "--to", "off"), "Interventions: zero, mean, x3 (any number), clamp5 (any number)."),
        (("L1/N3", "--to", "xnan"), "'xnan' has no finite number."),
        (("L1/N3", "--to", "clampinf"), "'clampinf' has no finite number."),
        (("L1/N3", "--at", "words"), "'all', 'answer', 'picture'"),
        (("L1/N3", "--control", "direction"), "--control and --seed are for --controls"),
        (("L1/N3", "--controls", "20", "--control", "chance"), "Controls: neurons, direction."),
        (("L1/N3", "--controls", "20", "--to", "mean", "--control", "direction"), "no other direction can have it"),
        (("L1/N3", "--word", "shirt"), "shirt is not in this description; it has: "),
        (("L1/N3", "--word", "the"), "'the' is not a word to check"),
        (("--kept",), "No neuron has the verdict keep."),
        (("--tag", "red"), "No neuron has the tag 'red'."),
        (("--concept", "zebra"), "No neuron has 'zebra' among its concepts."),
        (("--concept", "trian"), "Similar words: train."),
        (("L1/N8", "--controls", "20"), "No concept word leads these neurons."),
        (("L1/N3", "--image", "nowhere.png"), "nowhere.png is not a file."),
    ],
)
def test_wrong_use_is_told(args: tuple[str, ...], said: str, capsys: Capture, store: ScanStore) -> None:
    out, err = ablated(capsys, store, *args, code=2)
    assert out == ""
    assert said in " ".join(err.replace("│", " ").split())


@pytest.mark.usefixtures("model")
def test_a_missing_word_names_those_that_are_there(capsys: Capture, store: ScanStore, own: str) -> None:
    _, err = ablated(capsys, store, "L1/N3", "--word", "shirt", "--image", own, code=2)
    assert "shirt is not in this description; it has: dog, train." in err
    _, err = ablated(capsys, store, "L1/N3", "--image", own, "--samples", "2", code=2)
    assert "--image and --samples are both given" in err


@pytest.mark.usefixtures("model")
def test_without_concepts_a_word_is_asked_for(capsys: Capture, store: ScanStore) -> None:
    shutil.rmtree(store.folder / FOLDER)
    _, err = ablated(capsys, store, "L1/N3", code=2)
    assert "has no concepts to take a word from" in err and "--word" in err
    assert as_json(capsys, store, "L1/N3", "--word", "train")["word"] == "train"


@pytest.mark.usefixtures("model")
def test_a_control_and_missing_pictures_are_refused(capsys: Capture, store: ScanStore) -> None:
    control = make_control(store.folder)
    _, err = ablated(capsys, ScanStore(control), "L1/N3", "--word", "train", code=2)
    assert "its random weights are not kept" in err
    for index in range(store.manifest.samples):
        store.sample(index).picture.unlink()
    _, err = ablated(capsys, store, "L1/N3", code=1)
    assert "No picture is at hand: the picture is not at" in err
