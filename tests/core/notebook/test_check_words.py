"""A check in words: each outcome has its sentence, and none calls an ablation an explanation."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.checks import check, picture
from vlmscope.core.base.intervention import Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook import check_words as words
from vlmscope.core.notebook.check import CausalCheck, CheckSettings, MatchedNeurons

NEURON = Neuron(4, 724)
ALONE = "p is this neuron's alone: of many that are checked, some look like this by chance."


def of(effect: float, controls: list[float], p: float | None, **more: Any) -> CausalCheck:
    matched = tuple(MatchedNeurons((Neuron(4, at),), value, 1.0) for at, value in enumerate(controls))
    return replace(check(NEURON, effect=effect, p=p, match=1.0 if controls else None), matched=matched, **more)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-2.94, "-2.94"),
        (0.1, "+0.10"),
        (0.0123, "+0.012"),
        (-0.001, "-0.001"),
        (-4e-5, "-4e-05"),
        (0.0, "0"),
        (-0.0, "0"),
    ],
)
def test_a_change_has_a_sign_and_is_never_rounded_to_nothing(value: float, shown: str) -> None:
    assert words.signed(value) == shown


def test_the_lines_of_a_check() -> None:
    one = check(NEURON)
    assert words.title(one) == 'L4/N724 "shirt"'
    assert words.about(one) == "7 pictures, 39 matched neurons of L4"
    assert words.effect_text(one) == "log-odds -2.96, controls -0.0005, lowest -0.020"
    assert words.interval_text(one) == "less the controls' mean: 95 % -4.20 to -1.90"
    earlier = replace(one, interval="bootstrap")  # as earlier versions stored it
    assert words.interval_text(earlier) == "less the controls' mean: 95 % bootstrap -4.20 to -1.90"
    assert words.pictures_text(one) == "pictures -6.60 -3.60 -3.30 -2.50 -2.10 -1.40 -1.20"
    assert words.pictures_text(one, 2) == "pictures -6.60 -3.60 and 5 more"
    assert words.match_text(one) == "controls write 0.98x as much"
    assert words.intervened("zero", Positions.ALL) == "-> 0, all tokens"
    assert words.intervened("x3", Positions.ANSWER) == "-> x3, the answer"
    assert words.intervened("mean", Positions.PICTURE) == "-> mean, the picture"
    few = replace(one, interval="range", pictures=(picture(),) * 3, matched=one.matched[:1], effect=0.5)
    assert words.interval_text(few) == "less the controls' mean: -4.20 to -1.90 over the pictures"
    assert words.effect_text(few) == "log-odds +0.50, controls -0.020, highest -0.020"
    bare = of(-0.5, [], None, low=None, high=None)
    lines = (words.interval_text(bare), words.match_text(bare), words.effect_text(bare), words.about(bare))
    assert lines == ("", "", "log-odds -0.50", "7 pictures, 0 matched neurons of L4")
    assert words.effect_text(replace(bare, effect=None, pictures=())) == "log-odds unknown: no picture"


def test_an_effect_beyond_all_controls() -> None:
    lower = check(NEURON)
    assert words.verdict(lower) == "Beyond all 39 matched neurons (p 0.05, the least there can be)."
    assert words.notes(lower) == ("Without it the model is less sure of the word: it supports it.", ALONE)
    assert words.short_verdict(lower) == "beyond all 39 (p 0.05)"
    higher = check(NEURON, effect=0.3)
    assert words.notes(higher)[0] == "Without it the model is surer of the word: it holds it back."
    few = of(-1.0, [0.0] * 19, 0.1)
    assert words.verdict(few) == "Beyond all 19 matched neurons (p 0.1, the least there can be)."
    assert words.notes(few)[-1] == "With so few controls 10% are beyond all by chance: more allow a smaller p."


def test_an_effect_beyond_most_of_many_controls() -> None:
    found = of(-1.0, [-2.0, *[0.0] * 98], 0.04)
    assert words.verdict(found) == "Beyond 98 of 99 matched neurons (p 0.04)."
    assert words.short_verdict(found) == "beyond most (p 0.04)"


def test_no_effect_is_a_result() -> None:
    none = of(-0.1, [-0.2] * 6 + [0.0] * 14, 0.667)
    assert words.verdict(none) == "No effect found: 6 of 20 matched neurons change the word as much (p 0.67)."
    assert words.notes(none) == ("Others may make up for it, so it may still matter.", ALONE)
    assert words.short_verdict(none) == "no effect found (p 0.67)"
    one = of(0.3, [0.4] + [0.0] * 19, 0.19)
    assert words.verdict(one) == "No effect found: 1 of 20 matched neurons changes the word as much (p 0.19)."
    same = of(0.0, [0.0] * 20, 1.0)  # no neuron changes anything
    assert words.verdict(same) == "No effect found: 20 of 20 matched neurons change the word as much (p 1)."


def test_less_than_all_controls_is_not_the_opposite() -> None:
    found = of(-0.01, [-0.5] * 39, 0.05)
    assert words.notes(found)[0] == "Without it the word changes less than with the controls."


def test_without_p_the_note_is_the_verdict() -> None:
    silent = of(0.0, [], None, note="it is silent on these pictures: there is nothing to remove")
    assert words.verdict(silent) == "No verdict: it is silent on these pictures: there is nothing to remove."
    assert words.notes(silent) == ()
    assert words.short_verdict(silent) == "no verdict"
    assert words.verdict(of(-1.0, [], None)) == "No verdict."


def test_sizes_clamps_and_limits_are_named() -> None:
    small = check(NEURON, match=0.48)
    size = "Controls write less than this neuron does (0.48x): part of the difference may be size."
    assert size in words.notes(small)
    assert "Controls write more than this neuron does (1.40x)." in words.notes(
        replace(of(-0.1, [-0.2] * 6 + [0.0] * 14, 0.667), match=1.4)
    )
    clamp = check(NEURON, settings=CheckSettings(intervention="clamp10"))
    assert words.notes(clamp) == (
        "With clamp10 the model is less sure of the word.",
        ALONE,
        "A clamp is far outside what the model meets.",
    )
    assert "A clamp" not in "".join(words.notes(check(NEURON, settings=CheckSettings(intervention="clamp1"))))
    none = of(-0.1, [-0.2] * 6 + [0.0] * 14, 0.667, settings=CheckSettings(intervention="x3"))
    assert words.notes(none) == (ALONE,)
    limited = check(NEURON, note="only 30 controls can be had")
    assert words.notes(limited)[-1] == "Only 30 controls can be had."


def test_a_set_is_named_as_one() -> None:
    found = check(NEURON, Neuron(5, 1), name="concept shirt")
    assert words.title(found) == 'concept shirt (2 neurons) "shirt"'
    assert words.about(found) == "7 pictures, 39 matched sets"
    assert words.verdict(found) == "Beyond all 39 matched sets (p 0.05, the least there can be)."
    assert words.notes(found)[0] == "Without them the model is less sure of the word: they support it."
    assert words.notes(found)[1].startswith("p is this set's alone")
    directions = check(NEURON, settings=CheckSettings(control="direction"))
    assert words.about(directions) == "7 pictures, 39 other directions of L4"
    assert words.match_text(directions) == ""
    assert words.notes(replace(directions, match=0.3)) == words.notes(directions)
