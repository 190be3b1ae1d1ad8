"""A manifest that is not what it should be is refused, by name and with a mend."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmscope.core.base.errors import StoreError
from vlmscope.core.method.labels import Thresholds
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


@pytest.mark.parametrize("version", [0, 1, 3, "1.0", None])
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
        (lambda content: content["model"].update(layers=0), "model.layers"),
        (lambda content: content["model"].update(neurons="many"), "model.neurons"),
        (lambda content: content.pop("grid"), "grid"),
        (lambda content: content.update(surprise=1), "surprise"),
        (lambda content: content.update(scanned=-1), "scanned"),
        (lambda content: content.update(grid=[0, 4]), "grid.0"),
        (lambda content: content["thresholds"].update(T_v=11.0), "thresholds.T_v"),
        (lambda content: content["thresholds"].update(n_v=9), "thresholds.n_v"),
        (lambda content: content["thresholds"].update(high_confidence=float("nan")), "thresholds.high_confidence"),
    ],
)
def test_a_wrong_field_is_named(scan_copy: Path, edit: Callable[[dict[str, Any]], object], named: str) -> None:
    change(scan_copy, edit)
    error = refusal(scan_copy)
    assert f"{MANIFEST} is damaged: {named}: " in error.message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b'{"format": "vlmscope-scan"}'])
def test_a_damaged_file_is_refused(scan_copy: Path, content: bytes) -> None:
    (scan_copy / MANIFEST).write_bytes(content)
    assert MANIFEST in refusal(scan_copy).message


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "..", ".", "a/b", ""])
def test_an_arrays_folder_outside_the_scan_is_refused(scan_copy: Path, name: str) -> None:
    change(scan_copy, lambda content: content.update(arrays=name))
    assert "arrays" in refusal(scan_copy).message
