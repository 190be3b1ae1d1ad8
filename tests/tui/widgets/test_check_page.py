"""The page of a causal check: the verdict first, every picture's value, whole numbers at any size."""

from dataclasses import replace

import pytest

from tests.support.checks import check, picture
from tests.tui.widgets.test_parts import PLAIN
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.notebook.check import CausalCheck, CheckSettings
from vlmscope.core.notebook.values import SavedCheck
from vlmscope.tui.views.check import CheckView, check_view
from vlmscope.tui.widgets.page.check import OWN, check_page, first_choice

NEURON = Neuron(4, 724)
CHECK = check(NEURON)


def text_of(one: CausalCheck | None, width: int = 80, height: int = 24, **more: object) -> str:
    view = replace(CheckView(one, 0, 1), **more)  # type: ignore[arg-type]
    strips = check_page(view, width, height, PLAIN)
    assert len(strips) <= height
    assert {strip.cell_length for strip in strips} <= {width}
    return "\n".join(strip.text.rstrip() for strip in strips)


def test_all_of_a_check_fits_into_a_small_terminal() -> None:
    assert text_of(CHECK).splitlines() == [
        'L4/N724 "shirt" -> 0, all tokens',
        "7 pictures, 39 matched neurons of L4 · seed 0 · 2026-03-01 12:00",
        "Beyond all 39 matched neurons (p 0.05, the least there can be).",
        "Without it the model is less sure of the word: it supports it. p is this",
        "neuron's alone: of many that are checked, some look like this by chance.",
        "",
        "log-odds -2.96, controls -0.0005, lowest -0.020",
        f"-2.96 {OWN}{' ' * 65}█ +0.020",
        "less the controls' mean: 95 % -4.20 to -1.90",
        "controls write 0.98x as much",
        "",
        "picture          change  controls                 p    others      KL      first",
        *(
            f"#{at} {at}.jpg {value:>14}    +0.010       0.97 → 0.61    -0.020    0.21        yes"
            for at, value in enumerate(("-6.60", "-3.60", "-3.30", "-2.50", "-2.10", "-1.40", "-1.20"))
        ),
    ]


def test_more_pictures_than_lines_are_counted() -> None:
    many = replace(CHECK, pictures=tuple(picture(at, -1.0 - at) for at in range(30)))
    shown = text_of(many)
    assert shown.endswith("and 19 more") and "#10 10.jpg" in shown and "#11 11" not in shown
    assert "#29 29.jpg" in text_of(many, 80, 50)
    narrow = text_of(many, 44, 20)
    assert "change  controls\n" in narrow and " KL" not in narrow


def test_the_plot_has_the_effect_among_its_controls() -> None:
    controls = [replace(one, effect=-1 + at / 19) for at, one in enumerate(CHECK.matched)]
    shown = text_of(replace(CHECK, matched=tuple(controls), effect=0.0, p=1.0))
    (line,) = (one for one in shown.splitlines() if OWN in one)
    assert line.startswith("-1.00 ") and line.endswith(" +1.00")
    axis = line[len("-1.00 ") : -len(" +1.00")]
    assert axis.index(OWN) == len(axis) // 2 and axis.count("█") == 38
    same = tuple(replace(one, effect=0.0) for one in CHECK.matched)
    assert OWN not in text_of(replace(CHECK, matched=same, effect=0.0, p=1.0))
    assert OWN not in text_of(replace(CHECK, matched=(), p=None, match=None))


def test_what_is_not_known_is_a_dash() -> None:
    one = replace(CHECK, pictures=(picture(None, -1.0, others=None, baseline=None, first=True, first_after=False),))
    assert text_of(one).splitlines()[-1].split() == [
        "mine.png",
        "-1.00",
        "-",
        "0.97",
        "→",
        "0.61",
        "-",
        "0.21",
        "yes",
        "→",
        "no",
    ]
    assert [first_choice(before, after) for before, after in ((True, True), (False, False), (False, True))] == [
        "yes",
        "no",
        "no → yes",
    ]


def test_without_a_check_there_is_a_way_to_one() -> None:
    assert text_of(None) == "no causal check yet: C compares it with matched neurons"
    assert text_of(None, check_key="f5").startswith("no causal check yet: f5")
    assert text_of(None, doing="checking “dog”: 3 of 20 steps") == "checking “dog”: 3 of 20 steps"
    assert text_of(CHECK, doing="checking").startswith("checking\nL4/N724")
    nothing = replace(CHECK, pictures=(), effect=None, p=None, matched=(), low=None, high=None, match=None, note="none")
    assert "No verdict: none.\n" in text_of(nothing)


def test_one_of_several_is_shown() -> None:
    saved = tuple(SavedCheck(9 - at, check(NEURON, word=word)) for at, word in enumerate(("shirt", "dog")))
    first, second = check_view(saved, 0), check_view(saved, 1)
    assert first.check is saved[0].check and second.check is saved[1].check
    assert (check_view(saved, 5).place, check_view(saved, -1).place) == (1, 0)
    none = check_view((), 3, "busy", "X")
    assert (none.check, none.doing, none.check_key) == (None, "busy", "X")
    found = "\n".join(strip.text for strip in check_page(second, 80, 24, PLAIN))
    assert 'L4/N724 "dog" -> 0, all tokens  check 2 of 2, J K show the others' in found


@pytest.mark.parametrize("height", [4, 10, 24])
def test_any_size_and_any_text_is_drawn(height: int) -> None:
    text = "a\x1b[2J\n\u202e汽车 " * 9
    hostile = check(
        NEURON,
        word=text,
        note=text,
        name=text,
        created=text,
        pictures=(picture(image=text),) * 3,
        settings=CheckSettings(intervention="clamp5", control="direction"),
    )
    for width in range(8, 130, 3):
        for one in (CHECK, hostile):
            assert all(plain(line) == line for line in text_of(one, width, height).split("\n"))
