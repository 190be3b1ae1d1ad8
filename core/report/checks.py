"""Causal checks in a report: as values, and as Markdown."""

from collections.abc import Iterator, Sequence

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook import check_words
from vlmscope.core.notebook.check import CausalCheck
from vlmscope.core.notebook.values import SavedCheck
from vlmscope.core.report.escape import inline
from vlmscope.core.report.schema import CheckPart, ControlPart

NOT_EXPLAINED = "what happens to a word without the neuron, against matched neurons: not an explanation"
SETS = (
    "What happens to a word without all neurons of a set, against sets in which each is replaced by a matched neuron:"
    " not an explanation. Here are the sets that share a neuron with this report."
)
LEGEND = (
    "A check is the change of a word's log-odds without the neuron, against matched neurons of its layer. p is each"
    " neuron's alone: of many that are checked, some are beyond all controls by chance."
)
NEURONS = 20  #: of a set that are named
PICTURES = 20  #: whose values are named
WORD = 40  #: characters of a word


def check_part(saved: SavedCheck) -> CheckPart:
    """A check as values, with its result in words."""
    check = saved.check
    controls = tuple(
        ControlPart(neurons=_addresses(one.neurons), effect=one.effect, written=one.written) for one in check.matched
    )
    own = {name: value for name, value in vars(check).items() if name in CheckPart.model_fields}
    return CheckPart.model_validate(
        own
        | {
            "id": saved.id,
            "neurons": _addresses(check.neurons),
            "controls": controls,
            "least_p": check.least_p,
            "beyond_all": check.beyond_all,
            "outcome": check_words.short_verdict(check),
            "lines": check_lines(check),
        }
    )


def check_lines(check: CausalCheck) -> tuple[str, ...]:
    """A check in words: what was done, the result, the numbers."""
    numbers = (check_words.effect_text(check), check_words.interval_text(check), check_words.match_text(check))
    done = check_words.intervened(check.settings.intervention, check.settings.at)
    return (
        f"{check_words.title(check)} {done}: {check_words.about(check)} ({check.created})",
        " ".join((check_words.verdict(check), *check_words.notes(check))),
        "; ".join(one for one in numbers if one),
        check_words.pictures_text(check, PICTURES),
    )


def check_blocks(checks: Sequence[CheckPart]) -> Iterator[str]:
    """Markdown: a list for each check."""
    for check in checks:
        lines = list(check.lines)
        if check.name:
            named = ", ".join(check.neurons[:NEURONS])
            left = len(check.neurons) - NEURONS
            lines.append(f"neurons {named}{f' and {left} more' if left > 0 else ''}")
        yield "\n".join(f"- {inline(line)}" if at == 0 else f"  - {inline(line)}" for at, line in enumerate(lines))


def check_cell(checks: Sequence[CheckPart]) -> str:
    """The newest check, for the table."""
    if not checks:
        return ""
    first = checks[0]
    effect = "" if first.effect is None else f" {check_words.signed(first.effect)}"
    more = f", {len(checks) - 1} more" if len(checks) > 1 else ""
    return inline(f"{first.word[:WORD]}{effect}, {first.outcome}{more}")


def _addresses(neurons: Sequence[Neuron]) -> tuple[str, ...]:
    return tuple(str(one) for one in neurons)
