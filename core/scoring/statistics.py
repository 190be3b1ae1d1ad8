"""The scores in a notebook as a whole: how they are distributed over labels and layers, as the paper compares them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vlmscope.core.base.errors import NotebookError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.correlation import TokenKind
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.scoring.report import ScoreReport

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Scores:
    """The scores of some neurons by one backend.

    Attributes:
        label, layer: which neurons; None for all.
        kind: of tokens.
        undefined: how many have no score (n/a): they are in no other number.
        count: how many have one.
        mean, quantiles: of those, the latter at 0, 25, 50, 75 and 100 %; None where there are none.
    """

    backend: str
    kind: TokenKind
    label: Label | None
    layer: int | None
    undefined: int
    count: int
    mean: float | None
    quantiles: tuple[float, ...] | None


def newest_scores(notebook: Notebook) -> dict[Neuron, dict[str, ScoreReport]]:
    """The newest score by each backend of every scored neuron's leading explanation.

    Words that were tried beside it do not count. A score that cannot be read is left out.

    Raises:
        NotebookError: if the notebook itself cannot be read.
    """
    found: dict[Neuron, dict[str, ScoreReport]] = {}
    for neuron in notebook.scored():
        leading = next((one.id for one in notebook.explanations(neuron)), None)
        for saved in notebook.scores(neuron):  # newest first
            if saved.explanation_id != leading or saved.backend in found.get(neuron, {}):
                continue
            try:
                found.setdefault(neuron, {})[saved.backend] = ScoreReport.from_json(saved.body)
            except NotebookError:  # another version's: it stays in the notebook
                continue
    return found


_Key = tuple[str, TokenKind, Label | None, int | None]  #: the first fields of ``Scores``


def score_statistics(found: Mapping[Neuron, Mapping[str, ScoreReport]], labels: Labels) -> tuple[Scores, ...]:
    """The scores by backend and kind: of all neurons, of each label, and of each label in each layer that has any."""
    groups: dict[_Key, list[float | None]] = {}
    for neuron, reports in found.items():
        label = labels.of(neuron)
        for backend, report in reports.items():
            for kind in report.pooled:
                pooled = report.headline(kind)
                score = None if pooled is None else pooled.score
                for key in ((None, None), (label, None), (label, neuron.layer)):
                    groups.setdefault((backend, kind, *key), []).append(score)

    def order(key: _Key) -> tuple[str, str, int, int]:
        backend, kind, label, layer = key
        return backend, kind, -1 if label is None else int(label), -1 if layer is None else layer

    return tuple(_summary(key, groups[key]) for key in sorted(groups, key=order))


def _summary(key: _Key, scores: list[float | None]) -> Scores:
    known = np.array([score for score in scores if score is not None], dtype=np.float64)
    return Scores(
        *key,
        undefined=len(scores) - len(known),
        count=len(known),
        mean=float(known.mean()) if len(known) else None,
        quantiles=tuple(float(value) for value in np.quantile(known, QUANTILES)) if len(known) else None,
    )
