"""``vlmscope stats --scores``: how well explanations predict, by label and layer."""

from collections.abc import Sequence

from rich.text import Text

from vlmscope.core.base.errors import NotebookError
from vlmscope.core.method.labels import Labels
from vlmscope.core.scoring.statistics import Scores, newest_scores, score_statistics
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.open_arg import kept_notebook

HEAD = (
    "backend",
    "kind",
    "label",
    "layer",
    "scored",
    "undefined",
    "mean",
    "min",
    "q25",
    "median",
    "q75",
    "max",
    "leads",
)


def scores_of(store: ScanStore, labels: Labels) -> tuple[Scores, ...]:
    """What the scan's notebook holds.

    Raises:
        NotebookError: if there is no notebook, or no score in it.
    """
    with kept_notebook(store) as notebook:
        found = {} if notebook is None else newest_scores(notebook)
    inside = {neuron: reports for neuron, reports in found.items() if store.numbering.has(neuron)}
    if not inside:
        raise NotebookError("No explanation of this scan has a score yet.", "vlmscope simulate SCAN ADDRESS makes one.")
    return score_statistics(inside, labels)


def scores_json(found: Sequence[Scores]) -> list[dict[str, object]]:
    return [dict(zip(HEAD, score_row(one), strict=True)) for one in found]


def scores_text(found: Sequence[Scores]) -> list[Text]:
    """A table of all neurons and of each label; layers are for JSON and CSV."""
    wide = max(16, *(len(one.backend) + 2 for one in found))
    kinds = max(8, *(len(one.kind) + 2 for one in found))
    head = f"{'backend':<{wide}}{'kind':<{kinds}}label       scored   n/a    mean  median     25%     75%  leads"
    lines = [output.row(head)]
    for one in found:
        if one.layer is not None:
            continue
        label = "all" if one.label is None else one.label.word
        numbers = [one.mean, *((one.quantiles[2], one.quantiles[1], one.quantiles[3]) if one.quantiles else [None] * 3)]
        shown = "".join(f"{'n/a' if value is None else format(value, '.2f'):>8}" for value in numbers)
        lines.append(
            output.row(
                f"{one.backend:<{wide}}{one.kind:<{kinds}}{label:<11}{one.count:>7}{one.undefined:>6}{shown}{one.leads:>7}"
            )
        )
    return lines


def score_row(one: Scores) -> list[object]:
    """The values of ``HEAD``."""
    quantiles: Sequence[float | None] = one.quantiles if one.quantiles is not None else [None] * 5
    label = None if one.label is None else one.label.word
    return [one.backend, one.kind.value, label, one.layer, one.count, one.undefined, one.mean, *quantiles, one.leads]
