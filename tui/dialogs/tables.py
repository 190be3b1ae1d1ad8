"""Tables of neurons: related ones, those that fire at a place, that a word rests on, that two groups tell apart."""

from dataclasses import replace
from typing import TYPE_CHECKING

from vlmscope.core.analysis.contrast import FOUND_AT, Answer
from vlmscope.core.analysis.contrast_words import caveats, found_words, group_words, odds_text, p_text
from vlmscope.core.analysis.pointing import Rule
from vlmscope.core.analysis.related import correlated_over
from vlmscope.core.notebook.check_words import signed
from vlmscope.tui.views.neurons import NeuronRow, NeuronTable
from vlmscope.tui.widgets.numbers import activation

if TYPE_CHECKING:
    from vlmscope.core.analysis.contrast import Contrast
    from vlmscope.core.analysis.groups import Group
    from vlmscope.core.analysis.pointing import Pointed, PointedNeuron
    from vlmscope.core.analysis.related import RelatedNeurons
    from vlmscope.core.method.concepts import Concepts
    from vlmscope.core.method.labels import Labels

_SAMPLES = 4  #: shared samples that a row names


def related_table(found: "RelatedNeurons", panel_samples: int) -> NeuronTable:
    """The neurons that share the most top samples, with the reasons; ``panel_samples``: of the scan's panel."""
    correlated = any(one.correlation is not None for one in found.found)
    panel = (f"r: {correlated_over(panel_samples)}.",) if correlated else ()
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


#: What ranks the neurons that two groups tell apart, by letter.
ANSWERS = {
    "t": (Answer.TOP, "the top samples: how many are of a, against chance"),
    "p": (Answer.PANEL, "the panel: the chance that a activates it more (AUC)"),
}


def contrast_table(
    found: "Contrast", groups: "tuple[Group, Group]", labels: "Labels", concepts: "Concepts | None", shared: int = 0
) -> NeuronTable:
    """The neurons that two groups of samples activate most differently: both answers side by side.

    Args:
        shared: samples of both groups that are left out.
    """
    rows = []
    for one in found.ranked:
        top, panel, at = one.top, one.panel, (one.neuron.layer, one.neuron.index)
        beside = ("", "", "") if panel is None else (f"{panel.auc:.2f}", f"{panel.difference:+.1f}", p_text(panel.q))
        of_top = (f"{top.of_a}/{top.samples}", f"{top.by_chance:.1f}", odds_text(top.odds_ratio), p_text(top.q))
        concept = "" if concepts is None else concepts.leading(*at)
        rows.append(NeuronRow(one.neuron, (*of_top, *beside, labels.of(one.neuron).letter, concept)))
    found_at = f"q of {FOUND_AT:.0%} or less: {found_words(found)}."
    ranked = next(text for answer, text in ANSWERS.values() if answer is found.by)
    lines = (*group_words(found, groups, shared), f"Ranked by {ranked}.", found_at, *caveats(found, groups))
    heads = ("of a", "chance", "odds", "q", "AUC", "a - b", "q", "label", "concept")
    return _filled(NeuronTable(f"{groups[0]} against {groups[1]}", lines, heads, tuple(rows)))


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
