"""What one action on the running screen passes through: calls, files of ours, files opened, parts painted. No seconds.

``python -m tests.support.trace`` prints the figures of three actions on the demo: a step to the next neuron, a verdict,
and an explanation with the real model process and an API server on loopback.
"""

import asyncio
import os
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from unittest.mock import patch

from textual.widget import Widget

import vlmscope.core
import vlmscope.tui

STORE = "core/store/reader.py"
_ROOTS = tuple(str(Path(folder).resolve()) for package in (vlmscope.core, vlmscope.tui) for folder in package.__path__)
_ROOT = str(Path(_ROOTS[0]).parent) + os.sep
_SYSTEM = tuple({*map(os.path.realpath, (sys.prefix, sys.base_prefix)), "/dev/", "/etc/", "/proc/", "/sys/", "/usr/"})
_CODE = (".py", ".pyc", ".so", ".pth", ".__path_hook__")


@dataclass(frozen=True)
class Trace:
    """One action's figures.

    Attributes:
        calls: of functions of ours, in all threads; a generator that goes on counts as a call.
        functions: how many of ours were called.
        files: of ours with a function that was called, in the order of the first call; ``core/store/reader.py``.
        opens: files opened, in order; neither code nor the system's. Those that SQLite opens are one, the database.
        paints: how many times each part of the screen was given something to paint, by the name of its class.
    """

    calls: int
    functions: int
    files: tuple[str, ...]
    opens: tuple[str, ...]
    paints: Mapping[str, int]

    @property
    def before_store(self) -> int:
        """How many files are passed before the store's reader; all of them if it is not reached."""
        return self.files.index(STORE) if STORE in self.files else len(self.files)

    def __str__(self) -> str:
        opened = ", ".join(f"{name} {count}" for name, count in Counter(map(os.path.basename, self.opens)).items())
        painted = ", ".join(f"{name} {count}" for name, count in self.paints.items())
        return (
            f"{self.calls:,} calls of {self.functions} functions in {len(self.files)} files, "
            f"{self.before_store} before the store; {len(self.opens)} files opened ({opened}); painted: {painted}"
        )


class Tracer:
    """Counts while ``of`` runs an action, and only then. Made by ``tracing``."""

    def __init__(self) -> None:
        self._counting = False
        self._forget()

    def _forget(self) -> None:
        self._calls: Counter[CodeType] = Counter()
        self._opens: list[str] = []
        self._paints: Counter[str] = Counter()

    async def of(self, action: Callable[[], Awaitable[object]]) -> Trace:
        """Run ``action`` and what it sets going until it returns."""
        self._forget()
        self._counting = True
        sys.setprofile(self.profile)
        try:
            await action()
        finally:
            sys.setprofile(None)
            self._counting = False
        files = dict.fromkeys(code.co_filename.removeprefix(_ROOT) for code in self._calls)
        return Trace(self._calls.total(), len(self._calls), tuple(files), tuple(self._opens), dict(self._paints))

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and self._counting and frame.f_code.co_filename.startswith(_ROOTS):
            self._calls[frame.f_code] += 1

    def audit(self, event: str, args: tuple[object, ...]) -> None:
        if not self._counting or event not in ("open", "sqlite3.connect"):
            return
        if isinstance(name := args[0], str | bytes | os.PathLike):  # not a number of an open file
            path = str(Path(os.fsdecode(name)).absolute())
            if not path.startswith(_SYSTEM) and not path.endswith(_CODE) and "site-packages" not in path:
                self._opens.append(path)

    def painted(self, part: type[Widget]) -> None:
        if self._counting:
            self._paints[part.__name__] += 1


_active: list[Tracer] = []


def _audit(event: str, args: tuple[object, ...]) -> None:
    for tracer in _active:
        tracer.audit(event, args)


@contextmanager
def tracing() -> Iterator[Tracer]:
    """Start the app in here: calls are counted in those threads alone that begin inside, and in the main thread."""
    tracer = Tracer()
    if not _hooked.is_set():
        _hooked.set()
        sys.addaudithook(_audit)  # stays: there is no way to take one away
    _active.append(tracer)
    threading.setprofile(tracer.profile)
    patches = [patch.object(part, "present", _present(tracer, part)) for part in _parts(Widget)]
    for one in patches:
        one.start()
    try:
        yield tracer
    finally:
        for one in patches:
            one.stop()
        threading.setprofile(None)
        _active.remove(tracer)


_hooked = threading.Event()


def _parts(base: type[Widget]) -> Iterator[type[Widget]]:
    for part in base.__subclasses__():
        if part.__module__.startswith("vlmscope.") and "present" in vars(part):
            yield part
        yield from _parts(part)


def _present(tracer: Tracer, part: type[Widget]) -> Callable[..., object]:
    present: Callable[..., object] = vars(part)["present"]

    def counted(self: Widget, *args: object, **options: object) -> object:
        if part is next(kind for kind in type(self).__mro__ if "present" in vars(kind)):
            tracer.painted(type(self))
        return present(self, *args, **options)

    return counted


async def _on_the_demo() -> None:
    from tests.support.api_server import KEY, api_server
    from tests.support.screen_app import Driver
    from vlmscope.core.base.config import Api, Config
    from vlmscope.core.base.demo import scan_folder
    from vlmscope.core.store.reader import ScanStore
    from vlmscope.core.worker.messages import Phase
    from vlmscope.tui.app import VlmscopeApp
    from vlmscope.tui.dialogs.confirm import ConfirmScreen

    os.environ["OPENAI_API_KEY"] = KEY
    with api_server() as api, tracing() as tracer:
        app = VlmscopeApp(ScanStore(scan_folder("demo")), Config(api=Api(base_url=api.url)), None, "demo")
        async with app.run_test(size=(140, 40)) as pilot:
            on = Driver(app, pilot)

            async def step() -> None:
                await on.press("j")
                await on.settled()

            async def verdict() -> None:
                await on.press("1")
                await on.until(lambda: "✓ keep" in on.page)

            async def explained() -> None:
                await on.press("E")
                await on.until(lambda: isinstance(app.screen, ConfirmScreen))
                await on.press("y")
                while "trains and railway tracks" not in on.page or on.scene.working:
                    await asyncio.sleep(0.05)  # the model loads: longer than ``until`` waits
                assert on.scene.status.phase is Phase.READY

            await on.settled()
            await on.press("j", "j", "k")  # all that the first step imports and fills is there
            await on.settled()
            for name, action in (("j", step), ("1", verdict), ("E", explained)):
                print(f"{name}: {await tracer.of(action)}")


if __name__ == "__main__":
    with TemporaryDirectory() as home:
        os.environ |= {"XDG_DATA_HOME": home, "XDG_CACHE_HOME": home, "VLMSCOPE_CONFIG": f"{home}/config.toml"}
        asyncio.run(_on_the_demo())
