"""A monkey at the keyboard: random keys, mouse, resizes and pastes, as a terminal sends them, from a seed.

By hand, with as many keys as are wanted: ``python -m tests.support.monkey SEED KEYS``.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from textual import events
from textual._xterm_parser import XTermParser

from tests.support.screen_app import TOKENS, Driver, FakeModel, running
from vlmscope.core.base.config import Config
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.store.reader import ScanStore, open_scan
from vlmscope.core.worker.interventions import InterventionAnswer, InterventionRequest
from vlmscope.core.worker.messages import LensAnswer, LensRequest, MapAnswer, MapRequest
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.browse.tasks import UnexpectedError
from vlmscope.tui.views.state import Mode

ESCAPE, QUIT = "\x1b", "q"
#: Letters of actions and others, and the sequences of special keys; those that end the program are not among them.
KEYS = (
    *"jk[]hlgG/nNfo1234.itbuESsecmzvVyYxawpIJKACPr:?05%*-L3é漢🙂\u202e",
    *("\r", "\r", ESCAPE, ESCAPE, ESCAPE, " ", "\t", "\x7f", "\x12", "\x0b", "\x15", "\x01", "\x05", "\x17", "\x13"),
    *("\x0e", "\x10", "\x04"),
    *(f"\x1b[{end}" for end in ("A", "B", "C", "D", "H", "F", "Z", "5~", "6~", "3~", "15~", "1;2A", "1;2B")),
    "\x1bOP",
)
LINES = (
    *(":27.3900\r", ":3.17\r", ":Tv 2.5\r", ":Tv x\r", ":Tv nan\r", ":nv 99\r", ":high 2\r", ":only untriaged\r"),
    *(":only\r", ":layers 3-7\r", ":layers 9-1\r", ":words red trains\r", ":stats demo\r", ":stats /nope\r", ":%s\r"),
    *(":image /etc/passwd\r", ':image "\r', ":restart\r", ":unload\r", ":published\r", ":sort clearest\r", ":zz\r"),
    *(":ablate x3\r", ":ablate at answer\r", ":ablate concept apple\r", ":ablate kept\r", ":ablate caption\r"),
    *(":ablate off\r", ":ablate xnan\r", ":check\r", ":check apple\r", ":check zz\r", ":effects image\r", "P\r"),
    *(":contrast word:train\r", ":contrast samples:0-5 rest\r", ":contrast x\r"),
    *(":label visual\r", ":label all\r", ":theme nord\r", ":theme x\r", "/train\r", "/L3/N17\r", "/[bold]\r", "/(((\r"),
    *("/visual\r", "ta,b\r", "ihello\x13", ":" + "a" * 3000 + "\r", "/" + "漢" * 500 + "\r", "ob", "fv", "Sl"),
)
PASTED = ("\x1b[31m", "\x1b]52;c;eA==\x07", "q", "\r\n", "x" * 500, "\0\x01", "x\n" * 200, "漢" * 300)
BUTTONS = (0, 1, 2, 32, 35, 64, 65, 66, 67, 96, 128)
SIZES = ((80, 24), (20, 3), (40, 10), (140, 40), (300, 80), (5, 5))
FIRST_SIZE = (140, 40)
BURST = 12  #: keys at once, at most
ESCAPES = 15  #: that lead back from anywhere: dialogs, lines, work, own picture, page


@dataclass(frozen=True)
class Resize:
    width: int
    height: int


Press = str | Resize


class DemoModel(FakeModel):
    """Answers about the demo's samples at once; its numbers are the layer plus one."""

    shape = (6, 768)
    _store: ScanStore | None = None

    def _shape(self, sample: int | None, description: str) -> tuple[VisualLayout, int]:
        store = self._store = self._store or open_scan("demo")
        tokens = len(description.split()) if sample is None else len(store.sample(sample).tokens)
        return VisualLayout.plain(*store.manifest.layouts[0].grid), tokens

    async def map(self, request: MapRequest) -> MapAnswer:
        answer = await super().map(request)
        layout, tokens = self._shape(request.sample, request.description)
        if request.sample is None:
            return answer
        value = np.float32(request.neuron.layer + 1)
        visual, text = np.full(len(layout), value, dtype=np.float32), np.full(tokens, value, dtype=np.float32)
        return MapAnswer.of(request, visual, layout, text)

    async def intervene(self, request: InterventionRequest) -> InterventionAnswer:
        _, tokens = self._shape(request.sample.sample, request.sample.description)
        asked = request.tokens or tuple(range(tokens if request.sample.sample is not None else len(TOKENS)))
        return await super().intervene(msgspec.structs.replace(request, tokens=asked))

    async def lens(self, request: LensRequest) -> LensAnswer:
        await super().lens(request)
        layout, tokens = self._shape(request.sample, request.description)
        words = len(request.words)
        visual, text = np.zeros((words, *layout.grid), np.float32), np.zeros((words, tokens), np.float32)
        visual[:, 0], text[:, 0] = 1, 1
        return LensAnswer(request.image, request.sample, tuple(range(words)), visual, text)


def presses(seed: int) -> Iterator[Press]:
    """What the monkey does, without end."""
    rng = random.Random(seed)
    while True:
        x = rng.random()
        if x < 0.83:
            yield rng.choice(KEYS)
        elif x < 0.90:
            yield rng.choice(LINES)
        elif x < 0.97:
            button, end = rng.choice(BUTTONS), rng.choice("Mm")
            yield f"\x1b[<{button};{rng.randint(0, 200)};{rng.randint(0, 60)}{end}"
        elif x < 0.985:
            yield Resize(*rng.choice(SIZES))
        else:
            yield f"\x1b[200~{rng.choice(PASTED)}\x1b[201~"


async def let_loose(seed: int, count: int, config: Config | None = None) -> None:
    """Let the monkey press ``count`` times on the demo; then escape leads back, and ``q`` ends the program.

    Raises:
        AssertionError: if the program ends early, fails, or is stuck; it names the seed and all that was pressed.
    """
    done: list[Press] = []
    failures: list[Exception] = []  # the first counts: shutting down in the middle of it makes others
    try:
        pace = Pace(ask_after_s=0.01)
        async with running(scan_folder("demo"), FIRST_SIZE, config, name="demo", pace=pace, model=DemoModel) as on:
            try:
                await _press_all(on, seed, count, done)
            except Exception as error:  # noqa: BLE001 (whatever ends the program)
                failures.append(on.app._exception or error)
    except Exception as error:  # noqa: BLE001 (as above)
        failures.append(error)
    if failures:
        lines = "\n".join(f"    {press!r}," for press in done)
        raise AssertionError(f"seed {seed}, after {len(done)} presses: {failures[0]!r}\n{lines}") from failures[0]


async def _press_all(on: Driver, seed: int, count: int, done: list[Press]) -> None:
    rng, source = random.Random(seed), presses(seed)
    quits = on.app.action_quit
    on.app.action_quit = _stay  # type: ignore[method-assign]  # the palette has it, too
    while len(done) < count:
        for _ in range(rng.randint(1, BURST)):
            done.append(next(source))
            await _send(on, done[-1])
        await on.pilot.pause(rng.choice((0, 0, 0.02)))
        _check(on)
    await _send(on, Resize(*FIRST_SIZE))
    for _ in range(ESCAPES):
        await _send(on, ESCAPE)
        await on.pilot.pause(0.02)
        _check(on)
    await on.until(lambda: not on.scene.working)
    await _send(on, ESCAPE)
    await on.until(lambda: on.app.screen is on.browse and on.app.focused is None)
    # At this width list and page stand side by side: neither is left.
    await on.until(lambda: (on.state.mode, on.state.own) == (Mode.PICTURES, None))
    on.app.action_quit = quits  # type: ignore[method-assign]
    await _send(on, QUIT)
    await on.until(lambda: not on.app.is_running)


async def _stay() -> None:
    """The monkey does not quit before it has pressed all its keys."""


async def _send(on: Driver, press: Press) -> None:
    driver = on.app._driver
    assert driver is not None
    if isinstance(press, Resize):
        await on.pilot.resize_terminal(press.width, press.height)
    elif press == ESCAPE:  # the parser would wait for what may follow
        driver.process_message(events.Key("escape", ESCAPE))
    else:
        for message in XTermParser().feed(press):
            driver.process_message(message)


def _check(on: Driver) -> None:
    """AssertionError if the program has ended, or something failed that nothing expects."""
    assert on.app._exception is None, "the program fails"
    assert on.app.is_running, "the program has ended"
    assert UnexpectedError.title not in on.notes, on.notes


def main(arguments: Sequence[str]) -> None:
    import asyncio

    seed, count = map(int, arguments)
    asyncio.run(let_loose(seed, count))


if __name__ == "__main__":
    import os
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as home:
        for name in ("CONFIG", "DATA", "CACHE", "STATE"):
            os.environ[f"XDG_{name}_HOME"] = str(Path(home) / name.lower())
        os.chdir(home)
        main(sys.argv[1:])
