"""A manifest that is not what it should be is refused, by name and with a mend."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Poles
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.store.manifest import MANIFEST, Manifest, ThresholdsInfo, read_manifest


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / MANIFEST
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def refusal(folder: Path) -> StoreError:
    with pytest.raises(StoreError) as caught:
        read_manifest(folder)
    assert str(folder) in caught.value.message
    assert caught.value.hint
    return caught.value


def test_what_was_written_is_read(scan: Path) -> None:
    manifest = read_manifest(scan)
    assert (manifest.model.layers, manifest.model.neurons, manifest.valid) == (4, 32, 8)
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def schema_2(content: dict[str, Any], grid: object = None) -> None:
    """Make the manifest what it was before layouts."""
    content["schema_version"] = 2
    content["grid"] = content.pop("layouts")[0]["grid"] if grid is None else grid
    for name in ("visual_tokens_max", "map_cells", "layouts"):
        content.pop(name, None)


def test_schema_2_is_read_as_one_plain_layout(scan_copy: Path) -> None:
    expected = read_manifest(scan_copy)
    change(scan_copy, schema_2)
    assert read_manifest(scan_copy) == expected
    layout = expected.layouts[0]
    assert (layout.id, layout.tokens, layout.plain) == (VisualLayout.plain(4, 4).id, 16, True)
    assert expected.visual_tokens_max == 16


@pytest.mark.parametrize(
    "grid", [[0, 4], [4, 4097], [400, 400], [4096, 4096], [4], [4, 4, 4], "44", [True, 4], [4.0, 4], {}, [[], 1]]
)
def test_a_wrong_grid_of_schema_2_is_refused(scan_copy: Path, grid: object) -> None:
    change(scan_copy, lambda content: schema_2(content, grid))
    assert re.search(r"is damaged: (layouts\.0|visual_tokens_max)", refusal(scan_copy).message)


def test_schema_3_is_read_as_a_scan_without_a_panel(scan_copy: Path) -> None:
    expected = read_manifest(scan_copy)
    change(scan_copy, lambda content: (content.update(schema_version=3), content.pop("panel")))
    assert read_manifest(scan_copy) == expected and expected.panel is None and not expected.panel_drawn


def test_schema_4_is_read_as_a_scan_of_one_pole(scan_copy: Path) -> None:
    before = read_manifest(scan_copy)
    change(scan_copy, lambda content: (content.update(schema_version=4), content.pop("poles")))
    assert read_manifest(scan_copy) == before
    assert before.poles is Poles.ONE and before.neurons == before.model.neurons


def test_a_field_of_schema_3_in_schema_2_is_refused(scan_copy: Path) -> None:
    change(scan_copy, schema_2)
    change(scan_copy, lambda content: content.update(map_cells=3, surprise=1))
    assert "surprise" in refusal(scan_copy).message


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda content: content.update(visual_tokens_max=15), "more visual tokens than the 15"),
        (lambda content: content["layouts"].append(content["layouts"][0]), "two layouts of the same id"),
    ],
)
def test_layouts_that_contradict_the_rest_are_refused(
    scan_copy: Path, edit: Callable[[dict[str, Any]], object], words: str
) -> None:
    change(scan_copy, edit)
    assert words in refusal(scan_copy).message


def test_ids_of_earlier_versions_lack_what_they_did_not_store(scan: Path) -> None:
    manifest = read_manifest(scan)
    model = manifest.model.model_copy(update={"weights": "0f" * 32, "processor": "ab" * 32})
    new = manifest.model_copy(update={"model": model})
    first, second = (model.model_copy(update={name: None, "processor": None}) for name in ("weights", "processor"))
    assert (first.known, second.known, model.known) == (0, 1, 2)
    assert new.id_beside(model) == new.scan_id
    ids = {new.id_beside(one) for one in (first, second)}
    assert len(ids) == 2 and new.scan_id not in ids
    old = manifest.model_copy(update={"model": second})
    assert old.id_beside(first) == new.id_beside(first)
    assert "processor" not in second.model_dump() and "processor" in model.model_dump()


def test_thresholds_survive_the_manifest() -> None:
    thresholds = Thresholds(T_v=2.5, n_v=3, T_t=1, n_t=4, high_confidence=0.9)
    assert ThresholdsInfo.of(thresholds).value() == thresholds


def test_fewer_samples_than_n_leave_fewer_entries(scan: Path) -> None:
    assert read_manifest(scan).model_copy(update={"scanned": 3}).valid == 3


def test_a_folder_without_a_manifest_is_no_scan(tmp_path: Path) -> None:
    assert "is not a scan" in refusal(tmp_path).message


def test_a_folder_that_does_not_exist_is_no_scan(tmp_path: Path) -> None:
    assert "is not a scan" in refusal(tmp_path / "nowhere").message


def test_a_file_is_no_scan(tmp_path: Path) -> None:
    file = tmp_path / "scan"
    file.write_text("x")
    assert "is not a scan" in refusal(file).message


@pytest.mark.parametrize("version", [0, 1, 6, "1.0", None])
def test_another_schema_version_says_which(scan_copy: Path, version: object) -> None:
    change(scan_copy, lambda content: content.update(schema_version=version))
    error = refusal(scan_copy)
    assert f"schema version {version!r}" in error.message
    assert "vlmscope that made it" in error.hint


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda content: content.update(format="another"), "format"),
        (lambda content: content.update(hook="up"), "hook"),
        (lambda content: content.update(poles="three"), "poles"),
        (lambda content: content.update(poles="both"), "the file: Value error, both poles at the hook point gate"),
        (lambda content: content["model"].update(layers=0), "model.layers"),
        (lambda content: content["model"].update(neurons="many"), "model.neurons"),
        (lambda content: content.pop("layouts"), "layouts"),
        (lambda content: content.pop("visual_tokens_max"), "visual_tokens_max"),
        (lambda content: content.update(surprise=1), "surprise"),
        (lambda content: content.update(scanned=-1), "scanned"),
        (lambda content: content["layouts"][0].update(grid=[0, 4]), "layouts.0.grid.0"),
        (lambda content: content["layouts"][0].update(grid=[4097, 1]), "layouts.0.grid.0"),
        (lambda content: content["layouts"][0].update(id="../../etc/passwd"), "layouts.0.id"),
        (lambda content: content["layouts"][0].update(tokens=0), "layouts.0.tokens"),
        (lambda content: content["layouts"][0].update(tokens=65535), "layouts.0.tokens"),
        (lambda content: content["layouts"][0].update(tokens=15), "layouts.0"),
        (lambda content: content.update(visual_tokens_max=65535), "visual_tokens_max"),
        (lambda content: content.update(map_cells=0), "map_cells"),
        (lambda content: content["thresholds"].update(T_v=11.0), "thresholds.T_v"),
        (lambda content: content["thresholds"].update(n_v=9), "thresholds.n_v"),
        (lambda content: content["thresholds"].update(high_confidence=float("nan")), "thresholds.high_confidence"),
    ],
)
def test_a_wrong_field_is_named(scan_copy: Path, edit: Callable[[dict[str, Any]], object], named: str) -> None:
    change(scan_copy, edit)
    error = refusal(scan_copy)
    assert f"{MANIFEST} is damaged: {named}" in error.message and (": " in named or f"{named}: " in error.message)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b'{"format": "vlmscope-scan"}'])
def test_a_damaged_file_is_refused(scan_copy: Path, content: bytes) -> None:
    (scan_copy / MANIFEST).write_bytes(content)
    assert MANIFEST in refusal(scan_copy).message


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "..", ".", "a/b", ""])
def test_an_arrays_folder_outside_the_scan_is_refused(scan_copy: Path, name: str) -> None:
    change(scan_copy, lambda content: content.update(arrays=name))
    assert "arrays" in refusal(scan_copy).message
