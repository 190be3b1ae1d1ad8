"""The parts that the screen is made of, without a screen."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from vlmscope.core.analysis.preference import Preference
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron, Numbering
from vlmscope.core.method.labels import Label, Labels, Thresholds, bar_cells
from vlmscope.core.notebook.values import VERDICTS, Mark
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui import command_values
from vlmscope.tui.command_line import read_command, read_search
from vlmscope.tui.views.columns import Columns, Noted
from vlmscope.tui.views.filters import Decided, Filter
from vlmscope.tui.views.ranges import Range, Value
from vlmscope.tui.views.selection import Selection, select
from vlmscope.tui.views.state import Order, State
from vlmscope.tui.widgets.lines import changed_cells, row
from vlmscope.tui.widgets.list_columns import list_columns
from vlmscope.tui.widgets.numbers import activation, against, fraction, nats, ordinal, percent, probability, spark
from vlmscope.tui.widgets.page.words import Words, window, words
from vlmscope.tui.widgets.palette import Palette

PLAIN = Palette(
    dark=True,
    colourless=True,
    background=(0, 0, 0),
    foreground=(255, 255, 255),
    labels=(Style(),) * 4,
    base=Style(),
    text=Style(),
    strong=Style(),
    muted=Style(),
    accent=Style(),
    cursor=Style(),
    warning=Style(),
)
STATE = State(Neuron(0, 0), Thresholds())


@given(st.floats(0, 10), st.floats(0, 10))
def test_a_comparison_never_contradicts_itself(value: float, threshold: float) -> None:
    threshold = round(threshold, 2)
    if abs(value - threshold) < 1e-5:
        return
    text = against(value, threshold, above=value > threshold)
    shown, sign, limit = text.split()
    assert (float(shown) > float(limit)) == (sign == ">") == (value > threshold)


def test_a_probability_is_never_rounded_to_certainty() -> None:
    found = [probability(value) for value in (0.0, 1.0, 1e-7, 0.004, 0.005, 0.5, 0.994, 0.9951, 0.9999, 0.999999)]
    assert found == ["0.00", "1.00", "1e-07", "4e-03", "0.01", "0.50", "0.99", "0.9951", "0.9999", ">0.9999"]
    assert [nats(value) for value in (0.0, 2e-6, 0.005, 1.234)] == ["0", "2e-06", "0.01", "1.23"]


def test_comparisons_are_short_where_they_can_be() -> None:
    assert against(6.13, 2, above=True) == "6.1 > 2"
    assert against(2.003, 2, above=True) == "2.003 > 2"
    assert against(2.0, 2, above=False) == "2.0 ≤ 2"


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.integers(1, 60))
def test_bars_are_as_wide_as_they_should_be(counts: list[int], width: int) -> None:
    cells = bar_cells(counts, width)
    assert sum(cells) == (width if sum(counts) else 0)
    assert all(cell == 0 for cell, count in zip(cells, counts, strict=True) if not count)
    if width >= 12:
        assert all(cells[at] for at, count in enumerate(counts) if count)


def test_numbers() -> None:
    assert [fraction(x) for x in (0, 0.5, 0.92, 1.0)] == [".00", ".50", ".92", "1.0"]
    assert [percent(*x) for x in ((0, 9), (1, 1000), (999, 1000), (1, 2), (0, 0))] == ["0%", "<1%", ">99%", "50%", "0%"]
    assert [activation(x) for x in (7.412, 74.12, 741.2, 0)] == ["7.41", "74.1", "741", "0"]
    assert [ordinal(n) for n in (1, 2, 3, 4, 8)] == ["1st", "2nd", "3rd", "4th", "8th"]
    assert spark([0, 0.001, 4, 8]) == " ▁▄█"


def labels_of(label: list[list[int]]) -> Labels:
    votes = np.zeros((len(label), len(label[0]), 4), dtype=np.uint16)
    for layer, line in enumerate(label):
        for index, which in enumerate(line):
            votes[layer, index, which] = 6 + index % 5
            votes[layer, index, (which + 1) % 4] = 10 - 6 - index % 5
    return Labels.from_votes(votes, 10, Thresholds())


KEPT = [
    Filter(),
    Filter(Label.TEXT),
    Filter(None, True),
    Filter(Label.TEXT, True, True),
    Filter(layers=(1, 2)),
    Filter(verdict=Decided.KEEP, all_layers=True),
    Filter(verdict=Decided.NONE, bookmarked=True),
    Filter(verdict=Decided.ANY, explained=True, all_layers=True),
    Filter(scored=True),
    Filter(fragile=True, all_layers=True),
    Filter(layers=(7, 9)),
    Filter(words="apple", ranges=(Range(Value.MAXIMUM, ">=", 2.0), Range(Value.SCORE, "<", 2.0)), all_layers=True),
    Filter(preference=Preference.TEXT, all_layers=True),
]


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("kept", KEPT, ids=str)
def test_selections_agree_with_a_slow_and_simple_one(order: Order, kept: Filter) -> None:
    rng = np.random.default_rng(3)
    labels = labels_of(rng.integers(0, 3, (3, 20)).tolist())
    maximum = rng.integers(0, 5, (3, 20)).astype(np.float32)
    columns = Columns(cast(ScanStore, SimpleNamespace(maximum=maximum, numbering=Numbering(3, 20))), labels, None)
    # What is computed from a whole scan elsewhere, put in by hand.
    clear, strength = (rng.integers(0, 4, 60).astype(np.float32) for _ in range(2))
    fragile = rng.integers(0, 2, 60).astype(np.bool_)
    preference, passes, word = (rng.integers(0, 4, 60).astype(kind) for kind in (np.uint8, np.int32, np.float32))
    vars(columns).update(clearness=clear, strength=strength, fragile=fragile, preference=preference, passes=passes)
    vars(columns).update(strength_of=lambda _: word)
    score = np.where(rng.integers(0, 2, 60) == 0, np.nan, rng.integers(-3, 3, 60)).astype(np.float32)
    marks = [
        Mark(VERDICTS[rng.integers(0, 4)], bookmarked, has_note, False, explained, scored, has_note)
        for explained, scored, bookmarked, has_note in rng.integers(0, 2, (60, 4)).astype(bool).tolist()
    ]
    independent = rng.integers(0, 2, 60).astype(np.bool_) & ~np.isnan(score)
    noted = Noted(np.array([mark.bits for mark in marks], dtype=np.uint8), score, independent, 20)
    found = select(columns, noted, kept, order, layer=1)

    def holds(at: tuple[int, int]) -> bool:
        flat = at[0] * 20 + at[1]
        first, last = kept.layers or ((0, 2) if kept.all_layers else (1, 1))
        mark = marks[flat]
        decided = {Decided.NONE: mark.verdict is None, Decided.ANY: mark.verdict is not None}
        return (
            first <= at[0] <= last
            and (kept.label is None or labels.label[at] == kept.label)
            and (not kept.high_confidence or bool(labels.high_confidence[at]))
            and (kept.verdict is None or decided.get(kept.verdict, mark.verdict == str(kept.verdict)))
            and (not kept.explained or mark.explained)
            and (not kept.scored or mark.scored)
            and (not kept.bookmarked or mark.bookmark)
            and (not kept.fragile or bool(fragile[flat]))
            and (kept.preference is None or preference[flat] == kept.preference)
            and (not kept.words or (word[flat] > 0 and maximum[at] >= 2 and score[flat] < 2))
        )

    def value(at: tuple[int, int]) -> tuple[float, ...]:
        flat = at[0] * 20 + at[1]
        votes = sorted(int(vote) for vote in labels.votes[at])
        margin = votes[-1] - votes[-2]
        if order.label is not None:
            return (-int(labels.votes[at][order.label]),)
        return {
            Order.INDEX: (0.0,),
            Order.MAXIMUM: (-float(maximum[at]),),
            Order.MARGIN: (-float(margin),),
            Order.CONCEPT: (-float(strength[flat]),),
            Order.SCORE: (-float(independent[flat]), math.inf if math.isnan(score[flat]) else -float(score[flat])),
            Order.CLEAREST: (-float(labels.high_confidence[at]), -float(clear[flat])),
            Order.FRAGILE: (-float(fragile[flat]), float(margin)),
            Order.PREFERENCE: (float(preference[flat]), -float(passes[flat])),
            Order.MATCH: (-float(word[flat]) if kept.words else 0.0,),
        }[order]

    expected = [(layer, index) for layer in range(3) for index in range(20) if holds((layer, index))]
    expected.sort(key=value)
    assert [(n.layer, n.index) for n in (found.at(row) for row in range(len(found)))] == expected
    for position in range(len(found)):
        assert found.position(found.at(position)) == position


def test_the_nearest_row_lies_in_the_direction_of_the_step() -> None:
    rows = Selection(np.array([2, 6, 9]), Numbering(1, 20))
    assert rows.nearest(Neuron(0, 4), 1) == 1
    assert rows.nearest(Neuron(0, 4), -1) == 0
    assert rows.nearest(Neuron(0, 8), -1) == 2
    assert Selection(np.array([], dtype=np.int64), Numbering(1, 20)).nearest(Neuron(0, 4)) is None


def text_of(shown: Words) -> list[str]:
    return [line.text.rstrip() for line in shown.lines]


def test_words_wrap_at_blanks_and_keep_split_words_together() -> None:
    tokens = ("The", " zeb", "ra", " stands", " here")
    assert text_of(words(tokens, None, 3.0, PLAIN, 9)) == ["The zebra", "stands", "here"]
    assert text_of(words(("Antidisestablish", "ment"), None, 3.0, PLAIN, 8)) == ["Antidise", "stablish", "ment"]


def test_words_bear_their_norms_without_colour() -> None:
    norms = np.array([0.0, 8.6, 0.2], dtype=np.float32)
    assert text_of(words(("a", " train", "\n"), norms, 3.0, PLAIN, 40)) == ["a [train]9↵"]


@given(st.lists(st.text(max_size=12), max_size=30), st.integers(1, 30))
def test_words_never_leave_their_width_and_never_lose_ink(tokens: list[str], width: int) -> None:
    shown = words(tuple(tokens), None, 3.0, PLAIN, max(width, 2))
    assert all(line.cell_length == max(width, 2) for line in shown.lines)


def test_a_long_description_is_shown_around_its_peak() -> None:
    tokens = tuple(f" w{at}" for at in range(100))
    norms = np.zeros(100, dtype=np.float32)
    norms[70] = 9
    shown = words(tokens, norms, 3.0, PLAIN, 20)
    lines = window(shown, 4, 0, PLAIN)
    text = "\n".join(line.text for line in lines)
    assert len(lines) == 4
    assert "[w70]9" in text
    assert "↑" in lines[0].text
    assert "↓" in lines[3].text
    assert "[w70]9" not in "\n".join(line.text for line in window(shown, 4, 99, PLAIN))


def test_only_changed_cells_are_repainted() -> None:
    bold = Style(bold=True)
    old = Strip([Segment("abc", bold), Segment("def"), Segment("ghi", bold)])
    new = Strip([Segment("abc", bold), Segment("dxf"), Segment("ghi", bold)])
    assert changed_cells(old, old) is None
    assert changed_cells(old, new) == (3, 6)
    assert changed_cells(Strip([]), new) == (0, 9)
    assert changed_cells(old, Strip([Segment("abc", bold)])) == (3, 9)


def test_rows_are_cut_with_an_ellipsis_or_filled() -> None:
    assert row([("abc", Style()), ("def", Style())], 4).text == "abc…"
    assert row([("漢字漢", Style())], 4).cell_length == 4
    assert row([("ab", Style())], 4).text == "ab  "


def test_commands_become_values() -> None:
    def read(line: str) -> command_values.Command:
        return read_command(line, STATE, Numbering(4, 32))

    assert read("3.7") == command_values.GoTo(Neuron(3, 7))
    assert read("Tv 2.5") == command_values.SetThresholds(Thresholds(T_v=2.5))
    assert read("tv 2.5") == read("Tv 2.5")
    assert read("nv 8") == command_values.SetThresholds(Thresholds(n_v=8))
    assert read("label text") == command_values.SetFilter(Filter(Label.TEXT))
    assert read("sort max") == command_values.SetOrder(Order.MAXIMUM)
    assert read("image 'my cat.png' What is it?") == command_values.ShowImage("my cat.png", "What is it?")
    assert read("image cat.png") == command_values.ShowImage("cat.png", None)
    assert read("theme nord") == command_values.SetTheme("nord")
    assert read("q") == command_values.Do("app.quit")


@given(st.text())
def test_no_line_is_worse_than_a_wrong_use(line: str) -> None:
    for read in (lambda: read_command(line, STATE, Numbering(4, 32)), lambda: read_search(line, 0, Numbering(4, 32))):
        try:
            read()
        except UsageError as error:
            assert error.message


def test_searches() -> None:
    assert read_search("17", 2, Numbering(4, 32)) == Neuron(2, 17)
    assert read_search("L3/N1", 2, Numbering(4, 32)) == Neuron(3, 1)
    high = Filter(label=Label.VISUAL, high_confidence=True, all_layers=True)
    assert read_search("high-confidence visual", 2, Numbering(4, 32)) == high
    assert read_search(" firm visual red Train ", 2, Numbering(4, 32)) == replace(high, words="red Train")
    with pytest.raises(UsageError, match="Nothing was typed"):
        read_search("  ", 2, Numbering(4, 32))


def test_a_pole_of_the_largest_unit_has_room_in_the_list() -> None:
    for poled, longest in ((False, "L31/N11007"), (True, "L31/N11007-")):
        for whole, address in ((True, f" {longest}"), (False, longest.removeprefix("L31/N"))):
            columns = list_columns(78, whole=whole, concepts=True, sorts=False, maximum_sorts=False, poled=poled)
            assert len(address) == columns.address - 1  # the pointer's cell
