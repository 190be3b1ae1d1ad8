"""``vlmscope related``: the neurons that share top samples with one."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from vlmscope.core.analysis.related import (
    LIMIT,
    CoactiveNeurons,
    RelatedNeuron,
    RelatedNeurons,
    by_chance,
    coactive,
    correlated_over,
    related,
)
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.concepts import as_entry, as_words
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.open_arg import opened
from vlmscope.tui.commands.shared.options import AddressArgument, JsonOption, ScanArgument


class By(StrEnum):
    """What the neurons are listed by."""

    SHARED = "shared"
    PANEL = "panel"


SAMPLES_SHOWN = 5  #: shared samples that a line of text names


def related_(
    *,
    scan: ScanArgument,
    address: AddressArgument,
    by: Annotated[By, typer.Option("--by", help="Shared top samples, or correlation over the panel.")] = By.SHARED,
    limit: Annotated[int, typer.Option("--limit", min=1, help="List no more neurons than this.")] = LIMIT,
    json: JsonOption = False,
) -> None:
    """Find the neurons that share the most top samples with one.

    It counts the samples that are among the top samples of both, and compares
    with the count by chance. A neuron that shares fewer than 3, or fewer than
    3 times as many as by chance, is not listed. No model is asked.

    Beside it is r, Pearson's correlation over the scan's panel of random samples,
    without the top samples of both. --by panel lists those with the highest r.
    """
    neuron = Neuron.parse(address)
    store = opened(scan)
    found: RelatedNeurons | CoactiveNeurons
    if by is By.PANEL:
        found = coactive(store, store.panel_for("--by panel"), neuron, store.stored_labels(), limit)
    else:
        found = related(store, neuron, store.stored_labels(), limit)
    if json:
        output.write_json([_as_json(one, store) for one in found.found])
    elif found.found:
        output.write_lines(_as_table(found.found, store))
    note(found.summary)
    if isinstance(found, RelatedNeurons) and store.panel is not None and found.found and not json:
        note(f"r is {correlated_over(len(store.panel))}")
    if isinstance(found, RelatedNeurons) and found.total > len(found.found):
        note(f"and {found.total - len(found.found):,} more: --limit {found.total}")


def _as_table(found: Sequence[RelatedNeuron], store: ScanStore) -> list[Text]:
    """Aligned columns; r where the scan has a panel."""
    width = max(len("neuron"), *(len(str(one.neuron)) for one in found))
    listed = [_samples(one) for one in found]
    samples = max(len("samples"), *map(len, listed))
    beside = "" if store.panel is None else "      r"
    head = f"{'neuron':<{width}}  {'label':<17}  shared{beside}  {'samples':<{samples}}"
    lines = [output.row(head.rstrip() if store.concepts is None else f"{head}  concepts")]
    for one, names in zip(found, listed, strict=True):
        line = output.row(f"{one.neuron!s:<{width}}  ")
        output.append_label(line, one.label, one.high_confidence)
        line.append(f"  {one.shared:>6}")
        if store.panel is not None:
            line.append(f"  {'-' if one.correlation is None else f'{one.correlation:+.2f}':>5}")
        line.append(f"  {names:<{samples}}")
        if store.concepts is not None:
            line.append(f"  {as_words(store.concepts.of(one.neuron))}")
        line.rstrip()
        lines.append(line)
    return lines


def _samples(one: RelatedNeuron) -> str:
    shown = " ".join(f"#{sample}" for sample in one.samples[:SAMPLES_SHOWN])
    return f"{shown} ..." if one.shared > SAMPLES_SHOWN else shown


def _as_json(one: RelatedNeuron, store: ScanStore) -> dict[str, object]:
    result: dict[str, object] = {
        "neuron": str(one.neuron),
        "label": one.label.word,
        "high_confidence": one.high_confidence,
        "shared": one.shared,
        "top": store.valid,
        "by_chance": by_chance(store),
        "samples": list(one.samples),
        **as_entry(None if store.concepts is None else store.concepts.of(one.neuron)),
    }
    if store.panel is not None:
        result["correlation"] = one.correlation
    return result
