"""Keys that come before the screen is up, in bursts, twice, or on a terminal of no size: none ends the program."""

import signal
from pathlib import Path

import numpy as np
import pytest
from textual.events import Key

from tests.support.screen_app import Driver, running
from vlmscope.core.base.config import Config
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.signals import Ending
from vlmscope.core.method.labels import Label
from vlmscope.tui.app import SafeCommandPalette, VlmscopeApp
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.browse.tasks import UnexpectedError
from vlmscope.tui.dialogs.choice import ChoiceScreen
from vlmscope.tui.dialogs.confirm import ConfirmScreen
from vlmscope.tui.messages import AskConfirm
from vlmscope.tui.shares.screen import SharesScreen
from vlmscope.tui.views.state import Mode, Order

NAMES = {"]": "right_square_bracket", "?": "question_mark", ":": "colon", "\x1b": "escape", "\r": "enter", "\t": "tab"}


def key(character: str) -> Key:
    return Key(NAMES.get(character, character), None if character in "\x1b\r\t" else character)


async def burst(on: Driver, keys: str) -> None:
    """Keys that arrive all at once."""
    for character in keys:
        on.app.post_message(key(character))
    await on.pilot.pause()
    await on.pilot.pause()


@pytest.mark.parametrize(
    ("typed", "neuron", "mode"),
    [
        ("j", Neuron(0, 1), Mode.PICTURES),
        ("jj]", Neuron(1, 2), Mode.PICTURES),
        ("Gk", Neuron(0, 30), Mode.PICTURES),
        ("l\tmz", Neuron(0, 0), Mode.SHEET),
        ("?\x1bj", Neuron(0, 1), Mode.PICTURES),
        ("oiGk", Neuron(0, 30), Mode.PICTURES),
        (":3.30\rj", Neuron(3, 31), Mode.PICTURES),
    ],
)
async def test_keys_typed_before_the_screen_is_up_wait_for_it(
    scan: Path, typed: str, neuron: Neuron, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def type_at_once(app: VlmscopeApp) -> None:
        for character in typed:
            app.post_message(key(character))

    monkeypatch.setattr(VlmscopeApp, "on_load", type_at_once, raising=False)  # before there is any screen
    async with running(scan) as on:
        await on.until(lambda: on.neuron == neuron and on.state.mode is mode)
        await on.settled()
        assert str(neuron) in on.page.splitlines()[0]


async def test_a_choice_is_taken_once(scan: Path) -> None:
    async with running(scan) as on:
        await burst(on, "fvv")
        assert on.app.screen is on.browse
        assert on.state.filter.label is Label.VISUAL
        await burst(on, "oll")
        assert on.app.screen is on.browse
        await on.until(lambda: on.state.order is Order.CLEAREST)
        await burst(on, "f\x1b\x1b")
        assert on.app.screen is on.browse
        await burst(on, "f\r\r")
        assert on.app.screen is on.browse


@pytest.mark.parametrize("pace", [Pace(), Pace(small=0)], ids=["at once", "in a thread"])
@pytest.mark.parametrize("keys", ["fvj", "f\x1bfvj", "fj\rj", "fjjk\rj"])
async def test_keys_after_a_choice_reach_the_screen_in_order(scan: Path, keys: str, pace: Pace) -> None:
    async with running(scan, pace=pace) as on:
        visual = np.flatnonzero(on.scene.columns.labels.label[0] == Label.VISUAL)
        await burst(on, keys)
        await on.until(lambda: on.neuron == Neuron(0, int(visual[1])))
        assert on.app.screen is on.browse
        assert on.state.filter.label is Label.VISUAL


async def test_the_shares_and_the_help_are_left_once(scan: Path) -> None:
    async with running(scan) as on:
        await burst(on, "L")
        assert isinstance(on.app.screen, SharesScreen)
        await burst(on, "\x1b\x1b")
        await on.until(lambda: on.app.screen is on.browse)
        await burst(on, "jjV\x1b")
        await burst(on, "?\x1b\x1b")
        await on.until(lambda: on.app.screen is on.browse)
        await on.press("j")
        assert on.neuron.index == 3


async def test_a_question_is_answered_once(scan: Path) -> None:
    answers = []
    async with running(scan) as on:
        on.browse.posts.take(AskConfirm("pay", ["much"], lambda: answers.append("yes")))
        await on.until(lambda: isinstance(on.app.screen, ConfirmScreen))
        await burst(on, "yy\x1b")
        assert on.app.screen is on.browse
        assert answers == ["yes"]


async def test_an_empty_palette_has_no_pages(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("ctrl+p", *"zzzz")
        for _ in range(3):
            await on.press("pagedown")
            await on.press("pageup")
        await on.press("escape")
        await on.until(lambda: on.app.screen is on.browse)
        await on.press("j")
        assert on.neuron.index == 1


async def test_the_palette_takes_one_choice(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("ctrl+p", *"filter")
        await on.until(lambda: "filter (f)" in on.screen)
        await burst(on, "\r\r\r\r")
        await on.until(lambda: isinstance(on.app.screen, ChoiceScreen))
        assert len(on.app.screen_stack) == 2, "one choice, over the screen"


async def test_the_palette_is_left_before_it_is_up(scan: Path) -> None:
    async with running(scan) as on:
        for _ in range(3):
            on.app.action_command_palette()
            palette = on.app.screen
            assert isinstance(palette, SafeCommandPalette)
            palette._action_escape()  # as by a key of the same burst
            await on.pilot.pause(0.05)
            assert on.app.screen is on.browse
        await on.press("j")
        assert on.neuron.index == 1


async def test_the_palette_over_a_dialog_lists_what_the_dialog_does(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("f")
        await on.until(lambda: isinstance(on.app.screen, ChoiceScreen))
        titles = [command.title for command in on.app.get_system_commands(on.app.screen)]
        assert titles == ["quit (q)", "theme"]


@pytest.mark.parametrize("size", [(5, 20), (1, 1), (34, 3)])
async def test_a_choice_in_a_terminal_of_no_size(scan: Path, size: tuple[int, int]) -> None:
    async with running(scan, size=size) as on:
        await on.press("f")
        assert isinstance(on.app.screen, ChoiceScreen)
        await on.press("pagedown", "j", "k", "v")
        await on.until(lambda: on.state.filter.label is Label.VISUAL)
        await on.press("question_mark", "escape", "L", "escape", "e", "s", "z", "j")


async def test_a_failure_inside_an_action_is_told_and_the_screen_goes_on(
    scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> object:
        raise StoreError("votes.npy is damaged.", "Copy the scan again.")

    async with running(scan) as on:
        monkeypatch.setattr("vlmscope.core.analysis.clearness.clearness", damaged)
        await burst(on, "ol")
        await on.until(lambda: "votes.npy is damaged" in on.notes)
        await on.type(":sort clearest")
        await on.until(lambda: on.notes.count("votes.npy is damaged") == 2)
        assert on.state.order is Order.INDEX
        await on.press("j")
        assert on.neuron.index == 1


async def test_whatever_fails_in_the_background_reaches_the_user(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise ValueError("socks5h://nowhere is not a proxy")

    async with running(scan) as on:
        on.unexpected = True
        monkeypatch.setattr("vlmscope.core.notebook.notebook.Notebook.open", broken)
        await on.press("1")
        await on.until(lambda: "socks5h://nowhere" in on.notes)
        assert UnexpectedError.title in on.notes
        await on.press("j")
        assert on.neuron.index == 1


@pytest.mark.parametrize("folder", ["~nobody-at-all/x", "a\0b"])
async def test_a_folder_of_notebooks_that_cannot_be_is_told(scan: Path, folder: str) -> None:
    async with running(scan, config=Config(notebooks=folder)) as on:
        await on.press("j", "1")
        await on.until(lambda: on.notes.count("is not a folder for notebooks") == 2)
        await on.press("j")
        assert on.neuron.index == 2


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (12, 40), (20, 3)])
async def test_every_page_in_a_terminal_of_no_size(scan: Path, size: tuple[int, int]) -> None:
    async with running(scan) as on:
        await on.press("i", *"a note", "escape", "w")
        await on.until(lambda: "against dog cake" in on.page)
        await on.pilot.resize_terminal(*size)
        for mode in "evsz":
            for pane in ("tab", "tab"):
                await on.press(mode, pane, "J", "K", "l", "l", "l", "l", "h", "j", "k", mode)
        await on.settled()


async def test_a_signal_that_was_lost_before_the_screen_was_up_ends_it(scan: Path) -> None:
    with Ending(lambda _: None):
        signal.raise_signal(signal.SIGTERM)
        async with running(scan) as on:
            await on.until(lambda: not on.app.is_running)
        assert on.app.return_code == 128 + signal.SIGTERM
