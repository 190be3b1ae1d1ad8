"""``vlmscope show``: one neuron as text, JSON and picture."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from tests.support.checks import check
from vlmscope.core.analysis.firmness import firmness
from vlmscope.core.analysis.panel import across_range
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import (
    ColourMap,
    glyph_rows,
    open_crop,
    outline_colour,
    outlined,
    overlay,
    shade,
)
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.method.norm import norm
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.store.arrays import array_shapes
from vlmscope.core.store.example import Example
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import tiled_layout, write_synthetic_scan
from vlmscope.core.store.writer import StoreWriter
from vlmscope.tui.__main__ import main
from vlmscope.tui.commands.show_page import ShownNeuron
from vlmscope.tui.commands.show_png import FONT, with_tokens
from vlmscope.tui.commands.show_text import _glyphs, as_lines

LINE = FONT * 3 // 2  #: pixels from line to line of a description
NEURON = Neuron(3, 17)


def run_json(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    assert main(["show", *args, "--json"]) == 0
    captured = capsys.readouterr()
    found: dict[str, Any] = json.loads(captured.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return found


def test_json_is_what_the_store_holds(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, found = ScanStore(scan), run_json(capsys, str(scan), "L3/N17")
    labels = store.labels(Thresholds())
    assert found["neuron"] == "L3/N17"
    assert found["label"] == Label(int(labels.label[3, 17])).word
    assert list(found["p"].values()) == labels.fractions[3, 17].tolist()
    assert list(found["p"]) == ["visual", "text", "multimodal", "unknown"]
    assert found["high_confidence"] == bool(labels.high_confidence[3, 17])
    assert np.float32(found["maximum"]) == store.maximum[3, 17]
    assert [entry["rank"] for entry in found["samples"]] == list(range(1, 9))
    for rank, entry in enumerate(found["samples"]):
        top = store.example(NEURON, rank, Thresholds())
        sample = top.sample
        assert (entry["sample"], entry["image"], entry["description"]) == (
            sample.index,
            sample.image,
            sample.description,
        )
        assert (np.float32(entry["score"]), entry["vote"]) == (np.float32(top.activation), top.vote.word)
    assert "sample" not in found


def test_how_firm_the_label_is(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ScanStore(scan)
    thresholds = Thresholds(T_v=4.5, T_t=3.5)
    firm = firmness(store, store.labels(thresholds))
    for neuron in (NEURON, Neuron(*np.argwhere(firm.fragile)[0].tolist())):
        one = firm.of(neuron)
        args = [str(scan), str(neuron), "--Tv", "4.5", "--Tt", "3.5"]
        assert run_json(capsys, *args)["firmness"] == {
            "margin": one.margin,
            "sign_p": one.sign_p,
            "interval": [one.low, one.high],
            "fragile": one.fragile,
        }
        assert main(["show", *args]) == 0
        line = capsys.readouterr().out.splitlines()[1]
        assert line.startswith(f"label: margin {one.margin:.2f}".replace("0.", "."))
        interval = f"95 % interval {one.low:.2f} to {one.high:.2f}".replace("0.", ".")
        assert f"({interval}), {'fragile' if one.fragile else 'not fragile'}" in line
        assert f"sign test p {one.sign_p:.2g}, share" in line


@pytest.mark.parametrize("spelling", ["3:17", "3.17", "L3 17", "l3/n17"])
def test_every_spelling_of_an_address_is_taken(scan: Path, capsys: pytest.CaptureFixture[str], spelling: str) -> None:
    assert run_json(capsys, str(scan), spelling)["neuron"] == "L3/N17"


def test_votes_follow_the_thresholds(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, str(scan), "L3/N17", "--Tv", "10", "--Tt", "10")
    assert found["label"] == "unknown"
    assert {entry["vote"] for entry in found["samples"]} == {"unknown"}
    assert found["p"]["unknown"] == 1.0


def test_one_sample_comes_with_its_maps(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ScanStore(scan)
    top = store.example(NEURON, 1, Thresholds())
    found = run_json(capsys, str(scan), "L3/N17", "--sample", "2")["sample"]
    assert found["rank"] == 2
    assert found["tokens"] == list(top.sample.tokens)
    assert top.visual_map is not None
    assert np.array_equal(np.array(found["visual_map"], dtype=np.float32), top.visual_map)
    assert top.peak_patch is not None
    assert found["peak_patch"] == [top.peak_patch // 4, top.peak_patch % 4]


@pytest.fixture(scope="module")
def with_panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("panel") / "scan"
    write_synthetic_scan(out, layers=1, neurons=4, samples=40, top_n=8, maps=1, grid=(2, 2), image=16, panel=30)
    return out


def test_samples_across_the_range_are_listed(with_panel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ScanStore(with_panel)
    chosen = across_range(store, store.panel_for("It"), Neuron(0, 1))
    found = run_json(capsys, str(with_panel), "L0/N1")["range"]
    assert [(one["sample"], one["place"], one["score"], one["quantile"]) for one in found] == [
        (one.sample, one.place, one.activation, one.quantile) for one in chosen
    ]
    assert [one["drawn"] for one in found] == ["quantile"] * 5 + ["random"] * 5
    assert main(["show", str(with_panel), "L0/N1"]) == 0
    assert "across the range" not in capsys.readouterr().out
    assert main(["show", str(with_panel), "L0/N1", "--range"]) == 0
    lines = capsys.readouterr().out.split("across the range: of 30 samples drawn at random")[1].splitlines()[2:]
    assert [line.split()[:2] for line in lines] == [[f"{one.place:.0%}", str(one.sample)] for one in chosen]
    assert [line.split()[3] for line in lines] == ["near"] * 5 + ["random"] * 5
    assert all(store.sample(one.sample).image in line for one, line in zip(chosen, lines, strict=True))


def test_a_scan_without_a_panel_has_no_range(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "range" not in run_json(capsys, str(scan), "L3/N17")
    assert main(["show", str(scan), "L3/N17", "--range"]) == 1
    assert "--range needs a panel of random samples" in capsys.readouterr().err


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of samples in turn: a thumbnail of 4 x 4 and tiles of 8 x 12, and a thin plain grid of 16 x 2."""
    out = tmp_path_factory.mktemp("tiled") / "scan"
    layouts = [tiled_layout(), VisualLayout.plain(16, 2)]
    write_synthetic_scan(out, layers=1, neurons=4, samples=8, top_n=8, maps=8, layouts=layouts, image=96)
    return out


def test_a_sample_of_tiles_has_its_map_on_their_grid(tiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ScanStore(tiled)
    layouts = []
    for rank in range(8):
        top = store.example(Neuron(0, 1), rank, Thresholds())
        found = run_json(capsys, str(tiled), "L0/N1", "--sample", str(rank + 1))["sample"]
        layout, (rows, columns) = top.sample.layout, top.sample.layout.grid
        assert found["layout"] == {"tokens": len(layout), "covers": layout.covers, "grid": [rows, columns]}
        shown = np.array(found["visual_map"], dtype=np.float32)
        assert shown.shape == (rows, columns) and top.visual_values is not None and top.peak_patch is not None
        x0, y0, x1, y1 = layout.boxes[top.peak_patch]
        assert found["peak_patch"] == [int((y0 + y1) / 2 * rows), int((x0 + x1) / 2 * columns)]
        for (row, column), value in np.ndenumerate(shown):
            x, y = (column + 0.5) / columns, (row + 0.5) / rows
            own = [
                float(one)
                for one, (left, upper, right, lower) in zip(top.visual_values, layout.boxes, strict=True)
                if left <= x < right and upper <= y < lower
            ]
            assert value == np.float32(max(own))
        layouts.append(layout)
        assert main(["show", str(tiled), "L0/N1", "--sample", str(rank + 1)]) == 0
        text = capsys.readouterr().out
        said = "112 visual tokens in 2 covers of the picture; the map is 8 x 12"
        assert (said in text) == (layout.covers == 2)
        frame = next(line for line in text.splitlines() if line.startswith("+--"))
        assert len(frame) == 2 * columns + 2 and text.count("\n|") == rows
    assert {layout.covers for layout in layouts} == {1, 2}


def of_layout(scan: Path, covers: int) -> Example:
    """The first top sample of L0/N1 whose picture is covered so often."""
    store = ScanStore(scan)
    tops = (store.example(Neuron(0, 1), rank, Thresholds()) for rank in range(8))
    return next(top for top in tops if top.sample.layout.covers == covers)


@pytest.mark.parametrize(("cover", "grid"), [(1, (4, 4)), (2, (8, 12))])
def test_one_cover_is_shown_alone(
    tiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], cover: int, grid: tuple[int, int]
) -> None:
    top = of_layout(tiled, 2)
    assert top.visual_values is not None
    shown = top.visual_values[top.sample.layout.cover == cover - 1].reshape(grid)
    rows, columns = grid
    line = [str(tiled), "L0/N1", "--sample", str(top.rank + 1), "--cover", str(cover)]

    found = run_json(capsys, *line)["sample"]
    assert np.array_equal(np.array(found["visual_map"], dtype=np.float32), shown)
    assert found["layout"] == {"tokens": 112, "covers": 2, "grid": [rows, columns]}

    assert main(["show", *line]) == 0
    text = capsys.readouterr().out
    assert f"112 visual tokens in 2 covers of the picture; the map of cover {cover} is {rows} x {columns}" in text
    norms = norm(shown, top.maximum)
    crop = open_crop(top.read_crop())
    drawn = glyph_rows(norms, *_glyphs(grid, crop))
    assert [line.strip("|") for line in text.splitlines() if line.startswith("|")] == drawn

    assert main(["show", *line, "--png", str(tmp_path / "a.png"), "--colour-map", "grey"]) == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["Cover"] == f"{cover} of 2"
        factor = round(336 / max(crop.size))
        width, height = factor * crop.width, factor * crop.height
        right = picture.convert("RGB").crop((width + 12, 0, 2 * width + 12, height))
    whole = crop.resize((width, height), Image.Resampling.NEAREST)
    marked = outlined(overlay(whole, norms, ColourMap.GREY), norms, 2.0, outline_colour(ColourMap.GREY), 2)
    assert np.array_equal(np.asarray(right), np.asarray(marked))


@pytest.mark.parametrize(
    ("covers", "cover", "said"),
    [
        (2, "3", "Covers go from 1 to 2."),
        (2, "0", "Covers go from 1 to 2."),
        (1, "2", "once"),
        (1, "two", "not a whole number"),
    ],
)
def test_a_cover_that_is_not_there_is_refused(
    tiled: Path, capsys: pytest.CaptureFixture[str], covers: int, cover: str, said: str
) -> None:
    rank = of_layout(tiled, covers).rank + 1
    assert main(["show", str(tiled), "L0/N1", "--sample", str(rank), "--cover", cover]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.out == ""


def test_pooled_maps_have_no_covers(tiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pooled = tmp_path / "pooled"
    shutil.copytree(tiled, pooled)
    manifest = read_manifest(pooled).model_copy(update={"map_cells": 4})
    (pooled / "manifest.json").write_text(manifest.model_dump_json())
    line = ["show", str(pooled), "L0/N1", "--sample", str(of_layout(tiled, 2).rank + 1)]
    assert main(line) == 0
    assert "2 covers of the picture; the map is 4 x 4" in capsys.readouterr().out
    assert main([*line, "--cover", "2"]) == 2
    assert "This scan keeps pooled maps, without covers." in capsys.readouterr().err


def test_the_only_cover_is_the_whole_map(tiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [str(tiled), "L0/N1", "--sample", str(of_layout(tiled, 1).rank + 1)]
    assert run_json(capsys, *line, "--cover", "1") == run_json(capsys, *line)


def test_pictures_keep_the_shape_of_the_crop(tiled: Path, tmp_path: Path) -> None:
    store = ScanStore(tiled)
    for rank in range(8):
        assert main(["show", str(tiled), "L0/N1", "--sample", str(rank + 1), "--png", str(tmp_path / "a.png")]) == 0
        crop = open_crop(store.example(Neuron(0, 1), rank).read_crop())
        with Image.open(tmp_path / "a.png") as picture:
            factor = round(336 / max(crop.size))
            both = (2 * factor * crop.width + 12, factor * crop.height)
            assert picture.width == max(both[0], 400) and picture.height > both[1]
    assert crop.width != crop.height


def test_a_map_in_glyphs_keeps_the_shape_of_the_crop() -> None:
    """A grid of 16 x 16 stretched over a wide picture, and over a high one; very thin ones are cut off."""
    assert _glyphs((24, 24), Image.new("RGB", (168, 168))) == (48, 24)
    assert _glyphs((16, 16), Image.new("RGB", (200, 100))) == (64, 16)
    assert _glyphs((16, 16), Image.new("RGB", (100, 200))) == (32, 32)
    assert _glyphs((17, 23), Image.new("RGB", (168, 126))) == (46, 17)
    assert _glyphs((16, 16), Image.new("RGB", (4000, 1))) == (128, 16)


def test_a_map_that_is_not_stored_is_null(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, str(scan), "L3/N17", "--sample", "4")["sample"]
    assert found["visual_map"] is None
    assert found["text_map"] is None


def write_hostile_scan(out: Path, like: Path, scanned: int = 1, description: str | None = None) -> None:
    """One sample whose texts attack a terminal; activations that JSON has no number for."""
    manifest = read_manifest(like).model_copy(update={"samples": 1, "scanned": scanned})
    arrays = {name: np.zeros(shape, dtype=dtype) for name, (dtype, shape) in array_shapes(manifest).items()}
    arrays["top_visual"][:] = -np.inf
    arrays["moments"][:] = np.nan
    arrays["top_text"][0] = 1.0
    arrays["maximum"][:] = 2.0
    tokens = ["\x1b[2J", "[/red]", "\u202e", "caf\udce9"] if description is None else [description]
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "JPEG")
    with StoreWriter(out, 1) as writer:
        writer.add_sample("\x1b]0;x\x07\udcff.jpg", "".join(tokens), tokens, buffer.getvalue())
        writer.finish(manifest, arrays)


def test_what_json_has_no_number_for_is_null_and_text_is_verbatim(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_hostile_scan(tmp_path / "hostile", scan)
    found = run_json(capsys, str(tmp_path / "hostile"), "L0/N0")
    assert found["samples"][0]["visual"] == [None] * 8
    assert found["statistics"]["visual"]["mean"] is None
    assert found["samples"][0]["image"] == "\x1b]0;x\x07\udcff.jpg"
    assert found["samples"][0]["description"] == "\x1b[2J[/red]\u202ecaf\udce9"


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_hostile_text_reaches_no_terminal(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    write_hostile_scan(tmp_path / "hostile", scan)
    assert main(["show", str(tmp_path / "hostile"), "L0/N0", *arguments]) == 0
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e", "\udcff"} & set(out)
    assert "[/red]" in out


def test_a_scan_of_no_samples_shows_that_there_are_none(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_hostile_scan(tmp_path / "none", scan, scanned=0)
    found = run_json(capsys, str(tmp_path / "none"), "L0/N0")
    assert found["samples"] == []
    assert set(found["p"].values()) == {None}
    assert main(["show", str(tmp_path / "none"), "L0/N0"]) == 0
    assert main(["show", str(tmp_path / "none"), "L0/N0", "--sample", "1"]) == 2


def test_text_in_a_pipe_has_glyphs_and_no_colours(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(scan), "L3/N17", "--sample", "2"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "▀" not in out
    assert "sample 2 of 8" in out
    store = ScanStore(scan)
    top = store.example(NEURON, 1, Thresholds())
    framed = [line for line in out.splitlines() if line.startswith("|")]
    assert [len(line) for line in framed] == [10] * 4
    assert top.visual_map is not None
    norms = norm(top.visual_map, float(store.maximum[3, 17]))
    assert ["".join(pair) for pair in zip(framed[0][1:-1:2], framed[0][2:-1:2], strict=True)] == [
        2 * " .:-=+*#%@"[min(int(value), 9)] for value in norms[0]
    ]


def test_the_list_of_samples_is_as_long_as_asked(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def ranks(*args: str) -> list[str]:
        assert main(["show", str(scan), "L3/N17", *args]) == 0
        listed = capsys.readouterr().out.partition("rank  sample")[2].splitlines()[1:]
        return [line.split()[0] for line in listed]

    assert ranks() == ["1", "2", "3", "4", "5", "6", "7", "8"]
    assert ranks("--top", "2") == ["1", "2", "and"]
    assert ranks("--top", "0") == ["and"]


def test_on_a_terminal_no_sample_takes_two_lines(scan: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    write_hostile_scan(wide, scan, description="火车" * 60)
    listed = lines_on(wide, neuron=Neuron(0, 0), no_color=True).partition("rank  sample")[2].splitlines()[1:]
    assert len(listed) == 1
    assert cell_len(listed[0]) <= 80
    assert listed[0].endswith("…")


def test_a_rank_without_a_map_says_which_have_one(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(scan), "L3/N17", "--sample", "5"]) == 0
    assert "maps are stored for samples 1 to 3" in capsys.readouterr().out


def lines_on(scan: Path, neuron: Neuron = NEURON, **terminal: object) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, **terminal)  # type: ignore[arg-type]
    page = ShownNeuron.of(ScanStore(scan), neuron, Thresholds())
    with console.capture() as captured:
        for line in as_lines(page, page.samples[0], 10, ColourMap.FADE, console):
            console.print(line, soft_wrap=bool(line.no_wrap))
    return captured.get()


def test_a_terminal_with_colours_gets_a_picture(scan: Path) -> None:
    shown = lines_on(scan, color_system="truecolor")
    assert "▀" in shown
    assert "38;2;" in shown
    assert "38;5;" in lines_on(scan, color_system="256")


def test_no_color_gets_glyphs(scan: Path) -> None:
    shown = lines_on(scan, color_system="truecolor", no_color=True)
    assert "▀" not in shown
    assert "38;" not in shown
    assert "norm 0 to 10" in shown


def test_words_above_the_threshold_stand_in_brackets(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ScanStore(scan)
    top = store.example(NEURON, 0, Thresholds())
    assert top.text_map is not None
    above = norm(top.text_map, float(store.maximum[3, 17])) > 3
    expected = [
        f"[{token.strip()}]" if strong else token.strip()
        for token, strong in zip(top.sample.tokens, above, strict=True)
    ]
    assert 0 < above.sum() < len(above)
    assert main(["show", str(scan), "L3/N17"]) == 0
    assert " ".join(expected) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("colour_map", list(ColourMap))
def test_the_picture_is_origin_and_activation(scan: Path, tmp_path: Path, colour_map: ColourMap) -> None:
    file = tmp_path / "out.png"
    assert main(["show", str(scan), "L3/N17", "--sample", "3", "--png", str(file), "--colour-map", colour_map]) == 0
    with Image.open(file) as found:
        assert found.format == "PNG"
        picture = found.convert("RGB")
    store = ScanStore(scan)
    top = store.example(NEURON, 2, Thresholds())
    crop = open_crop(top.read_crop())
    assert top.visual_map is not None
    norms = norm(top.visual_map, float(store.maximum[3, 17]))
    assert 0 < (norms > 2).sum() < norms.size
    factor = picture.width // (2 * crop.width)
    assert factor > 1
    assert top.text_norms is not None and (top.text_norms > 3).any()
    assert picture.height > factor * crop.height  # the words are below
    picture = picture.crop((0, 0, picture.width, factor * crop.height))
    left = picture.crop((0, 0, factor * crop.width, picture.height)).resize(crop.size, Image.Resampling.NEAREST)
    right = picture.crop((picture.width - factor * crop.width, 0, picture.width, picture.height))
    assert np.array_equal(np.asarray(left), np.asarray(crop))
    drawn = overlay(crop.resize(right.size, Image.Resampling.NEAREST), norms, colour_map)
    marked = outlined(drawn, norms, 2.0, outline_colour(colour_map), 2)
    assert marked.tobytes() != drawn.tobytes(), "a line is around the patches above Tv"
    assert np.array_equal(np.asarray(right), np.asarray(marked))


def test_cards_are_written_in_three_formats(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {ending: str(tmp_path / f"card.{ending}") for ending in ("png", "svg", "pdf")}
    options = [word for ending, file in files.items() for word in (f"--{ending}", file)]
    assert main(["show", str(scan), "L3/N17", *options]) == 0
    assert capsys.readouterr().out == ""
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for ending, file in files.items():
        assert Path(file).read_bytes().startswith(begins[ending])
    assert main(["show", str(scan), "L3/N17", "--sample", "2", "--svg", files["svg"]]) == 2
    assert "do not go with --svg and --pdf" in " ".join(capsys.readouterr().err.split())


def test_the_picture_is_talked_about_on_stderr(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.png"
    assert main(["show", str(scan), "L3/N17", "--sample", "1", "--png", str(file)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(file) in captured.err
    assert main(["show", str(scan), "L3/N17", "--sample", "1", "--png", str(file), "--json"]) == 0
    json.loads(capsys.readouterr().out)


def test_a_picture_goes_down_a_pipe(scan: Path) -> None:
    command = [sys.executable, "-m", "vlmscope.tui", "show", str(scan), "L3/N17", "--png", "/dev/stdout"]
    found = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, check=True)
    with Image.open(io.BytesIO(found.stdout)) as picture:
        assert picture.format == "PNG"
        picture.load()


def test_the_notebook_is_shown(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verdict", str(scan), "L1/N2", "keep", "--note", "a [clear] one\x1b[31m", "--tag", "trains"]) == 0
    capsys.readouterr()
    assert main(["show", str(scan), "L1/N2"]) == 0
    assert "noted: keep  #trains  a [clear] one" in capsys.readouterr().out
    assert main(["show", str(scan), "L1/N2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["notebook"]["verdict"], found["notebook"]["tags"], found["published"]) == ("keep", ["trains"], None)


def test_causal_checks_are_shown(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    neuron, scan_id = Neuron(1, 2), ScanStore(scan).manifest.scan_id
    with Notebook.open(notebook_path(scan_id, scan, "data"), scan_id) as notebook:
        notebook.add_check(check(neuron, word="a\x1b[31mb"))
        notebook.add_check(check(neuron, effect=-0.01, p=0.5))
    assert main(["show", str(scan), "L1/N2"]) == 0
    text = capsys.readouterr().out
    assert (
        'causal check "shirt" -> 0, all tokens: log-odds -0.010, controls -0.0005, lowest -0.020;'
        " 7 pictures, 39 matched neurons of L1\n  No effect found: " in text
    )
    assert 'causal check "a [31mb" -> 0' in text and "\x1b" not in text
    assert "\n  Beyond all 39 matched neurons (p 0.05" in text
    found = run_json(capsys, str(scan), "L1/N2")["notebook"]["checks"]
    assert [(one["effect"], one["p"], one["beyond_all"]) for one in found] == [
        (-0.01, 0.5, False),
        (-2.957, 0.05, True),
    ]
    assert [one["change"] for one in found[0]["pictures"]][:2] == [-6.6, -3.6]
    assert len(found[0]["controls"]) == 39


def test_a_notebook_that_cannot_be_read_hides_nothing_else(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = notebook_path(ScanStore(scan).manifest.scan_id, scan, "data")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 100)
    assert main(["show", str(scan), "L1/N2"]) == 0
    captured = capsys.readouterr()
    assert "L1/N2" in captured.out
    assert "without the notebook" in captured.err


def write_one_map(out: Path, like: Path, visual: int, text: list[int], words: str = " a dog runs home") -> None:
    """One sample of one map, from 0 to 255: ``visual`` in every patch, ``text`` at the tokens."""
    update = {"samples": 1, "scanned": 1, "top_n": 1, "maps": 1}
    manifest = read_manifest(like).model_copy(update=update)
    arrays = {name: np.zeros(shape, dtype=dtype) for name, (dtype, shape) in array_shapes(manifest).items()}
    arrays["maximum"][:] = arrays["top_text"][:] = 2.0
    arrays["maps_visual"][:] = visual
    arrays["maps_text"][..., : len(text)] = text
    tokens = [f" {word}" for word in words.split()]
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(buffer, "JPEG")
    with StoreWriter(out, 1) as writer:
        writer.add_sample("a.jpg", words, tokens, buffer.getvalue())
        writer.finish(manifest, arrays)


def shades(picture: Image.Image) -> set[tuple[int, ...]]:
    """The colours that fill much of the picture."""
    return {colour for count, colour in picture.getcolors(1 << 24) if count > 200}  # type: ignore[misc, union-attr]


@pytest.mark.parametrize("colour_map", list(ColourMap))
def test_the_picture_of_a_text_neuron_has_its_words(scan: Path, tmp_path: Path, colour_map: ColourMap) -> None:
    write_one_map(tmp_path / "text", scan, visual=0, text=[0, 255, 128, 0])
    file = tmp_path / "out.png"
    line = ["show", str(tmp_path / "text"), "L0/N0", "--sample", "1", "--png", str(file), "--colour-map", colour_map]
    assert main(line) == 0
    with Image.open(file) as picture:
        words = picture.convert("RGB").crop((340, 0, picture.width, 330))  # in the place of the map, which is blank
    top = ScanStore(tmp_path / "text").example(Neuron(0, 0), 0, Thresholds())
    assert top.text_norms is not None
    assert {shade(float(norm)) for norm in top.text_norms[1:3]} <= shades(words)
    assert any(sum(colour) < 60 for _, colour in words.getcolors(1 << 24) or [])  # type: ignore[arg-type]


def test_a_long_description_is_wrapped_and_ends(scan: Path, tmp_path: Path) -> None:
    write_one_map(tmp_path / "one", scan, visual=255, text=[255], words="dog")
    write_one_map(tmp_path / "many", scan, visual=255, text=[255] * 40, words="elephant " * 40)
    sizes = []
    for name in ("one", "many"):
        line = ["show", str(tmp_path / name), "L0/N0", "--sample", "1", "--png", str(tmp_path / f"{name}.png")]
        assert main(line) == 0
        with Image.open(tmp_path / f"{name}.png") as picture:
            sizes.append(picture.size)
    assert sizes[0][0] == sizes[1][0] and sizes[0][1] + 3 * LINE <= sizes[1][1]
    endless = with_tokens(Image.new("RGB", (50, 10)), [(" elephant" * 9, 10.0)] * 5000)
    assert endless.height < 1100


@pytest.mark.parametrize("blank", [" ", "\u3000", " \n "])
def test_a_token_of_blanks_is_shaded_itself(blank: str) -> None:
    drawn = with_tokens(Image.new("RGB", (500, 10)), [(blank * 4, 10.0)])
    assert shade(10.0) in {colour for _, colour in drawn.getcolors(1 << 24) or []}


def test_the_picture_of_a_visual_neuron_has_no_words(scan: Path, tmp_path: Path) -> None:
    write_one_map(tmp_path / "visual", scan, visual=255, text=[0, 0, 0, 0])
    line = ["show", str(tmp_path / "visual"), "L0/N0", "--sample", "1", "--png", str(tmp_path / "out.png")]
    assert main(line) == 0
    with Image.open(tmp_path / "out.png") as picture:
        pictures = 32 * round(336 / 32)
        assert pictures < picture.height < pictures + 2 * LINE  # the scale alone is below
        row = np.asarray(picture.convert("RGB"))[picture.height - LINE // 2]
    assert (row.min(), row.max()) == (0, 255) and len(np.unique(row, axis=0)) > 100  # fading, as the map does


def test_where_nothing_activates_no_blank_picture_is_written(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_one_map(tmp_path / "none", scan, visual=0, text=[0, 0, 0, 0])
    assert main(["show", str(tmp_path / "none"), "L0/N0", "--sample", "1", "--png", str(tmp_path / "out.png")]) == 1
    said = capsys.readouterr().err
    assert "L0/N0 does not activate on sample 1" in said and "--sample" in said
    assert not (tmp_path / "out.png").exists()


def test_the_picture_carries_what_it_shows(scan: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.png"
    assert main(["show", str(scan), "L3/N17", "--sample", "2", "--png", str(file), "--colour-map", "grey"]) == 0
    store = ScanStore(scan)
    top = store.example(NEURON, 1, Thresholds())
    with Image.open(file) as picture:
        picture.load()
        found = picture.info
    assert found["Neuron"] == "L3/N17" and found["Model"] == "synthetic" and found["Hook"] == "gate"
    assert float(found["Activation"]) == pytest.approx(top.activation, rel=1e-5)
    assert found["Scale"].startswith("norm 0 to 10; 10 is the neuron's maximum activation, ")
    assert float(found["Scale"].split()[-1]) == pytest.approx(float(store.maximum[3, 17]), rel=1e-5)
    assert found["Colour map"] == "grey" and found["Scan"] == store.manifest.scan_id
    assert found["Sample"] == f"rank 2, number {top.sample.index}, {top.sample.image}"
    assert found["Label"] == Label(int(store.labels(Thresholds()).label[3, 17])).word


def test_a_picture_of_hostile_texts_is_written(scan: Path, tmp_path: Path) -> None:
    write_one_map(tmp_path / "hostile", scan, visual=0, text=[255], words="\x1b[2Jcaf\udce9\u202e")
    assert main(["show", str(tmp_path / "hostile"), "L0/N0", "--png", str(tmp_path / "out.png")]) == 0
    with Image.open(tmp_path / "out.png") as picture:
        picture.load()
        assert picture.info["Description"] == " [2Jcaf? "


def test_a_small_map_is_shown_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The demo keeps whole maps of four samples, and small ones of twenty."""
    for sample, small in (("4", False), ("5", True)):
        assert main(["show", "demo", "L3/N96", "--sample", sample]) == 0
        assert ("small map: 12 x 12 cells, in 16 levels" in capsys.readouterr().out) == small
        assert main(["show", "demo", "L3/N96", "--sample", sample, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["sample"]
        assert found["small_maps"] == small and len(found["visual_map"]) == 12
        if small:
            levels = np.array(found["visual_map"]) / max(*found["visual"], *found["text"]) * 15
            assert np.abs(levels - levels.round()).max() < 1e-3 and levels.max() == pytest.approx(15)
    assert main(["show", "demo", "L3/N96", "--sample", "21"]) == 0
    assert "no heatmap: maps are stored for samples 1 to 20" in capsys.readouterr().out
