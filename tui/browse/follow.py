"""A scan in progress is followed: when it has come further, the screen goes on with what there is now."""

import asyncio

from textual.timer import Timer

from vlmscope.core.base.config import Config
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.progress import progress_title
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.watch import ScanWatch
from vlmscope.tui.browse.model_link import ClientFactory
from vlmscope.tui.browse.session import REST_S, compute
from vlmscope.tui.browse.triage import TriageScreen
from vlmscope.tui.views.columns import Columns
from vlmscope.tui.views.state import State

FOLLOW_S = 2.0  #: how often it is looked whether the scan has come further


class FollowingScreen(TriageScreen):
    """Looks for later checkpoints; ``replace_store`` of the screens below takes them."""

    def __init__(
        self, store: ScanStore, config: Config, start: Neuron | None, name: str, factory: ClientFactory
    ) -> None:
        super().__init__(store, config, start, name, factory)
        self._watch = None if store.manifest.is_done else ScanWatch(store)
        self._looks: Timer | None = None
        self._looking = False
        self._trouble = ""

    @property
    def how_far(self) -> tuple[str, ...]:
        progress = self.store.manifest.progress
        return () if progress is None else progress_title(progress, self._watch is not None and self._watch.scanning)

    def on_mount(self) -> None:
        # (Textual calls the base classes' on_mount as well.)
        if self._watch is not None:
            self._looks = self.set_interval(FOLLOW_S, lambda: self.chore(self.look_for_more()))

    async def look_for_more(self) -> None:
        """Look whether the scan has come further, and show it; what goes wrong is told once, not at every look."""
        watch = self._watch
        if watch is None or self._looking:
            return
        self._looking = True
        try:
            was_scanning = watch.scanning
            store = await asyncio.to_thread(watch.look)
            if store is not None:
                await self._go_on_with(store, watch)
            elif watch.scanning != was_scanning:
                self._paint_all()
            self._trouble = ""
        except (StoreError, OSError) as error:
            told = error if isinstance(error, StoreError) else StoreError(f"{watch.store.folder}: {error}.")
            if told.message != self._trouble:
                self._trouble = told.message
                self.tell(told)
        finally:
            self._looking = False

    async def _go_on_with(self, store: ScanStore, watch: ScanWatch) -> None:
        while True:
            columns = await asyncio.to_thread(_label, store, self.wanted)
            while self._stale:  # a key is held: its picture must not change under the eye
                await asyncio.sleep(REST_S)
            if columns.labels.thresholds == self.wanted.thresholds:
                break
        watch.store = store
        if store.manifest.is_done:
            self._watch = None
            if self._looks is not None:
                self._looks.stop()
            self.say("The scan is whole." if store.manifest.progress is None else "This shard is done.")
        self.replace_store(columns)
        self.show_meaning()  # a scan that has become whole has concepts


def _label(store: ScanStore, state: State) -> Columns:
    """The labels of a new checkpoint, and all else that the list reads: for a thread."""
    from vlmscope.core.analysis.statistics import labels_at  # the first paint needs none of it

    columns = Columns(store, labels_at(store, state.thresholds), store.concepts)
    compute(columns, state)
    return columns
