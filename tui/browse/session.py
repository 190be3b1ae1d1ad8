"""One session of browsing: what is shown, as one frozen value, and what each change of it leaves to be painted.

No screen is needed here. Every method that changes something answers with the parts of the screen that show something
else now. A move makes the page stale: its picture, facts and words come with ``load_page``, at once or, while a key is
held, when it rests.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from vlmscope.core.analysis.firmness import neuron_firmness
from vlmscope.core.analysis.published import published
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.method.labels import Labels
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import MapAnswer, ModelStatus, PromotedAnswer
from vlmscope.core.worker.promoted_cache import kept_promoted, load_promoted
from vlmscope.tui.views.columns import Columns, Noted
from vlmscope.tui.views.marks import PUBLISHED, mark_of, sign_of, signs_of
from vlmscope.tui.views.meaning import Meaning, reports_of
from vlmscope.tui.views.page import gather_facts
from vlmscope.tui.views.scene import Changed, ControlCounts, Scene, changed_parts
from vlmscope.tui.views.score import ScoreView, score_view
from vlmscope.tui.views.selection import Selection, select
from vlmscope.tui.views.state import Filter, Mode, Order, OwnPicture, Pane, State
from vlmscope.tui.views.title import LayerCounts

if TYPE_CHECKING:
    from vlmscope.core.notebook.values import Entry
    from vlmscope.core.scoring.simulation import Outcome
    from vlmscope.tui.views.evidence import PictureView

ANSWERS = 256  #: maps from the model that are kept
PROMOTED = 24  #: tokens asked for on either side: many are one word in several spellings
MapKey = tuple[Neuron, int | None, str]  #: a neuron on a sample, or on the user's own picture


@dataclass(frozen=True)
class AskKeys:
    """The keys that ask for what the page lacks, as the user has mapped them."""

    explain: str = "E"
    promoted: str = "w"
    choose: str = "c"


def count(labels: Labels) -> LayerCounts:
    """How many neurons of each layer have each label."""
    return tuple((int(v), int(t), int(m), int(u)) for v, t, m, u in labels.counts())


class Session:
    """The scene and how one follows another; beside it what was computed in this session."""

    def __init__(
        self,
        store: ScanStore,
        start: Neuron | None = None,
        name: str = "demo",
        colour_map: ColourMap = ColourMap.FADE,
        keys: AskKeys = AskKeys(),
    ) -> None:
        """Begin on ``store``, which the title calls ``name``, with the neuron ``start`` if there is one."""
        self.started_at = start
        self.published = published(store.manifest)
        self.notebook_read = False
        self.answers: OrderedDict[MapKey, MapAnswer] = OrderedDict()
        self.problems: dict[MapKey, str] = {}  #: why there is no map
        self.promoted: dict[Neuron, PromotedAnswer] = {}
        self.promoted_notes: dict[Neuron, str] = {}  #: why they are not known, or that the model is being asked
        self._keys = keys
        self._outcomes: dict[tuple[Neuron, str, str], Outcome] = {}
        self._kept_promoted: frozenset[Neuron] | None = None
        labels = store.stored_labels()
        self.wanted = labels.thresholds  #: asked for last, though their labels may be on their way
        state = State(
            neuron=start or Neuron(0, 0),
            thresholds=labels.thresholds,
            colour_map=colour_map,
            pane=Pane.LIST if start is None else Pane.PAGE,
        )
        columns = Columns(store, labels, None)
        noted = Noted.of({}, {}, store.layers, store.neurons)
        selection = select(columns, noted, state.filter, state.order, state.neuron.layer)
        self.scene = Scene(
            scan_name=name,
            state=state,
            columns=columns,
            has_concepts=store.has_concepts,
            counts=count(labels),
            selection=selection,
            cursor=selection.nearest(state.neuron),
            noted=noted,
            marks=dict.fromkeys(self.published, PUBLISHED),
        )
        self._take_store(store)

    def _take_store(self, store: ScanStore) -> None:
        self._firmness = lru_cache(maxsize=64)(lambda neuron, at: neuron_firmness(store, neuron, at))

    @property
    def state(self) -> State:
        """What the user chose."""
        return self.scene.state

    @property
    def store(self) -> ScanStore:
        """The scan as it is now."""
        return self.scene.columns.store

    def _set(self, **changes: Any) -> Changed:
        old = self.scene
        self.scene = replace(old, **changes)
        return changed_parts(old, self.scene)

    # -- the state -----------------------------------------------------------------------------------------------

    def set_state(self, state: State, cursor: int | None = None) -> Changed:
        """Take a new state, and find its rows.

        Args:
            cursor: the row of the state's neuron, where it is known.
        """
        scene = self.scene
        old, selection = scene.state, scene.selection
        other_layer = old.neuron.layer != state.neuron.layer and not state.filter.whole
        if other_layer or (old.filter, old.order) != (state.filter, state.order):
            selection, cursor = self._select(state), None
        if cursor is None:
            same = selection is scene.selection and old.neuron == state.neuron
            cursor = scene.cursor if same else _row_of(selection, state.neuron)
        moved = (old.neuron, old.rank, old.own) != (state.neuron, state.rank, state.own)
        changes: dict[str, Any] = {"state": state, "selection": selection, "cursor": cursor}
        if moved:
            changes |= {"stale": True, "firmness": None}
        if Mode.SCORE in (old.mode, state.mode):
            changes["score"] = self._score(state, scene.meaning)
        return self._set(**changes)

    def change_state(self, **changes: Any) -> Changed:
        """``set_state`` with the state as it is but for ``changes``."""
        return self.set_state(replace(self.state, **changes))

    def go(self, neuron: Neuron) -> Changed:
        """Go to any neuron of the model; its first top sample, or the user's picture, comes with it."""
        return self.change_state(neuron=neuron, rank=0)

    def go_row(self, position: int) -> Changed:
        """Go to a row of the list, the first or the last one if there is no such row."""
        selection = self.scene.selection
        if not len(selection.rows):
            return Changed.NOTHING
        position = min(max(position, 0), len(selection.rows) - 1)
        return self.set_state(replace(self.state, neuron=selection.at(position), rank=0), position)

    def step(self, by: int) -> Changed:
        """Go so many rows further, from the row nearest to the page's neuron if the list does not hold it."""
        scene = self.scene
        if scene.cursor is None:
            return Changed.NOTHING
        if scene.listed:
            return self.go_row(scene.cursor + by)
        nearest = scene.selection.nearest(scene.state.neuron, by)
        return Changed.NOTHING if nearest is None else self.go_row(nearest)

    def set_filter(self, filter_: Filter) -> Changed:
        """List other neurons; the one on the page stays if it is among them, else the nearest one comes."""
        changed = self.change_state(filter=filter_)
        cursor = self.scene.cursor
        return changed if self.scene.listed or cursor is None else changed | self.go_row(cursor)

    def _select(self, state: State, columns: Columns | None = None, noted: Noted | None = None) -> Selection:
        columns, noted = columns or self.scene.columns, noted or self.scene.noted
        return select(columns, noted, state.filter, state.order, state.neuron.layer)

    # -- the page ------------------------------------------------------------------------------------------------

    def load_page(self) -> Changed:
        """Gather the picture, the facts and the words of the state's neuron; the page is not stale any more."""
        scene, neuron = self.scene, self.state.neuron
        picture, problem = self._gather()
        facts = scene.facts if scene.facts is not None and scene.facts.neuron == neuron else None
        entry = scene.entry if scene.entry is not None and scene.entry.neuron == neuron else self._no_entry(neuron)
        if neuron not in self.promoted:
            self._load_promoted(neuron)
        meaning = self._meaning(entry)
        return self._set(
            stale=False,
            picture=picture,
            problem=problem,
            firmness=self._firmness(neuron, self.state.thresholds),
            facts=facts or gather_facts(self.store, neuron),
            entry=entry,
            meaning=meaning,
            score=self._score(self.state, meaning),
        )

    def _gather(self) -> "tuple[PictureView | None, str]":
        """The picture, with the model's answer if there is one, or why there is none."""
        from vlmscope.tui.views.evidence import own_evidence, stored_evidence, with_map

        state, store = self.state, self.store
        if state.own is None and not self.scene.columns.labels.valid:
            return None, ""
        try:
            if state.own is not None:
                picture = own_evidence(state.neuron, state.own, state.thresholds)
            else:
                picture = stored_evidence(store, state.neuron, state.rank, state.thresholds)
        except StoreError as error:
            return None, str(error)
        answer = self.answers.get(picture.key)
        if picture.visual is None and answer is not None:
            return with_map(picture, answer, float(store.maximum[state.neuron.layer, state.neuron.index])), ""
        problem = self.problems.get(picture.key, "")
        return (replace(picture, map_problem=problem) if problem else picture), ""

    def _refresh_picture(self) -> Changed:
        if self.scene.stale:
            return Changed.NOTHING
        picture, problem = self._gather()
        return self._set(picture=picture, problem=problem)

    def _no_entry(self, neuron: Neuron) -> "Entry | None":
        """What the notebook holds on a neuron that has no mark, which most have not; None if it must be read."""
        if not self.notebook_read or neuron in self.scene.noted.marks:
            return None
        from vlmscope.core.notebook.values import Entry

        return Entry(neuron)

    def _load_promoted(self, neuron: Neuron) -> None:
        model = self.store.manifest.model
        if self._kept_promoted is None:
            self._kept_promoted = kept_promoted(model, PROMOTED)
        found = load_promoted(model, neuron, PROMOTED) if neuron in self._kept_promoted else None
        if found is not None:
            self.promoted[neuron] = found

    def _meaning(self, entry: "Entry | None") -> Meaning:
        """All that is known in words about the page's neuron."""
        neuron, scene = self.state.neuron, self.scene
        return Meaning(
            neuron=neuron,
            concepts=None if scene.columns.concepts is None else scene.columns.concepts.of(neuron),
            whole=self.store.manifest.progress is None,
            published=self.published.get(neuron),
            entry=entry,
            scores={} if entry is None or not entry.scores else reports_of(entry),
            entry_problem=scene.entry_problem,
            promoted=self.promoted.get(neuron),
            promoted_note=self.promoted_notes.get(neuron, ""),
            asking=next((words for (_, at), words in scene.doing.items() if at == neuron), ""),
            explain_key=self._keys.explain,
            promoted_key=self._keys.promoted,
            choose_key=self._keys.choose,
        )

    def _refresh_words(self, **changes: Any) -> Changed:
        """Make ``changes`` that the page's words depend on; while it is stale the words wait, as the picture does."""
        changed = self._set(**changes)
        if self.scene.stale or self.scene.meaning is None:
            return changed
        meaning = self._meaning(self.scene.entry)
        return changed | self._set(meaning=meaning, score=self._score(self.state, meaning))

    def _score(self, state: State, meaning: Meaning | None) -> ScoreView | None:
        if state.mode is not Mode.SCORE or meaning is None or meaning.entry is None:
            return None
        return score_view(meaning.entry, self._outcomes, state.example, self.store)

    # -- what the model answers ----------------------------------------------------------------------------------

    def set_model(self, status: ModelStatus, *, asking: bool, busy: bool) -> Changed:
        """The model process is in another state."""
        return self._set(status=status, asking=asking, busy=busy)

    def take_map(self, answer: MapAnswer, image: str) -> Changed:
        """Keep a map; ``image`` as the picture's evidence names it. One of a picture that was left is dropped."""
        own = self.state.own
        if answer.sample is None and (own is None or not own.described or own.image != answer.image):
            return Changed.NOTHING
        self.answers[answer.neuron, answer.sample, image] = answer
        while len(self.answers) > ANSWERS:
            self.answers.popitem(last=False)
        return self._refresh_picture() if self._shows((answer.neuron, answer.sample, image)) else Changed.NOTHING

    def no_map(self, key: MapKey, reason: str) -> Changed:
        """There will be no map of what the page shows."""
        if not self._shows(key):
            return Changed.NOTHING
        self.problems[key] = reason
        return self._refresh_picture()

    def _shows(self, key: MapKey) -> bool:
        return self.scene.picture is not None and self.scene.picture.key == key and not self.scene.stale

    def show_own(self, own: OwnPicture) -> Changed:
        """Put the user's own picture under the neuron."""
        self._forget_own()
        mode = Mode.PICTURES if self.state.mode is Mode.STATISTICS else self.state.mode
        return self.change_state(own=own, mode=mode, pane=Pane.PAGE)

    def leave_own(self) -> Changed:
        """Go back to the neuron's own samples."""
        self._forget_own()
        return self.change_state(own=None)

    def _forget_own(self) -> None:
        """The same picture may come again with other words: its maps are not the same then."""
        for key in [key for key in self.answers if key[1] is None]:
            del self.answers[key]
        for key in [key for key in self.problems if key[1] is None]:
            del self.problems[key]

    def take_promoted(self, answer: PromotedAnswer) -> Changed:
        """Keep the tokens that a neuron promotes."""
        self.promoted[answer.neuron] = answer
        return self.note_promoted(answer.neuron, "")

    def note_promoted(self, neuron: Neuron, note: str) -> Changed:
        """Why a neuron's promoted tokens are not known; empty: nobody asked for them."""
        self.promoted_notes.pop(neuron, None)
        if note:
            self.promoted_notes[neuron] = note
        return self._refresh_words() if neuron == self.state.neuron else Changed.NOTHING

    # -- what the notebook holds ---------------------------------------------------------------------------------

    def take_noted(self, noted: Noted) -> Changed:
        """The notebook was read as a whole."""
        self.notebook_read = True
        return self._relist(noted, signs_of(noted.marks, self.published))

    def take_entry(self, entry: "Entry", score: float | None = None, outcome: "Outcome | None" = None) -> Changed:
        """The notebook holds something else on one neuron.

        Args:
            score: the one that the list is sorted by, if it is another one now.
            outcome: of the score that was computed just now.
        """
        neuron, mark = entry.neuron, mark_of(entry)
        if outcome is not None:
            self._outcomes[neuron, outcome.report.backend, outcome.report.explanation] = outcome
        noted = self.scene.noted.with_mark(neuron, mark, self.store.neurons, score)
        marks = {**self.scene.marks, neuron: sign_of(mark, neuron in self.published)}
        return self._relist(noted, marks) | self.show_entry(entry)

    def _relist(self, noted: Noted, marks: Mapping[Neuron, str]) -> Changed:
        """Take the notebook's columns, and find the rows again if they depend on them."""
        filter_, changes = self.state.filter, {"noted": noted, "marks": marks}
        by_notebook = filter_.verdict or filter_.explained or filter_.scored or filter_.bookmarked
        if not by_notebook and self.state.order is not Order.SCORE:
            return self._set(**changes)
        selection = self._select(self.state, noted=noted)
        return self._set(**changes, selection=selection, cursor=_row_of(selection, self.state.neuron))

    def show_entry(self, entry: "Entry") -> Changed:
        """Show what the notebook holds on the page's neuron; another neuron's is dropped."""
        if entry.neuron != self.state.neuron:
            return Changed.NOTHING
        return self._refresh_words(entry=entry, entry_problem="")

    def set_entry_problem(self, problem: str) -> Changed:
        """There is no notebook, and why."""
        return self._refresh_words(entry_problem=problem) if problem != self.scene.entry_problem else Changed.NOTHING

    def set_doing(self, what: str, neuron: Neuron, words: str) -> Changed:
        """Something is being done to a neuron in the background; no ``words``: it is over."""
        doing = {key: value for key, value in self.scene.doing.items() if key != (what, neuron)}
        if words:
            doing[what, neuron] = words
        return self._refresh_words(doing=doing) if neuron == self.state.neuron else self._set(doing=doing)

    def set_spent(self, spent: str) -> Changed:
        """Requests to an API have cost something."""
        return self._set(spent=spent)

    # -- the scan and its labels ---------------------------------------------------------------------------------

    def take_concepts(self) -> Changed:
        """Read the scan's concepts, which the first paint does not need.

        Raises:
            StoreError: if they are damaged.
        """
        columns = self.scene.columns
        return self._refresh_words(columns=Columns(columns.store, columns.labels, columns.store.concepts))

    def take_labels(self, columns: Columns) -> Changed:
        """Show new labels, unless later ones are on their way, or they are those of an earlier checkpoint."""
        labels = columns.labels
        if labels.thresholds != self.wanted or columns.store is not self.store:
            return Changed.NOTHING
        state = replace(self.state, thresholds=labels.thresholds)
        selection = self._select(state, columns)
        stale = self.scene.stale
        changed = self._set(
            columns=columns,
            counts=count(labels),
            state=state,
            selection=selection,
            cursor=_row_of(selection, state.neuron),
            firmness=None if stale else self._firmness(state.neuron, labels.thresholds),
        )
        return changed | self._refresh_picture()

    def replace_store(self, columns: Columns) -> Changed:
        """Go on with a later checkpoint of the same scan; the page is stale then.

        What is chosen and filtered stays.

        Args:
            columns: of the new checkpoint, at the thresholds that were asked for last.
        """
        store = columns.store
        rank = min(self.state.rank, max(columns.labels.valid - 1, 0))
        self._take_store(store)
        changed = self._set(
            # The columns alone are taken further down: labels of any store but the one of now are dropped.
            columns=replace(self.scene.columns, store=store, concepts=columns.concepts),
            has_concepts=store.has_concepts,
            state=replace(self.state, rank=rank),
            facts=None,
            stale=True,
        )
        return changed | self.take_labels(columns)

    def set_scanning(self, scanning: bool) -> Changed:
        """Whether somebody is at work on the scan."""
        return self._set(scanning=scanning)

    def set_control(self, control: ControlCounts) -> Changed:
        """The control's neurons are labelled; at other thresholds than those of now they are dropped."""
        return self._set(control=control) if control.thresholds == self.state.thresholds else Changed.NOTHING


def _row_of(selection: Selection, neuron: Neuron) -> int | None:
    """The row of ``neuron``, or the nearest one where the list does not hold it."""
    position = selection.position(neuron)
    return selection.nearest(neuron) if position is None else position
