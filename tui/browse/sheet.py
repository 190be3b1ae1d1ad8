"""The contact sheet's part: its pictures are read and decoded in a thread, so that no key waits for them."""

import asyncio
from dataclasses import dataclass

from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import Post, Repaint
from vlmscope.tui.views.sheet import SheetKey, gather_sheet
from vlmscope.tui.views.state import Mode


@dataclass(eq=False)
class SheetControl:
    """Gathers the sheet of the page's neuron while the sheet is shown."""

    session: Session
    post: Post
    tasks: Tasks
    _gathering: SheetKey | None = None

    def want(self) -> None:
        """Gather what the sheet lacks; while a key is held it waits, as the page does."""
        scene, key = self.session.scene, self._key()
        shown = None if scene.sheet is None else scene.sheet.key
        if self.session.state.mode is Mode.SHEET and not scene.stale and key not in (shown, self._gathering):
            self._gathering = key
            self.tasks.run_task(self._gather(key))

    def _key(self) -> SheetKey:
        session = self.session
        neuron = session.state.neuron
        answers = frozenset(key for key in session.answers.maps if key[0] == neuron)
        return SheetKey(neuron, session.state.thresholds, id(session.store), answers)

    async def _gather(self, key: SheetKey) -> None:
        session = self.session
        answers = {one: session.answers.maps[one] for one in key.answers}
        try:
            view = await asyncio.to_thread(gather_sheet, session.store, key, answers)
        finally:
            if self._gathering == key:
                self._gathering = None
        if key == self._key():  # the screen has not moved on
            self.post(Repaint(session.change(sheet=view)))
