"""The scores in a notebook as a whole: how they are distributed over labels and layers, as the paper compares them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from vlmscope.core.base.errors import NotebookError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.correlation import TokenKind
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.scoring.judge_report import AnyReport, JudgeReport, Metric, read_report
from vlmscope.core.scoring.preferred import list_score

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Scores:
    """The scores of some neurons by one backend.

    Attributes:
        label, layer: which neurons; None for all.
        kind: of tokens, or a judge's metric.
        leads: of how many neurons it is the score that leads, by ``list_score``.
        undefined: how many have no score (n/a): they are in no other number.
        count: how many have one.
        mean, quantiles: of those, the latter at 0, 25, 50, 75 and 100 %; None where there are none.
    """

    backend: str
    kind: TokenKind | Metric
    label: Label | None
    layer: int | None
    undefined: int
    count: int
    mean: float | None
    quantiles: tuple[float, ...] | None
    leads: int


def newest_scores(notebook: Notebook) -> dict[Neuron, dict[str, AnyReport]]:
    """The newest score by each backend of every scored neuron's leading explanation.

    Words that were tried beside it do not count. A score that cannot be read is left out.

    Raises:
        NotebookError: if the notebook itself cannot be read.
    """
    found: dict[Neuron, dict[str, AnyReport]] = {}
    for neuron in notebook.scored():
        leading = next((one.id for one in notebook.explanations(neuron)), None)
        for saved in notebook.scores(neuron):  # newest first
            if saved.explanation_id != leading or saved.backend in found.get(neuron, {}):
                continue
            try:
                found.setdefault(neuron, {})[saved.backend] = read_report(saved.body)
            except NotebookError:  # another version's: it stays in the notebook
                continue
    return found


_Key = tuple[str, TokenKind | Metric, Label | None, int | None]  #: the first fields of ``Scores``


def score_statistics(found: Mapping[Neuron, Mapping[str, AnyReport]], labels: Labels) -> tuple[Scores, ...]:
    """The scores by backend and kind: of all neurons, of each label, and of each label in each layer that has any."""
    groups: dict[_Key, list[float | None]] = {}
    leads = Counter[_Key]()
    for neuron, reports in found.items():
        label, leading = labels.of(neuron), list_score(reports.values())
        for backend, report in reports.items():
            for kind, score in _values(report):
                for key in ((None, None), (label, None), (label, neuron.layer)):
                    groups.setdefault((backend, kind, *key), []).append(score)
                    leads[backend, kind, *key] += (
                        leading is not None and (leading.report is report) and leading.kind is kind
                    )

    def order(key: _Key) -> tuple[str, str, int, int]:
        backend, kind, label, layer = key
        return backend, kind, -1 if label is None else int(label), -1 if layer is None else layer

    return tuple(_summary(key, groups[key], leads[key]) for key in sorted(groups, key=order))


def _values(report: AnyReport) -> Iterator[tuple[TokenKind | Metric, float | None]]:
    """A report's scores that are shown first, by kind of tokens or by metric."""
    if isinstance(report, JudgeReport):
        for metric, figure in report.figures.items():
            yield metric, figure.value
        return
    for kind in report.pooled:
        pooled = report.headline(kind)
        yield kind, None if pooled is None else pooled.score


def _summary(key: _Key, scores: list[float | None], leads: int) -> Scores:
    known = np.array([score for score in scores if score is not None], dtype=np.float64)
    return Scores(
        *key,
        undefined=len(scores) - len(known),
        count=len(known),
        mean=float(known.mean()) if len(known) else None,
        quantiles=tuple(float(value) for value in np.quantile(known, QUANTILES)) if len(known) else None,
        leads=leads,
    )
