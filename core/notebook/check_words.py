"""A causal check in words, for the command, the screen and the report: one place, so that all of them state the same.

A check is not an explanation, and "no effect" is a result.
"""

from collections.abc import Sequence

from vlmscope.core.base.intervention import Intervention, InterventionKind, Positions
from vlmscope.core.notebook.check import LEVEL, CausalCheck

PLACES = {Positions.ALL: "all tokens", Positions.ANSWER: "the answer", Positions.PICTURE: "the picture"}
CLAMPED = "A clamp is far outside what the model meets."
WHOLE_UNIT = "What is changed is the whole unit: both its poles."
NEAR = (0.8, 1.25)  #: written sizes of controls over the neuron's own that are not worth a sentence


def signed(value: float) -> str:
    """A change of log-odds, with its sign: ``-2.94``, ``+0.012``, ``-4e-05``; 0 only if nothing changed."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 0.095:
        return f"{value:+.2f}"
    return f"{value:+.3f}" if size >= 0.0095 else f"{value:+.1g}"


def intervened(intervention: str, at: Positions) -> str:
    """What is done, and where: ``-> 0, all tokens``."""
    what = {"zero": "0", "mean": "mean"}.get(intervention, intervention)
    return f"-> {what}, {PLACES[at]}"


def title(check: CausalCheck) -> str:
    """Of what, and of which word: ``L4/N724 "shirt"``."""
    return f'{check.subject} "{check.word}"'


def about(check: CausalCheck) -> str:
    """How much it rests on: ``10 pictures, 39 matched neurons of L4``."""
    layer = "" if check.of_set or not check.neurons else f" of L{check.neurons[0].layer}"
    return f"{_counted(len(check.pictures), 'picture')}, {_counted(len(check.matched), controls_noun(check))}{layer}"


def controls_noun(check: CausalCheck) -> str:
    """What its controls are, in the singular."""
    if check.settings.control == "direction":
        return "other direction"
    return "matched set" if check.of_set else "matched neuron"


def effect_text(check: CausalCheck) -> str:
    """The mean change beside the controls': ``log-odds -2.94, controls -0.05, lowest -0.65``."""
    if check.effect is None:
        return "log-odds unknown: no picture"
    text = f"log-odds {signed(check.effect)}"
    if not check.matched:
        return text
    effects = [one.effect for one in check.matched]
    mean = _mean(effects)
    end = f"lowest {signed(min(effects))}" if check.effect <= mean else f"highest {signed(max(effects))}"
    return f"{text}, controls {signed(mean)}, {end}"


def interval_text(check: CausalCheck) -> str:
    """The interval of the change less its controls' mean; empty without one."""
    if check.low is None or check.high is None:
        return ""
    ends = f"{signed(check.low)} to {signed(check.high)}"
    level = {"t": "95 %", "bootstrap": "95 % bootstrap"}.get(check.interval)
    ends = f"{ends} over the pictures" if level is None else f"{level} {ends}"
    return f"less the controls' mean: {ends}"


def pictures_text(check: CausalCheck, most: int | None = None) -> str:
    """Every picture's change, or the first ``most``."""
    shown = check.values[:most]
    left = len(check.values) - len(shown)
    return f"pictures {' '.join(signed(value) for value in shown)}{f' and {left} more' if left else ''}"


def match_text(check: CausalCheck) -> str:
    """How near the controls are; empty without any, and for other directions, along which as much is written."""
    if check.match is None or check.settings.control == "direction":
        return ""
    return f"controls write {check.match:.2f}x as much"


def verdict(check: CausalCheck) -> str:
    """The result in one sentence: beyond the controls, no effect found, or why there is none."""
    count, controls = len(check.matched), controls_noun(check)
    if check.p is None:
        return f"No verdict: {check.note.rstrip('.')}." if check.note else "No verdict."
    if check.beyond_all:
        return f"Beyond all {_counted(count, controls)} (p {check.p:.2g}, the least there can be)."
    as_much = _as_much(check)
    if check.found:
        return f"Beyond {count - as_much} of {_counted(count, controls)} (p {check.p:.2g})."
    change = "change" if as_much != 1 else "changes"
    return f"No effect found: {as_much} of {_counted(count, controls)} {change} the word as much (p {check.p:.2g})."


def notes(check: CausalCheck) -> tuple[str, ...]:
    """What a reader should know beside the verdict, a sentence each."""
    found = [_meaning(check), *_limits(check)]
    return tuple(one for one in found if one)


def short_verdict(check: CausalCheck) -> str:
    """The result in a few words, for a line of many things."""
    if check.p is None:
        return "no verdict"
    if check.beyond_all:
        return f"beyond all {len(check.matched)} (p {check.p:.2g})"
    return f"{'beyond most' if check.found else 'no effect found'} (p {check.p:.2g})"


def _as_much(check: CausalCheck) -> int:
    """How many controls change the word at least as much, in the direction in which fewer do."""
    effect = check.effect or 0.0
    effects = [one.effect for one in check.matched]
    return min(sum(one <= effect for one in effects), sum(one >= effect for one in effects))


def _meaning(check: CausalCheck) -> str:
    """What the effect is, in words; empty without a verdict."""
    if check.p is None or check.effect is None:
        return ""
    it, supports, holds = ("them", "they support", "they hold") if check.of_set else ("it", "it supports", "it holds")
    intervention = _intervention(check)
    removed = intervention.kind in (InterventionKind.ZERO, InterventionKind.MEAN)
    if not check.found:
        return "Others may make up for it, so it may still matter." if removed else ""
    below = check.effect < _mean([one.effect for one in check.matched])
    given = f"Without {it}" if removed else f"With {intervention}"
    if below != (check.effect < 0):
        return f"{given} the word changes less than with the controls."
    if not removed:
        return f"{given} the model is {'less sure' if below else 'surer'} of the word."
    if below:
        return f"{given} the model is less sure of the word: {supports} it."
    return f"{given} the model is surer of the word: {holds} it back."


def _limits(check: CausalCheck) -> list[str]:
    subject = "set" if check.of_set else "neuron"
    found = []
    if check.p is not None:
        found.append(f"p is this {subject}'s alone: of many that are checked, some look like this by chance.")
        if check.beyond_all and check.least_p > LEVEL:
            found.append(f"With so few controls {check.least_p:.0%} are beyond all by chance: more allow a smaller p.")
        directed = check.settings.control == "direction"
        if check.match is not None and not directed and not NEAR[0] <= check.match <= NEAR[1]:
            how = "less" if check.match < 1 else "more"
            size = f"Controls write {how} than this {subject} does ({check.match:.2f}x)"
            found.append(f"{size}: part of the difference may be size." if check.found else f"{size}.")
    intervention = _intervention(check)
    if intervention.kind is InterventionKind.CLAMP and abs(intervention.amount) > 1:
        found.append(CLAMPED)
    if any(one.poled for one in check.neurons):
        found.append(WHOLE_UNIT)
    if check.note and check.p is not None:
        found.append(_sentence(check.note))
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _intervention(check: CausalCheck) -> Intervention:
    return Intervention.parse(check.settings.intervention)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
