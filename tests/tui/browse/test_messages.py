"""Messages on the screen: one line that covers no data, more for an answer to a key, and closed by esc."""

from pathlib import Path

from PIL import Image

from tests.support.screen_app import Driver, running
from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.messages import Notice


def lines(on: Driver) -> list[str]:
    return [line.rstrip() for line in on.screen.splitlines()]


async def test_a_message_takes_the_footers_line_and_more_only_until_the_next_key(scan: Path) -> None:
    async with running(scan, (80, 24), start=Neuron(0, 0), toasts=True) as on:
        vars(on.app)["NOTIFICATION_TIMEOUT"] = 600  # a busy machine takes seconds between two keys
        before = lines(on)
        on.app._last_key = 0.0
        on.browse.posts.notify(Notice("It came by itself. " * 20, 60))
        await on.until(lambda: "It came by itself." in lines(on)[-1])
        assert lines(on)[-1].endswith("…") and lines(on)[:-1] == before[:-1], "the user reads: nothing is covered"
        await on.press("escape")
        await on.until(lambda: "It came by itself" not in on.screen)
        assert on.state.pane == "list", "the view below is left by the same key"
        await on.press("enter")
        await on.type(":nonsense")
        await on.until(lambda: "such as" in on.screen and "27.3900." in lines(on)[-1])
        assert "'nonsense' is not a command." in " ".join(lines(on)[-5:]), "the user has asked: all of it is shown"
        await on.press("j")
        await on.settled()
        await on.until(lambda: "…" in lines(on)[-1])
        assert "such as" not in on.screen
        await on.press("colon")
        await on.until(lambda: "is not a command" in lines(on)[0])
        assert lines(on)[-1].startswith(" :"), "what is typed is not covered"


async def test_one_line_of_a_message_is_cut_before_a_number(scan: Path) -> None:
    text = "Judged by detection, in one go: 1,234 of 56,789 neurons done, 12 failed: L27/N3900: no leading concept."
    async with running(scan, (80, 24), start=Neuron(0, 0), toasts=True) as on:
        vars(on.app)["NOTIFICATION_TIMEOUT"] = 600
        on.app._last_key = 0.0
        on.browse.posts.notify(Notice(text, 60))
        await on.until(lambda: lines(on)[-1].startswith("▌ Judged"))
        for width in (80, *range(34, 64, 3), 150):
            await on.pilot.resize_terminal(width, 24)
            await on.until(lambda width=width: lines(on)[-1].endswith("…") is (width < 150))  # type: ignore[misc]
            shown = lines(on)[-1].strip("▌ ").removesuffix("…")
            assert text.startswith(shown) and len(shown) < width
            rest = text[len(shown) :]
            assert not (shown[-1:].isdigit() and rest[:2].strip(",")[:1].isdigit()), shown
        assert shown == text
        await on.pilot.resize_terminal(40, 24)
        await on.until(lambda: lines(on)[-1].endswith("in one go:…"))


async def test_esc_leaves_the_innermost_view_first(scan: Path, tmp_path: Path) -> None:
    picture = tmp_path / "mine.png"
    Image.new("RGB", (40, 40)).save(picture)
    async with running(scan, (80, 24), start=Neuron(0, 0)) as on:
        await on.type(f":image {picture}")
        await on.until(lambda: "zebra" in on.page)
        await on.press("z")
        shown = [await _after_esc(on) for _ in range(3)]
        assert shown == [("pictures", True, "page"), ("pictures", False, "page"), ("pictures", False, "list")]


async def _after_esc(on: Driver) -> tuple[str, bool, str]:
    await on.press("escape")
    return on.state.mode, on.state.own is not None, on.state.pane
