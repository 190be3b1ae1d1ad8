"""``vlmscope stats A B --neurons``: what each neuron's label has become, and how many top samples it has kept."""

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np
from rich.text import Text

from vlmscope.core.analysis.compare import Comparison
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import COLOURS, Label, Thresholds
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.labels import by_label
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.open_arg import progress_json

HEAD = ("layer", "index", "before", "after", "shared")
LISTED = 20  #: changed neurons that the text lists
NAME_WIDTH = 60  #: characters of a scan's folder
#: One neuron of ``--json``: its keys, and where each value is in a row of ``_rows``.
ENTRY: Mapping[str, object] = {"neuron": 0, "before": 1, "after": 2, "shared": 3}
Side = tuple[str, ScanStore, Thresholds]  #: the scan as the user named it, the scan, the thresholds of its labels


def write_json(found: Comparison, sides: tuple[Side, Side], limit: int | None) -> None:
    """Write the summary, and all neurons by address or the first ``limit``, a layer at a time."""
    first, second, both = found.pictures
    head: dict[str, object] = {
        **{which: _side(*side) for which, side in zip(("before", "after"), sides, strict=True)},
        "pictures": {"before": first, "after": second, "both": both, "by_content": found.by_content},
        "shared_by_chance": found.by_chance,
        "total": _summary(found, None),
        "layers": [{"layer": layer, **_summary(found, layer)} for layer in range(len(found.before))],
    }
    rows = ((str(neuron), *rest) for neuron, *rest in islice(_rows(found), limit))
    output.write_json_list(ENTRY, rows, within=(head, "neurons"))


def write_csv(found: Comparison, limit: int | None) -> None:
    """Write a line for each neuron by address, or for the first ``limit``."""
    rows = ((neuron.layer, neuron.name, *rest) for neuron, *rest in islice(_rows(found), limit))
    output.write_csv(HEAD, rows)


def as_text(found: Comparison, sides: tuple[Side, Side], limit: int | None) -> list[Text]:
    """Both scans, the labels before and after, each layer, and the first ``limit`` neurons whose label has changed."""
    first, second, both = found.pictures
    lines = [output.row(f"{which:<6}  {_about(*side)}") for which, side in zip(("before", "after"), sides, strict=True)]
    same = "of the same name and SHA-256" if found.by_content else "of the same name (a scan has no SHA-256)"
    lines.append(output.row(f"pictures: {first:,} before, {second:,} after, {both:,} in both, {same}"))
    lines += [output.row(), *_matrix(found), output.row(), *_layers(found), output.row(), *_changed(found, limit)]
    return lines


def _about(name: str, store: ScanStore, at: Thresholds) -> str:
    manifest = store.manifest
    parts = [plain(name, NAME_WIDTH), plain(manifest.model.name, NAME_WIDTH), manifest.read_at]
    parts += [f"{manifest.scanned:,} samples", f"Tv {at.T_v:g}  nv {at.n_v}  Tt {at.T_t:g}  nt {at.n_t}"]
    return "  ·  ".join(parts)


def _side(name: str, store: ScanStore, thresholds: Thresholds) -> dict[str, object]:
    manifest = store.manifest
    return {
        "scan": name,
        "model": manifest.model.name,
        "hook": manifest.hook.value,
        "samples": manifest.scanned,
        "top_samples": store.valid,
        "progress": progress_json(manifest.progress),
        "thresholds": vars(thresholds),
    }


def _summary(found: Comparison, layer: int | None) -> dict[str, object]:
    """One layer, or all."""
    transitions = found.transitions(layer)
    return {
        "neurons": int(transitions.sum()),
        "same_label": int(np.trace(transitions)),
        "shared": _mean(found, layer),
        "transitions": dict(zip((which.word for which in Label), map(by_label, transitions), strict=True)),
    }


def _mean(found: Comparison, layer: int | None) -> float:
    return float((found.shared if layer is None else found.shared[layer]).mean())


def _rows(found: Comparison) -> Iterator[tuple[Neuron, str, str, int]]:
    """Each neuron, its labels and the samples that it shares; a layer at a time becomes Python objects."""
    words = [which.word for which in Label]
    for layer, columns in enumerate(zip(found.before, found.after, found.shared, strict=True)):
        for index, (before, after, shared) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            yield found.numbering.at(layer, index), words[before], words[after], shared


def _matrix(found: Comparison) -> list[Text]:
    """The labels before, by row, and after, by column."""
    transitions = found.transitions()
    words = "".join(f"{which.word:>12}" for which in Label)
    lines = [output.row(f"{'before / after':<16}{words}{'all':>12}")]
    for which, counts in zip(Label, transitions, strict=True):
        line = output.row()
        line.append(f"{which.letter} {which.word:<14}", style=COLOURS[which])
        line.append("".join(f"{count:>12,}" for count in [*counts.tolist(), int(counts.sum())]))
        lines.append(line)
    totals = [*transitions.sum(axis=0).tolist(), int(transitions.sum())]
    lines.append(output.row(f"{'all':<16}{''.join(f'{count:>12,}' for count in totals)}"))
    return lines


def _layers(found: Comparison) -> list[Text]:
    before, after = found.top
    top = f"{before} top samples" if before == after else f"{before} and {after} top samples"
    lines = [output.row(f"layer  same label  shared of {top} (by chance {found.by_chance:.2f})")]
    for layer in [*range(len(found.before)), None]:
        transitions = found.transitions(layer)
        share = np.trace(transitions) / transitions.sum()
        name = "all" if layer is None else str(layer)
        lines.append(output.row(f"{name:>5}{share:>12.1%}{_mean(found, layer):>8.2f}"))
    return lines


def _changed(found: Comparison, limit: int | None) -> list[Text]:
    """The first neurons by address whose label has changed."""
    changed = np.argwhere(found.before != found.after)
    if not len(changed):
        return [output.row("Every neuron has the label that it had.")]
    listed = changed[: LISTED if limit is None else limit].tolist()
    width = max(len("changed"), *(len(str(found.numbering.at(*at))) for at in listed))
    lines = [output.row(f"{'changed':<{width}}  before        after         shared")]
    for at in map(tuple, listed):
        line = output.row(f"{found.numbering.at(*at)!s:<{width}}  ")
        for labels in (found.before, found.after):
            which = Label(int(labels[at]))
            line.append(f"{which.letter} {which.word:<12}", style=COLOURS[which])
        line.append(f"{found.shared[at]:>6}")
        lines.append(line)
    left = len(changed) - len(listed)
    return [*lines, output.row(f"and {left:,} more: --limit {len(changed)}")] if left else lines
