"""What comes into a session from outside: the model's answers, the notebook, labels, later checkpoints.

Each returns the parts of the screen to be painted.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.worker.messages import MapAnswer, ModelStatus, PromotedAnswer
from vlmscope.tui.browse.answers import AblationKey, MapKey, needed_ablation
from vlmscope.tui.browse.session import ASKING, Session
from vlmscope.tui.views.columns import Columns, Noted
from vlmscope.tui.views.marks import mark_of
from vlmscope.tui.views.scene import Changed, ControlCounts, layer_counts
from vlmscope.tui.views.score import list_score_of
from vlmscope.tui.views.selection import place_in
from vlmscope.tui.views.state import Mode, Order, OwnPicture, Pane, SetKind

if TYPE_CHECKING:
    from vlmscope.core.causal.ablation import Ablation
    from vlmscope.core.notebook.values import Entry, SavedCheck
    from vlmscope.core.scoring.simulation import Outcome


# -- the model ---------------------------------------------------------------------------------------------------------


def set_model(session: Session, status: ModelStatus, *, asking: bool, busy: bool) -> Changed:
    """The model process is in another state, or other work waits for it: the page (``asking``), or any (``busy``)."""
    session.model_busy = busy
    working = busy or bool(session.scene.doing or session.scene.batch)
    return session.change(status=status, asking=asking, working=working)


def take_map(session: Session, answer: MapAnswer, image: str) -> Changed:
    """Keep a map; ``image`` as the picture's view names it. A map of a picture that was left is dropped."""
    own = session.state.own
    if answer.sample is None and (own is None or not own.described or own.image != answer.image):
        return Changed.NOTHING
    key = answer.neuron, answer.sample, image
    session.answers.keep_map(key, answer)
    return session.refresh_picture() if _shows(session, key) else Changed.NOTHING


def no_map(session: Session, key: MapKey, reason: str) -> Changed:
    """The page will have no map, and why."""
    if not _shows(session, key):
        return Changed.NOTHING
    session.answers.map_problems[key] = reason
    return session.refresh_picture()


def _shows(session: Session, key: MapKey) -> bool:
    scene = session.scene
    shown = [picture.key for picture in (scene.picture, scene.beside) if picture is not None]
    return key in shown and not scene.stale


def show_own(session: Session, own: OwnPicture) -> Changed:
    """Put the user's own picture under the neuron."""
    session.answers.forget_own()
    mode = Mode.PICTURES if session.state.mode is Mode.STATISTICS else session.state.mode
    return session.change_state(own=own, mode=mode, pane=Pane.PAGE)


def leave_own(session: Session) -> Changed:
    """Go back to the neuron's own samples."""
    session.answers.forget_own()
    return session.change_state(own=None)


def take_promoted(session: Session, answer: PromotedAnswer) -> Changed:
    """Keep the tokens that a neuron promotes."""
    session.answers.promoted[answer.neuron] = answer
    return note_promoted(session, answer.neuron, "")


def note_promoted(session: Session, neuron: Neuron, note: str) -> Changed:
    """Why a neuron's promoted tokens are missing; empty where they were not asked for."""
    session.answers.promoted_notes.pop(neuron, None)
    if note:
        session.answers.promoted_notes[neuron] = note
    return session.refresh_words() if neuron == session.state.neuron else Changed.NOTHING


def take_ablation(session: Session, key: AblationKey, found: "Ablation | str") -> Changed:
    """Keep an ablation, or why there is none."""
    session.answers.keep_ablation(key, found)
    return session.refresh_ablation()


def take_ablation_step(session: Session, key: AblationKey, done: int, of: int) -> Changed:
    """How far an ablation of several steps is: a clamp of a large set first finds each neuron's peak."""
    view = session.scene.ablation
    if of == 1 or view is None or not view.doing or needed_ablation(session.scene) != key:
        return Changed.NOTHING
    return session.change(ablation=replace(view, doing=f"{ASKING} {done} of {of} steps"))


def take_set_checks(session: Session, checks: "tuple[SavedCheck, ...]") -> Changed:
    """The causal checks of sets, newest first."""
    session.set_checks = checks
    return session.refresh_words()


# -- what the notebook holds ---------------------------------------------------------------------------------


def take_noted(session: Session, noted: Noted) -> Changed:
    """The notebook was read as a whole."""
    session.notebook_read = True
    session.texts, session.text_hits = None, {}
    return _refresh_list(session, noted)


def take_entry(session: Session, entry: "Entry", outcome: "Outcome | None" = None) -> Changed:
    """The notebook holds something else on one neuron.

    Args:
        outcome: of the score just computed.
    """
    neuron, mark = entry.neuron, mark_of(entry)
    if outcome is not None:
        session.outcomes[neuron, outcome.report.backend, outcome.report.explanation] = outcome
    if session.texts is not None:
        session.texts.put(entry)
    session.answers.forget_ablations(lambda key: key.ablating.kind in (SetKind.KEPT, SetKind.TAG))
    noted = session.scene.noted.with_mark(neuron, mark, list_score_of(entry), bool(entry.checks))
    return _refresh_list(session, noted) | show_entry(session, entry) | session.refresh_ablation()


def _refresh_list(session: Session, noted: Noted) -> Changed:
    """Take the notebook's columns, and find the rows again if they depend on them."""
    by_notebook = session.state.filter.of_notebook or session.state.order is Order.SCORE
    if not by_notebook or session.before is not None:  # a line that is being typed lists again when it is left
        return session.change(noted=noted)
    selection = session.select(session.state, noted=noted)
    return session.change(noted=noted, selection=selection, **place_in(selection, session.state.neuron))


def show_entry(session: Session, entry: "Entry") -> Changed:
    """Show what the notebook holds on the page's neuron; another neuron's entry is dropped."""
    if entry.neuron != session.state.neuron:
        return Changed.NOTHING
    return session.refresh_words(entry=entry, entry_problem="")


def set_entry_problem(session: Session, problem: str) -> Changed:
    """There is no notebook, and why."""
    return session.refresh_words(entry_problem=problem) if problem != session.scene.entry_problem else Changed.NOTHING


def set_doing(session: Session, what: str, neuron: Neuron, words: str) -> Changed:
    """A neuron is worked on in the background; empty ``words``: the work has ended."""
    doing = {key: value for key, value in session.scene.doing.items() if key != (what, neuron)}
    if words:
        doing[what, neuron] = words
    working = session.model_busy or bool(doing or session.scene.batch)
    if neuron == session.state.neuron:
        return session.refresh_words(doing=doing, working=working)
    return session.change(doing=doing, working=working)


def set_batch(session: Session, text: str, spent: str) -> Changed:
    """Work on picked neurons has come further; an empty ``text``: it has ended. ``spent``: on requests, so far."""
    working = session.model_busy or bool(session.scene.doing or text)
    return session.change(batch=text, working=working, spent=spent)


# -- the scan and its labels ---------------------------------------------------------------------------------


def take_concepts(session: Session) -> Changed:
    """Read the scan's concepts, which the first paint does not need.

    Raises:
        StoreError: if they are damaged.
    """
    columns = session.scene.columns
    return session.refresh_words(columns=Columns(columns.store, columns.labels, columns.store.concepts))


def take_labels(session: Session, columns: Columns) -> Changed:
    """Show new labels, unless others were asked for since, or they are those of an earlier checkpoint."""
    labels = columns.labels
    if labels.thresholds != session.wanted or columns.store is not session.store:
        return Changed.NOTHING
    state = replace(session.state, thresholds=labels.thresholds)
    selection = session.select(state, columns)
    stale = session.scene.stale
    changed = session.change(
        columns=columns,
        counts=layer_counts(labels),
        state=state,
        selection=selection,
        **place_in(selection, state.neuron),
        firmness=None if stale else session.firmness(state.neuron, labels.thresholds),
    )
    return changed | session.refresh_picture()


def replace_store(session: Session, columns: Columns) -> Changed:
    """Take a later checkpoint of the same scan; the page is stale after that.

    What is chosen and filtered stays.

    Args:
        columns: of the new checkpoint, at the thresholds that were asked for last.
    """
    store = columns.store
    store.images_trusted = session.store.images_trusted
    rank = min(session.state.rank, max(columns.labels.valid - 1, 0))
    session.take_store(store)
    changed = session.change(
        # First the store alone: ``take_labels`` drops labels of any other store.
        columns=replace(session.scene.columns, store=store, concepts=columns.concepts),
        has_concepts=store.has_concepts,
        state=replace(session.state, rank=rank),
        facts=None,
        stale=True,
    )
    return changed | take_labels(session, columns)


def set_control(session: Session, control: ControlCounts) -> Changed:
    """The control's neurons are labelled; counts at other thresholds than the session's are dropped."""
    return session.change(control=control) if control.thresholds == session.state.thresholds else Changed.NOTHING
