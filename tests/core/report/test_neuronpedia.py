"""The folder for Neuronpedia, read back as its importer reads it."""

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.support.neuronpedia_importer import Database, Row, import_folder
from tests.support.report_parts import KEPT, open_notebook, triage
from vlmscope.core.base.demo import demo_folder
from vlmscope.core.base.errors import ReportError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.report import neuronpedia
from vlmscope.core.report.neuronpedia import DESCRIPTION, write_neuronpedia
from vlmscope.core.report.site_tokens import LIMIT, site_tokens
from vlmscope.core.store.reader import ScanStore

WHEN = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def store(scan: Path) -> ScanStore:
    return ScanStore(scan)


def written(
    store: ScanStore, out: Path, neurons: tuple[Neuron, ...] = KEPT, text: str = "trains", samples: int | None = None
) -> Database:
    """Triage with ``text``, export, and import it all."""
    with open_notebook(store) as notebook:
        triage(notebook, text)
        export(store, out, notebook, neurons, samples)
    return import_folder(out)


def export(
    store: ScanStore,
    out: Path,
    notebook: Notebook | None,
    neurons: tuple[Neuron, ...] = KEPT,
    samples: int | None = None,
) -> dict[str, int]:
    at = store.manifest.thresholds.value()
    return write_neuronpedia(out, store, notebook, neurons, at, when=WHEN, samples=samples)


def of(rows: list[Row], neuron: Neuron) -> list[Row]:
    own = (str(neuron.layer), str(neuron.index))
    return [row for row in rows if (str(row["layer"]).split("-")[0], row["index"]) == own]


def test_the_importer_finds_every_neuron_with_its_maps_and_explanations(store: ScanStore, tmp_path: Path) -> None:
    found = written(store, tmp_path / "out")
    assert [len(found.rows(name)) for name in ("SourceRelease", "Model", "SourceSet", "Source")] == [1, 1, 1, 2]
    (model,) = found.rows("Model")
    assert (model["layers"], model["neuronsPerLayer"]) == (store.layers, store.neurons)
    assert len(found.rows("Neuron")) == 3 and len(found.rows("Activation")) == 3 * store.manifest.maps
    for neuron in KEPT:
        (feature,) = of(found.rows("Neuron"), neuron)
        assert feature["maxActApprox"] == pytest.approx(float(store.maximum[neuron.layer, neuron.index]))
        for rank, row in enumerate(of(found.rows("Activation"), neuron)):
            example = store.example(neuron, rank)
            assert example.visual_map is not None and example.text_map is not None
            rows, columns = example.grid
            names = [f"<image {row},{column}>" for row in range(rows) for column in range(columns)]
            assert row["tokens"] == [*names, *example.sample.tokens]
            expected = np.maximum(np.concatenate([example.visual_map.ravel(), example.text_map]), 0)
            values = row["values"]
            assert isinstance(values, list) and np.allclose(values, expected, atol=1e-6)
            at = row["maxValueTokenIndex"]
            assert isinstance(at, int) and values[at] == row["maxValue"] == max(values)
            assert (row["binMin"], row["binContains"]) == (-1, -1)
            assert row["dataIndex"] == example.sample.image
    ids = [row["id"] for row in found.rows("Activation")]
    assert len(set(ids)) == len(ids) and all(isinstance(one, str) and len(one) == 25 for one in ids)
    said = of(found.rows("Explanation"), KEPT[0])
    assert [row["description"] for row in said] == ["trains"] * 3  # an API's, a person's and the paper's
    assert "by gpt-4o-2024-08-06; prompt explain-1; label " in str(said[0]["notes"])
    assert "score visual, top+random n/a by lens" in str(said[0]["notes"])


def test_the_histogram_counts_what_is_above_0(tmp_path: Path) -> None:
    store = ScanStore(demo_folder() / "scan")  # a synthetic scan's counts do not add up
    export(store, tmp_path / "out", None)
    found = import_folder(tmp_path / "out")
    for neuron in KEPT:
        (feature,) = of(found.rows("Neuron"), neuron)
        kinds = [store.distribution(neuron, kind) for kind in (Label.VISUAL, Label.TEXT)]
        active = sum(int(kind.histogram[1:].sum()) for kind in kinds)
        heights, values = feature["freq_hist_data_bar_heights"], feature["freq_hist_data_bar_values"]
        assert isinstance(heights, list) and isinstance(values, list)
        assert sum(heights) == active and len(values) == len(heights) and values == sorted(values)
        scores = [row["maxValue"] for row in of(found.rows("Activation"), neuron)]
        assert scores == pytest.approx(store.scores(neuron)[: len(scores)], abs=1e-6) and len(scores) == 4
        assert feature["frac_nonzero"] == pytest.approx(active / sum(kind.count for kind in kinds))


def test_samples_bound_the_activations_and_no_file_is_empty(store: ScanStore, tmp_path: Path) -> None:
    assert len(written(store, tmp_path / "one", samples=1).rows("Activation")) == 3
    assert export(store, tmp_path / "none", None, samples=0) == {
        "sources": 2,
        "features": 3,
        "activations": 0,
        "explanations": 0,
    }
    names = {path.relative_to(tmp_path / "none").parts[2] for path in (tmp_path / "none").rglob("*") if path.is_file()}
    assert names == {"release.jsonl", "model.jsonl", "sourceset.jsonl", "source.jsonl", "features"}
    assert len(import_folder(tmp_path / "none").rows("Neuron")) == 3


def test_batches_are_numbered(store: ScanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuronpedia, "BATCH", 2)
    neurons = tuple(Neuron(1, index) for index in range(5))
    export(store, tmp_path / "out", None, neurons)
    (source,) = (tmp_path / "out").glob("*/1-*")
    assert sorted(path.name for path in (source / "features").iterdir()) == [f"batch-{n}.jsonl.gz" for n in range(3)]
    assert len(import_folder(tmp_path / "out").rows("Neuron")) == 5


@pytest.mark.parametrize("text", ["\0", "\\u0000", "\ud800 half", "a\n\x1b[31m\u2028b", "x" * 5000, '"},{"id"'])
def test_any_text_is_imported(store: ScanStore, tmp_path: Path, text: str) -> None:
    found = written(store, tmp_path / "out", text=f"trains {text} rails")
    for row in found.rows("Explanation"):
        assert str(row["description"]).startswith("trains") and 1 <= len(str(row["description"])) <= DESCRIPTION


def test_the_same_export_gives_the_same_bytes_and_adds_nothing(store: ScanStore, tmp_path: Path) -> None:
    first = written(store, tmp_path / "a")
    with open_notebook(store) as notebook:
        export(store, tmp_path / "b", notebook)
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert files[0] == files[1] and files[0]
    before = {name: dict(rows) for name, rows in first.tables.items()}
    assert import_folder(tmp_path / "b", first).tables == before


def test_a_sample_of_too_many_tokens_is_made_to_fit(store: ScanStore) -> None:
    example = store.example(KEPT[0], 0)
    layout = VisualLayout.plain(60, 40)
    generator = np.random.default_rng(0)
    values = generator.random(2400, dtype=np.float32)
    values[1234] = 7
    words = tuple(f"w{at}" for at in range(2000))
    text = generator.random(2000, dtype=np.float32)
    text[1500] = 5
    sample = replace(example.sample, tokens=words)
    big = replace(example, sample=sample, map_layout=layout, visual_values=values, text_map=text)
    found = site_tokens(big)
    assert found is not None and len(found.tokens) == len(found.values) <= LIMIT
    assert found.values.max() == 7 and "w1500" in found.tokens and found.patches == found.grid[0] * found.grid[1]
    assert found.patches > 400 and found.grid[0] / found.grid[1] == pytest.approx(1.5, abs=0.15)
    assert site_tokens(replace(example, visual_values=None)) is None


def test_what_is_there_already_is_not_touched(store: ScanStore, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(ReportError):
        export(store, tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_ids_of_models_are_what_the_site_takes(store: ScanStore) -> None:
    names = {"llava-hf/llava-1.5-7b-hf": "llava-1-5-7b-hf", "demo": "vlmscope-demo", "/models/Mine_2/": "mine-2"}
    for name, expected in names.items():
        model = store.manifest.model.model_copy(update={"name": name})
        assert neuronpedia.model_id(store.manifest.model_copy(update={"model": model})) == expected


def test_lines_are_ascii(store: ScanStore, tmp_path: Path) -> None:
    written(store, tmp_path / "out", text="漢字")
    (path,) = (tmp_path / "out").glob("*/0-*/explanations/*.gz")
    assert json.loads(gzip.decompress(path.read_bytes()).decode("ascii").splitlines()[0])["description"] == "漢字"
