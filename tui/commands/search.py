"""``vlmscope search``: the neurons that have a word among their concepts."""

from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.text import Text

from vlmscope.core.analysis.statistics import labels_at
from vlmscope.core.base.errors import StoreError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.concepts import Concepts
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.method.words import words_of
from vlmscope.core.store.progress import check_whole
from vlmscope.tui.commands.concepts import as_entry, as_words, share
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.open_arg import opened
from vlmscope.tui.commands.shared.options import LABEL_WORDS, JsonOption, LabelThresholds, ScanArgument, label_option

SHOWN = 20  #: neurons listed unless told otherwise


def search(
    *,
    scan: ScanArgument,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORD...", help="What to look for; of several words a neuron must have all.", show_default=False
        ),
    ],
    label: Annotated[Label | None, label_option(f"Only neurons of this label: {', '.join(LABEL_WORDS)}.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="List no more neurons than this.")] = SHOWN,
    json: JsonOption = False,
    thresholds: LabelThresholds,
) -> None:
    """Find neurons by a word that stands out in their top samples.

    Looks through each neuron's concepts: the words of its top samples'
    descriptions that stand out against all descriptions. They are words that
    co-occur, not an explanation by a model.

    The neurons for which WORD stands out most come first. Strength is a
    z-score; below about 5 it may be chance. Purity is the share of the top 20
    samples whose description has a neuron's first word, base the share of all
    descriptions that have it. "high" marks a high-confidence label.
    """
    query = " ".join(words)
    if not words_of(query):
        raise UsageError(f"{query!r} has no word to look for.", "Numbers, single letters and stop words do not count.")
    store = opened(scan)
    concepts = store.concepts
    if concepts is None:
        check_whole(store, "A search takes concepts, and they take")
        raise StoreError(f"{store.folder} has no concepts to search.", f"Find them once: vlmscope concepts {scan}")
    labels = labels_at(store, thresholds.of(store))
    strength = concepts.find(query)  # of several words the weakest
    found = np.argwhere((strength > 0) if label is None else (strength > 0) & (labels.label == label))
    order = np.argsort(-strength[tuple(found.T)], kind="stable")[:limit]  # of equal ones the lower address first
    neurons = [store.numbering.at(*at) for at in found[order].tolist()]
    if json:
        output.write_json([_as_json(neuron, labels, concepts) for neuron in neurons])
    elif neurons:
        output.write_lines(_as_table(neurons, strength, labels, concepts))
    if not neurons:  # as grep: a script can tell
        note(_why_none(concepts, query, label, int(np.count_nonzero(strength))))
        raise typer.Exit(1)
    if len(found) > limit:
        note(f"and {len(found) - limit} more: --limit {len(found)}")


def _as_table(neurons: list[Neuron], strength: NDArray[np.float32], labels: Labels, concepts: Concepts) -> list[Text]:
    """Aligned columns."""
    width = max(len("neuron"), *(len(str(neuron)) for neuron in neurons))
    lines = [output.row(f"{'neuron':<{width}}  label              strength  purity  base  concepts")]
    for neuron in neurons:
        at, own = (neuron.layer, neuron.index), concepts.of(neuron)
        line = output.row(f"{neuron!s:<{width}}  ")
        output.append_label(line, labels.of(neuron), bool(labels.high_confidence[at]))
        line.append(f"  {strength[at]:>8.1f}  {share(own.purity):>6}  {share(own.base_rate):>4}  {as_words(own)}")
        lines.append(line)
    return lines


def _as_json(neuron: Neuron, labels: Labels, concepts: Concepts) -> dict[str, object]:
    return {
        "neuron": str(neuron),
        "label": labels.of(neuron).word,
        "high_confidence": bool(labels.high_confidence[neuron.layer, neuron.index]),
        **as_entry(concepts.of(neuron)),
    }


def _why_none(concepts: Concepts, query: str, label: Label | None, total: int) -> str:
    """Why there is nothing, and what to try."""
    if label is not None and total:
        return f"No {label.word} neuron has {query!r} among its concepts, but {total} of other labels have."
    similar = [word for word in concepts.similar(query) if concepts.find(word).any()]
    none = f"No neuron has {query!r} among its concepts."
    return f"{none} Similar words: {', '.join(similar)}." if similar else none
