"""Tables of neurons: related ones, those that fire at a place, those that a word rests on."""

from dataclasses import replace
from typing import TYPE_CHECKING

from vlmscope.core.analysis.pointing import Rule
from vlmscope.core.notebook.check_words import signed
from vlmscope.tui.views.neurons import NeuronRow, NeuronTable
from vlmscope.tui.widgets.numbers import activation

if TYPE_CHECKING:
    from vlmscope.core.analysis.pointing import Pointed, PointedNeuron
    from vlmscope.core.analysis.related import RelatedNeurons

_SAMPLES = 4  #: shared samples that a row names


def related_table(found: "RelatedNeurons") -> NeuronTable:
    """The neurons that share the most top samples, with the reasons."""
    correlated = any(one.correlation is not None for one in found.found)
    panel = ("r: correlation over panel samples in neither one's top samples.",) if correlated else ()
    rows = tuple(
        NeuronRow(
            one.neuron,
            (
                str(one.shared),
                "" if one.correlation is None else f"{one.correlation:+.2f}",
                one.label.letter,
                one.concept,
                _samples(one.samples),
            ),
        )
        for one in found.found
    )
    table = NeuronTable(
        f"related to {found.neuron}",
        (f"{found.summary}.".replace("..", "."), *panel),
        ("shared", "r", "label", "concept", "first of them"),
        rows,
    )
    return _filled(table)


def _samples(samples: tuple[int, ...]) -> str:
    return " ".join(f"#{sample}" for sample in samples[:_SAMPLES]) + (" …" if len(samples) > _SAMPLES else "")


#: What each rule's number is, for the line above the list.
_MEANS = {
    Rule.BAR: "bar: activation over the score of its last top sample; from 1 on it would be a top sample",
    Rule.MAXIMUM: "maximum: activation over its maximum",
    Rule.RARE: "rare: one of how many tokens has such an activation",
    Rule.WRITTEN: "written: how much it adds to the residual stream here",
    Rule.EFFECT: "effect: change of the word's log-odds without the neuron; what the answer rests on now",
}
RULES = {"b": Rule.BAR, "m": Rule.MAXIMUM, "r": Rule.RARE, "w": Rule.WRITTEN, "e": Rule.EFFECT}


def rule_text(rule: Rule) -> str:
    """A rule for the user who chooses."""
    return _MEANS[rule].partition(";")[0]


def pointed_table(found: "Pointed", top: int) -> NeuronTable:
    """The neurons that fire at a place; ``top``: top samples of each neuron."""
    exact = any(one.exact is not None for one in found.neurons)
    heads = [*(("exact", "estimate") if exact else (found.rule.value,)), "activation", "rank", "label", "concept"]
    rows = tuple(NeuronRow(one.neuron, _texts(found, one, exact)) for one in found.neurons)
    return _filled(NeuronTable(f"neurons at {found.place.name}", _lines(found, top), tuple(heads), rows))


def _filled(table: NeuronTable) -> NeuronTable:
    """The same without columns in which nothing stands."""
    kept = [at for at in range(len(table.heads)) if any(row.texts[at] for row in table.rows)]
    rows = tuple(replace(row, texts=tuple(row.texts[at] for at in kept)) for row in table.rows)
    return replace(table, heads=tuple(table.heads[at] for at in kept), rows=rows)


def _texts(found: "Pointed", one: "PointedNeuron", exact: bool) -> tuple[str, ...]:
    value = signed(one.value) if found.rule is Rule.EFFECT else activation(one.value)
    first = ("" if one.exact is None else signed(one.exact), value) if exact else (value,)
    fires = "" if one.activation is None else activation(one.activation)
    return (*first, fires, "" if one.rank is None else f"{one.rank}*", one.label.letter, one.concept)


def _lines(found: "Pointed", top: int) -> tuple[str, ...]:
    lines = [_MEANS[found.rule], f"{_count(found, top)}."]
    if found.own and found.by_model:
        lines.append(f"* {found.own} of these {len(found.neurons)} have this picture among their own top samples.")
    if found.words_line:
        lines.append(found.words_line)
    return tuple(lines)


def _count(found: "Pointed", top: int) -> str:
    """Of how many neurons the list has the first ones."""
    if found.rule is Rule.EFFECT:
        return f"{found.total:,} of all neurons lower it when they are removed"
    verb = "write" if found.rule is Rule.WRITTEN else "fire"
    how = "of all neurons" if found.by_model else f"of those that have it among their {top} top samples"
    return f"{found.total:,} {verb} here, {how}" if found.total else f"No neuron {verb}s here, {how}"
