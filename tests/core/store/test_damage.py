"""Scans from elsewhere: each kind of damage is a message, within two seconds and 300 MB."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.concepts import KEPT
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.store.manifest import MANIFEST
from vlmscope.core.store.reader import open_scan
from vlmscope.core.store.sample_log import CROP_BYTES, LINE_BYTES
from vlmscope.core.store.synthetic import tiled_layout, write_synthetic_scan

SECONDS, MEMORY = 2.0, 300 * 1024 * 1024
Damage = Callable[[Path], object]


def read_all(folder: Path) -> None:
    """Read what a page, a list and a report read of a scan."""
    store = open_scan(folder)
    store.stored_labels()
    assert store.panel is None or store.panel.visual().shape[-1] == len(store.panel)
    assert store.concepts is None or store.concepts.words is not None
    for layer in range(store.layers):
        for rank in range(store.valid):
            store.example(Neuron(layer, 0), rank).read_crop()
        store.peak_tokens(Neuron(layer, 0))


def line(**fields: object) -> Damage:
    """Every line of the log with other fields, and where they are."""

    def damage(folder: Path) -> None:
        lines = [json.loads(one) | fields for one in (folder / "samples.jsonl").read_bytes().splitlines()]
        raw_lines(folder, [json.dumps(one).encode() for one in lines])

    return damage


def raw_lines(folder: Path, lines: list[bytes]) -> None:
    (folder / "samples.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    ends = np.cumsum([len(one) + 1 for one in lines])
    np.save(array_path(folder, "sample_lines"), np.stack([np.r_[0, ends[:-1]], ends], axis=-1))


def raw(content: bytes) -> Damage:
    """Every line of the log is ``content``."""
    return lambda folder: raw_lines(folder, [content] * 12)


def long_line(folder: Path) -> None:
    with (folder / "samples.jsonl").open("wb") as file:
        file.truncate(300_000_000)
    array = np.zeros((12, 2), dtype=np.int64)
    array[:, 1] = 300_000_000
    np.save(array_path(folder, "sample_lines"), array)


def array_path(folder: Path, name: str) -> Path:
    return folder / str(json.loads((folder / MANIFEST).read_text())["arrays"]) / f"{name}.npy"


def values(name: str, value: float) -> Damage:
    """The array ``name`` holds ``value`` throughout."""

    def damage(folder: Path) -> None:
        found = np.load(array_path(folder, name))
        found[...] = value
        np.save(array_path(folder, name), found)

    return damage


def header(shape: str, descr: str = "'<u2'") -> Damage:
    """The votes begin with a header of our own."""

    def damage(folder: Path) -> None:
        text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
        content = b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text + b"\n"
        array_path(folder, "votes").write_bytes(content + bytes(4096))

    return damage


def archive(folder: Path) -> None:
    with array_path(folder, "votes").open("wb") as file:
        np.savez(file, votes=np.zeros((4, 32, 4), dtype=np.uint16))


def manifest(**fields: object) -> Damage:
    def damage(folder: Path) -> None:
        content = json.loads((folder / MANIFEST).read_text())
        for name, value in fields.items():
            *outer, last = name.split("__")
            inner: dict[str, Any] = content
            for part in outer:
                inner = inner[part]
            inner[last] = value
        (folder / MANIFEST).write_text(json.dumps(content))

    return damage


def sparse(folder: Path) -> None:
    manifest(model__layers=4096, model__neurons=2**22, top_n=10_000)(folder)
    for path in array_path(folder, "votes").parent.iterdir():
        os.truncate(path, 1 << 42)


def in_place(name: str, make: Callable[[Path], object]) -> Damage:
    """The file ``name`` (an array's, or of the folder) is something else."""

    def damage(folder: Path) -> None:
        path = folder / name if (folder / name).exists() else array_path(folder, name)
        path.unlink()
        make(path)

    return damage


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def fresh_concepts(words: dict[str, object], hits: int = 0) -> Damage:
    def damage(folder: Path) -> None:
        place = folder / "concepts"
        place.mkdir(exist_ok=True)
        scan_id = json.loads((folder / MANIFEST).read_text())["scan_id"]
        content = {"scan_id": scan_id, "descriptions": 12, "words": ["cat"], "frequency": [3]} | words
        (place / "words.json").write_text(json.dumps(content))
        np.save(place / "word.npy", np.zeros((4, 32, KEPT), dtype=np.uint16))
        np.save(place / "strength.npy", np.zeros((4, 32, KEPT), dtype=np.float16))
        np.save(place / "purity_hits.npy", np.full((4, 32), hits, dtype=np.uint8))

    return damage


def of_manifest(folder: Path) -> list[dict[str, Any]]:
    """The layouts of a scan's manifest."""
    found: list[dict[str, Any]] = json.loads((folder / MANIFEST).read_text())["layouts"]
    return found


def layout_info(**fields: object) -> dict[str, object]:
    """The layout of ``scan_copy``'s samples, with other fields."""
    return {"id": VisualLayout.plain(4, 4).id, "tokens": 16, "grid": [4, 4], "plain": True, **fields}


def many_layouts(count: int, tokens: int) -> list[dict[str, object]]:
    return [layout_info(id=f"{n:016x}", tokens=tokens, plain=False) for n in range(count)]


DAMAGES: dict[str, Damage] = {
    "image int": line(image=7),
    "image null": line(image=None),
    "image list": line(image=["a"]),
    "description null": line(description=None),
    "description object": line(description={}),
    "tokens of ints": line(tokens=[1, 2]),
    "tokens text": line(tokens="abc"),
    "tokens null": line(tokens=None),
    "tokens nested": line(tokens=[["a"]]),
    "too many tokens": line(tokens=["a"] * 5000),
    "crop float": line(crop=[0.0, 10.0]),
    "crop null": line(crop=None),
    "crop bools": line(crop=[True, True]),
    "crop of one": line(crop=[1]),
    "crop of three": line(crop=[1, 2, 3]),
    "crop 1<<70": line(crop=[1 << 70, 10]),
    "crop length 1<<70": line(crop=[0, 1 << 70]),
    "crop negative": line(crop=[-5, 10]),
    "crop length negative": line(crop=[0, -10]),
    "crop too large": line(crop=[0, CROP_BYTES + 1]),
    "crop beyond the file": line(crop=[1 << 40, 10]),
    "sha256 int": line(sha256=3),
    "line nested": raw(b"[" * 200_000),
    "line nested in an object": raw(b'{"image": ' * 100_000),
    "line a number": raw(b"1" * 10_000),
    "line empty": raw(b""),
    "line not UTF-8": raw(b'{"image": "\xff"}'),
    "line a list": raw(b"[]"),
    "line too long": raw(b'"' + b"a" * LINE_BYTES + b'"'),
    "line of 300 MB": long_line,
    "lines negative": values("sample_lines", -1),
    "lines far": values("sample_lines", 2**62),
    "top sample negative": values("top_sample", -1),
    "top sample -12": values("top_sample", -12),
    "top sample beyond": values("top_sample", 12),
    "top sample largest": values("top_sample", 2**31 - 1),
    "votes 65535": values("votes", 65535),
    "votes zero": values("votes", 0),
    "peak patch beyond": values("peak_visual", 16),
    "peak token beyond": values("peak_text", 5000),
    "npz": archive,
    "shape negative": header("(-4, 32, 4)"),
    "shape 15 TiB": header("(4, 32, 68719476736)"),
    "shape 1<<70": header(f"({1 << 70}, 32, 4)"),
    "shape nested": header("(" * 500),
    "shape an expression": header("(4, 32, 4)*9"),
    "dtype of objects": header("(4, 32, 4)", "'|O'"),
    "dtype unknown": header("(4, 32, 4)", "'zz9'"),
    "dtype nested": header("(4, 32, 4)", "[" * 200 + "]" * 200),
    "header cut": in_place("votes", lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff")),
    "array a pipe": in_place("votes", os.mkfifo),
    "array a device": in_place("votes", zero),
    "array a folder": in_place("votes", Path.mkdir),
    "array a loop": in_place("votes", lambda path: path.symlink_to(path)),
    "manifest a pipe": in_place(MANIFEST, os.mkfifo),
    "manifest a device": in_place(MANIFEST, zero),
    "manifest of 1 GB": lambda folder: os.truncate(folder / MANIFEST, 1 << 30),
    "manifest nested": lambda folder: (folder / MANIFEST).write_bytes(b"[" * 1_000_000),
    "manifest of empty lists": lambda folder: (folder / MANIFEST).write_bytes(b"[" + b"[]," * 5_000_000 + b"[]]"),
    "skipped of empty lists": manifest(skipped=[[]] * 500_000),
    "skipped of very many": manifest(skipped=[[]] * 700_000),
    "thresholds of numbers": manifest(thresholds=[1] * 500_000),
    "a field of a megabyte": manifest(**{"x" * 1_000_000: 1}),
    "a version of a megabyte": manifest(schema_version="9" * 1_000_000),
    "samples a pipe": in_place("samples.jsonl", os.mkfifo),
    "samples a device": in_place("samples.jsonl", zero),
    "crops a pipe": in_place("crops.bin", os.mkfifo),
    "layers negative": manifest(model__layers=-1),
    "layers 1<<70": manifest(model__layers=1 << 70),
    "neurons 1<<40": manifest(model__neurons=1 << 40),
    "top n 1<<40": manifest(top_n=1 << 40),
    "grid large": manifest(schema_version=2, grid=[1 << 20, 1 << 20]),
    "layout grid large": manifest(layouts=[layout_info(grid=[4096, 4096], tokens=1 << 24)]),
    "layout of too many tokens": manifest(layouts=[layout_info(tokens=1 << 40)]),
    "layouts of very many": manifest(layouts=[layout_info()] * 100_000),
    "layouts of empty lists": manifest(layouts=[[]] * 500_000),
    "layouts of the largest size": manifest(layouts=many_layouts(2**14, 65534), visual_tokens_max=65534),
    "no layout": manifest(layouts=[]),
    "two layouts, a line without": lambda folder: (
        manifest(layouts=[*of_manifest(folder), layout_info(id="0" * 16, grid=[1, 1], tokens=1)])(folder),
        line(layout=None)(folder),
    ),
    "plain layout of another grid": manifest(layouts=[layout_info(grid=[2, 8])]),
    "layout unknown": line(layout="0123456789abcdef"),
    "layout int": line(layout=7),
    "layout of a megabyte": line(layout="x" * 1_000_000),
    "seen text": line(seen="whole"),
    "seen of three": line(seen=[0, 0, 1]),
    "seen beyond": line(seen=[0, 0, 1.5, 1]),
    "seen negative": line(seen=[-0.1, 0, 1, 1]),
    "seen empty": line(seen=[0.5, 0, 0.5, 1]),
    "seen NaN": line(seen=[float("nan"), 0, 1, 1]),
    "maps negative": manifest(maps=-1),
    "tokens of 10^400": manifest(text_tokens=10**400),
    "15 TiB": sparse,
    "no samples": manifest(samples=0, scanned=0),
    "none counted": manifest(scanned=0),
    "more counted than read": manifest(scanned=13),
    "more counted, of a smaller N": manifest(scanned=5),
    "words a pipe": lambda folder: (fresh_concepts({})(folder), in_place("concepts/words.json", os.mkfifo)(folder)),
    "words of lists": fresh_concepts({"words": [[]] * 150_000}),
    "words of very many": fresh_concepts({"words": [[]] * 3_000_000}),
    "frequency 1<<70": fresh_concepts({"frequency": [1 << 70], "descriptions": 1 << 71}),
    "more descriptions than samples": fresh_concepts({"descriptions": 13}),
    "purity above one": fresh_concepts({}, hits=200),
}


def edges(change: Callable[[np.ndarray[tuple[int, ...], np.dtype[np.uint16]]], object]) -> Damage:
    """The boxes that are stored are others."""

    def damage(folder: Path) -> None:
        found = np.load(array_path(folder, "layout_edges"))
        change(found)
        np.save(array_path(folder, "layout_edges"), found)

    return damage


def layout_of_manifest(**fields: object) -> Damage:
    """The first layout of the manifest has other fields."""
    return lambda folder: manifest(layouts=[of_manifest(folder)[0] | fields, *of_manifest(folder)[1:]])(folder)


def without(name: str) -> Damage:
    return lambda folder: array_path(folder, name).unlink()


#: Of a scan whose samples have two tiled layouts in turn; the first in the manifest has 22 tokens, the other 60.
TILED_DAMAGES: dict[str, Damage] = {
    "edges outside": edges(lambda found: found.__setitem__((3, 2), 4097)),
    "edges far outside": edges(lambda found: found.fill(65535)),
    "edges empty": edges(lambda found: found.__setitem__(3, found[3, [2, 1, 0, 3]])),
    "edges of another layout": edges(lambda found: found.__setitem__((3, 2), found[3, 2] + 1)),
    "edges in another order": edges(lambda found: found.__setitem__([0, 1], found[[1, 0]])),
    "cover of another layout": values("layout_cover", 1),
    "edges gone": without("layout_edges"),
    "cover gone": without("layout_cover"),
    "edges of another shape": lambda folder: np.save(array_path(folder, "layout_edges"), np.zeros((4, 4), np.uint16)),
    "edges of another dtype": lambda folder: np.save(array_path(folder, "layout_edges"), np.zeros((82, 4))),
    "edges a pipe": in_place("layout_edges", os.mkfifo),
    "tokens fewer": layout_of_manifest(tokens=21),
    "tokens more": layout_of_manifest(tokens=23),
    "tokens of the largest map": manifest(visual_tokens_max=59),
    "grid of another": layout_of_manifest(grid=[2, 3]),
    "plain after all": layout_of_manifest(plain=True),
    "ids exchanged": lambda folder: manifest(
        layouts=[
            one | {"id": other["id"]} for one, other in zip(of_manifest(folder), of_manifest(folder)[::-1], strict=True)
        ]
    )(folder),
    "a layout of another id": layout_of_manifest(id="0123456789abcdef"),
    "a line without a layout": line(layout=None),
    "peak beyond its own tokens": values("peak_visual", 22),
}


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of tiled pictures, to read only."""
    out = tmp_path_factory.mktemp("tiled") / "scan"
    layouts = [tiled_layout((2, 2), (3, 6)), tiled_layout((3, 4), (6, 8))]
    write_synthetic_scan(out, layers=2, neurons=16, samples=12, top_n=8, maps=3, layouts=layouts, image=32)
    assert sorted(layout["tokens"] for layout in of_manifest(out)) == [22, 60]
    return out


@pytest.mark.parametrize("kind", TILED_DAMAGES)
def test_damage_of_layouts_is_a_message(tiled: Path, tmp_path: Path, kind: str) -> None:
    copy = Path(shutil.copytree(tiled, tmp_path / "copy"))
    read_all(copy)
    TILED_DAMAGES[kind](copy)
    check_refused(copy)


def panel_samples(first: int) -> Damage:
    return lambda folder: np.save(array_path(folder, "panel_sample"), np.arange(first, first + 5, dtype=np.int32))


PANEL_DAMAGES: dict[str, Damage] = {
    "samples not ascending": values("panel_sample", 3),
    "a sample below the first": panel_samples(-1),
    "a sample beyond the last": panel_samples(8),
    "another size": manifest(panel=6),
    "more than fits": manifest(panel=10_001),
    "fewer than none": manifest(panel=-1),
    "no text": without("panel_text"),
    "visual of another dtype": lambda folder: np.save(
        array_path(folder, "panel_visual"), np.zeros((2, 16, 5), np.float16)
    ),
}


@pytest.fixture(scope="module")
def with_panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan with a panel, to read only."""
    out = tmp_path_factory.mktemp("panel") / "scan"
    write_synthetic_scan(out, layers=2, neurons=16, samples=12, top_n=8, maps=1, grid=(2, 2), image=16, panel=5)
    return out


@pytest.mark.parametrize("kind", PANEL_DAMAGES)
def test_damage_of_a_panel_is_a_message(with_panel: Path, tmp_path: Path, kind: str) -> None:
    copy = Path(shutil.copytree(with_panel, tmp_path / "copy"))
    read_all(copy)
    PANEL_DAMAGES[kind](copy)
    check_refused(copy)


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_a_message(scan_copy: Path, kind: str) -> None:
    DAMAGES[kind](scan_copy)
    check_refused(scan_copy)


def check_refused(folder: Path) -> None:
    begun, busy = time.monotonic(), time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreError) as caught:
        read_all(folder)
    assert time.process_time() - busy < SECONDS  # of this process: a busy machine does not count
    assert time.monotonic() - begun < 10 * SECONDS  # it does not wait for anything either
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY
    assert str(folder) in caught.value.message
    assert len(caught.value.message) < 2000
    assert caught.value.hint


def test_an_undamaged_scan_is_read(scan_copy: Path) -> None:
    read_all(scan_copy)
    fresh_concepts({}, hits=3)(scan_copy)
    read_all(scan_copy)


def test_records_kept_in_memory_are_bounded(scan_copy: Path) -> None:
    """In a process of its own, whose memory is limited."""
    raw(json.dumps({"image": "a", "description": "x" * (LINE_BYTES - 100), "tokens": [], "crop": [0, 0]}).encode())(
        scan_copy
    )
    lines = np.load(array_path(scan_copy, "sample_lines"))
    many = np.tile(lines, (100, 1))
    manifest(samples=len(many))(scan_copy)
    np.save(array_path(scan_copy, "sample_lines"), many)
    script = (
        "import resource, sys; from vlmscope.core.store.reader import open_scan\n"
        "from pathlib import Path\n"
        "store = open_scan(Path(sys.argv[1]))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for index in range(400): store.sample(index)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    found = subprocess.run(  # our own interpreter and script
        [sys.executable, "-c", script, str(scan_copy)], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) * 1024 < 100 * 1024 * 1024


def test_a_pipe_in_place_of_the_lock_does_not_hang(scan_copy: Path) -> None:
    progress = {"done": 0, "of": 12, "batch": 1, "shard": None, "samples_bytes": 0, "crops_bytes": 0, "updated": ""}
    manifest(progress=progress, scanned=0)(scan_copy)
    np.save(array_path(scan_copy, "sums"), np.zeros((2, 2, 4, 32)))
    os.mkfifo(scan_copy / ".lock")
    with pytest.raises(StoreError, match="stopped before its first sample"):
        open_scan(scan_copy)
