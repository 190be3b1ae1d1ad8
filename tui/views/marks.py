"""The list's four cells for what the notebook holds on a neuron."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from vlmscope.core.base.neuron import Neuron

if TYPE_CHECKING:
    from vlmscope.core.notebook.values import Entry, Mark

PUBLISHED = " *"  #: one of the paper's neurons, without anything else


def signs_of(marks: "Mapping[Neuron, Mark]", published: Collection[Neuron]) -> dict[Neuron, str]:
    """The cells of every neuron that has any."""
    from vlmscope.core.notebook.values import Mark

    signs = dict.fromkeys(published, PUBLISHED)
    nothing = Mark()
    for neuron, mark in marks.items():
        if mark != nothing:
            signs[neuron] = sign_of(mark, neuron in published)
    return signs


def mark_of(entry: "Entry") -> "Mark":
    """What the list shows of an entry."""
    from vlmscope.core.notebook.values import Mark

    return Mark(
        verdict=entry.verdict,
        bookmark=entry.bookmark,
        has_note=bool(entry.note),
        has_tags=bool(entry.tags),
        explained=any(saved.explanation.source.of_the_neuron for saved in entry.explanations),
        scored=bool(entry.scores),
        failed=entry.failure is not None,
    )


def sign_of(mark: "Mark", published: bool) -> str:
    """Four cells: ✓ ✗ ?, b or *, n t or +, e s or !; blank where there is nothing."""
    verdict = {"keep": "✓", "reject": "✗", "unsure": "?"}.get(mark.verdict or "", " ")
    book = "b" if mark.bookmark else "*" if published else " "
    words = "+" if mark.has_note and mark.has_tags else "n" if mark.has_note else "t" if mark.has_tags else " "
    work = "s" if mark.scored else "e" if mark.explained else "!" if mark.failed else " "
    return f"{verdict}{book}{words}{work}"
