"""The list's four cells for what the notebook holds on a neuron."""

from functools import cache

from vlmscope.core.notebook.values import Entry, Mark


def mark_of(entry: Entry) -> Mark:
    """What the list shows of an entry."""
    return Mark(
        verdict=entry.verdict,
        bookmark=entry.bookmark,
        has_note=bool(entry.note),
        has_tags=bool(entry.tags),
        explained=any(saved.explanation.source.of_the_neuron for saved in entry.explanations),
        scored=bool(entry.scores),
        failed=entry.failure is not None,
    )


@cache
def sign_of(bits: int, published: bool) -> str:
    """Four cells: ✓ ✗ ?, b or *, n t or +, e s or !; blank where there is nothing.

    Args:
        bits: of the neuron's mark.
        published: whether the paper names the neuron.
    """
    mark = Mark.of_bits(bits)
    verdict = {"keep": "✓", "reject": "✗", "unsure": "?"}.get(mark.verdict or "", " ")
    book = "b" if mark.bookmark else "*" if published else " "
    words = "+" if mark.has_note and mark.has_tags else "n" if mark.has_note else "t" if mark.has_tags else " "
    work = "s" if mark.scored else "e" if mark.explained else "!" if mark.failed else " "
    return f"{verdict}{book}{words}{work}"
