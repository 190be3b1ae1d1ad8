"""No line shows half a number: every view of the demo, at every width."""

import re
from collections.abc import Iterator
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.style import Style
from textual.app import App
from textual.geometry import Size
from textual.strip import Strip

import vlmscope.tui.widgets.lines
from tests.support.checks import check as causal_check
from vlmscope.core.analysis.statistics import own_statistics
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.correlation import IntervalKind, Pooled, ScoredGroup, TokenKind
from vlmscope.core.notebook.explanation import Confidence, Explanation, Source
from vlmscope.core.notebook.values import Entry, SavedCheck, SavedExplanation, SavedScore, Verdict
from vlmscope.core.scoring.report import ScoreReport
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.session import Session
from vlmscope.tui.dialogs.neurons import aligned
from vlmscope.tui.shares.table import ShareBlock, SharesView, ShareTable, names_of
from vlmscope.tui.views.filters import Filter
from vlmscope.tui.views.neurons import NeuronRow, NeuronTable
from vlmscope.tui.views.scene import ControlCounts, Scene, layer_counts
from vlmscope.tui.views.state import Mode, Order
from vlmscope.tui.widgets.bars import TitleBar
from vlmscope.tui.widgets.layer_strip import FoldedStrip, LayerStrip
from vlmscope.tui.widgets.lines import NUMBER as LONGEST
from vlmscope.tui.widgets.lines import Lines, cut_at, row, short, wrapped
from vlmscope.tui.widgets.neuron_list import NeuronList, list_title
from vlmscope.tui.widgets.page.page import Page
from vlmscope.tui.widgets.page.score_words import first_scores
from vlmscope.tui.widgets.palette import Palette, make_palette

View = TypeVar("View")
NEURON = Neuron(3, 17)
WIDTHS = range(20, 201)
NUMBER = re.compile(r"\.?\d(?:[\d.,]*\d)?(?:e[-+]?\d+)?%?")
HIDDEN = re.compile("[↑↓]\\d+")  # how many lines are hidden: it differs from width to width


def numbers(text: str) -> set[str]:
    return set(NUMBER.findall(HIDDEN.sub("", text)))


# -- the mechanism ----------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["max", "label", "p", "95%", "0.07", "to", ".92", "1.8e-15", "1,234", "L3/N17", "-0.03", "(", "×12"]
)
TEXTS = st.lists(st.tuples(WORDS, st.sampled_from([" ", " · ", "  ", "; ", " (", ""]))).map(
    lambda pairs: "".join(word + after for word, after in pairs)
)


@given(TEXTS, st.integers(-1, 60))
def test_a_cut_is_in_no_number(text: str, end: int) -> None:
    at = cut_at(text, end)
    assert 0 <= at <= max(end, 0) or at == len(text) <= end
    assert not any(found.start() < at < found.end() for found in NUMBER.finditer(text))


@given(TEXTS, st.integers(1, 60))
def test_a_line_has_its_width_and_whole_numbers(text: str, width: int) -> None:
    strip = row([(text[: len(text) // 2], Style()), (text[len(text) // 2 :], Style(bold=True))], width)
    assert strip.cell_length == width
    assert numbers(strip.text) <= numbers(text)


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("label margin .48 · share .74 (95% .60 to .84) · p 1.8e-15", 40, "label margin .48 · share .74…"),
        (
            "label margin .48 · share .74 (95% .60 to .84) · p 1.8e-15",
            52,
            "label margin .48 · share .74 (95% .60 to .84)…",
        ),
        ("L0/N12  V visual  max 1.04", 22, "L0/N12  V visual…"),
        ("L0/N12  V visual  max 1.04", 26, "L0/N12  V visual  max 1.04"),
        ("by lens: patches 0.69 (95% 0.61 to 0.75; others 0.01)", 50, "by lens: patches 0.69 (95% 0.61 to 0.75…"),
        ("two trains wait at a station", 14, "two trains wa…"),
        (
            "a sentence of many words that has no items, and 1234 at its end",
            51,
            "a sentence of many words that has no items, and…",
        ),
        ("352256", 4, "…"),
    ],
)
def test_whole_items_are_dropped(text: str, width: int, shown: str) -> None:
    assert row([(text, Style())], width).text.rstrip() == shown
    assert short(text, width) == shown


@given(TEXTS, st.integers(8, 60))
def test_wrapping_divides_no_number(text: str, width: int) -> None:
    assume(all(len(found) <= width for found in LONGEST.findall(text)))
    lines = wrapped(text, width)
    assert all(len(line) <= width for line in lines)
    assert numbers("\n".join(lines)) <= numbers(text)


# -- the views --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store() -> ScanStore:
    return ScanStore(scan_folder("demo"))


def report(backend: str, **scores: float) -> ScoreReport:
    pools = {
        TokenKind(kind): {
            group: Pooled(score, "", (score - 0.1234, score + 0.0567), IntervalKind.JACKKNIFE, 20, 17, 900, 0.0123, 10)
            for group in ScoredGroup
        }
        for kind, score in scores.items()
    }
    return ScoreReport(backend, backend != "lens", "trains at night, 12 of them", ("train",), pools, (), (), "a note")


def entry() -> Entry:
    said = Explanation(
        text="trains of 1905 and 1,234 other vehicles, seen from the side",
        source=Source.API,
        created="2026-01-01T12:34:56+00:00",
        visual_phrases=("train", "vehicle 66"),
        text_cue="words such as 1905",
        confidence=Confidence.HIGH,
        model="gpt-4o-2024-11-20",
        prompt_version="explain-1",
        samples=(1, 2, 3),
        input_tokens=12345,
        output_tokens=678,
        cost_usd=0.0456,
    )
    reports = report("oracle", visual=0.69), report("lens", visual=0.14, text=0.31)
    scores = tuple(
        SavedScore(7 - at, NEURON, 5, one.backend, "2026", one.to_json()) for at, one in enumerate(reversed(reports))
    )
    note = "seen 1,234 times since 2024-11-20, at most 0.5678 of 99.5%"
    explanations = (SavedExplanation(5, NEURON, said, leads=True),)
    checks = (
        SavedCheck(9, causal_check(NEURON)),
        SavedCheck(8, causal_check(NEURON, word="dog 1905", effect=-0.0123, p=0.35)),
    )
    return Entry(NEURON, Verdict.KEEP, note, ("tag 2024", "12345"), True, explanations, None, scores, checks)


@pytest.fixture(scope="module")
def scenes(store: ScanStore) -> list[Scene]:
    session = Session(store, NEURON)
    incoming.take_concepts(session)
    incoming.take_entry(session, entry())
    counts = layer_counts(session.scene.columns.labels)
    incoming.set_control(session, ControlCounts(session.state.thresholds, counts))
    found = []
    for mode in Mode:
        session.change_state(mode=mode)
        session.load_page()
        found.append(session.scene)
    session.change_state(mode=Mode.PICTURES)
    session.set_filter(Filter(all_layers=True))
    session.change_state(order=Order.MAXIMUM)
    found.append(session.scene)
    session.change_state(rank=12)
    return [*found, session.scene]


@pytest.fixture(scope="module")
def palette() -> Palette:
    return make_palette(App[None]())


@pytest.fixture(autouse=True)
def cuts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check every cut that a view makes."""

    def checked(text: str, end: int) -> int:
        at = cut_at(text, end)
        assert not any(found.start() < at < found.end() for found in NUMBER.finditer(text)), (text, at)
        return at

    monkeypatch.setattr(vlmscope.tui.widgets.lines, "cut_at", checked)
    yield


def sized(widget: Lines[View], size: Size, monkeypatch: pytest.MonkeyPatch) -> Lines[View]:
    monkeypatch.setattr(type(widget), "size", size)
    return widget


def check(shown: dict[int, str], full: str) -> None:
    """No number of any width is the beginning of one of the widest line, unless it is itself one of these."""
    whole = numbers(full)
    for width, text in shown.items():
        for number in numbers(text) - whole:
            longer = [one for one in whole if one.startswith(number)]
            assert not longer, f"{number} of {longer} at a width of {width}:\n{text}"


@pytest.mark.parametrize("height", [24, 44])
@pytest.mark.parametrize("widget", [Page, TitleBar, LayerStrip, FoldedStrip], ids=lambda widget: widget.__name__)
def test_views_show_whole_numbers(
    widget: type[Lines[Scene]], height: int, scenes: list[Scene], palette: Palette, monkeypatch: pytest.MonkeyPatch
) -> None:
    if widget is not Page and height > 24:
        height = 12
    for scene in scenes if widget is Page else scenes[:1]:
        painted = partial(_painted, widget, scene, palette, monkeypatch)
        full = "\n".join(painted(width, tall) for width in (200, 300, 400, 600) for tall in (height, 90))
        shown = {width: painted(width, height) for width in (WIDTHS if height == 24 else WIDTHS[::5])}
        check(shown, full)


def _painted(
    widget: type[Lines[Scene]], scene: Scene, palette: Palette, monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> str:
    monkeypatch.setattr(widget, "size", Size(width, height))
    return _text(widget().paint(scene, palette))


def _text(strips: list[Strip]) -> str:
    return "\n".join(strip.text.rstrip() for strip in strips)


def test_the_list_shows_whole_numbers(scenes: list[Scene], palette: Palette, monkeypatch: pytest.MonkeyPatch) -> None:
    for scene in (scenes[0], scenes[-1]):
        monkeypatch.setattr(NeuronList, "size", Size(300, 24))
        neurons = NeuronList()
        neurons.view, neurons._palette = scene, palette
        rows = range(0, len(scene.selection.rows), 97)
        for width in WIDTHS:
            neurons._rows.clear()
            for at in rows:
                whole = neurons._row(at, 300).text
                check({width: neurons._row(at, width).text}, whole)
            title = list_title(scene.state.filter, scene.state.order, 3, 352256, 300)
            check({width: list_title(scene.state.filter, scene.state.order, 3, 352256, width)}, title)


def test_the_table_of_shares_shows_whole_numbers(
    store: ScanStore, palette: Palette, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = own_statistics(store, store.stored_labels())
    block = ShareBlock(names_of(found), found)
    broken = ShareBlock(
        ("scan 2024",), None, "line 12345 of samples.jsonl has 1,234,567 bytes, above the limit of 65536"
    )
    view = SharesView((block, block, broken), store.stored_labels().thresholds, False, True, (("j k", "scroll", "x"),))

    def painted(width: int) -> str:
        monkeypatch.setattr(ShareTable, "size", Size(width, 30))
        return _text(ShareTable().paint(view, palette))

    # Which columns are shown depends on the width.
    full = re.sub("columns.*? of \\d+", "", painted(400))
    check({width: re.sub("columns.*? of \\d+", "", painted(width)) for width in WIDTHS}, full)


def test_a_list_of_neurons_shows_whole_numbers() -> None:
    texts = ("12/345", "0.1234", "1.5e-07", "+0.75", "V", "railway crossing 1905")
    table = NeuronTable("", (), ("of a", "chance", "q", "a - b", "label", "concept"), (NeuronRow(NEURON, texts),) * 2)
    heads, rows = aligned(table, 200)
    for width in range(12, 70):
        shown = aligned(table, width)
        assert all(len(line) <= width for line in (shown[0], *shown[1]))
        check({width: shown[1][0]}, rows[0])
    assert aligned(table, len(rows[0]) - 5)[1][0].endswith("  V      railway crossin…")
    assert heads.split() == ["neuron", "of", "a", "chance", "q", "a", "-", "b", "label", "concept"]


def test_half_a_number_is_noticed() -> None:
    with pytest.raises(AssertionError, match="12 of"):
        check({20: "max 12"}, "max 12.5")
    check({20: "max 12"}, "max 12.5 of 12")
    assert numbers("p 1.8e-15, .92 99.5% 1,234.") == {"1.8e-15", ".92", "99.5%", "1,234"}


def test_scores_without_room_lose_their_intervals_before_a_score() -> None:
    reports = report("lens", visual=0.14, text=0.31), report("oracle", visual=0.69)
    full, shown = first_scores(reports, 200)
    assert shown == 2
    assert full.startswith(
        "by oracle:  patches 0.69 over 17 samples (95% 0.57 to 0.75; others 0.01; 3 samples left out)  by lens (not ind"
    )
    less, _ = first_scores(reports, len(full) - 1)
    assert less == re.sub(r" over \d+ samples", "", full), "the numbers of samples go first"
    brief = "by oracle:  patches 0.69  by lens (not independent):  words 0.31"
    assert first_scores(reports, len(less) - 1) == (brief, 2)


def test_the_numbers_of_a_label_wrap(scenes: list[Scene], palette: Palette, monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = next(scene for scene in scenes if scene.state.mode is Mode.STATISTICS)
    for width in (44, 60, 140):
        text = " ".join(_painted(Page, statistics, palette, monkeypatch, width, 24).split())
        assert re.search(r"label margin \S+ · share \S+ \(95% \S+ to \S+\) · sign test p \S+ · (not )?fragile", text)


def test_causal_checks_are_on_the_page_and_in_full_with_the_meaning(
    scenes: list[Scene], palette: Palette, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, meaning = (
        _painted(Page, next(scene for scene in scenes if scene.state.mode is mode), palette, monkeypatch, 90, 60)
        for mode in (Mode.PICTURES, Mode.MEANING)
    )
    assert "\nchecked   shirt -2.96  beyond all 39 (p 0.05)  1 more\n" in pictures
    assert "  checked · shirt -> 0, all tokens · 2026-03-01 12:00\n  Beyond all 39 matched neurons (p 0.05" in meaning
    assert "  log-odds -2.96, controls -0.0005, lowest -0.020, 7 pictures, 39 matched neurons of L3\n" in meaning
    assert "checked · dog 1905 -> 0" in meaning and "  No effect found: " in meaning
