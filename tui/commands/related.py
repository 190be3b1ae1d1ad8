"""``vlmscope related``: the neurons that share top samples with one."""

from typing import Annotated

import typer
from rich.text import Text

from vlmscope.core.analysis.related import LIMIT, RelatedNeuron, RelatedNeurons, related
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.concepts import as_entry, as_words
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.open_arg import opened
from vlmscope.tui.commands.shared.options import AddressArgument, JsonOption, ScanArgument

SAMPLES_SHOWN = 5  #: shared samples that a line of text names


def related_(
    *,
    scan: ScanArgument,
    address: AddressArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, help="List no more neurons than this.")] = LIMIT,
    json: JsonOption = False,
) -> None:
    """Find the neurons that share the most top samples with one.

    It counts the samples that are among the top samples of both, and compares
    with the count by chance. A neuron that shares fewer than 3, or fewer than
    3 times as many as by chance, is not listed. No model is asked.
    """
    neuron = Neuron.parse(address)
    store = opened(scan)
    found = related(store, neuron, store.stored_labels(), limit)
    if json:
        output.write_json([_as_json(one, found, store) for one in found.found])
    elif found.found:
        output.write_lines(_as_table(found, store))
    note(found.summary)
    if found.total > len(found.found):
        note(f"and {found.total - len(found.found):,} more: --limit {found.total}")


def _as_table(found: RelatedNeurons, store: ScanStore) -> list[Text]:
    """Aligned columns."""
    width = max(len("neuron"), *(len(str(one.neuron)) for one in found.found))
    listed = [_samples(one) for one in found.found]
    samples = max(len("samples"), *map(len, listed))
    head = f"{'neuron':<{width}}  {'label':<17}  shared  {'samples':<{samples}}"
    lines = [output.row(head.rstrip() if store.concepts is None else f"{head}  concepts")]
    for one, names in zip(found.found, listed, strict=True):
        line = output.row(f"{one.neuron!s:<{width}}  ")
        output.append_label(line, one.label, one.high_confidence)
        line.append(f"  {one.shared:>6}  {names:<{samples}}")
        if store.concepts is not None:
            line.append(f"  {as_words(store.concepts.of(one.neuron))}")
        line.rstrip()
        lines.append(line)
    return lines


def _samples(one: RelatedNeuron) -> str:
    shown = " ".join(f"#{sample}" for sample in one.samples[:SAMPLES_SHOWN])
    return f"{shown} ..." if one.shared > SAMPLES_SHOWN else shown


def _as_json(one: RelatedNeuron, found: RelatedNeurons, store: ScanStore) -> dict[str, object]:
    return {
        "neuron": str(one.neuron),
        "label": one.label.word,
        "high_confidence": one.high_confidence,
        "shared": one.shared,
        "top": found.top,
        "by_chance": found.by_chance,
        "samples": list(one.samples),
        **as_entry(None if store.concepts is None else store.concepts.of(one.neuron)),
    }
