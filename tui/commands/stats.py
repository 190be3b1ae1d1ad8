"""``vlmscope stats``: the paper's figures 5 to 7 for any scans: as text, JSON, CSV, or a figure."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.text import Text

from vlmscope.core.analysis.agreement import Agreement
from vlmscope.core.analysis.check_counts import CheckCounts
from vlmscope.core.analysis.compare import compare
from vlmscope.core.analysis.firmness import fragile
from vlmscope.core.analysis.preference import NORM, Preference
from vlmscope.core.analysis.statistics import (
    NO_CONTROL,
    ScanStatistics,
    labels_at,
    named_apart,
    of_layer,
    scan_statistics,
    shares,
)
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import Label
from vlmscope.core.report.drawing import FigureFormat
from vlmscope.core.report.figure import figure_bytes
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands import stats_neurons
from vlmscope.tui.commands.labels import by_label, thresholds_text
from vlmscope.tui.commands.preference import NormOption, PreferenceCounts, counts_json, counts_lines, preference_counts
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import Notes, progress
from vlmscope.tui.commands.shared.open_arg import opened, progress_json
from vlmscope.tui.commands.shared.options import JsonOption, LabelThresholds
from vlmscope.tui.commands.stats_agreement import agreement_json, agreement_lines, agreements_of
from vlmscope.tui.commands.stats_checks import HEAD as CHECKS_HEAD
from vlmscope.tui.commands.stats_checks import (
    check_row,
    checks_in_all,
    checks_json,
    checks_line,
    checks_of,
    checks_text,
)
from vlmscope.tui.commands.stats_scores import HEAD, score_row, scores_json, scores_of, scores_text

BAR = 20  #: cells of a whole bar
NAME_WIDTH = 40  #: characters of a scan's name or model
CSV_HEAD = (
    "scan",
    "model",
    "hook",
    "samples",
    "control_seed",
    "layer",
    "neurons",
    "label",
    "count",
    "share",
    "high_confidence",
    "high_confidence_share",
    "fragile",
)
#: Of a scan with a panel: the layer's neurons by modality preference, the same in the lines of all four labels.
PREFERENCE_HEAD = tuple(f"preference_{which.word}" for which in Preference)


def stats(
    *,
    scans: Annotated[
        list[str],
        typer.Argument(
            metavar="SCAN...", help="Folders of scans, or 'demo'; several are compared.", show_default=False
        ),
    ],
    json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV: a line for each layer and label.")] = False,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="FILE", help="Write a figure for a paper: FILE ends with .pdf, .svg or .png."),
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Write the figure as a PNG, whatever FILE's ending.")
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="The scores of explanations in the scan's notebook, by label and layer.")
    ] = False,
    checks: Annotated[
        bool, typer.Option("--checks", help="The causal checks in the scan's notebook, by layer, beside chance.")
    ] = False,
    neurons: Annotated[
        bool,
        typer.Option("--neurons", help="Compare two scans neuron by neuron: labels before and after, shared samples."),
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="With --neurons, list no more neurons than this.")
    ] = None,
    norm: NormOption = NORM,
    thresholds: LabelThresholds,
) -> None:
    """Shares of the labels by layer: of all neurons, and of the high-confidence ones.

    The paper's figures 5 and 6, and with several scans its figure 7. --figure
    draws them, with 95 % intervals. A scan's
    control, a network with random weights, stands beside it where there is
    one (vlmscope scan --control SCAN): without it shares do not show
    what a model has learnt. Fragile labels become others when Tv or Tt moves
    by 10 %.

    With --neurons, two scans of models of one shape are compared neuron by
    neuron, such as a model before and after fine-tuning: how many neurons
    went from each label to each other, and how many top samples they share.
    """
    if json and as_csv:
        raise UsageError("--json and --csv exclude each other.", "Ask for one of them.")
    if limit is not None and not neurons:
        raise UsageError("--limit bounds a list of neurons.", "Ask for it with --neurons.")
    if neurons:
        if png is not None or figure is not None or scores or checks or len(scans) != 2:
            raise UsageError(
                "--neurons compares two scans, and has neither figure nor scores nor checks.",
                "Write vlmscope stats BEFORE AFTER --neurons.",
            )
        _write_neurons(scans, thresholds, json, as_csv, limit)
        return
    if scores or checks:
        drawn = png is not None or figure is not None
        _write_notebook(scans, thresholds, json, as_csv, drawn=drawn, checks=checks, scores=scores)
        return
    pictures = [] if figure is None else [(figure, FigureFormat.of(figure))]
    pictures += [] if png is None else [(png, FigureFormat.PNG)]
    found, checked, agreed, preferred = [], [], [], []
    for name in scans:
        store = opened(name, among_others=len(scans) > 1)
        agreed.append(agreements_of(store))
        labels = labels_at(store, thresholds.of(store))
        found.append(scan_statistics(store, labels, fragile(store, labels)))
        checked.append(checks_in_all(store))
        preferred.append(preference_counts(store, norm) if json or as_csv or not pictures else ())
    found = named_apart(found, scans)
    for path, written in pictures:
        output.write_picture(path, figure_bytes(found, written))
    if json:
        rows = zip(found, checked, agreed, preferred, strict=True)
        output.write_json(
            [as_json(scan) | _notebook_json(own, others) | counts_json(sides) for scan, own, others, sides in rows]
        )
    elif as_csv:
        head = (*CSV_HEAD, *PREFERENCE_HEAD) if any(preferred) else CSV_HEAD
        output.write_csv(head, _csv_rows(found, preferred))
    elif not pictures:
        lines = [*as_text(found, checked), *chain.from_iterable(map(agreement_lines, agreed))]
        output.write_lines([*lines, *counts_lines([plain(scan.name, NAME_WIDTH) for scan in found], preferred)])


def _notebook_json(checks: Sequence[CheckCounts], agreed: Sequence[Agreement]) -> dict[str, object]:
    return {"checks": checks_json(checks), "agreement": [agreement_json(one) for one in agreed]}


def _write_notebook(
    scans: Sequence[str],
    thresholds: LabelThresholds,
    json: bool,
    as_csv: bool,
    *,
    drawn: bool,
    checks: bool,
    scores: bool,
) -> None:
    """What the notebook of one scan holds: scores or checks."""
    if checks and scores:
        raise UsageError("--scores and --checks exclude each other.", "Ask for one of them.")
    if drawn or len(scans) > 1:
        option = "--checks" if checks else "--scores"
        raise UsageError(f"{option} takes one scan, and draws no figure.", "Leave out --figure, or name one scan.")
    store = opened(scans[0])
    if scores:
        _write_scores(store, thresholds, json, as_csv)
        return
    found = checks_of(store)
    if json:
        output.write_json(checks_json(found))
    elif as_csv:
        output.write_csv(CHECKS_HEAD, map(check_row, found))
    else:
        output.write_lines(checks_text(found))


def _write_neurons(
    scans: Sequence[str], thresholds: LabelThresholds, json: bool, as_csv: bool, limit: int | None
) -> None:
    stores = [opened(name, among_others=True) for name in scans]
    before, after = ((name, store, thresholds.of(store)) for name, store in zip(scans, stores, strict=True))
    notes = Notes()
    with progress(notes, hidden=not notes.is_terminal) as report:
        found = compare(before[1], after[1], (before[2], after[2]), partial(report, "layers"))
    if json:
        stats_neurons.write_json(found, (before, after), limit)
    elif as_csv:
        stats_neurons.write_csv(found, limit)
    else:
        output.write_lines(stats_neurons.as_text(found, (before, after), limit))


def _write_scores(store: ScanStore, thresholds: LabelThresholds, json: bool, as_csv: bool) -> None:
    found = scores_of(store, labels_at(store, thresholds.of(store)))
    if json:
        output.write_json(scores_json(found))
    elif as_csv:
        output.write_csv(HEAD, map(score_row, found))
    else:
        output.write_lines(scores_text(found))


def as_json(scan: ScanStatistics) -> dict[str, object]:
    """One scan, its control inside."""
    return {
        "scan": scan.name,
        "model": scan.model,
        "hook": scan.hook.value,
        "samples": scan.samples,
        "progress": progress_json(scan.progress),
        "thresholds": vars(scan.thresholds),
        **({} if scan.seed is None else {"seed": scan.seed}),
        "total": _row_json(scan, None),
        "layers": [{"layer": layer, **_row_json(scan, layer)} for layer in range(scan.layers)],
        **({} if scan.seed is not None else {"control": None if scan.control is None else as_json(scan.control)}),
    }


def _row_json(scan: ScanStatistics, layer: int | None) -> dict[str, object]:
    """One layer, or all: shares of high-confidence labels are among themselves, as in the paper's figure 6."""
    counts, high = of_layer(scan.counts, layer), of_layer(scan.high_confidence, layer)
    neurons = int(counts.sum())
    row: dict[str, object] = {
        "neurons": neurons,
        "count": by_label(counts),
        "share": by_label(shares(counts)),
        "high_confidence": {
            "neurons": int(high.sum()),
            "count": by_label(high),
            "share": by_label(shares(high)),
        },
    }
    if scan.fragile is not None:
        marked = of_layer(scan.fragile, layer)
        row["fragile"] = {"neurons": int(marked.sum()), "count": by_label(marked)}
    return row


def _csv_rows(
    scans: Sequence[ScanStatistics], preferred: Sequence[tuple[PreferenceCounts, ...]]
) -> Iterator[list[object]]:
    """Lines of ``CSV_HEAD``; a control carries its scan's name and its seed, a scan has no seed. Shares as in JSON.

    Where any scan has a panel, the values of ``PREFERENCE_HEAD`` follow, empty where one has none.
    """
    for scan, sides in zip(scans, preferred, strict=True):
        for row in scan.both:
            own = next((one.counts for one in sides if one.seed == row.seed), None)
            about = [scan.name, row.model, row.hook.value, row.samples, row.seed]
            part, high = shares(row.counts), shares(row.high_confidence)
            for layer, which in np.ndindex(row.counts.shape):
                place = (layer, which)
                counts = [int(row.counts[place]), _number(float(part[place]))]
                firm = [int(row.high_confidence[place]), _number(float(high[place]))]
                fragile = None if row.fragile is None else int(row.fragile[place])
                numbers = [*counts, *firm, fragile]
                if any(preferred):
                    numbers += [None] * len(PREFERENCE_HEAD) if own is None else own[layer].tolist()
                yield [*about, layer, row.neurons, Label(which).word, *numbers]


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"


def as_text(scans: Sequence[ScanStatistics], checked: Sequence[Sequence[CheckCounts]]) -> list[Text]:
    """A table for each scan; at the end, where there are several or controls, one line for each.

    Args:
        checked: the causal checks of each scan.
    """
    lines: list[Text] = []
    for scan, own in zip(scans, checked, strict=True):
        lines += [*_layers(scan), *([output.row(checks_line(own))] if own else []), Text()]
    if len(scans) > 1 or any(scan.control for scan in scans):
        lines += [*_summary(scans), Text()]
    words = "  ".join(f"{which.letter} {which.word}" for which in Label)
    lines.append(output.row(f"{words}     high: high-confidence"))
    lines.append(output.row("frag: fragile, another label when Tv or Tt moves by 10 %"))
    if all(scan.control is None for scan in scans):
        lines.append(output.row(NO_CONTROL))
    return lines


def _layers(scan: ScanStatistics) -> list[Text]:
    control = scan.control
    about = [plain(scan.name, NAME_WIDTH), plain(scan.model, NAME_WIDTH), scan.read_at, f"{scan.samples} samples"]
    letters = "".join(f"{which.letter:>7}" for which in Label)
    head = f"layer{letters}{'high':>7}{'frag':>7}"
    lines = [
        output.row("  ·  ".join([*about, thresholds_text(scan)])),
        output.row(head if control is None else f"{head}{'':{BAR + 2}}{'control:':>9}{letters[2:]}"),
    ]
    for layer in [*range(scan.layers), None]:
        line = output.row(f"{'all' if layer is None else layer:>5}{_shares_text(scan, layer)}  ")
        output.append_bar(line, of_layer(scan.counts, layer), BAR)
        if control is not None:
            line.append(f"{'':9}" + "".join(_percent(part, 7) for part in shares(of_layer(control.counts, layer)))[2:])
        lines.append(line)
    return lines


def _summary(scans: Sequence[ScanStatistics]) -> list[Text]:
    """All layers of each scan and control, and the shares among high-confidence neurons."""
    letters = "".join(f"{which.letter:>7}" for which in Label)
    rows = []
    for scan in scans:
        for row in scan.both:
            name = plain(scan.name, NAME_WIDTH) if row.seed is None else f"  control, seed {row.seed}"
            name += f" ({row.samples} samples)" if row.samples != scan.samples else ""
            rows.append((name, row))
    width = max(len(name) for name, _ in rows)
    lines = [output.row(f"{'':{width}}{letters}{'high':>7}{'frag':>7}   of the high-confidence:{letters[2:]}")]
    for name, row in rows:
        high = "".join(_percent(part, 7) for part in shares(of_layer(row.high_confidence, None)))
        lines.append(output.row(f"{name:<{width}}{_shares_text(row, None)}{'':15}{high[2:]}"))
    return lines


def _shares_text(scan: ScanStatistics, layer: int | None) -> str:
    """Six columns of seven: the labels' shares, and those of high-confidence and of fragile ones."""
    counts = of_layer(scan.counts, layer)
    neurons = int(counts.sum())
    others = [scan.high_confidence] if scan.fragile is None else [scan.high_confidence, scan.fragile]
    parts = [*shares(counts), *(int(of_layer(other, layer).sum()) / neurons if neurons else np.nan for other in others)]
    return "".join(_percent(part, 7) for part in parts).ljust(42)


def _percent(part: float, width: int) -> str:
    return f"{'-' if np.isnan(part) else f'{part:.1%}':>{width}}"
