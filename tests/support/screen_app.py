"""What the tests of the screen share: the app on a scan, what it shows, and a stand-in for the model process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image
from textual.notifications import Notification, Notifications
from textual.pilot import Pilot
from textual.widgets import Input

from tests.support.asking import Answering
from vlmscope.core.base.config import Config
from vlmscope.core.base.errors import WorkerError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import (
    DescribeAnswer,
    DescribeRequest,
    LensAnswer,
    LensRequest,
    MapAnswer,
    MapRequest,
    ModelSpec,
    ModelStatus,
    Phase,
    PromotedAnswer,
    PromotedRequest,
    Request,
    SegmentAnswer,
    SegmentRequest,
)
from vlmscope.tui.app import VlmscopeApp
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.browse.screen import BrowseScreen
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import UnexpectedError
from vlmscope.tui.toasts import WholeNumbers
from vlmscope.tui.views.scene import Scene
from vlmscope.tui.views.state import State
from vlmscope.tui.widgets.bars import KeyBar, TitleBar
from vlmscope.tui.widgets.neuron_list import NeuronList
from vlmscope.tui.widgets.page.page import Page

TOKENS = ("A", " zeb", "ra", " stands", ".")


def jpeg(colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, "JPEG")
    return buffer.getvalue()


class FakeModel(Answering):
    """Answers when the test says so; its numbers are the layer plus one everywhere."""

    layout = VisualLayout.plain(4, 4)  #: of all pictures

    def __init__(self, spec: ModelSpec, on_status: Callable[[ModelStatus], None], idle_unload_s: float) -> None:
        super().__init__()
        self.spec = spec
        self.idle_unload_s = idle_unload_s
        self.status = ModelStatus(Phase.OFF)
        self._on_status = on_status
        self.maps: list[MapRequest] = []
        self.described: list[DescribeRequest] = []
        self.promotions: list[PromotedRequest] = []
        self.lenses: list[LensRequest] = []
        self.segments: list[SegmentRequest] = []
        self.calls: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.fail: WorkerError | None = None

    def tell(self, phase: Phase, detail: str = "", progress: float | None = None) -> None:
        self.status = ModelStatus(phase, detail, progress)
        self._on_status(self.status)

    async def _answer(self, detail: str) -> None:
        if self.status.phase is Phase.OFF:
            self.tell(Phase.STARTING)
            self.tell(Phase.READY)
        self.tell(Phase.BUSY, detail)
        await self.hold.wait()
        if self.fail is not None:
            raise self.fail
        self.tell(Phase.READY)

    async def map(self, request: MapRequest) -> MapAnswer:
        self.maps.append(request)
        await self._answer(f"map of {request.neuron}")
        text = request.description.split()
        value = np.float32(request.neuron.layer + 1)
        tokens = len(TOKENS) if request.sample is None else len(text)
        words = np.full(tokens, value / 2, dtype=np.float32)
        return MapAnswer.of(request, np.full(len(self.layout), value, dtype=np.float32), self.layout, words)

    async def describe(self, request: DescribeRequest) -> DescribeAnswer:
        self.described.append(request)
        await self._answer("describing")
        return DescribeAnswer(
            request.image, request.question, "USER: <image> ASSISTANT:", "".join(TOKENS), TOKENS, jpeg()
        )

    async def promoted(self, request: PromotedRequest) -> PromotedAnswer:
        self.promotions.append(request)
        await self._answer(f"what {request.neuron} writes")
        logits = np.array([2.0, 1.0], dtype=np.float32)
        return PromotedAnswer(request.neuron, ("train", " trains"), logits, ("dog", "cake"), -logits)

    async def lens(self, request: LensRequest) -> LensAnswer:
        self.lenses.append(request)
        await self._answer(f"lens on #{request.sample}")
        words, tokens = len(request.words), len(request.description.split())
        # Each word in a row of patches, and at a token, of its own.
        visual = np.zeros((words, 4, 4), dtype=np.float32)
        text = np.zeros((words, tokens), dtype=np.float32)
        for at in range(words):
            visual[at, at % 4] = text[at, at % tokens] = 1
        return LensAnswer(request.image, request.sample, tuple(range(words)), visual, text)

    async def segment(self, request: SegmentRequest) -> SegmentAnswer:
        self.segments.append(request)
        await self._answer(f"segmenting #{request.sample}")
        # One thing in the top left quarter.
        weights = np.zeros((4, 4), dtype=np.float32)
        weights[:2, :2] = 0.5
        boxes, scores = np.array([[0, 0, 16, 16]], dtype=np.float32), np.array([0.5], dtype=np.float32)
        return SegmentAnswer(request.image, request.sample, weights, boxes, scores, request.phrases[:1])

    async def before(self, request: Request[Any]) -> None:
        await super().before(request)
        await self._answer(request.title)

    async def stop(self) -> None:
        self.calls.append("stop")
        self.fail = WorkerError("Stopped.")
        self.hold.set()

    async def restart(self) -> None:
        self.calls.append("restart")
        self.fail = None
        self.tell(Phase.STARTING)
        self.tell(Phase.LOADING, "shards", 0.5)
        self.tell(Phase.READY)

    async def unload(self) -> None:
        self.calls.append("unload")
        self.tell(Phase.OFF)

    async def close(self) -> None:
        self.calls.append("close")


class AllNotifications(Notifications):
    """Also keeps what has left the screen: a test on a busy machine reads it seconds later."""

    def __init__(self, so_far: Notifications) -> None:
        super().__init__()
        self.kept: list[Notification] = []
        for note in so_far:
            self.add(note)

    def add(self, notification: Notification) -> Self:
        self.kept.append(notification)
        super().add(notification)
        return self


class Driver:
    """The running app, with short names for what tests look at."""

    def __init__(self, app: VlmscopeApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.app._notifications = self._notifications = AllNotifications(app._notifications)
        self.pilot = pilot
        self.models: list[FakeModel] = []
        self.unexpected = False  # whether the test makes something fail that nobody expects

    @property
    def browse(self) -> BrowseScreen:
        return self.app.browse

    @property
    def session(self) -> Session:
        return self.browse.session

    @property
    def scene(self) -> Scene:
        return self.session.scene

    @property
    def state(self) -> State:
        return self.session.state

    @property
    def store(self) -> ScanStore:
        return self.session.store

    @property
    def neuron(self) -> Neuron:
        return self.state.neuron

    @property
    def idle(self) -> bool:
        """Whether nothing is done in the background."""
        return self.browse.controllers.tasks.idle and self.browse.controllers.requests.idle

    @property
    def page(self) -> str:
        return self.browse.query_one(Page).text

    @property
    def title(self) -> str:
        return self.browse.query_one(TitleBar).text

    @property
    def keys(self) -> str:
        return self.browse.query_one(KeyBar).text

    @property
    def list(self) -> NeuronList:
        return self.browse.query_one(NeuronList)

    @property
    def screen(self) -> str:
        """All that is on the screen, line by line."""
        strips = self.app.screen._compositor.render_strips(self.app.size)
        return "\n".join(strip.text for strip in strips)

    @property
    def notes(self) -> str:
        """All notifications since the app began, or since ``forget_notes``."""
        kept = self._notifications.kept
        return "\n".join(f"{one.title}: {one.text if isinstance(one, WholeNumbers) else one.message}" for one in kept)

    def forget_notes(self) -> None:
        """Let ``notes`` begin again."""
        self._notifications.kept.clear()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Type a line (with its ``:`` or ``/``) and enter it."""
        await self.press(text[0] if text[0] != ":" else "colon")
        box = self.app.focused
        assert isinstance(box, Input)
        box.value = text[1:]
        await self.press("enter")

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until ``holds``; fails, with what is on the screen, after many turns of the loop."""
        for _ in range(400):
            if holds():
                return
            await self.pilot.pause(0.01)
        raise AssertionError(f"never came true; the screen:\n{self.screen}\nnotes: {self.notes}")

    async def settled(self) -> None:
        """The page shows the neuron that the cursor is on."""
        await self.until(lambda: not self.scene.stale)
        await self.pilot.pause()


@asynccontextmanager
async def running(
    scan: Path,
    size: tuple[int, int] = (140, 40),
    config: Config | None = None,
    start: Neuron | None = None,
    name: str = "small",
    pace: Pace | None = None,
    model: type[FakeModel] = FakeModel,
    toasts: bool = False,
) -> AsyncIterator[Driver]:
    """The app on ``scan``, with a stand-in for its model; without ``toasts`` messages are in ``notes`` alone."""
    models: list[FakeModel] = []

    def factory(spec: ModelSpec, on_status: Callable[[ModelStatus], None], idle_unload_s: float) -> FakeModel:
        models.append(model(spec, on_status, idle_unload_s))
        return models[-1]

    app = VlmscopeApp(ScanStore(scan), config or Config(), start, name, factory, pace or Pace())
    async with app.run_test(size=size, notifications=toasts) as pilot:
        driver = Driver(app, pilot)
        driver.models = models
        await driver.settled()
        yield driver
        assert driver.unexpected or UnexpectedError.title not in driver.notes
