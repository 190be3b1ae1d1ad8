"""``vlmscope contrast``: the neurons that two groups of samples activate most differently."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from vlmscope.core.analysis.contrast import FOUND_AT, Answer, Contrast, Contrasted, Difference, contrast
from vlmscope.core.analysis.contrast_words import caveats, found_words, group_words, odds_text, p_text
from vlmscope.core.analysis.control import find_control
from vlmscope.core.analysis.groups import Group, Members, counted, groups_apart, two_groups
from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.method.labels import Labels
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.concepts import as_entry, as_words
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.open_arg import opened, progress_json
from vlmscope.tui.commands.shared.options import JsonOption, ScanArgument

SHOWN = 20  #: neurons listed unless told otherwise


def contrast_(
    *,
    scan: ScanArgument,
    a: Annotated[
        str,
        typer.Option(
            "--a",
            metavar="GROUP",
            help="The first group of samples: word:zebra, field:NAME=VALUE, samples:0,4,10-19, file:LIST.txt, rest.",
            show_default=False,
        ),
    ],
    b: Annotated[
        str,
        typer.Option("--b", metavar="GROUP", help="The second group; default: rest, all samples that are not in a."),
    ] = "rest",
    by: Annotated[
        Answer, typer.Option("--by", help="What ranks: the top samples of each neuron, or the panel's samples.")
    ] = Answer.TOP,
    drop_shared: Annotated[
        bool, typer.Option("--drop-shared", help="Leave out samples that both groups have, in place of refusing.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="List no more neurons than this.")] = SHOWN,
    json: JsonOption = False,
) -> None:
    """Rank neurons by how differently two groups of samples activate them.

    Two answers stand side by side. "top": how many of a neuron's top samples
    are of group a, against the number by chance; odds above 1 are for a, below
    1 for b. "panel": on samples drawn at random, the chance that one of group
    a activates the neuron more than one of b (AUC; 0.5: no difference), and
    the difference of the mean norms, a less b. q is the false discovery rate
    over all neurons. No model is asked.
    """
    groups = Group.parse(a), Group.parse(b)
    store = opened(scan)
    first, second, shared = groups_apart(store, *groups) if drop_shared else (*two_groups(store, *groups), 0)
    members = first, second
    found = contrast(store, first, second, by, limit)
    beside = _control(store, members, by)
    if json:
        output.write_json(_as_json(found, groups, shared, beside, store))
    else:
        output.write_lines(_as_table(found, groups, shared, beside, store))
    for text in caveats(found, groups):
        note(text)


def _control(store: ScanStore, members: tuple[Members, Members], by: Answer) -> tuple[int, Contrast] | None:
    """The seed of the scan's control, and the same samples compared there; None where that cannot be."""
    control = find_control(store)
    if control is None or control.manifest.control is None:
        return None
    within = counted(control)
    a, b = (group[: len(within)] & within[: len(group)] for group in members)
    if not (a.any() and b.any()):
        return None
    try:
        return control.manifest.control.seed, contrast(control, a, b, by, 1)
    except VlmscopeError as error:
        note(f"without the control: {error.message}")
        return None


def _as_json(
    found: Contrast, groups: tuple[Group, Group], shared: int, control: tuple[int, Contrast] | None, store: ScanStore
) -> dict[str, object]:
    labels = store.stored_labels()
    sides = {
        name: {
            "group": str(group),
            "samples": found.samples[which],
            "panel": None if found.in_panel is None else found.in_panel[which],
        }
        for which, (name, group) in enumerate(zip("ab", groups, strict=True))
    }
    return {
        **sides,
        "shared_dropped": shared,
        "by": found.by.value,
        **_summary(found),
        "control": None if control is None else {"seed": control[0], **_summary(control[1])},
        "progress": progress_json(store.manifest.progress),
        "ranked": [_one_json(one, labels, store) for one in found.ranked],
    }


def _summary(found: Contrast) -> dict[str, object]:
    """How many neurons are found at a false discovery rate of 5 %."""
    return {
        "neurons": found.neurons,
        "top": {"enriched": found.enriched, "depleted": found.depleted},
        "panel": {"different": found.different, "looked_at": found.looked_at} if found.has_panel else None,
    }


def _one_json(one: Contrasted, labels: Labels, store: ScanStore) -> dict[str, object]:
    neuron, panel = one.neuron, one.panel
    return {
        "neuron": str(neuron),
        "label": labels.of(neuron).word,
        "high_confidence": bool(labels.high_confidence[neuron.layer, neuron.index]),
        "top": asdict(one.top),
        "panel": None if panel is None else {"difference": panel.difference, **asdict(panel)},
        **as_entry(None if store.concepts is None else store.concepts.of(neuron)),
    }


def _as_table(
    found: Contrast, groups: tuple[Group, Group], shared: int, control: tuple[int, Contrast] | None, store: ScanStore
) -> list[Text]:
    """The groups, aligned columns, and how many neurons are found."""
    lines = [output.row(line) for line in group_words(found, groups, shared)]
    labels = store.stored_labels()
    width = max(len("neuron"), *(len(str(one.neuron)) for one in found.ranked))
    head = f"{'neuron':<{width}}  {'label':<17}  {'top: of a':>9}{'chance':>8}{'odds':>9}{'p':>9}{'q':>9}"
    if found.has_panel:
        head += f"  {'panel: AUC (95 %)':<19}{'a - b':>6}{'p':>9}{'q':>9}"
    lines += [output.row(), output.row(head if store.concepts is None else f"{head}  concepts")]
    for one in found.ranked:
        top, at = one.top, (one.neuron.layer, one.neuron.index)
        line = output.row(f"{one.neuron!s:<{width}}  ")
        output.append_label(line, labels.of(one.neuron), bool(labels.high_confidence[at]))
        line.append(f"  {f'{top.of_a}/{top.samples}':>9}{top.by_chance:>8.1f}{odds_text(top.odds_ratio):>9}")
        line.append(f"{p_text(top.p):>9}{p_text(top.q):>9}")
        if one.panel is not None:
            line.append(f"  {_panel(one.panel)}")
        if store.concepts is not None:
            line.append(f"  {as_words(store.concepts.of(one.neuron))}")
        line.rstrip()
        lines.append(line)
    lines += [output.row(), output.row(f"q of {FOUND_AT:.0%} or less: {found_words(found)}")]
    if control is not None:
        lines.append(output.row(f"control (seed {control[0]}): {found_words(control[1])}"))
    return lines


def _panel(one: Difference) -> str:
    (low, high), p, q = one.interval, p_text(one.p), p_text(one.q)
    return f"{f'{one.auc:.2f} ({low:.2f} to {high:.2f})':<19}{one.difference:>+6.2f}{p:>9}{q:>9}"
