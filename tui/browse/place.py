"""Where a session ends and the next one continues: neuron, filter and order, kept in the notebook."""

import asyncio
import contextlib
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.session import Session
from vlmscope.tui.messages import Post, Repaint
from vlmscope.tui.views.columns import compute
from vlmscope.tui.views.state import Decided, Filter, Order

if TYPE_CHECKING:
    from vlmscope.core.notebook.values import Resume


@dataclass(eq=False)
class PlaceControl:
    """Reads the place when the session begins, and keeps it during the session."""

    session: Session
    notebook: NotebookLink
    post: Post
    _kept: "Resume | None" = None

    async def resume(self) -> None:
        """Go to where the last session was, unless an address was given or the user has moved."""
        session = self.session
        if session.started_at is not None:
            return
        place = await self.notebook.read(lambda notebook: notebook.resume(), None)
        if place is None or session.state.neuron != Neuron(0, 0) or session.state.filter != Filter():
            return
        neuron, filter_ = place.neuron, filter_from(place.filter)
        if session.store.numbering.has(neuron):
            order = Order(place.order) if place.order in list(Order) else Order.INDEX
            self._kept = place
            await asyncio.to_thread(compute, session.scene.columns, filter_, order)
            state = replace(session.state, neuron=neuron, rank=0, filter=filter_, order=order)
            self.post(Repaint(session.set_state(state)))

    async def keep(self) -> None:
        """Keep the place, if there is a notebook."""
        place = self._now()
        if place != self._kept:
            await self.notebook.read(lambda notebook: notebook.set_resume(place), None)
            self._kept = place

    async def close(self) -> None:
        """Keep the place of a session that has moved; the notebook is made for it."""
        place = self._now()
        if place.neuron != (self.session.started_at or Neuron(0, 0)) and place != self._kept:
            with contextlib.suppress(VlmscopeError):  # without a notebook, no place is kept
                await self.notebook.write(lambda notebook: notebook.set_resume(place))

    def _now(self) -> "Resume":
        from vlmscope.core.notebook.values import Resume

        state = self.session.state
        return Resume(state.neuron, json.dumps(asdict(state.filter)), str(state.order))


def filter_from(text: str) -> Filter:
    """The filter that an earlier session kept as JSON; unknown fields are left out."""
    try:
        found: Any = json.loads(text)
        known = {field.name for field in fields(Filter)}
        values: dict[str, Any] = {name: value for name, value in found.items() if name in known}
        if values.get("label") is not None:
            values["label"] = Label(values["label"])
        if values.get("verdict") is not None:
            values["verdict"] = Decided(values["verdict"])
        if values.get("layers") is not None:
            first, last = values["layers"]
            values["layers"] = (int(first), int(last))
        return Filter(**values)
    except (ValueError, TypeError, AttributeError):
        return Filter()
