"""``vlmscope labels``: how many neurons have each label, by layer and in all; or which, and by what margin."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.text import Text

from vlmscope.core.analysis.firmness import Firmness, NeuronFirmness, firmness, fragile
from vlmscope.core.analysis.preference import NORM, Preference, Preferences, preferences
from vlmscope.core.analysis.statistics import Counts, ScanStatistics, labels_at, of_layer, scan_statistics
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron, Numbering
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.preference import (
    HEAD,
    PREFERENCE_ENTRY,
    PREFERENCE_WORDS,
    NormOption,
    preference_of,
    preference_rows,
    preference_text,
)
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.open_arg import opened, progress_json
from vlmscope.tui.commands.shared.options import LABEL_WORDS, JsonOption, LabelThresholds, ScanArgument, label_option
from vlmscope.tui.commands.shared.views import neurons_of_view, view_option
from vlmscope.tui.views.saved import saved_view

BAR = 24  #: cells of a whole bar
LIST = "Neurons"
PART = 4096  #: neurons of the list that are Python objects at a time: some MB
#: One neuron of ``labels --neurons --json``: its keys, and where each value is in a row of ``_entries``.
ENTRY: Mapping[str, object] = {
    "neuron": 0,
    "label": 1,
    "high_confidence": 2,
    "p": dict(zip(LABEL_WORDS, range(3, 7), strict=True)),
    "margin": 7,
    "sign_p": 8,
    "interval": [9, 10],
    "fragile": 11,
}


def labels(
    *,
    scan: ScanArgument,
    neurons: Annotated[
        bool,
        typer.Option("--neurons", help="List the neurons, with the margin of each label.", rich_help_panel=LIST),
    ] = False,
    label: Annotated[Label | None, label_option(f"Only those of this label: {', '.join(LABEL_WORDS)}.", LIST)] = None,
    only_fragile: Annotated[
        bool, typer.Option("--fragile", help="Only those whose label is fragile.", rich_help_panel=LIST)
    ] = False,
    preference: Annotated[
        Preference | None,
        typer.Option(
            "--preference",
            parser=preference_of,
            metavar="PREFERENCE",
            help=f"Only those of this modality preference: {', '.join(PREFERENCE_WORDS)}.",
            rich_help_panel=LIST,
        ),
    ] = None,
    view: Annotated[str | None, view_option("Those of a saved view, in its order and at its thresholds.", LIST)] = None,
    norm: NormOption = NORM,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="List no more than this.", rich_help_panel=LIST)
    ] = None,
    json: JsonOption = False,
    thresholds: LabelThresholds,
) -> None:
    """Count the neurons of each label, by layer and in all; or list them.

    A label is fragile if it changes when Tv or Tt moves by 10 %, or if it is
    a tie. Where the scan has a control, a network with random weights, its
    shares stand beside. In the list "high" marks a high-confidence label.

    Where the scan has a panel, the list has each neuron's modality preference
    beside its label: on how many samples, which the neuron has not selected,
    the visual side, the text side, or both pass the same norm.
    """
    only = _Wanted(label, only_fragile, preference, norm)
    if not neurons and (only != _Wanted(None, False, None, NORM) or limit is not None or view):
        raise UsageError(
            "--label, --fragile, --preference, --view, --norm and --limit belong to a list.",
            "Ask for it with --neurons.",
        )
    store = opened(scan)
    saved = None if view is None else saved_view(view)
    found = labels_at(store, thresholds.of(store) if saved is None else thresholds.over(saved.at(store)))
    if neurons:
        among = None if view is None else neurons_of_view(store, view, found)
        _list(store, found, only, among, limit, json)
        return
    statistics = scan_statistics(store, found, fragile(store, found))
    if json:
        output.write_json(as_json(statistics))
    else:
        output.write_lines(as_table(statistics))


def by_label(counts: NDArray[np.int64] | NDArray[np.float64]) -> dict[str, float]:
    """Counts or shares of the four labels, (4,), by the label's word."""
    return dict(zip(LABEL_WORDS, counts.tolist(), strict=True))


def as_json(scan: ScanStatistics) -> dict[str, object]:
    """The public format of ``labels --json``."""
    control = scan.control
    return {
        **_counts_json(scan.counts),
        "high_confidence": _counts_json(scan.high_confidence),
        "fragile": None if scan.fragile is None else _counts_json(scan.fragile),
        "control": None
        if control is None
        else {
            "seed": control.seed,
            "samples": control.samples,
            **_counts_json(control.counts),
            "high_confidence": _counts_json(control.high_confidence),
        },
        "thresholds": vars(scan.thresholds),
        "progress": progress_json(scan.progress),
    }


def _counts_json(counts: Counts) -> dict[str, object]:
    layers = [{"layer": layer, **by_label(row)} for layer, row in enumerate(counts)]
    return {"total": by_label(of_layer(counts, None)), "layers": layers}


def as_table(scan: ScanStatistics) -> list[Text]:
    """Aligned columns, and a bar made of the labels' letters."""
    letters = "".join(f"{which.letter:>10}" for which in Label)
    lines = [output.row(f"layer{letters}  high-confidence{'' if scan.fragile is None else '  fragile'}")]
    for layer in [*range(scan.layers), None]:
        counts = of_layer(scan.counts, layer)
        numbers = "".join(f"{count:>10}" for count in counts)
        line = output.row(f"{'all' if layer is None else layer:>5}{numbers}")
        line.append(f"{of_layer(scan.high_confidence, layer).sum():>17}")
        line.append("  " if scan.fragile is None else f"{of_layer(scan.fragile, layer).sum():>9}  ")
        output.append_bar(line, counts, BAR)
        lines.append(line)
    lines.append(_share_row("", scan))
    words = "  ".join(f"{which.letter} {which.word}" for which in Label)
    legend = [output.row(), output.row(f"{words}     {thresholds_text(scan)}")]
    control = scan.control
    if control is not None:
        lines.append(_share_row("control", control))
        samples = "" if control.samples == scan.samples else f", {control.samples} of {scan.samples} samples"
        about = f"control: the same architecture with random weights (seed {control.seed}){samples}"
        legend.insert(1, output.row(about))
    return lines + legend


def thresholds_text(scan: ScanStatistics) -> str:
    at = scan.thresholds
    return f"Tv {at.T_v:g}  nv {at.n_v}  Tt {at.T_t:g}  nt {at.n_t}  high-confidence > {at.high_confidence:g}"


def _share_row(name: str, scan: ScanStatistics) -> Text:
    counts = of_layer(scan.counts, None)
    whole = int(counts.sum())

    def share(part: int) -> str:
        return f"{part / whole:.1%}" if whole else "-"

    shares = "".join(f"{share(part):>10}" for part in counts.tolist())[len(name) - 5 if name else 0 :]
    fragile = "" if scan.fragile is None else f"{share(int(scan.fragile.sum())):>9}"
    return output.row(f"{name:5}{shares}{share(int(scan.high_confidence.sum())):>17}{fragile}")


@dataclass(frozen=True)
class _Wanted:
    """Which neurons are listed; None for all. ``norm``: of the preference."""

    label: Label | None
    fragile: bool
    preference: Preference | None
    norm: float


def _list(
    store: ScanStore,
    labels: Labels,
    only: _Wanted,
    among: Sequence[Neuron] | None,
    limit: int | None,
    json: bool,
) -> None:
    """Write the neurons that are asked for, by address, or in the order of ``among``; how many are left, to stderr."""
    asked = "--preference" if only.preference is not None else "--norm" if only.norm != NORM else ""
    panel = store.panel_for(asked) if asked else store.panel
    preferred = None if panel is None else preferences(store, panel, only.norm)
    firm = firmness(store, labels)
    wanted = firm.fragile.copy() if only.fragile else np.ones(labels.label.shape, dtype=np.bool_)
    if only.label is not None:
        wanted &= labels.label == only.label
    if preferred is not None and only.preference is not None:
        wanted &= preferred.preference == only.preference
    addresses = np.argwhere(wanted)
    if among is not None:
        rows = np.array([(one.layer, one.index) for one in among], dtype=np.int64).reshape(-1, 2)
        addresses = rows[wanted[rows[:, 0], rows[:, 1]]]
    listed = addresses[:limit]
    if json:
        form = ENTRY if preferred is None else {**ENTRY, "preference": PREFERENCE_ENTRY}
        output.write_json_list(form, _entries(store.numbering, labels, firm, preferred, listed))
    elif len(listed):
        output.write_lines(_entry_lines(labels, firm, preferred, [store.numbering.at(*at) for at in listed.tolist()]))
    left = len(addresses) - len(listed)
    if left:
        note(f"and {left} more: --limit {len(addresses)}")
    elif not len(listed):
        note("No neuron is like that.")


def _entries(
    numbering: Numbering,
    labels: Labels,
    firm: Firmness,
    preferred: Preferences | None,
    addresses: NDArray[np.int64],
) -> Iterator[tuple[object, ...]]:
    """The values of ``ENTRY`` for each address of (n, 2), in its order; a part at a time becomes Python objects.

    Those of ``PREFERENCE_ENTRY`` follow where the scan has a panel.
    """
    names = [which.word for which in Label]
    columns = (labels.high_confidence, labels.fractions, firm.margin, firm.sign_p, firm.low, firm.high, firm.fragile)
    for start in range(0, len(addresses), PART):
        layers, indices = addresses[start : start + PART].T
        which = labels.label[layers, indices].tolist()
        rows = zip(*(column[layers, indices].tolist() for column in columns), strict=True)
        sides = repeat((), len(layers)) if preferred is None else preference_rows(preferred, layers, indices)
        for layer, index, label, (high, shares, *rest), more in zip(
            layers.tolist(), indices.tolist(), which, rows, sides, strict=True
        ):
            address = str(numbering.at(layer, index))
            yield address, names[label], high, *(shares if labels.valid else (None,) * 4), *rest, *more


def firmness_json(firm: NeuronFirmness) -> dict[str, object]:
    """How firm a label is, as JSON has it; core/analysis/firmness.py has what it means."""
    return {
        "margin": firm.margin,
        "sign_p": firm.sign_p,
        "interval": [firm.low, firm.high],
        "fragile": firm.fragile,
    }


def p_text(p: float) -> str:
    """A p as text has it: two digits, or below what a float32 holds."""
    return f"{p:.2g}" if p > 0 else "<1e-45"


def _entry_lines(labels: Labels, firm: Firmness, preferred: Preferences | None, neurons: list[Neuron]) -> list[Text]:
    """Aligned columns."""
    width = max(len("neuron"), *(len(str(neuron)) for neuron in neurons))
    head = f"{'neuron':<{width}}  label              share  interval       margin   sign p"
    lines = [output.row(head if preferred is None else f"{head}           {HEAD}")]
    for neuron in neurons:
        line = output.row(f"{neuron!s:<{width}}  ")
        output.append_label(line, labels.of(neuron), bool(labels.high_confidence[neuron.layer, neuron.index]))
        own = firm.of(neuron)
        share = "-" if own.share is None else f"{own.share:.2f}"
        line.append(f"  {share:>5}  {own.low:.2f} to {own.high:.2f}  {own.margin:>7.2f}  {p_text(own.sign_p):>7}")
        mark = "  fragile" if own.fragile else ""
        line.append(mark if preferred is None else f"{mark:<9}  {preference_text(preferred.of(neuron))}")
        lines.append(line)
    return lines
