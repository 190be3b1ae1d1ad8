"""Where a session ends and the next one continues: neuron, filter, order and history, kept in the notebook."""

import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from vlmscope.core.base.errors import StoreError, UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron, Numbering
from vlmscope.core.method.labels import Label
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.session import Session
from vlmscope.tui.messages import Post, Repaint
from vlmscope.tui.views.filters import Decided, Filter, read_filter
from vlmscope.tui.views.history import History, Place
from vlmscope.tui.views.selection import Selection
from vlmscope.tui.views.state import Listed, Order, State

if TYPE_CHECKING:
    from vlmscope.core.notebook.values import Resume

LINE = "/"  #: before a filter that is kept as a line


@dataclass(eq=False)
class PlaceControl:
    """Reads the place when the session begins, and keeps it during the session."""

    session: Session
    notebook: NotebookLink
    post: Post
    select: Callable[[State], Awaitable[Selection | None]]  #: ``FindControl.select``
    _kept: "Resume | None" = None

    async def resume(self) -> None:
        """Go to where the last session was, unless an address was given or the user has moved."""
        session = self.session
        place = await self.notebook.read(lambda notebook: notebook.resume(), None)
        if place is None:
            return
        history, left = read_places(place.places, session.store.numbering)
        if session.history == History():
            session.history = history
        if session.started_at is not None or session.state.neuron != Neuron(0, 0) or session.state.filter != Filter():
            return
        neuron, filter_ = place.neuron, filter_from(place.filter)
        if session.store.numbering.has(neuron):
            order = Order(place.order) if place.order in list(Order) else Order.INDEX
            self._kept = place
            state = replace(session.state, neuron=neuron, rank=0, filter=filter_, order=order, left=left)
            try:
                selection = await self.select(state)
            except StoreError:  # the scan has no longer what the list needs
                state, selection = replace(session.state, neuron=neuron, rank=0), None
            self.post(Repaint(session.set_state(state, selection=selection, step=True)))

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

        state = self.session.kept_state
        places = written_places(self.session.history, state.left)
        return Resume(state.neuron, LINE + state.filter.line, str(state.order), places)


def filter_from(text: str) -> Filter:
    """The filter that an earlier session kept, as a line or, before there were lines, as JSON.

    A line that cannot be read, and unknown fields of JSON, are left out.
    """
    if text.startswith(LINE):
        try:
            return read_filter(text.removeprefix(LINE))
        except UsageError:
            return Filter()
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


def written_places(history: History, left: Listed | None) -> str:
    """The history, and the list that ``esc`` goes back to, as the notebook keeps them."""

    def listed(one: Listed | None) -> list[str]:
        return [] if one is None else [one.filter.line, str(one.order)]

    def places(many: tuple[Place, ...]) -> list[list[str]]:
        return [[str(one.neuron), *listed(one.listed), *listed(one.left)] for one in many]

    return json.dumps({"back": places(history.back), "ahead": places(history.ahead), "left": listed(left)})


def read_places(text: str, numbering: Numbering) -> tuple[History, Listed | None]:
    """What ``written_places`` has written, for a scan of these neurons; nothing where it cannot be read."""

    def listed(words: list[str]) -> Listed | None:
        return Listed(read_filter(words[0]), Order(words[1])) if words else None

    def places(many: list[list[str]]) -> tuple[Place, ...]:
        return tuple(Place(numbering.parse(one[0]), listed(one[1:3]) or Listed(), listed(one[3:])) for one in many)

    try:
        found: Any = json.loads(text)
        return History(places(found["back"]), places(found["ahead"])), listed(found["left"])
    except (ValueError, LookupError, TypeError, AttributeError, UsageError):
        return History(), None
