"""``vlmscope labels``: how many neurons carry each label, by layer and in all; or which, and how firmly."""

import sys
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.text import Text

from vlmscope.core.analysis.firmness import Firmness, NeuronFirmness, firmness, fragile
from vlmscope.core.analysis.statistics import ScanStatistics, labels_at, scan_statistics
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import COLOURS, Label, Labels, Thresholds
from vlmscope.core.store.manifest import Progress
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.open_arg import opened, progress_json
from vlmscope.tui.commands.shared.options import (
    HighConfidenceOption,
    JsonOption,
    NtOption,
    NvOption,
    ScanArgument,
    TtOption,
    TvOption,
    replaced,
)

BAR = 24  #: cells of a whole bar
LIST = "Neurons"
WORDS = {which.word: which for which in Label}

_Entry = tuple[Neuron, Label, bool, list[int], NeuronFirmness]  # address, label, high-confidence, votes, firmness


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
    """Label counts of a whole scan: all labels, those that are high-confidence, and those that are fragile.

    Attributes:
        fragile: None where that was not asked for.
        control: the same counts of the scan's control, if it has one.
        seed, samples: of the control's random weights, and how many of its samples count.
        progress: how far the scan is, or None if it is whole.
    """

    layers: tuple[Counts, ...]
    firm: tuple[Counts, ...]
    thresholds: Thresholds
    samples: int
    fragile: tuple[Counts, ...] | None = None
    seed: int | None = None
    control: "Summary | None" = None
    progress: Progress | None = None

    @classmethod
    def of(cls, scan: ScanStatistics) -> "Summary":
        return cls(
            layers=_rows(scan.counts),
            firm=_rows(scan.high_confidence),
            thresholds=scan.thresholds,
            samples=scan.samples,
            fragile=None if scan.fragile is None else _rows(scan.fragile),
            seed=scan.seed,
            control=None if scan.control is None else cls.of(scan.control),
            progress=scan.progress,
        )


def labels(
    *,
    scan: ScanArgument,
    neurons: Annotated[
        bool, typer.Option("--neurons", help="List the neurons, and how firm each label is.", rich_help_panel=LIST)
    ] = False,
    label: Annotated[
        str | None,
        typer.Option(
            "--label", metavar="LABEL", help=f"Only those of this label: {', '.join(WORDS)}.", rich_help_panel=LIST
        ),
    ] = None,
    only_fragile: Annotated[
        bool, typer.Option("--fragile", help="Only those whose label is fragile.", rich_help_panel=LIST)
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="List no more than this.", rich_help_panel=LIST)
    ] = None,
    json: JsonOption = False,
    Tv: TvOption = None,
    nv: NvOption = None,
    Tt: TtOption = None,
    nt: NtOption = None,
    high_confidence: HighConfidenceOption = None,
) -> None:
    """Count the neurons of each label, by layer and in all; or list them.

    A label is fragile if another one stands there when Tv or Tt moves by
    10 %, or if it is a tie. Where the scan has a control, a network with
    random weights, its shares stand beside.
    """
    if label is not None and label not in WORDS:
        raise UsageError(f"--label is {label!r}, not a label.", f"Labels: {', '.join(WORDS)}.")
    if not neurons and (label is not None or only_fragile or limit is not None):
        raise UsageError("--label, --fragile and --limit choose from a list.", "Ask for it with --neurons.")
    store = opened(scan)
    thresholds = replaced(
        store.manifest.thresholds.value(), Tv=Tv, nv=nv, Tt=Tt, nt=nt, high_confidence=high_confidence
    )
    found = labels_at(store, thresholds)
    if neurons:
        _list(store, found, None if label is None else WORDS[label], only_fragile, limit, json)
        return
    summary = Summary.of(scan_statistics(store, found, fragile(store, found)))
    if json:
        output.write_json(as_json(summary))
    else:
        output.write_lines(output.console(), as_table(summary))


def as_json(summary: Summary) -> dict[str, object]:
    control = summary.control
    return {
        **_counts_json(summary.layers),
        "high_confidence": _counts_json(summary.firm),
        "fragile": None if summary.fragile is None else _counts_json(summary.fragile),
        "control": None
        if control is None
        else {
            "seed": control.seed,
            "samples": control.samples,
            **_counts_json(control.layers),
            "high_confidence": _counts_json(control.firm),
        },
        "thresholds": vars(summary.thresholds),
        "progress": progress_json(summary.progress),
    }


def as_table(summary: Summary) -> list[Text]:
    """Aligned columns, and a bar made of the labels' letters."""
    total, firm, control = _sum(summary.layers), _sum(summary.firm), summary.control
    letters = "".join(f"{which.letter:>10}" for which in Label)
    lines = [_plain(f"layer{letters}  high-confidence{'' if summary.fragile is None else '  fragile'}")]
    for layer, (counts, sure) in enumerate(zip(summary.layers, summary.firm, strict=True)):
        lines.append(_row(str(layer), counts, sure, None if summary.fragile is None else summary.fragile[layer]))
    marked = None if summary.fragile is None else _sum(summary.fragile)
    lines += [_row("all", total, firm, marked), _share_row("", total, firm, marked)]
    if control is not None:
        lines.append(_share_row("control", _sum(control.layers), _sum(control.firm), None))
    at = summary.thresholds
    words = "  ".join(f"{which.letter} {which.word}" for which in Label)
    settings = f"Tv {at.T_v:g}  nv {at.n_v}  Tt {at.T_t:g}  nt {at.n_t}  high-confidence > {at.high_confidence:g}"
    lines += [_plain(""), _plain(f"{words}     {settings}")]
    if control is not None:
        samples = "" if control.samples == summary.samples else f", {control.samples} of {summary.samples} samples"
        lines.insert(-1, _plain(f"control: the same architecture with random weights (seed {control.seed}){samples}"))
    return lines


def _list(
    store: ScanStore, labels: Labels, label: Label | None, only_fragile: bool, limit: int | None, json: bool
) -> None:
    """Write the neurons that are asked for, by address; how many are left, to stderr."""
    firm = firmness(store, labels)
    wanted = firm.fragile.copy() if only_fragile else np.ones(labels.label.shape, dtype=np.bool_)
    if label is not None:
        wanted &= labels.label == label
    addresses = np.argwhere(wanted)
    entries = [_entry(Neuron(*address), labels, firm) for address in addresses[:limit].tolist()]
    if json:
        output.write_json([_entry_json(*entry) for entry in entries])
    elif entries:
        output.write_lines(output.console(), _entry_lines(entries))
    left = len(addresses) - len(entries)
    if left:
        print(f"and {left} more: --limit {len(addresses)}", file=sys.stderr)
    elif not entries:
        print("No neuron is like that.", file=sys.stderr)


def _entry(neuron: Neuron, labels: Labels, firm: Firmness) -> _Entry:
    at = (neuron.layer, neuron.index)
    return (
        neuron,
        Label(int(labels.label[at])),
        bool(labels.high_confidence[at]),
        labels.votes[at].tolist(),
        firm.of(neuron),
    )


def _entry_json(neuron: Neuron, label: Label, sure: bool, votes: list[int], firm: NeuronFirmness) -> dict[str, object]:
    valid = sum(votes)
    return {
        "neuron": str(neuron),
        "label": label.word,
        "high_confidence": sure,
        "p": {which.word: votes[which] / valid if valid else None for which in Label},
        **firmness_json(firm),
    }


def firmness_json(firm: NeuronFirmness) -> dict[str, object]:
    """How firm a label is, as JSON has it; see core/analysis/firmness.py for what it is not."""
    return {
        "margin": firm.margin,
        "sign_p": firm.sign_p,
        "interval": [firm.low, firm.high],
        "fragile": firm.fragile,
    }


def p_text(p: float) -> str:
    """A p as text has it: two digits, or below what a float32 holds."""
    return f"{p:.2g}" if p > 0 else "<1e-45"


def _entry_lines(entries: list[_Entry]) -> list[Text]:
    """Aligned columns; ``!`` marks a high-confidence label."""
    width = max(len("neuron"), *(len(str(neuron)) for neuron, *_ in entries))
    lines = [_plain(f"{'neuron':<{width}}  label          share  interval       margin   sign p")]
    for neuron, label, sure, _, firm in entries:
        line = _plain(f"{neuron!s:<{width}}  ")
        line.append(f"{label.letter} {label.word}{'!' if sure else ''}".ljust(13), style=COLOURS[label])
        share = "-" if firm.share is None else f"{firm.share:.2f}"
        line.append(f"  {share:>5}  {firm.low:.2f} to {firm.high:.2f}  {firm.margin:>7.2f}  {p_text(firm.sign_p):>7}")
        line.append("  fragile" if firm.fragile else "")
        lines.append(line)
    return lines


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


def _row(name: str, counts: Counts, firm: Counts, marked: Counts | None) -> Text:
    line = _plain(f"{name:>5}" + "".join(f"{vars(counts)[which.word]:>10}" for which in Label) + f"{firm.total:>17}")
    line.append("  " if marked is None else f"{marked.total:>9}  ")
    for which, cells in bar(counts, BAR):
        line.append(which.letter * cells, style=COLOURS[which])
    return line


def _share_row(name: str, total: Counts, firm: Counts, marked: Counts | None) -> Text:
    parts = [vars(total)[which.word] for which in Label]
    shares = "".join(f"{_share(part, total.total):>10}" for part in parts)[len(name) - 5 if name else 0 :]
    last = "" if marked is None else f"{_share(marked.total, total.total):>9}"
    return _plain(f"{name:5}{shares}{_share(firm.total, total.total):>17}{last}")


def _plain(text: str) -> Text:
    return Text(text, no_wrap=True)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def counts_of(row: NDArray[np.int64]) -> Counts:
    """One row of counts by label, int64 (4,)."""
    return Counts(*(int(value) for value in row))


def _counts_json(rows: tuple[Counts, ...]) -> dict[str, object]:
    layers = [{"layer": layer, **vars(counts)} for layer, counts in enumerate(rows)]
    return {"total": vars(_sum(rows)), "layers": layers}


def _rows(counts: NDArray[np.int64]) -> tuple[Counts, ...]:
    return tuple(counts_of(row) for row in counts)


def _sum(rows: tuple[Counts, ...]) -> Counts:
    return Counts(*(sum(vars(row)[which.word] for row in rows) for which in Label))
