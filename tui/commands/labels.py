"""``vlmscope labels``: how many neurons carry each label, by layer and in all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from core.demo import scan_folder
from core.labels import Label, Labels, Thresholds
from core.scan_store import ScanStore
from tui.commands import output
from tui.commands.options import (
    HighConfidenceOption,
    JsonOption,
    NtOption,
    NvOption,
    ScanArgument,
    TtOption,
    TvOption,
    labels_at,
    replaced,
)

BAR = 24  #: cells of a whole bar


@dataclass(frozen=True)
class Counts:
    """Neurons of one layer, or of all, by label."""

    visual: int
    text: int
    multimodal: int
    unknown: int

    @property
    def total(self) -> int:
        return self.visual + self.text + self.multimodal + self.unknown


@dataclass(frozen=True)
class Summary:
    """Label counts of a whole scan: all labels, and those that are high-confidence."""

    layers: tuple[Counts, ...]
    firm: tuple[Counts, ...]
    thresholds: Thresholds

    @classmethod
    def of(cls, labels: Labels) -> "Summary":
        firm = np.stack([((labels.label == which) & labels.high_confidence).sum(axis=-1) for which in Label], axis=-1)
        return cls(_rows(labels.counts()), _rows(firm), labels.thresholds)


def labels(
    *,
    scan: ScanArgument,
    json: JsonOption = False,
    Tv: TvOption = None,
    nv: NvOption = None,
    Tt: TtOption = None,
    nt: NtOption = None,
    high_confidence: HighConfidenceOption = None,
) -> None:
    """Count the neurons of each label, by layer and in all."""
    store = ScanStore(scan_folder(scan))
    thresholds = replaced(
        store.manifest.thresholds.value(), Tv=Tv, nv=nv, Tt=Tt, nt=nt, high_confidence=high_confidence
    )
    summary = Summary.of(labels_at(store, thresholds))
    if json:
        output.write_json(as_json(summary))
    else:
        output.write_lines(output.console(), as_table(summary))


def as_json(summary: Summary) -> dict[str, object]:
    return {
        "total": vars(_sum(summary.layers)),
        "layers": [{"layer": layer, **vars(counts)} for layer, counts in enumerate(summary.layers)],
        "high_confidence": {
            "total": vars(_sum(summary.firm)),
            "layers": [{"layer": layer, **vars(counts)} for layer, counts in enumerate(summary.firm)],
        },
        "thresholds": vars(summary.thresholds),
    }


def as_table(summary: Summary) -> list[Text]:
    """Aligned columns, and a bar made of the labels' letters."""
    total, firm = _sum(summary.layers), _sum(summary.firm)
    lines = [_plain("layer" + "".join(f"{which.letter:>10}" for which in Label) + "  high-confidence")]
    for layer, (counts, sure) in enumerate(zip(summary.layers, summary.firm, strict=True)):
        lines.append(_row(str(layer), counts, sure))
    lines.append(_row("all", total, firm))
    shares = "".join(f"{_share(vars(total)[which.word], total.total):>10}" for which in Label)
    lines.append(_plain(f"{'':5}{shares}{_share(firm.total, total.total):>17}"))
    at = summary.thresholds
    words = "  ".join(f"{which.letter} {which.word}" for which in Label)
    settings = f"Tv {at.T_v:g}  nv {at.n_v}  Tt {at.T_t:g}  nt {at.n_t}  high-confidence > {at.high_confidence:g}"
    return [*lines, _plain(""), _plain(f"{words}     {settings}")]


def bar(counts: Counts, width: int) -> list[tuple[Label, int]]:
    """How many of ``width`` cells each label gets: largest remainders, so that they always fill the bar."""
    total = counts.total
    if total == 0:
        return [(which, 0) for which in Label]
    exact = [vars(counts)[which.word] * width for which in Label]
    cells = [value // total for value in exact]
    for which in sorted(Label, key=lambda which: -(exact[which] % total))[: width - sum(cells)]:
        cells[which] += 1
    return [(which, cells[which]) for which in Label]


def _row(name: str, counts: Counts, firm: Counts) -> Text:
    line = _plain(f"{name:>5}" + "".join(f"{vars(counts)[which.word]:>10}" for which in Label) + f"{firm.total:>17}  ")
    for which, cells in bar(counts, BAR):
        line.append(which.letter * cells, style=output.COLOURS[which])
    return line


def _plain(text: str) -> Text:
    return Text(text, no_wrap=True)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _rows(counts: NDArray[np.int64]) -> tuple[Counts, ...]:
    return tuple(Counts(*(int(value) for value in row)) for row in counts)


def _sum(rows: tuple[Counts, ...]) -> Counts:
    return Counts(*(sum(vars(row)[which.word] for row in rows) for which in Label))
