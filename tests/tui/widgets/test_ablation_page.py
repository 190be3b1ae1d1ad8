"""The page of an ablation: every token's change with its sign, the word, what was lost; whole at any width."""

from dataclasses import replace
from typing import Any

import pytest
from rich.style import Style
from textual.app import App

from tests.tui.widgets.test_parts import PLAIN
from vlmscope.core.base.intervention import Intervention, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.causal.ablation import AblatedPicture, Ablation, OtherWord, TokenChange
from vlmscope.core.causal.captions import caption_change
from vlmscope.tui.views.ablation import AblationView
from vlmscope.tui.widgets.page.ablation import ablation_page, description
from vlmscope.tui.widgets.palette import Palette, make_palette

TOKENS = (" There", " is", " a", " red", " sh", "irt", " and", " a", " dog", ".")
CHANGES = (0.0, 0.01, -0.02, -0.3, -2.9, -0.1, 0.4, 0.0, -0.02, 0.0)


def token(text: str, change: float, **more: Any) -> TokenChange:
    lost = change < -1
    made = TokenChange(text, 3.0, change, 1.0, 0.9 if lost else 0.99, True, not lost, 0.1 * abs(change))
    return replace(made, **more)


PICTURE = AblatedPicture(
    sample=12,
    image="a.jpg",
    tokens=tuple(token(text, change) for text, change in zip(TOKENS, CHANGES, strict=True)),
    word_at=4,
    word_tokens=2,
    others=(OtherWord("dog", 8, -0.02),),
)
ABLATION = Ablation((Neuron(4, 724),), "", Intervention(), Positions.ALL, "shirt", (PICTURE,), silent=False)
STILL = replace(PICTURE, tokens=tuple(token(text, 0.0) for text in TOKENS))


def text_of(ablation: Ablation | None, width: int = 80, palette: Palette = PLAIN, **more: Any) -> str:
    strips = ablation_page(replace(AblationView(ablation), **more), width, palette)
    assert {strip.cell_length for strip in strips} == {width}
    return "\n".join(strip.text.rstrip() for strip in strips)


@pytest.fixture(scope="module")
def coloured() -> Palette:
    return make_palette(App[None]())


def test_every_token_has_its_change(coloured: Palette) -> None:
    assert text_of(ABLATION).splitlines() == [
        "L4/N724 -> 0, all tokens",
        "",
        "There is a [red]-0.30 [sh]-2.90[irt]-0.10 [and]+0.40 a dog.",
        "",
        "shirt     log-odds -2.90 · p 1.00 → 0.90 · no longer the first choice",
        "others    dog -0.020",
        "rest      KL 0.38 over the description",
        "",
        "largest changes      log-odds                 p      KL  first choice",
        "sh                      -2.90       1.00 → 0.90    0.29  yes → no",
        "and                     +0.40       1.00 → 0.99    0.04  yes",
        "red                     -0.30       1.00 → 0.99    0.03  yes",
        "irt                     -0.10       1.00 → 0.99    0.01  yes",
        "a                      -0.020       1.00 → 0.99   2e-03  yes",
        "dog                    -0.020       1.00 → 0.99   2e-03  yes",
        "is                     +0.010       1.00 → 0.99   1e-03  yes",
        "",
        "Whether matched neurons do as much: C checks it.",
    ]
    assert "There is a red▾ sh▾irt▾ and▴ a dog." in text_of(ABLATION, palette=coloured)


def test_colours_are_those_of_the_sign_and_the_size(coloured: Palette) -> None:
    looks: dict[str, Style] = {}
    for line in description(PICTURE, coloured, 80).lines:
        looks |= {segment.text.strip(): segment.style or Style() for segment in line}
    assert looks["red▾"].bgcolor in {one.bgcolor for one in coloured.falls}
    assert looks["and▴"].bgcolor in {one.bgcolor for one in coloured.rises}
    assert looks["red▾"].bgcolor != looks["sh▾"].bgcolor
    assert looks["sh▾"].underline and looks["irt▾"].underline and not looks["red▾"].underline
    assert len({*coloured.falls, *coloured.rises}) > 60  # the hues differ, and their steps


def test_the_line_of_the_word_is_the_one_to_see() -> None:
    far = replace(PICTURE, tokens=(*(token(" word", 0.0) for _ in range(60)), *PICTURE.tokens), word_at=64)
    shown = description(far, PLAIN, 40)
    assert "[sh]" in shown.lines[shown.peak].text


def test_nothing_is_a_result() -> None:
    nothing = "Nothing changes without it: others may make up for it, so it may still matter."
    still = replace(ABLATION, pictures=(STILL,))
    assert nothing in text_of(still) and "largest changes" not in text_of(still)
    assert nothing not in text_of(ABLATION)
    silent = text_of(replace(still, silent=True))
    assert "It is silent here: nothing to remove." in silent and nothing not in silent
    assert "without them" in text_of(replace(still, name="kept"))
    assert nothing not in text_of(replace(still, intervention=Intervention.parse("x3")))
    assert "A clamp is far outside" in text_of(replace(still, intervention=Intervention.parse("clamp 5")))


def test_the_word_may_not_be_there() -> None:
    lacking = replace(PICTURE, word_at=None, word_tokens=0)
    assert "word      “shirt” is not in this description" in text_of(replace(ABLATION, pictures=(lacking,)))
    assert "log-odds -2.90 ·" not in text_of(replace(ABLATION, word="", pictures=(lacking,)))
    for (before, after), words in {
        (True, True): "still the first choice",
        (False, True): "now the first choice",
        (False, False): "not the first choice",
    }.items():
        tokens = tuple(replace(one, first=before, first_after=after) for one in PICTURE.tokens)
        assert words in text_of(replace(ABLATION, pictures=(replace(PICTURE, tokens=tokens),)))


def test_a_caption_shows_what_was_lost() -> None:
    known = frozenset({"shirt", "dog", "man"})

    def shown(before: str, after: str) -> str:
        caption = caption_change(before, after, known, "shirt")
        return text_of(replace(ABLATION, pictures=(replace(PICTURE, caption=caption),)))

    lost = shown("a red shirt and a dog", "a red blouse and a man")
    assert "caption   a red [blouse] and a [man]\nbefore    a red shirt and a dog\n" in lost
    assert "“shirt” is gone\n          1 of 1 other objects are gone: dog\n" in lost
    assert "caption   unchanged\n" in shown("a dog", "a dog")
    kept = shown("a dog", "a shirt, a dog")
    assert "“shirt” is there" in kept and "all 1 other objects are still named" in kept


def test_while_there_is_none_it_says_why() -> None:
    assert text_of(None) == "…"
    assert text_of(None, doing="asking the model") == "asking the model"
    assert text_of(None, problem="The picture is gone.") == "The picture is gone."
    several = replace(ABLATION, name="concept shirt", pictures=(PICTURE, STILL))
    assert text_of(several, at=1, doing="asking").startswith(
        "concept shirt (1 neurons) -> 0, all tokens  picture 2 of 2  asking\n"
    )
    assert "[sh]" in text_of(several, at=-1) and "[sh]" not in text_of(several, at=9)


def test_any_width_and_any_text_is_drawn(coloured: Palette) -> None:
    text = "a\x1b[2J\n\u202e汽车 " * 9
    caption = caption_change(text, text[::-1], frozenset(), "shirt")
    words = (text, "\n", "", " ") * 2
    hostile = replace(
        ABLATION,
        name=text,
        word=text,
        pictures=(
            replace(
                PICTURE,
                tokens=tuple(token(word, change) for word, change in zip(words, CHANGES[:8], strict=True)),
                others=(OtherWord(text, 0, 1.0),) * 9,
                caption=caption,
            ),
        ),
    )
    for width in range(12, 130, 5):
        for palette in (PLAIN, coloured):
            for one in (ABLATION, hostile):
                shown = text_of(one, width, palette)
                assert all(plain(line) == line for line in shown.split("\n"))
