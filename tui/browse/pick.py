"""Picking neurons of the list, one by one or as a range, to do one thing with all of them."""

import numpy as np

from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.browse.session import Session
from vlmscope.tui.views.picked import Picked
from vlmscope.tui.views.scene import Changed


def _now(session: Session) -> Picked:
    numbering = session.store.numbering
    return session.scene.picked or Picked(np.zeros(numbering.layers * numbering.neurons, dtype=np.bool_))


def switch(session: Session, count: int) -> Changed:
    """Pick the page's neuron and those below it, ``count`` in all, or unpick them; the cursor goes to the next row."""
    changed = Changed.NOTHING
    for _ in range(count):
        after = _now(session).switched(session.store.numbering.flat(session.state.neuron))
        changed |= session.change(picked=after if after.flags.any() or after.begin is not None else None)
        here = session.state.neuron
        changed |= session.step(1)
        if session.state.neuron == here:
            break
    return changed


def switch_range(session: Session) -> Changed:
    """Begin a range at the cursor; if one is open, pick its neurons."""
    scene = session.scene
    if scene.cursor is None:
        return Changed.NOTHING
    now = _now(session)
    if scene.picked_rows is not None:
        return session.change(picked=now.closed(scene.selection, scene.cursor))
    return session.change(picked=Picked(now.flags, scene.cursor, scene.selection))


def drop(session: Session) -> Changed:
    """Give up the open range; where none is open, unpick all."""
    scene = session.scene
    if scene.picked is None:
        return Changed.NOTHING
    keeps = scene.picked_rows is not None and scene.picked.flags.any()
    return session.change(picked=Picked(scene.picked.flags) if keeps else None)


def picked(session: Session) -> list[Neuron]:
    """The picked neurons, by layer and index; none where none is picked."""
    scene = session.scene
    if scene.picked is None:
        return []
    numbering = session.store.numbering
    return [numbering.of_flat(flat) for flat in scene.picked.flat(scene.selection, scene.cursor).tolist()]
