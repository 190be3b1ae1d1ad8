"""``vlmscope search``: the neurons that have a word among their concepts."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from rich.cells import set_cell_size
from rich.text import Text

from vlmscope.core.analysis.statistics import labels_at
from vlmscope.core.base.errors import StoreError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.concepts import ConceptList, Concepts
from vlmscope.core.method.labels import COLOURS, Label, Labels
from vlmscope.core.method.words import words_of
from vlmscope.core.store.progress import check_whole
from vlmscope.tui.commands.concepts import as_entry, as_words, share
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.open_arg import opened
from vlmscope.tui.commands.shared.options import LABEL_WORDS, JsonOption, LabelThresholds, ScanArgument, label_option

SHOWN = 20  #: neurons listed unless told otherwise


@dataclass(frozen=True)
class Hit:
    """A neuron that has the word."""

    neuron: Neuron
    label: Label
    high_confidence: bool
    strength: float  #: the word's, or the weakest of several words
    concepts: ConceptList


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
    descriptions that have it. ! marks a high-confidence label.
    """
    query = " ".join(words)
    if not words_of(query):
        raise UsageError(f"{query!r} has no word to look for.", "Numbers, single letters and stop words do not count.")
    store = opened(scan)
    concepts = store.concepts
    if concepts is None:
        check_whole(store, "A search takes concepts, and they take")
        raise StoreError(f"{store.folder} has no concepts to search.", f"Find them once: vlmscope concepts {scan}")
    hits, total = find_hits(concepts, labels_at(store, thresholds.of(store)), query, label)
    if json:
        output.write_json([_as_json(hit) for hit in hits[:limit]])
    elif hits:
        output.write_lines(as_table(hits[:limit]))
    if not hits:
        note(_why_none(concepts, query, label, total))
    elif len(hits) > limit:
        note(f"and {len(hits) - limit} more: --limit {len(hits)}")


def find_hits(concepts: Concepts, labels: Labels, query: str, label: Label | None) -> tuple[list[Hit], int]:
    """The neurons that have ``query``, the strongest first, then by address.

    Returns:
        those of ``label`` (of any, if None), and how many there are of any label.
    """
    strength = concepts.find(query)
    found = strength > 0
    total = int(np.count_nonzero(found))
    if label is not None:
        found &= labels.label == label
    layer, index = np.nonzero(found)
    order = np.argsort(-strength[layer, index], kind="stable")
    hits = []
    for at in zip(layer[order].tolist(), index[order].tolist(), strict=True):
        neuron = Neuron(*at)
        high = bool(labels.high_confidence[at])
        hits.append(Hit(neuron, labels.of(neuron), high, float(strength[at]), concepts.of(neuron)))
    return hits, total


def as_table(hits: list[Hit]) -> list[Text]:
    """Aligned columns; ``!`` marks a high-confidence label."""
    width = max(len("neuron"), *(len(str(hit.neuron)) for hit in hits))
    lines = [output.row(f"{'neuron':<{width}}  label          strength  purity  base  concepts")]
    for hit in hits:
        line = output.row(f"{hit.neuron!s:<{width}}  ")
        mark = "!" if hit.high_confidence else " "
        line.append(set_cell_size(f"{hit.label.letter} {hit.label.word}{mark}", 13), COLOURS[hit.label])
        found = hit.concepts
        line.append(f"  {hit.strength:>8.1f}  {share(found.purity):>6}  {share(found.base_rate):>4}  {as_words(found)}")
        lines.append(line)
    return lines


def _as_json(hit: Hit) -> dict[str, object]:
    return {
        "neuron": str(hit.neuron),
        "label": hit.label.word,
        "high_confidence": hit.high_confidence,
        **as_entry(hit.concepts),
    }


def _why_none(concepts: Concepts, query: str, label: Label | None, total: int) -> str:
    """Why there is nothing, and what to try."""
    if label is not None and total:
        return f"No {label.word} neuron has {query!r} among its concepts, but {total} of other labels have."
    similar = [word for word in concepts.similar(query) if concepts.find(word).any()]
    none = f"No neuron has {query!r} among its concepts."
    return f"{none} Similar words: {', '.join(similar)}." if similar else none
