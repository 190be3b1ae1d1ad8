"""A scan in progress is followed, and the control beside a scan is found and counted."""

import asyncio
from dataclasses import dataclass

from vlmscope.core.base.errors import StoreError
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.watch import ScanWatch
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import NewCheckpoint, Notice, Post, Repaint
from vlmscope.tui.views.columns import Columns, compute
from vlmscope.tui.views.scene import ControlCounts, layer_counts
from vlmscope.tui.views.state import State

HELD_S = 0.05  #: interval of the check whether a held key rests


@dataclass(eq=False)
class FollowControl:
    """Looks for later checkpoints, and labels the control at the scan's thresholds."""

    session: Session
    post: Post
    tasks: Tasks
    _watch: ScanWatch | None = None
    _looking: bool = False
    _reported: str = ""
    _control: ScanStore | None = None
    _counting: Thresholds | None = None

    def __post_init__(self) -> None:
        if not self.session.store.manifest.is_done:
            self._watch = ScanWatch(self.session.store)
            self.session.change(scanning=self._watch.scanning)

    @property
    def following(self) -> bool:
        """Whether the scan may still have later checkpoints."""
        return self._watch is not None

    # -- the scan ------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Look for a later checkpoint; a failure is reported once, not at every look."""
        watch = self._watch
        if watch is None or self._looking:
            return
        self._looking = True
        try:
            store = await asyncio.to_thread(watch.look)
            if store is not None:
                await self._take(store, watch)
            else:
                self.post(Repaint(self.session.change(scanning=watch.scanning)))
            self._reported = ""
        except (StoreError, OSError) as error:
            problem = error if isinstance(error, StoreError) else StoreError(f"{watch.store.folder}: {error}.")
            if problem.message != self._reported:
                self._reported = problem.message
                raise problem from error
        finally:
            self._looking = False

    async def _take(self, store: ScanStore, watch: ScanWatch) -> None:
        session = self.session
        while True:
            wanted = session.wanted
            columns = await asyncio.to_thread(_label, store, wanted, session.state)
            while session.scene.stale:  # a key is held: the picture does not change meanwhile
                await asyncio.sleep(HELD_S)
            if wanted == session.wanted:
                break
        watch.store = store
        if store.manifest.is_done:
            self._watch = None
            self.post(Notice("The scan is whole." if store.manifest.progress is None else "This shard is done."))
        session.change(scanning=self._watch is not None and watch.scanning)
        self.post(NewCheckpoint(columns))
        if self._control is None or self._control.manifest.progress is not None:
            await self.find_control()  # it may have been begun, or continued, in the meantime

    # -- the control ---------------------------------------------------------------------------------------------

    async def find_control(self) -> None:
        """Find the scan's control, and count its labels.

        Raises:
            StoreError: if it is damaged.
        """
        from vlmscope.core.analysis.control import find_control

        control = await asyncio.to_thread(find_control, self.session.store)
        if control is not None and control.layers == self.session.store.layers:
            self._control, self._counting = control, None
            self.count_control()

    def count_control(self) -> None:
        """Label the control at the session's thresholds, unless that is done already."""
        at = self.session.state.thresholds
        if self._control is None or self._counting == at:
            return
        self._counting = at
        self.tasks.run_task(self._count(self._control, at))

    async def _count(self, control: ScanStore, at: Thresholds) -> None:
        from vlmscope.core.analysis.statistics import labels_at

        counts = await asyncio.to_thread(lambda: layer_counts(labels_at(control, at)))
        self.post(Repaint(incoming.set_control(self.session, ControlCounts(at, counts))))


def _label(store: ScanStore, thresholds: Thresholds, state: State) -> Columns:
    """The labels of a new checkpoint, and the other columns that the list reads: for a thread."""
    from vlmscope.core.analysis.statistics import labels_at  # the first paint needs none of it

    columns = Columns(store, labels_at(store, thresholds), store.concepts)
    compute(columns, state.filter, state.order)
    return columns
