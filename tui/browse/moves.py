"""Moves that search their target: another layer, a match, a neuron without a verdict.

Each returns the parts to be painted, and a message for the user, which may be empty.
"""

from dataclasses import replace

import numpy as np

from vlmscope.core.base.errors import StoreError
from vlmscope.tui.browse.session import Session
from vlmscope.tui.views.pointer import at_peak
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.views.selection import Selection
from vlmscope.tui.views.state import Mode, Pane, Pinned

Moved = tuple[Changed, str]


def to_layer(session: Session, layer: int) -> Moved:
    """Go to the same index of another layer; in a list of several layers, to that layer's first row."""
    if not 0 <= layer < session.store.layers:
        return Changed.NOTHING, ""
    if not session.state.filter.whole:
        near = abs(layer - session.state.neuron.layer) == 1
        return session.go(replace(session.state.neuron, layer=layer), step=near), ""
    inside = np.flatnonzero(session.scene.selection.rows // session.store.neurons == layer)
    if not len(inside):
        return Changed.NOTHING, f"No neuron of layer {layer} is in this list."
    return session.go_row(int(inside[0])), ""


def to_sample(session: Session, by: int) -> Moved:
    """Show the next or the previous top sample, after the last one panel samples across the neuron's range; on the
    score page, the next or the previous example.
    """
    scene, state = session.scene, session.state
    if state.mode is Mode.SCORE:
        examples = len(scene.score.examples or ()) if scene.score is not None else 0
        return session.change_state(example=min(max(state.example + by, 0), max(examples - 1, 0))), ""
    if state.own is not None:
        return Changed.NOTHING, "Your own picture is shown; esc leaves it."
    if state.pinned is not None:
        return _pinned_sample(session, state.pinned, by), ""
    rank, last = max(state.rank + by, 0), max(scene.columns.labels.valid - 1, 0)
    if rank <= last:
        return session.change_state(rank=rank), ""
    try:
        across = session.across(state.neuron)
    except StoreError as error:
        return session.change_state(rank=last), error.message
    changed = session.change_state(rank=min(rank, last + across))
    entered = state.rank <= last < session.state.rank
    return changed, f"{across} panel samples across its range, none of them a top sample." if entered else ""


def to_pinned(session: Session) -> Moved:
    """Pin the page's neuron on its sample, to be compared with others; if one is pinned, take the pin away."""
    state, picture = session.state, session.scene.picture
    if state.pinned is not None:
        return unpinned(session), ""
    if session.scene.stale or picture is None or picture.sample is None:
        return Changed.NOTHING, "There is no sample to compare on: your own picture is none."
    pinned = Pinned(state.neuron, picture.sample, picture.rank)
    mode = state.mode if state.mode is Mode.ZOOM else Mode.PICTURES
    note = f"{state.neuron} is pinned: step to another neuron; h l change the picture, = and esc end it."
    return session.change_state(pinned=pinned, mode=mode, pane=Pane.PAGE), note


def unpinned(session: Session) -> Changed:
    """Show the page's neuron by itself again, on its own first sample."""
    return session.change_state(pinned=None)


def _pinned_sample(session: Session, pinned: Pinned, by: int) -> Changed:
    """Show both neurons on another top sample of the pinned one."""
    top = session.store.top_samples(pinned.neuron)
    rank = min(max((-1 if pinned.rank is None else pinned.rank) + by, 0), len(top) - 1)
    return session.change_state(pinned=replace(pinned, sample=top[rank], rank=rank))


def to_cell(session: Session, by: int) -> Changed:
    """On the contact sheet: choose the picture ``by`` places further; by a row where there is none stays in the row."""
    sheet, state = session.scene.sheet, session.state
    if sheet is None or sheet.key.neuron != state.neuron or not sheet.cells:
        return Changed.NOTHING
    place = sheet.place(state.rank)
    after = min(max(place + by, 0), len(sheet.cells) - 1)
    if abs(by) > 1 and after % abs(by) != place % abs(by) and after // abs(by) == place // abs(by):
        after = place
    return session.change_state(rank=sheet.cells[after].rank)


def to_cover(session: Session) -> Moved:
    """Draw the map of the next cover alone; after the last one, of all together."""
    picture = session.scene.picture
    if session.scene.stale or picture is None or picture.layout is None:
        return Changed.NOTHING, "There is no map yet."
    covers = picture.covers
    if covers == 1:
        pooled = picture.visual_tokens not in (None, len(picture.layout))
        why = "This scan keeps pooled maps, without covers." if pooled else "The visual tokens cover this picture once."
        return Changed.NOTHING, why
    shown = picture.cover(session.state.cover)
    after = 0 if shown is None else shown + 1
    return session.change_state(cover=after if after < covers else None), ""


def to_score(session: Session, by: int) -> Changed:
    """On the score page: show the next or the previous one of the neuron's scores."""
    score, state = session.scene.score, session.state
    count = score.count if score is not None else 0
    return session.change_state(score=min(max(state.score + by, 0), max(count - 1, 0)), example=0)


def to_untriaged(session: Session) -> Moved:
    """Go to the list's next neuron that has no verdict."""
    scene = session.scene
    rows = scene.selection.rows
    if not len(rows):
        return Changed.NOTHING, "The list is empty."
    without = np.flatnonzero(scene.noted.verdict[rows] == 0)
    if not len(without):
        return Changed.NOTHING, "Every neuron of this list has a verdict."
    at = scene.cursor if scene.cursor is not None else -1
    later = without[without > at] if scene.listed else without[without >= at]
    note = "" if len(later) else "From the list's beginning."
    return session.go_row(int(later[0] if len(later) else without[0])), note


def to_match(session: Session, text: str, found: Selection, by: int, *, strongest: bool) -> Moved:
    """Go to the next neuron that a search means, from a neuron that it does not mean to the first one.

    Args:
        text: that was searched for.
        found: the neurons, in their order. strongest: the strongest first, not as a list is sorted.
    """
    count = len(found)
    if not count:
        return Changed.NOTHING, f"No neuron is {text}."
    at = found.position(session.state.neuron)
    if at is not None:
        to = at + by
    elif strongest:
        to = 0
    else:
        to = found.nearest(session.state.neuron, by) or 0
    end = "" if 0 <= to < count else " That is the only match." if count == 1 else " From the list's other end."
    return session.go(found.at(to % count)), f"{place_of_match(text, to % count, count, strongest=strongest)}{end}"


def place_of_match(text: str, at: int, count: int, *, strongest: bool) -> str:
    """Which of the neurons that a search means is shown: ``train: 1 of 3, strongest first.``"""
    return f"{text[:40]}: {at + 1:,} of {count:,}{', strongest first' if strongest else ''}."


def to_check(session: Session, by: int) -> Changed:
    """Show an earlier check, or a later one."""
    count = session.scene.check.count if session.scene.check is not None else 0
    return session.change_state(check=min(max(session.state.check + by, 0), max(count - 1, 0)))


# -- pointing ----------------------------------------------------------------------------------------------------------


def to_pointing(session: Session) -> Moved:
    """Point at the picture: first where the neuron activates most. If the page points already, leave it."""
    picture = session.scene.picture
    if session.state.mode is Mode.POINT:
        return session.change_state(mode=Mode.PICTURES), ""
    if session.scene.stale or picture is None:
        return Changed.NOTHING, "There is no picture to point at yet."
    return session.change_state(mode=Mode.POINT, pane=Pane.PAGE, pointer=at_peak(picture)), ""


def to_place(session: Session, down: int, right: int) -> Changed:
    """Point at another patch or word."""
    picture, pointer = session.scene.picture, session.state.pointer
    if picture is None:
        return Changed.NOTHING
    return session.change_state(pointer=pointer.within(picture).moved(down, right).within(picture))


def to_token(session: Session, token: int) -> Changed:
    """Point at this word."""
    return session.change_state(pointer=replace(session.state.pointer, token=token))


def to_words(session: Session) -> Changed:
    """Point at the description instead of the picture, or the other way round."""
    pointer = session.state.pointer
    return session.change_state(pointer=replace(pointer, on_words=not pointer.on_words))
