"""One session of browsing: what is shown, as one frozen value, and which parts of the screen each change affects.

No screen is needed here. Every method that changes something returns the parts of the screen to be painted. A move
makes the page stale: its picture, facts and words come with ``load_page``, at once or, while a key is
held, when it rests.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.firmness import neuron_firmness
from vlmscope.core.analysis.published import published
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.method.labels import Labels
from vlmscope.core.notebook.values import MarkBit
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import MapAnswer, PromotedAnswer
from vlmscope.core.worker.promoted_cache import kept_promoted, load_promoted
from vlmscope.tui.views.ablation import AblationView
from vlmscope.tui.views.check import CheckView, check_view
from vlmscope.tui.views.columns import Columns, Noted, TextHits, TextTerm, text_terms
from vlmscope.tui.views.depends import changed_parts
from vlmscope.tui.views.filters import Filter
from vlmscope.tui.views.history import History, Place
from vlmscope.tui.views.meaning import Meaning, judged_of, reports_of
from vlmscope.tui.views.noted import with_paper
from vlmscope.tui.views.scene import Changed, LayerCounts, Scene
from vlmscope.tui.views.score import ScoreView, score_view
from vlmscope.tui.views.selection import Selection, select
from vlmscope.tui.views.state import Ablating, Listed, Mode, Pane, SetKind, State

if TYPE_CHECKING:
    from vlmscope.core.causal.ablation import Ablation
    from vlmscope.core.notebook.texts import FoldedTexts
    from vlmscope.core.notebook.values import Entry, SavedCheck
    from vlmscope.core.scoring.simulation import Outcome
    from vlmscope.tui.views.evidence import PictureView

ANSWERS = 256  #: maps from the model that are kept
ABLATIONS = 256  #: ablations that are kept
ASKING = "asking the model …"
PROMOTED = 24  #: tokens asked for on either side: many are one word in several spellings
MapKey = tuple[Neuron, int | None, str]  #: a neuron on a sample, or on the user's own picture


@dataclass(frozen=True)
class AblationKey:
    """Which ablation the page shows.

    Attributes:
        neuron: None for a set, which is the same on every neuron's page.
        sample, image: as in ``MapKey``.
    """

    neuron: Neuron | None
    sample: int | None
    image: str
    ablating: Ablating


@dataclass(frozen=True)
class AskKeys:
    """The keys that ask for what the page lacks, as the user has mapped them."""

    explain: str = "E"
    promoted: str = "w"
    choose: str = "c"
    score: str = "s"
    check: str = "C"
    exact_map: str = "X"


def _across(store: ScanStore, neuron: Neuron) -> int:
    from vlmscope.tui.views.evidence import range_samples

    return len(range_samples(store, neuron))


def count(labels: Labels) -> LayerCounts:
    """How many neurons of each layer have each label."""
    return tuple((int(v), int(t), int(m), int(u)) for v, t, m, u in labels.counts())


class Session:
    """The scene and its changes; beside it what was computed in this session."""

    def __init__(
        self,
        store: ScanStore,
        start: Neuron | None = None,
        name: str = "demo",
        colour_map: ColourMap | None = None,
        keys: AskKeys = AskKeys(),
    ) -> None:
        """Begin on ``store``, which the title calls ``name``, with the neuron ``start`` if there is one."""
        self.started_at = start
        self.published = published(store.manifest)
        self.notebook_read = False
        self.texts: FoldedTexts | None = None  #: the notebook's, as they are now; None if they are not read
        self.text_hits: dict[TextTerm, NDArray[np.int64]] = {}  #: found in texts that are too many to be kept
        self.before: State | None = None  #: from before a line that is being typed has filtered the list
        self.history = History()
        self.answers: OrderedDict[MapKey, MapAnswer] = OrderedDict()
        self.problems: dict[MapKey, str] = {}  #: why there is no map
        self.ablations: OrderedDict[AblationKey, Ablation] = OrderedDict()
        self.set_checks: tuple[SavedCheck, ...] = ()  #: the notebook's, newest first; read when they are shown
        self.ablation_problems: dict[AblationKey, str] = {}  #: why there is none
        self.promoted: dict[Neuron, PromotedAnswer] = {}
        self.promoted_notes: dict[Neuron, str] = {}  #: why there are none, or that the model is being asked
        self.model_busy = False
        self._keys = keys
        self.outcomes: dict[tuple[Neuron, str, str], Outcome] = {}
        self._kept_promoted: frozenset[Neuron] | None = None
        labels = store.stored_labels()
        self.wanted = labels.thresholds  #: asked for last; their labels may still be computed
        state = State(
            neuron=start or store.numbering.at(0, 0),
            thresholds=labels.thresholds,
            colour_map=colour_map,
            pane=Pane.LIST if start is None else Pane.PAGE,
        )
        columns = Columns(store, labels, None)
        noted = Noted.empty(store.layers, store.neurons)
        selection = select(columns, noted, state.filter, state.order, state.neuron.layer)
        self.scene = Scene(
            scan_name=name,
            state=state,
            columns=columns,
            has_concepts=store.has_concepts,
            counts=count(labels),
            selection=selection,
            cursor=selection.nearest(state.neuron),
            listed=len(selection.rows) > 0,
            noted=noted,
            published=self.published.keys(),
            map_key=keys.exact_map,
        )
        self.take_store(store)

    def take_store(self, store: ScanStore) -> None:
        """Forget what was computed from another checkpoint."""
        self.firmness = lru_cache(maxsize=64)(lambda neuron, at: neuron_firmness(store, neuron, at))
        #: How many panel samples the page shows after a neuron's top samples.
        self.across = lru_cache(maxsize=64)(lambda neuron: _across(store, neuron))

    @property
    def state(self) -> State:
        """What the user chose."""
        return self.scene.state

    @property
    def store(self) -> ScanStore:
        """The scan as it is now."""
        return self.scene.columns.store

    def change(self, **changes: Any) -> Changed:
        """Show the scene with other values of these fields."""
        old = self.scene
        self.scene = replace(old, **changes)
        return changed_parts(old, self.scene)

    # -- the state -----------------------------------------------------------------------------------------------

    def set_state(
        self, state: State, cursor: int | None = None, *, selection: Selection | None = None, step: bool = False
    ) -> Changed:
        """Take a new state, and find its rows.

        Args:
            cursor: the row of the state's neuron, where it is known.
            selection: the state's rows, where they are known.
            step: it is a step to a neighbour; after others the place that was left can be gone back to.
        """
        scene = self.scene
        old, found, selection = scene.state, selection, scene.selection
        if not step and place_of(old) != place_of(state):
            self.history = self.history.leave(place_of(old))
        if old.neuron != state.neuron:
            state = replace(state, score=0, check=0)  # another neuron's are shown from the first one on
            if self._lacks_page(state):
                state = replace(state, mode=Mode.PICTURES)
        other_layer = old.neuron.layer != state.neuron.layer and not state.filter.whole
        if other_layer or (old.filter, old.order) != (state.filter, state.order):
            selection, cursor = self.select(state) if found is None else found, None
        changes: dict[str, Any] = {"state": state, "selection": selection}
        if cursor is not None:
            changes |= {"cursor": cursor, "listed": True}
        elif selection is not scene.selection or old.neuron != state.neuron:
            changes |= place_in(selection, state.neuron)
        moved = (old.neuron, old.rank, old.own, old.pinned) != (state.neuron, state.rank, state.own, state.pinned)
        if moved:
            changes |= {"stale": True, "firmness": None}
        if Mode.SCORE in (old.mode, state.mode):
            changes["score"] = self._score(state, scene.meaning)
        if state.mode is Mode.ABLATION and old.mode is not Mode.ABLATION:
            self.ablation_problems.clear()  # what was stopped or refused is asked again
        if Mode.CHECK in (old.mode, state.mode):
            changes["check"] = self._check(state, scene.meaning)
        changed = self.change(**changes)
        return changed | self.refresh_ablation() if Mode.ABLATION in (old.mode, state.mode) else changed

    def _lacks_page(self, state: State) -> bool:
        """Whether the state's page has nothing of its neuron: a step leaves it then, for the pictures."""
        noted, neuron = self.scene.noted, state.neuron
        if not self.notebook_read or any(at == neuron for _, at in self.scene.doing):
            return False
        if state.mode is Mode.SCORE:
            return not noted.bits_of(neuron) & MarkBit.SCORED
        return state.mode is Mode.CHECK and not state.set_check and neuron not in noted.checked

    def change_state(self, **changes: Any) -> Changed:
        """``set_state`` with the state as it is but for ``changes``."""
        return self.set_state(replace(self.state, **changes))

    def go(self, neuron: Neuron, *, step: bool = False) -> Changed:
        """Go to any neuron of the model; its first top sample, or the user's picture, comes with it."""
        return self.set_state(replace(self.state, neuron=neuron, rank=0), step=step)

    def go_row(self, position: int, *, step: bool = False) -> Changed:
        """Go to a row of the list, the first or the last one for a number outside the list."""
        selection = self.scene.selection
        if not len(selection.rows):
            return Changed.NOTHING
        position = min(max(position, 0), len(selection.rows) - 1)
        return self.set_state(replace(self.state, neuron=selection.at(position), rank=0), position, step=step)

    def step(self, by: int) -> Changed:
        """Go ``by`` rows further, from the row nearest to the page's neuron if the list does not hold it."""
        scene = self.scene
        if scene.cursor is None:
            return Changed.NOTHING
        if scene.listed:
            return self.go_row(scene.cursor + by, step=True)
        nearest = scene.selection.nearest(scene.state.neuron, by)
        return Changed.NOTHING if nearest is None else self.go_row(nearest, step=True)

    def set_filter(self, filter_: Filter) -> Changed:
        """List other neurons; the one on the page stays if it is among them, else the nearest one is shown."""
        return self.set_list(replace(self.state, filter=filter_))

    def set_list(self, state: State, selection: Selection | None = None) -> Changed:
        """``set_filter`` with all of a new state; ``selection``: its rows, where they are known."""
        changed = self.set_state(state, selection=selection)
        cursor = self.scene.cursor
        return changed if self.scene.listed or cursor is None else changed | self.go_row(cursor, step=True)

    def preview(self, listed: Listed, selection: Selection) -> Changed:
        """List what a line that is being typed asks for; the page stays as it is.

        ``before`` becomes the state that ``end_preview`` goes back to.
        """
        if self.before is None:
            self.before = self.state
        state = replace(self.state, filter=listed.filter, order=listed.order, pane=Pane.LIST)
        position = selection.position(state.neuron)
        cursor = position if position is not None else 0 if len(selection) else None
        return self.change(state=state, selection=selection, cursor=cursor, listed=position is not None)

    def end_preview(self) -> Changed:
        """List again what was listed before a line was typed."""
        before, self.before = self.before, None
        if before is None:
            return Changed.NOTHING
        state = replace(self.state, filter=before.filter, order=before.order, pane=before.pane)
        selection = self.select(state)
        return self.change(state=state, selection=selection, **place_in(selection, state.neuron))

    @property
    def kept_state(self) -> State:
        """What the next session continues with: a line that is still being typed does not count."""
        if self.before is None:
            return self.state
        return replace(self.state, filter=self.before.filter, order=self.before.order)

    def hits(self, filter_: Filter) -> TextHits:
        """Which neurons' texts have what a filter asks for, as far as the notebook's texts are read."""
        return {term: self._hits_of(term) for term in text_terms(filter_)}

    def _hits_of(self, term: TextTerm) -> NDArray[np.int64]:
        kind, words = term
        if self.texts is not None:
            found = self.texts.find(words, kind)
        else:
            found = self.text_hits.get(term, np.zeros(0, dtype=np.int64))
        return found if kind is not None else with_paper(found, words, self.published, self.store.neurons)

    def select(self, state: State, columns: Columns | None = None, noted: Noted | None = None) -> Selection:
        columns, noted = columns or self.scene.columns, noted or self.scene.noted
        return select(columns, noted, state.filter, state.order, state.neuron.layer, self.hits(state.filter))

    # -- the page ------------------------------------------------------------------------------------------------

    def load_page(self) -> Changed:
        """Gather the picture, the facts and the words of the state's neuron; the page is not stale after that."""
        from vlmscope.tui.views.evidence import gather_facts

        scene, neuron = self.scene, self.state.neuron
        picture, problem, beside = self._gather()
        facts = scene.facts if scene.facts is not None and scene.facts.neuron == neuron else None
        entry = scene.entry if scene.entry is not None and scene.entry.neuron == neuron else self._no_entry(neuron)
        if neuron not in self.promoted:
            self._load_promoted(neuron)
        meaning = self._meaning(entry)
        changed = self.change(
            stale=False,
            picture=picture,
            problem=problem,
            beside=beside,
            firmness=self.firmness(neuron, self.state.thresholds),
            facts=facts or gather_facts(self.store, neuron),
            entry=entry,
            meaning=meaning,
            score=self._score(self.state, meaning),
            check=self._check(self.state, meaning),
        )
        return changed | self.refresh_ablation()

    @property
    def ablation_key(self) -> AblationKey | None:
        """The ablation that the page needs; None where it shows none, or its picture is not there yet."""
        scene, state = self.scene, self.state
        picture = scene.picture
        if state.mode is not Mode.ABLATION or scene.stale or picture is None:
            return None
        if state.own is not None and not state.own.described:
            return None
        neuron = state.neuron if state.ablating.kind is SetKind.NEURON else None
        return AblationKey(neuron, picture.sample, picture.image, state.ablating)

    def refresh_ablation(self) -> Changed:
        """Show the ablation of the page's neuron and picture, if it is there."""
        old = self.scene.ablation
        if self.state.mode is not Mode.ABLATION:
            return Changed.NOTHING if old is None else self.change(ablation=None)
        key = self.ablation_key
        found = None if key is None else self.ablations.get(key)
        problem = "" if key is None else self.ablation_problems.get(key, "")
        if old is not None and old.ablation is found and old.problem == problem:
            return Changed.NOTHING
        doing = "" if found is not None or problem else ASKING
        return self.change(ablation=AblationView(found, 0, problem, doing, self._keys.check))

    def forget_problems(self) -> bool:
        """Forget why the model has no answers, which may be another reason now; False where there is none."""
        had = bool(self.problems or self.ablation_problems)
        self.problems.clear()
        self.ablation_problems.clear()
        return had

    def forget_ablations(self, which: Callable[[AblationKey], bool] = lambda _: True) -> None:
        """Forget ablations, and why others are missing; the set of kept or tagged neurons may be another, too."""
        for kept in (self.ablations, self.ablation_problems):
            for key in [key for key in kept if which(key)]:
                del kept[key]

    def refresh_picture(self) -> Changed:
        """Gather the picture again, unless the page is stale: then it comes with the page."""
        if self.scene.stale:
            return Changed.NOTHING
        picture, problem, beside = self._gather()
        return self.change(picture=picture, problem=problem, beside=beside)

    def _gather(self) -> "tuple[PictureView | None, str, PictureView | None]":
        from vlmscope.tui.views.evidence import gather, gather_pinned

        beside = gather_pinned(self.store, self.state, self.answers, self.problems)
        return *gather(self.store, self.state, self.answers, self.problems), beside

    def _no_entry(self, neuron: Neuron) -> "Entry | None":
        """The empty entry of a neuron that nothing was noted on, as most are; None if the notebook must be read."""
        noted = self.scene.noted
        marked = noted.bits[neuron.layer * noted.neurons + neuron.index]  # every step asks: no call
        if not self.notebook_read or marked or neuron in noted.checked or neuron in noted.reviewed:
            return None
        from vlmscope.core.notebook.values import Entry

        return Entry(neuron)

    def _load_promoted(self, neuron: Neuron) -> None:
        model = self.store.manifest.model
        if self._kept_promoted is None:
            self._kept_promoted = kept_promoted(model, PROMOTED)
        found = load_promoted(model, neuron, PROMOTED) if neuron.whole in self._kept_promoted else None
        if found is not None:
            self.promoted[neuron] = found

    def _meaning(self, entry: "Entry | None") -> Meaning:
        """Everything in words about the page's neuron."""
        neuron, scene = self.state.neuron, self.scene
        return Meaning(
            neuron=neuron,
            concepts=None if scene.columns.concepts is None else scene.columns.concepts.of(neuron),
            whole=self.store.manifest.progress is None,
            published=self.published.get(neuron),
            entry=entry,
            scores={} if entry is None or not entry.scores else reports_of(entry),
            judged={} if entry is None or not (entry.scores or entry.own_scores) else judged_of(entry),
            entry_problem=scene.entry_problem,
            promoted=self.promoted.get(neuron),
            promoted_note=self.promoted_notes.get(neuron, ""),
            asking=next((words for (_, at), words in scene.doing.items() if at == neuron), ""),
            explain_key=self._keys.explain,
            promoted_key=self._keys.promoted,
            choose_key=self._keys.choose,
            score_key=self._keys.score,
        )

    def refresh_words(self, **changes: Any) -> Changed:
        """Make ``changes`` that the page's words depend on; while it is stale the words wait, as the picture does."""
        changed = self.change(**changes)
        if self.scene.stale or self.scene.meaning is None:
            return changed
        meaning = self._meaning(self.scene.entry)
        score, check = self._score(self.state, meaning), self._check(self.state, meaning)
        return changed | self.change(meaning=meaning, score=score, check=check)

    def _score(self, state: State, meaning: Meaning | None) -> ScoreView | None:
        if state.mode is not Mode.SCORE or meaning is None or meaning.entry is None:
            return None
        return score_view(meaning.entry, self.outcomes, state.score, state.example, self.store)

    def _check(self, state: State, meaning: Meaning | None) -> CheckView | None:
        if state.mode is not Mode.CHECK or meaning is None or meaning.neuron != state.neuron:
            return None
        saved = self.set_checks if state.set_check else () if meaning.entry is None else meaning.entry.checks
        return check_view(saved, state.check, meaning.asking, self._keys.check)


def place_of(state: State) -> Place:
    """Where the user is, to be gone back to."""
    return Place(state.neuron, Listed(state.filter, state.order), state.left)


def place_in(selection: Selection, neuron: Neuron) -> dict[str, Any]:
    """The scene's ``cursor`` and ``listed``: the row of ``neuron``, or the nearest one."""
    position = selection.position(neuron)
    listed = position is not None
    return {"cursor": position if listed else selection.nearest(neuron), "listed": listed}
