"""The folder in delphi's layout."""

import json
from pathlib import Path

import pytest

from tests.support.report_parts import BODY, KEPT, WHEN, explanation, open_notebook, triage
from vlmscope.core.base.errors import ReportError
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.report.delphi import write_delphi
from vlmscope.core.store.reader import ScanStore


def test_explanations_and_scores_are_where_delphi_has_them(scan: Path, tmp_path: Path) -> None:
    store = ScanStore(scan)
    with open_notebook(store) as notebook:
        triage(notebook)
        top = store.top_samples(KEPT[0])
        lead = notebook.explanations(KEPT[0])[0].id
        samples = [
            {"sample": top[1], "rank": 2, "visual": {"score": 0.5, "reason": ""}},
            {"sample": top[-1], "rank": len(top), "visual": {"score": None, "reason": "constant"}},
            {"sample": 0, "rank": None, "visual": {"score": 0.1, "reason": ""}},
        ]
        notebook.add_score(lead, "oracle", BODY | {"samples": samples, "independent": True}, WHEN)
        for method, ratings in (("detection", (1,)), ("detection", (9, 2)), ("fuzzing", (3,))):
            rated = [
                {"sample": top[at], "rank": at + 1, "norm": 9.0, "activates": at == 0, "rating": rating}
                for at, rating in enumerate(ratings)
            ]
            body = {"format": 2, "method": method, "samples": rated, "scores": {}}
            notebook.add_score(lead, f"{method}/gpt", body, WHEN)
        notebook.add_explanation(KEPT[1], explanation("no trains", Source.CONCEPTS))  # explains nothing
        notebook.add_explanation(KEPT[2], Explanation("wheels", Source.USER, WHEN, pattern_found=False))
        at = store.manifest.thresholds.value()
        assert write_delphi(tmp_path / "run", store, notebook, KEPT, at) == {"explanations": 2, "scores": 3}
    folder = tmp_path / "run"
    texts = {path.name: json.loads(path.read_bytes()) for path in (folder / "explanations").iterdir()}
    assert texts == {
        "layers.0.mlp_latent3.txt": "trains",
        "layers.2.mlp_latent17.txt": "no pattern found: wheels",
    }
    config = json.loads((folder / "run_config.json").read_bytes())
    assert config["hookpoints"] == ["layers.0.mlp", "layers.2.mlp"] and config["name"] == "run"
    assert config["scorers"] == ["simulation", "fuzz", "detection"]
    first, second = json.loads((folder / "scores" / "detection" / "layers.0.mlp_latent3.txt").read_bytes())
    assert (first["distance"], first["activating"], first["prediction"], first["correct"]) == (1, True, True, True)
    assert (second["distance"], second["probability"], second["prediction"], second["correct"]) == (
        -1,
        0.2,
        False,
        True,
    )
    assert len(first["str_tokens"]) == len(first["activations"]) > 16
    (fuzzed,) = json.loads((folder / "scores" / "fuzz" / "layers.0.mlp_latent3.txt").read_bytes())
    assert (fuzzed["activating"], fuzzed["correct"]) == (True, False)
    (path,) = (folder / "scores" / "simulation").iterdir()
    assert path.name == "layers.0.mlp_latent3.txt"
    found = json.loads(path.read_bytes())
    # The simulator that is independent comes first, though lens has a score too.
    assert [(one["distance"], one["ev_correlation_score"], one["backend"]) for one in found] == [
        (1, 0.612, "oracle"),
        (0, "nan", "oracle"),
    ]
    assert [len(one["scored_sequence_simulations"]) for one in found] == [2, 3]
    first, second = found[0]["scored_sequence_simulations"]
    rows, columns = store.example(KEPT[0], 1).grid
    assert len(first["true_activations"]) == len(first["simulation"]["tokens"]) == rows * columns
    assert max(first["true_activations"]) <= 10 and first["simulation"]["tokens"][0] == "<image 0,0>"
    assert (first["ev_correlation_score"], second["ev_correlation_score"]) == (0.5, "nan")
    assert second["true_activations"] == []  # the scan keeps no map of it


def test_without_an_explanation_nothing_is_made(scan: Path, tmp_path: Path) -> None:
    store = ScanStore(scan)
    with pytest.raises(ReportError, match="nothing to export for delphi"):
        write_delphi(tmp_path / "run", store, None, KEPT, store.manifest.thresholds.value())
    assert list(tmp_path.iterdir()) == []
