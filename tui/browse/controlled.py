"""The control beside the shares: found after the first paint, and labelled in a thread whenever the scan is."""

import asyncio

from textual import on

from vlmscope.core.base.config import Config
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.browse.model_link import ClientFactory
from vlmscope.tui.browse.notebook import NotedScreen
from vlmscope.tui.messages import ControlCounted
from vlmscope.tui.views.columns import Columns


class ControlledScreen(NotedScreen):
    """Counts the control's labels; ``PaintedScreen`` shows them."""

    def __init__(
        self, store: ScanStore, config: Config, start: Neuron | None, name: str, factory: ClientFactory
    ) -> None:
        super().__init__(store, config, start, name, factory)
        self._control: ScanStore | None = None

    def on_mount(self) -> None:
        # The first paint needs no control. (Textual calls the base classes' on_mount as well.)
        self.call_after_refresh(lambda: self.chore(self._find_control()))

    async def _find_control(self) -> None:
        from vlmscope.core.analysis.control import find_control

        control = await asyncio.to_thread(find_control, self.store)
        if control is not None and control.layers == self.store.layers:
            self._control = control
            await self._count_control(control, self.state.thresholds)

    def replace_store(self, columns: Columns) -> None:
        super().replace_store(columns)
        if self._control is None or self._control.manifest.progress is not None:
            self.chore(self._find_control())  # it may have been begun, or gone on, in the meantime

    def take_labels(self, columns: Columns) -> None:
        super().take_labels(columns)
        at = self.state.thresholds
        if self._control is not None and (self.control is None or self.control.thresholds != at):
            self.chore(self._count_control(self._control, at))

    async def _count_control(self, control: ScanStore, at: Thresholds) -> None:
        from vlmscope.core.analysis.statistics import labels_at

        counts = await asyncio.to_thread(lambda: self._count(labels_at(control, at)))
        self.post_message(ControlCounted(at, counts))

    @on(ControlCounted)
    def _control_counted(self, message: ControlCounted) -> None:
        if message.thresholds == self.state.thresholds:
            self.control = message
            self._paint_all()
