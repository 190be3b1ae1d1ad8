"""One session of browsing: what is shown, as one frozen value, and which parts of the screen each change affects.

No screen is needed here. Every method that changes something returns the parts of the screen to be painted. A move
makes the page stale: its picture, facts and words come with ``load_page``, at once or, while a key is
held, when it rests.
"""

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.firmness import neuron_firmness
from vlmscope.core.analysis.published import published
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.notebook.values import MarkBit
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.browse.answers import Answers, needed_ablation
from vlmscope.tui.browse.page_words import AskKeys, check_of, empty_entry, meaning_of, score_of
from vlmscope.tui.views.ablation import AblationView
from vlmscope.tui.views.columns import Columns, Noted, TextTerm
from vlmscope.tui.views.depends import changed_parts
from vlmscope.tui.views.filters import Filter
from vlmscope.tui.views.history import History, place_of
from vlmscope.tui.views.meaning import Meaning
from vlmscope.tui.views.noted import found_texts
from vlmscope.tui.views.scene import Changed, Scene, layer_counts
from vlmscope.tui.views.selection import Selection, place_in, select
from vlmscope.tui.views.state import Listed, Mode, Pane, State

if TYPE_CHECKING:
    from vlmscope.core.notebook.texts import FoldedTexts
    from vlmscope.core.notebook.values import Entry, SavedCheck
    from vlmscope.core.scoring.simulation import Outcome
    from vlmscope.tui.views.evidence import PictureView

ASKING = "asking the model …"
_KEYS = AskKeys()  # where the user has mapped none


def _across(store: ScanStore, neuron: Neuron) -> int:
    from vlmscope.tui.views.evidence import range_samples

    return len(range_samples(store, neuron))


class Session:
    """The scene and its changes; beside it what was computed in this session."""

    def __init__(
        self,
        store: ScanStore,
        start: Neuron | None = None,
        name: str = "demo",
        colour_map: ColourMap | None = None,
        keys: AskKeys = _KEYS,
    ) -> None:
        """Begin on ``store``, which the title calls ``name``, with the neuron ``start`` if there is one."""
        self.started_at = start
        self.published = published(store.manifest)
        self.notebook_read = False
        self.texts: FoldedTexts | None = None  #: the notebook's, as they are now; None if they are not read
        self.text_hits: dict[TextTerm, NDArray[np.int64]] = {}  #: found in texts that are too many to be kept
        self.before: State | None = None  #: from before a line that is being typed has filtered the list
        self.history = History()
        self.answers = Answers()
        self.set_checks: tuple[SavedCheck, ...] = ()  #: the notebook's, newest first; read when they are shown
        self.model_busy = False
        self._keys = keys
        self.outcomes: dict[tuple[Neuron, str, str], Outcome] = {}
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
            counts=layer_counts(labels),
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
            changes["score"] = score_of(state, scene.meaning, self.outcomes, scene.columns.store)
        if state.mode is Mode.ABLATION and old.mode is not Mode.ABLATION:
            self.answers.ablation_problems.clear()  # what was stopped or refused is asked again
        if Mode.CHECK in (old.mode, state.mode):
            changes["check"] = check_of(state, scene.meaning, self.set_checks, self._keys.check)
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

    def select(self, state: State, columns: Columns | None = None, noted: Noted | None = None) -> Selection:
        columns, noted = columns or self.scene.columns, noted or self.scene.noted
        hits = found_texts(state.filter, self.texts, self.text_hits, self.published, self.store.neurons)
        return select(columns, noted, state.filter, state.order, state.neuron.layer, hits)

    # -- the page ------------------------------------------------------------------------------------------------

    def load_page(self) -> Changed:
        """Gather the picture, the facts and the words of the state's neuron; the page is not stale after that."""
        from vlmscope.tui.views.evidence import gather_facts

        scene, neuron = self.scene, self.state.neuron
        picture, problem, beside = self._gather()
        facts = scene.facts if scene.facts is not None and scene.facts.neuron == neuron else None
        entry = scene.entry if scene.entry is not None and scene.entry.neuron == neuron else None
        if entry is None and self.notebook_read:
            entry = empty_entry(scene.noted, neuron)
        self.answers.load_promoted(self.store.manifest.model, neuron)
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
            score=score_of(self.state, meaning, self.outcomes, self.store),
            check=check_of(self.state, meaning, self.set_checks, self._keys.check),
        )
        return changed | self.refresh_ablation()

    def refresh_ablation(self) -> Changed:
        """Show the ablation of the page's neuron and picture, if it is there."""
        old = self.scene.ablation
        if self.state.mode is not Mode.ABLATION:
            return Changed.NOTHING if old is None else self.change(ablation=None)
        key = needed_ablation(self.scene)
        found = None if key is None else self.answers.ablations.get(key)
        problem = "" if key is None else self.answers.ablation_problems.get(key, "")
        if old is not None and old.ablation is found and old.problem == problem:
            return Changed.NOTHING
        doing = "" if found is not None or problem else ASKING
        return self.change(ablation=AblationView(found, 0, problem, doing, self._keys.check))

    def refresh_picture(self) -> Changed:
        """Gather the picture again, unless the page is stale: then it comes with the page."""
        if self.scene.stale:
            return Changed.NOTHING
        picture, problem, beside = self._gather()
        return self.change(picture=picture, problem=problem, beside=beside)

    def _gather(self) -> "tuple[PictureView | None, str, PictureView | None]":
        from vlmscope.tui.views.evidence import gather, gather_pinned

        of = self.store, self.state, self.answers.maps, self.answers.map_problems
        return *gather(*of), gather_pinned(*of)

    def _meaning(self, entry: "Entry | None") -> Meaning:
        return meaning_of(self.scene, entry, self.published.get(self.state.neuron), self.answers, self._keys)

    def refresh_words(self, **changes: Any) -> Changed:
        """Make ``changes`` that the page's words depend on; while it is stale the words wait, as the picture does."""
        changed = self.change(**changes)
        if self.scene.stale or self.scene.meaning is None:
            return changed
        meaning = self._meaning(self.scene.entry)
        score = score_of(self.state, meaning, self.outcomes, self.store)
        check = check_of(self.state, meaning, self.set_checks, self._keys.check)
        return changed | self.change(meaning=meaning, score=score, check=check)
