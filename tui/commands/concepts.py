"""``vlmscope concepts``: find the concepts of a scan that has none; and how concepts are written by other commands."""

import time
from typing import Annotated

import typer

from vlmscope.core.base.text import plain
from vlmscope.core.method.concepts import ConceptList, Concepts, find_concepts
from vlmscope.core.store.concept_files import check_writable, replace_concepts
from vlmscope.core.store.progress import check_whole
from vlmscope.core.store.reader import ScanStore, open_scan
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import Notes, note, progress
from vlmscope.tui.commands.shared.options import JsonOption, ScanArgument

PURE = 0.8  #: purity from which a neuron is counted as pure
WORD_WIDTH = 24  #: characters of one word


def concepts(
    *,
    scan: ScanArgument,
    again: Annotated[bool, typer.Option("--again", help="Find them again where the scan has some already.")] = False,
    json: JsonOption = False,
) -> None:
    """Find the concepts of a scan: words that stand out in top samples.

    For every neuron: the words of its top samples' descriptions that stand
    out against all descriptions. They are words that co-occur, not an
    explanation by a model. A scan finds them at its end; this is for scans
    that lack them.
    """
    store = open_scan(scan)
    check_whole(store, "Concepts take")
    found = None if again else store.concepts
    began = time.monotonic()
    if found is not None:
        note("The scan has its concepts already; --again finds them again.")
    else:
        check_writable(store.folder)
        found = _find(store)
        replace_concepts(store.folder, found, store.manifest)
    seconds = time.monotonic() - began
    having = int((found.strength[..., 0] > 0).sum())
    total = found.purity_hits.size
    note(f"{having} of {total} neurons have concepts, {len(found.words)} words are counted: {seconds:.1f} s")
    if json:
        output.write_json(
            {
                "neurons": total,
                "with_concepts": having,
                "pure": int((found.purity() >= PURE).sum()),
                "words": len(found.words),
                "descriptions": found.descriptions,
                "seconds": seconds,
            }
        )


def _find(store: ScanStore) -> Concepts:
    descriptions = [store.sample(index).description for index in range(store.manifest.samples)]
    with progress(Notes()) as report:
        report("finding concepts", 0, 0)  # counting words comes first
        return find_concepts(
            store.arrays["top_sample"],
            store.manifest.without_skipped(descriptions),
            lambda done, total: report("finding concepts", done, total),
        )


def as_entry(found: ConceptList | None) -> dict[str, object]:
    """A neuron's concepts as JSON has them; null where the scan has none."""
    if found is None:
        return dict.fromkeys(("concepts", "purity", "base_rate"))
    return {"concepts": [vars(one) for one in found.words], "purity": found.purity, "base_rate": found.base_rate}


def as_words(found: ConceptList) -> str:
    """A neuron's concepts on one line, with their strengths."""
    return ", ".join(f"{plain(concept.word, WORD_WIDTH)} {concept.strength:.1f}" for concept in found.words)


def share(value: float) -> str:
    """A share as the text has it: ``.95``, ``1.00``."""
    return f"{value:.2f}".removeprefix("0")
