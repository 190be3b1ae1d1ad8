"""The figures of ``vlmscope bench causal`` as tables."""

from collections.abc import Sequence

from rich.text import Text

from vlmscope.core.bench.causal import BenchCausal
from vlmscope.core.bench.effects import EffectAgreement
from vlmscope.core.bench.precision import PointingPrecision, RelatedPrecision
from vlmscope.core.bench.sets import SetFigures
from vlmscope.tui.commands.shared.output import row


def tables(found: BenchCausal) -> list[Text]:
    """Checks by layer, effects to first order, sets, pointing, related neurons; a blank line between them."""
    parts = [
        _checks(found),
        _effects(found.effects),
        _sets(found.sets),
        _pointing(found.pointing),
        _related(found.related),
    ]
    return [line for part in parts for line in (*part, row())][:-1]


def _checks(found: BenchCausal) -> list[Text]:
    head = ("layer", "at", "neurons", "beyond all", "lower", "higher", "matched beyond", "change", "matched's", "match")
    rows = [
        (
            f"L{one.layer}",
            one.at,
            f"{one.neurons}",
            f"{one.beyond}",
            f"{one.lower}",
            f"{one.higher}",
            f"{one.matched_beyond}",
            f"{one.effect:.3f}",
            f"{one.matched_effect:.3f}",
            f"{one.match:.2f}x",
        )
        for one in found.checks
    ]
    about = (
        f"Neurons of objects, 0 against {found.controls} matched neurons, {found.pictures} pictures each; "
        f"beyond all by chance: {found.chance:.0%}"
    )
    return [row(about), *_table(head, rows)]


def _effects(found: EffectAgreement) -> list[Text]:
    layers = "  ".join(f"L{layer} {value:.2f}" for layer, value in enumerate(found.layers))
    return [
        row(f"Effects to first order against exact ablations, {found.pairs} pairs of neuron and word"),
        row(f"rank correlation {found.spearman:.2f}: {layers}"),
        row(f"same sign, of {found.large} that change the word by 0.05 or more: {found.same_sign:.0%}"),
    ]


def _sets(sets: Sequence[SetFigures]) -> list[Text]:
    head = (
        "chosen by",
        "size",
        "words",
        "change",
        "matched",
        "others",
        "matched",
        "still first",
        "matched",
        "below all",
    )
    rows = [
        (
            one.by,
            f"{one.size}",
            f"{one.words}",
            f"{one.change:+.2f}",
            f"{one.matched_change:+.2f}",
            f"{one.others_change:+.2f}",
            f"{one.matched_others_change:+.2f}",
            f"{one.first:.2f}",
            f"{one.matched_first:.2f}",
            f"{one.below_all}",
        )
        for one in sets
    ]
    return [row("Sets, all off at once: change of the word's log-odds, and of other words'"), *_table(head, rows)]


def _pointing(found: PointingPrecision) -> list[Text]:
    about = f"Pointing at the middle of {found.objects} objects of {found.pictures} pictures; chance {found.chance:.4f}"
    lists = {**found.rules, "bar, where its word is predicted": found.word, "effect on its word": found.effect}
    rows = [
        (name, f"{one.at_10:.3f}", f"{one.at_1:.2f}", f"{one.others_at_10:.3f}", f"{one.others_at_1:.2f}")
        for name, one in lists.items()
    ]
    rows.append(("bar, without the model", f"{found.scan_at_10:.3f}", f"{found.scan_at_1:.2f}", "n/a", "n/a"))
    head = ("rule", "P@10", "P@1", "P@10 others", "P@1 others")
    last = (
        f'first of "words here": {found.words_first:.0%}; without the model {found.scan_listed:.0f} neurons are listed'
    )
    return [row(about), *_table(head, rows), row(last)]


def _related(found: RelatedPrecision) -> list[Text]:
    return [
        row(f"Related neurons of {found.neurons} neurons of objects, of which {found.with_related} have any"),
        row(f"same leading concept, of the first 5: {found.at_5:.2f} (chance {found.chance:.4f})"),
        row(f"object in their other top pictures: {found.elsewhere:.2f} (all pictures {found.elsewhere_chance:.2f})"),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Text]:
    """Columns, the first on the left, numbers on the right."""
    widths = [max(len(line[at]) for line in (head, *rows)) for at in range(len(head))]
    found = []
    for line in (head, *rows):
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        found.append(row("  ".join([line[0].ljust(widths[0]), *cells[1:]])))
    return found
