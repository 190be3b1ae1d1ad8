"""The control: the same samples, random weights that follow the seed, found beside its scan and nowhere else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.records import put_records
from tests.support.tiny import make_images, make_model
from vlmscope.core.analysis.control import control_data, control_places, find_control, new_control_folder
from vlmscope.core.base.demo import DEMO, demo_folder
from vlmscope.core.base.errors import ModelError, SamplesError, StoreError, UsageError
from vlmscope.core.data.samples import read_data
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.model.load import load
from vlmscope.core.store.arrays import array_shapes
from vlmscope.core.store.manifest import MANIFEST, Manifest, read_manifest
from vlmscope.core.store.panel import draw_panel
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.tui.__main__ import main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A scan of 12 samples at settings of its own; one is skipped, one described by the model. Its model and data."""
    model = make_model(tmp_path_factory.mktemp("model"))
    data = make_images(tmp_path_factory.mktemp("data"), 12)
    (data.parent / "004.png").write_bytes(b"no picture")
    lines = [json.loads(line) for line in data.read_text().splitlines()]
    del lines[7]["description"]
    data.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    scan = tmp_path_factory.mktemp("scans") / "scan"
    settings = ["--hook", "gate_up", "--top-n", "7", "--Tt", "1.5", "--question", "What is this?", "--panel", "9"]
    assert main(["scan", "--model", str(model), "--images", str(data), "--out", str(scan), *settings]) == 0
    return scan, model, data


@pytest.fixture
def scan(made: tuple[Path, Path, Path], tmp_path: Path) -> Path:
    """A copy whose neighbours no other test sees."""
    return Path(shutil.copytree(made[0], tmp_path / "mine"))


def control(scan: Path, *more: str) -> int:
    return main(["scan", "--control", str(scan), *more])


def edit(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def test_a_control_has_everything_of_its_scan_but_the_weights(scan: Path) -> None:
    assert control(scan) == 0
    store = ScanStore(scan)
    found = find_control(store)
    assert found is not None and found.folder == scan.with_name("mine.control")
    own, its = store.manifest, found.manifest
    assert its.control is not None and (its.control.scan_id, its.control.seed) == (own.scan_id, 0)
    assert its.scan_id != own.scan_id
    for name in ("hook", "question", "prompt", "data", "image_root", "samples", "scanned", "skipped", "top_n"):
        assert getattr(its, name) == getattr(own, name), name
    assert own.panel == 9
    # The model's description came with the images to the control: its own identity would draw another panel.
    assert its.data_id != own.data_id and its.panel_data_id == its.control.data_id == own.data_id
    assert draw_panel(its.data_id, 12, 9) != draw_panel(own.data_id, 12, 9)
    assert store.panel is not None and found.panel is not None
    assert found.panel.samples.tolist() == store.panel.samples.tolist()  # neuron by neuron they can be compared
    for name in ("layouts", "text_tokens", "visual_tokens", "thresholds", "panel"):
        assert getattr(its, name) == getattr(own, name), name
    assert (its.model.layers, its.model.neurons, its.model.dtype) == (3, 48, own.model.dtype)
    assert its.maps == 0 and its.thresholds.T_t == 1.5
    for index in (0, 4, 11):
        assert found.sample(index).description == store.sample(index).description
    assert not np.allclose(found.maximum, store.maximum)
    assert not np.array_equal(found.labels(Thresholds()).label, store.labels(Thresholds()).label)


def test_the_seed_decides(scan: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        assert control(scan, "--seed", seed, "--out", str(tmp_path / name), "--maps", "2") == 0
    a, b, c = (ScanStore(tmp_path / name) for name in "abc")
    for name in array_shapes(a.manifest):
        assert np.array_equal(a.arrays[name], b.arrays[name]), name
    assert a.manifest.scan_id == b.manifest.scan_id != c.manifest.scan_id
    assert a.manifest.control is not None and a.manifest.control.seed == 5
    assert not np.array_equal(a.maximum, c.maximum)
    assert a.manifest.maps == 2


def test_random_weights_disturb_no_other_randomness(made: tuple[Path, Path, Path]) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, second = (load(ModelSpec(str(made[1])), seed=3) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    trained = dict(load(ModelSpec(str(made[1]))).model.named_parameters())
    for (name, one), other in zip(first.model.named_parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other), name
        assert one.dim() < 2 or not torch.equal(one, trained[name]), name


def test_random_weights_have_the_dtype_that_is_asked_for(made: tuple[Path, Path, Path]) -> None:
    vlm = load(ModelSpec(str(made[1]), dtype="bfloat16"), seed=3)
    assert {parameter.dtype for parameter in vlm.model.parameters()} == {torch.bfloat16}
    assert vlm.info.dtype == "bfloat16"


def test_a_control_s_name_loads_no_trained_model(
    made: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = load(ModelSpec(str(made[1])), seed=3).info.name
    assert name == f"{made[1]}, random weights (seed 3)"
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(ModelSpec(name))


def test_images_that_are_missing_are_explained_before_anything_is_made(
    scan: Path, made: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(made[2].parent, moved)
    edit(scan, lambda content: content.update(image_root=str(tmp_path / "gone")))
    (moved / "004.png").unlink()  # the scan skipped it: it is not missed
    assert control(scan) == 1
    said = capsys.readouterr().err
    assert "Of the 12 images" in said and "11 are not in" in said and "000.png first" in said
    assert "--images FOLDER" in said
    assert not scan.with_name("mine.control").exists()
    assert control(scan, "--images", str(moved)) == 0
    found = find_control(ScanStore(scan))
    assert found is not None and found.manifest.scanned == 11


def test_other_images_of_the_same_names_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = make_model(tmp_path / "model"), make_images(tmp_path / "data", 3)
    make_images(tmp_path / "other", 3, seed=7)
    out = tmp_path / "scan"
    assert main(["scan", "--model", str(model), "--images", str(data), "--out", str(out)]) == 0
    assert control(out) == 0
    assert "are not those" not in capsys.readouterr().err
    assert control(out, "--images", str(tmp_path / "other"), "--out", str(tmp_path / "c")) == 0
    assert "are not those that were scanned" in capsys.readouterr().err


def test_a_control_reads_the_pictures_that_were_scanned(
    scan: Path, made: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_records(scan, sha256="0" * 64)
    assert control(scan) == 1
    err = " ".join(capsys.readouterr().err.split())
    assert "is not the picture that was scanned" in err and "--images FOLDER" in err
    assert control(scan, "--trust-images") == 1, "a digest that does not fit is not a missing one"
    assert not scan.with_name("mine.control").exists()


def test_a_control_reads_unchecked_pictures_after_a_yes(
    scan: Path, made: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    put_records(scan, sha256=None)
    assert control(scan) == 1
    err = " ".join(capsys.readouterr().err.split())
    assert "has no digest of the picture at" in err and "--trust-images" in err and "--images FOLDER" in err
    assert not scan.with_name("mine.control").exists()
    store = ScanStore(scan)
    store.images_trusted = True
    assert len(control_data(store).sources) == 12
    folder = str(made[2].parent)
    assert len(control_data(ScanStore(scan), folder).sources) == 12, "the user has named the folder"


def test_a_named_folder_vouches_for_its_own_files_alone(scan: Path, tmp_path: Path) -> None:
    (tmp_path / "private.png").write_bytes(b"")
    (tmp_path / "root").mkdir()
    for name in ("../private.png", str(tmp_path / "private.png")):
        put_records(scan, image=name, sha256=None)
        with pytest.raises(SamplesError, match="has no digest"):
            control_data(ScanStore(scan), str(tmp_path / "root"))


def test_what_the_scan_skipped_is_not_read(scan: Path, tmp_path: Path, made: tuple[Path, Path, Path]) -> None:
    """A stranger's manifest may call any file of the disk a skipped sample."""
    folder = Path(shutil.copytree(made[2].parent, tmp_path / "copy"))
    shutil.copy(folder / "000.png", folder / "004.png")  # it could be read today
    assert control(scan, "--images", str(folder)) == 0
    own, its = read_manifest(scan), read_manifest(scan.with_name("mine.control"))
    assert its.skipped == own.skipped and [skip.sample for skip in its.skipped] == [4]
    assert ScanStore(scan.with_name("mine.control")).crop(4) == b""


def test_a_model_of_the_hub_is_not_downloaded_unless_it_is_named(
    scan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(scan, lambda content: content["model"].update(name="someone/tiny", revision="abc"))  # type: ignore[attr-defined]
    monkeypatch.setattr("vlmscope.tui.commands.scan.would_download", lambda *_, weights: not weights)
    assert control(scan) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "someone/tiny, which is not on this disk" in err and "add --model someone/tiny --revision abc" in err
    assert control(scan, "--model", "someone/tiny", "--revision", "abc") == 1  # tests are offline
    assert "cannot be loaded" in capsys.readouterr().err


def test_trust_is_of_a_control(
    made: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    needed = ["--model", str(made[1]), "--images", str(made[2]), "--out", str(tmp_path / "x")]
    assert main(["scan", *needed, "--trust-images"]) == 2
    assert "--trust-images goes with --control" in capsys.readouterr().err


def test_a_model_that_has_moved_is_named(
    scan: Path, made: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(scan, lambda content: content["model"].update(name="/gone/model"))  # type: ignore[attr-defined]
    assert control(scan) == 1
    assert "/gone/model cannot be loaded" in capsys.readouterr().err
    assert control(scan, "--model", str(made[1])) == 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--hook", "gate"], "--hook does not go with --control"),
        (["--top-n", "5"], "--top-n does not go"),
        (["--question", ""], "--question does not go"),
        (["--prompt-template", "x"], "--prompt-template does not go"),
        (["--seed", "-1"], "--seed"),
        (["--Tv", "11"], "Tv is 11"),
    ],
)
def test_what_a_control_has_from_its_scan_cannot_be_chosen(
    scan: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert control(scan, *more) == 2
    assert words in capsys.readouterr().err
    assert not scan.with_name("mine.control").exists()


def test_a_seed_alone_or_nothing_at_all_is_wrong_use(
    made: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan"]) == 2
    assert "--model, --images and --out" in capsys.readouterr().err
    needed = ["--model", str(made[1]), "--images", str(made[2]), "--out", str(tmp_path / "x")]
    assert main(["scan", *needed, "--seed", "1"]) == 2
    assert "--seed goes with --control" in capsys.readouterr().err


def test_a_control_has_no_control(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert control(scan) == 0
    assert control(scan.with_name("mine.control")) == 2
    assert "is itself a control" in capsys.readouterr().err
    again = control(scan)
    assert again == 1 and "exists already" in capsys.readouterr().err


def test_only_the_control_of_this_scan_is_its_control(scan: Path, made: tuple[Path, Path, Path]) -> None:
    store = ScanStore(scan)
    assert find_control(store) is None
    beside, kept = control_places(store)
    shutil.copytree(made[0], beside)  # a scan, but not a control
    assert find_control(store) is None
    edit(beside, lambda content: content.update(control={"scan_id": "another", "seed": 0}))
    assert find_control(store) is None
    shutil.copytree(beside, kept)
    edit(kept, lambda content: content.update(control={"scan_id": store.manifest.scan_id, "seed": 0}))
    found = find_control(store)
    assert found is not None and found.folder == kept
    edit(beside, lambda content: content.update(control={"scan_id": store.manifest.scan_id, "seed": 0}))
    found = find_control(store)
    assert found is not None and found.folder == beside, "the one beside it goes first"


def test_a_damaged_control_is_reported(scan: Path) -> None:
    folder = scan.with_name("mine.control")
    folder.mkdir()
    assert find_control(ScanStore(scan)) is None
    (folder / MANIFEST).write_text("{")
    with pytest.raises(StoreError, match=r"mine\.control"):
        find_control(ScanStore(scan))


def test_a_scan_named_in_other_ways_has_the_same_control(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert control(scan) == 0
    monkeypatch.chdir(scan)
    for name in (Path(), Path("../mine"), scan / ".." / "mine"):
        assert find_control(ScanStore(name)) is not None


def test_the_demo_s_control_goes_to_the_user_s_data(own_home: Path) -> None:
    store = ScanStore(demo_folder() / "scan")
    folder = new_control_folder(store)
    assert folder.is_relative_to(own_home) and folder.name == store.manifest.scan_id[:16]
    assert folder in control_places(store)
    data, expected = control_data(store, limit=5), read_data(DEMO, 5)
    assert data.name == DEMO and data.root == expected.root and data.image_root == DEMO
    assert [source.image for source in data.sources] == [source.image for source in expected.sources]
    assert all(source.description for source in data.sources)


def test_the_images_demo_are_the_demos(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_data(DEMO)
    data = control_data(ScanStore(demo_folder() / "scan"), DEMO)
    assert (data.name, data.root, data.image_root) == (DEMO, expected.root, DEMO)
    with pytest.raises(SamplesError, match="are not in ") as failure:  # another scan's images are not there
        control_data(ScanStore(scan), DEMO)
    assert str(expected.root) in failure.value.message
    shutil.copytree(expected.root / "images", tmp_path / DEMO / "images")  # a folder of that name is ./demo
    monkeypatch.chdir(tmp_path)
    assert control_data(ScanStore(demo_folder() / "scan"), f"./{DEMO}").root == tmp_path / DEMO


def test_a_scan_that_names_no_images_needs_them_named(made: tuple[Path, Path, Path], scan: Path) -> None:
    edit(scan, lambda content: content.update(image_root=None))
    with pytest.raises(SamplesError, match="does not name the folder"):
        control_data(ScanStore(scan))
    assert len(control_data(ScanStore(scan), str(made[2].parent)).sources) == 12
    edit(scan, lambda content: content.update(control={"scan_id": "x", "seed": 0}))
    with pytest.raises(UsageError):
        control_data(ScanStore(scan))


def test_manifests_without_the_field_are_read(made: tuple[Path, Path, Path], scan: Path) -> None:
    edit(scan, lambda content: content.pop("control"))
    assert read_manifest(scan).control is None
    assert Manifest.model_validate_json(read_manifest(scan).model_dump_json()) == read_manifest(made[0])
    edit(scan, lambda content: content.update(control={"scan_id": "x", "seed": -1}))
    with pytest.raises(StoreError, match=r"control\.seed"):
        read_manifest(scan)
