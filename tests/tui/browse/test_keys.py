"""The registry of keys: everything in it works, is explained, and can be remapped."""

from pathlib import Path

import pytest

from tests.support.screen_app import running
from vlmscope.core.base.config import Config, settings_of
from vlmscope.core.base.neuron import Neuron
from vlmscope.tui import keys
from vlmscope.tui.browse.screen import BrowseScreen
from vlmscope.tui.command_line import VERBS
from vlmscope.tui.dialogs.help import HelpScreen, help_sections, shown_on
from vlmscope.tui.dialogs.reading import Section
from vlmscope.tui.dialogs.vocabulary import TERMS
from vlmscope.tui.views.state import Order


def test_ids_and_keys_are_unique_and_explained() -> None:
    assert len({action.id for action in keys.ACTIONS}) == len(keys.ACTIONS)
    spelled = [key for action in keys.ACTIONS for key in action.keys.split(",")]
    assert len(set(spelled)) == len(spelled)
    for action in keys.ACTIONS:
        assert action.tip
        assert action.short
        assert action.binding().id == action.id
        assert action.binding().tooltip == action.tip


@pytest.mark.parametrize("action", keys.ACTIONS, ids=lambda action: action.id)
def test_every_action_exists(action: keys.Action) -> None:
    name = action.call.split("(")[0]
    assert name == "app.quit" or callable(getattr(BrowseScreen, f"action_{name}"))


def test_every_hint_names_an_action() -> None:
    for ids, _ in (*keys.FOOTER, *keys.FOOTER_END):
        assert set(ids) <= set(keys.BY_ID)


def _text(sections: list[Section]) -> str:
    return "\n".join(f"{one.name}: {one.means}" for section in sections for one in section.entries)


async def test_help_lists_every_action_and_command(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("question_mark")
        assert isinstance(on.app.screen, HelpScreen)
        text = _text(help_sections({}, on.browse.palette))
        for action in keys.ACTIONS:
            assert action.tip in text
        for verb in VERBS.values():
            assert verb.usage in text
        await on.press("escape")
        assert not isinstance(on.app.screen, HelpScreen)


async def test_help_begins_with_six_words_explains_the_screen_and_is_filtered(scan: Path) -> None:
    async with running(scan, (80, 24), start=Neuron(0, 0)) as on:
        await on.press("question_mark")
        shown = on.screen.index
        assert shown(" vote ") < shown(" label ") < shown(" norm ") < shown(" thresholds ") < shown(" concept ")
        assert shown(" concept ") < shown(" purity ") < shown("Labels")
        sections = {section.head: section for section in help_sections({}, on.browse.palette, shown_on(on.browse))}
        here = {one.name for one in sections["On this screen"].entries}
        assert {"gate", "≈", "2.8 > 2", "max", "active", "high, high-confidence", "model: not loaded"} <= here
        assert not {"KL", "sign test", "weaker"} & here
        assert {"against", "weaker", "fragile", "promotes, writes", "N 50"} <= {one.name for one in TERMS}
        await on.press(*"/NEURON last")
        await on.until(lambda: "1 entry has it · esc lifts the filter" in on.screen)
        assert "Go to the list's last neuron" in on.screen and "the class of one top sample" not in on.screen
        await on.press("enter", "escape")
        await on.until(lambda: "the class of one top sample" in on.screen)
        await on.press("q")
        await on.type(":messages")
        await on.until(lambda: "none yet" in on.screen)
        await on.press("escape", "y")
        await on.type(":messages")
        await on.until(lambda: "L0/N0 is sent to the clipboard." in on.screen)


async def test_the_palette_lists_every_action(scan: Path) -> None:
    async with running(scan) as on:
        titles = " ".join(command.title for command in on.app.get_system_commands(on.app.screen))
        for action in keys.ACTIONS:
            assert action.short in titles
        for verb in VERBS.values():
            assert f":{verb.usage}" in titles
        for name, *_ in settings_of(on.browse.config):
            assert f"setting {name} = " in titles


async def test_a_palette_command_runs(scan: Path) -> None:
    async with running(scan) as on:
        commands = {command.title: command for command in on.app.get_system_commands(on.app.screen)}
        commands["next neuron (j)"].callback()
        await on.until(lambda: on.neuron == Neuron(0, 1))
        commands["setting api.budget_usd = 5.0"].callback()
        await on.until(lambda: "[api] budget_usd = 5.0, default 5.0" in on.notes)
        await on.press("ctrl+p")
        await on.press(*":sort", "enter")
        await on.until(lambda: on.app.screen is on.browse and on.app.focused is not None)
        await on.press(*"max", "enter")
        await on.until(lambda: on.state.order is Order.MAXIMUM)


async def test_remapped_keys_work_and_are_shown_and_the_old_ones_do_not(scan: Path) -> None:
    async with running(scan, config=Config(keys={"neuron.next": "w", "search": "ctrl+f"})) as on:
        await on.press("w")
        assert on.neuron == Neuron(0, 1)
        await on.press("j")
        assert on.neuron == Neuron(0, 1)
        assert "w/k neuron" in on.keys
        assert "ctrl+f search" in on.keys
        assert "\nw: Go to the next neuron" in _text(help_sections(on.browse.config.keys, on.browse.palette))


async def test_an_unknown_id_in_the_settings_is_named(scan: Path) -> None:
    async with running(scan, config=Config(keys={"neuron.nextt": "w"})) as on:
        await on.until(lambda: "neuron.nextt" in on.notes)


async def test_ctrl_c_kills_nothing_and_says_how_to_quit(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("ctrl+c")
        await on.until(lambda: "q quits" in on.notes)
        assert on.app.is_running


async def test_q_quits(scan: Path) -> None:
    async with running(scan) as on:
        await on.pilot.press("q")
        await on.until(lambda: on.app._exit)
    assert on.app.return_code == 0


async def test_a_click_on_the_footer_does_what_its_key_does(scan: Path) -> None:
    async with running(scan) as on:
        at = on.keys.index("j/k")
        await on.pilot.click("#keys", offset=(at, 0))
        await on.until(lambda: on.neuron == Neuron(0, 1))
        await on.pilot.click("#keys", offset=(at + 4, 0))
        await on.until(lambda: on.neuron == Neuron(0, 2))
        await on.pilot.click("#keys", offset=(at + 2, 0))
        await on.until(lambda: on.neuron == Neuron(0, 1))
        await on.pilot.click("#keys", offset=(on.keys.index("[ ]") + 2, 0))
        await on.until(lambda: on.neuron == Neuron(1, 1))
        await on.pilot.click("#keys", offset=(on.keys.index("1/2/3 verdict") + 8, 0))
        await on.pilot.click("#keys", offset=(on.keys.index("1/2/3 verdict") + 2, 0))
        await on.until(lambda: on.scene.noted.bits_of(Neuron(1, 1)) == 2)
        assert on.scene.noted.triaged == (0, 1, 0)


async def test_keys_still_move_after_a_command_and_the_help(scan: Path) -> None:
    async with running(scan) as on:
        await on.type(":1.3")
        await on.press("question_mark")
        await on.press("escape")
        await on.press("j")
        assert on.neuron == Neuron(1, 4)
