"""Scores by label and layer, against the same counted by hand; and what counts as a neuron's score."""

from pathlib import Path

import numpy as np
import pytest

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.correlation import Pooled, ScoredGroup, TokenKind
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.scoring.report import ScoreReport
from vlmscope.core.scoring.statistics import newest_scores, score_statistics
from vlmscope.core.store.reader import ScanStore

WHEN = "2026-01-01T00:00:00+00:00"


def report(score: float | None, backend: str = "lens", kind: TokenKind = TokenKind.VISUAL) -> ScoreReport:
    pooled = Pooled(
        score=score,
        reason="" if score is not None else "the truth is constant",
        interval=None,
        interval_kind=None,
        planned=20,
        counted=20,
        tokens=100,
        baseline=None,
        baselines=0,
    )
    return ScoreReport(backend, False, "trains", ("train",), {kind: dict.fromkeys(ScoredGroup, pooled)}, (), (), "")


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook.open(tmp_path / "n.sqlite", "scan")


def put(notebook: Notebook, neuron: Neuron, *reports: ScoreReport) -> None:
    number = notebook.add_explanation(neuron, Explanation("trains", Source.USER, WHEN))
    for one in reports:
        notebook.add_score(number, one.backend, one.to_json(), WHEN)


def test_the_newest_of_each_backend_counts(notebook: Notebook) -> None:
    put(notebook, Neuron(0, 1), report(0.2), report(0.7), report(0.5, "oracle"))
    put(notebook, Neuron(1, 1), report(None))
    notebook.set_bookmark(Neuron(2, 2), True)
    number = notebook.add_explanation(Neuron(3, 3), Explanation("x", Source.USER, WHEN))
    notebook.add_score(number, "lens", {"format": 99}, WHEN)
    found = newest_scores(notebook)
    assert found == {
        Neuron(0, 1): {"lens": report(0.7), "oracle": report(0.5, "oracle")},
        Neuron(1, 1): {"lens": report(None)},
    }


def test_scores_by_label_and_layer(scan: Path, notebook: Notebook) -> None:
    labels = ScanStore(scan).stored_labels()
    rng = np.random.default_rng(0)
    scores = {}
    for layer in range(4):
        for index in range(0, 32, 3):
            score = None if index % 9 == 0 else float(rng.normal())
            scores[Neuron(layer, index)] = score
            put(notebook, Neuron(layer, index), report(score))
    found = score_statistics(newest_scores(notebook), labels)
    for one in found:
        chosen = [
            score
            for neuron, score in scores.items()
            if (one.label is None or labels.label[neuron.layer, neuron.index] == one.label)
            and (one.layer is None or neuron.layer == one.layer)
        ]
        known = sorted(score for score in chosen if score is not None)
        assert (one.count, one.undefined) == (len(known), len(chosen) - len(known))
        if known:
            assert one.mean == pytest.approx(sum(known) / len(known))
            assert one.quantiles is not None
            assert (one.quantiles[0], one.quantiles[-1]) == (known[0], known[-1])
            assert one.quantiles[2] == pytest.approx(float(np.median(known)))
        else:
            assert (one.mean, one.quantiles) == (None, None)
    assert (found[0].label, found[0].layer, found[0].count + found[0].undefined) == (None, None, len(scores))
    whole = [one for one in found if one.label is not None and one.layer is None]
    assert {one.label for one in whole} <= set(Label)
    assert sum(one.count for one in whole) == found[0].count
