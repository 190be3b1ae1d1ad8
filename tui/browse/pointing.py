"""Lists of neurons: related ones, those that fire at a place, that a word rests on, that two groups tell apart.

Each list opens at once, and is filled when it is there. Leaving it stops what is still being asked for it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import Cancelled, UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.worker.client import Lane
from vlmscope.core.worker.messages import Phase
from vlmscope.tui.browse.asked_picture import asked_picture
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import AskChoice, AskNeurons, Choice, NeuronsFound, Notice, Post, Repaint
from vlmscope.tui.views.neurons import NeuronTable
from vlmscope.tui.views.pointer import Pointer

if TYPE_CHECKING:
    from vlmscope.core.analysis.pointing import Rule
    from vlmscope.core.causal.pictures import Described
    from vlmscope.core.method.place import Place
    from vlmscope.tui.views.evidence import PictureView

LIMIT = 50  #: neurons of a list
ASKING = "asking the model …"


class _List:
    """One open list: the question that stands on the screen, and the work that fills it.

    Attributes:
        rule: by which it is made; None where there is one alone.
        of_all: whether the model was asked for all neurons.
    """

    def __init__(self, control: "PointControl", title: str, rules: Callable[[], AskChoice] | None = None) -> None:
        self._post, self._tasks = control.post, control.tasks
        self._work: asyncio.Task[None] | None = None
        self.title = title
        self._table = NeuronTable(title, ("…",))
        self.rule: Rule | None = None
        self.of_all = False
        self.question = AskNeurons(lambda: self._table, control.go, self.stop, rules)

    def fill(self, work: Coroutine[None, None, NeuronTable], waiting: str = "…") -> None:
        """Do ``work``, and show its table, or why there is none; what filled the list before is stopped."""
        self.stop()
        self.show(NeuronTable(self.title, (waiting,)))
        self._work = self._tasks.run_task(self._fill(work))

    async def _fill(self, work: Coroutine[None, None, NeuronTable]) -> None:
        try:
            self.show(await work)
        except Cancelled:
            self.show(NeuronTable(self.title, ("Stopped.",)))
        except VlmscopeError as error:
            self.show(NeuronTable(self.title, tuple(str(error).splitlines())))

    def show(self, table: NeuronTable) -> None:
        self._table = replace(table, title=self.title)
        self._post(NeuronsFound(self.question))

    def stop(self) -> None:
        if self._work is not None:
            self._work.cancel()


@dataclass(eq=False)
class PointControl:
    """Opens lists of neurons and fills them."""

    session: Session
    link: ModelLink
    post: Post
    tasks: Tasks

    def go(self, neuron: Neuron) -> None:
        """Go to a neuron of a list; the sample that is shown is another then, the user's own picture stays."""
        self.post(Repaint(self.session.go(neuron)))

    # -- where the user points -----------------------------------------------------------------------------------

    def here(self) -> AskNeurons | None:
        """The neurons that fire where the page points.

        Without the model they are those that have the picture among their top samples; a rule that needs the model
        loads it.

        Raises:
            VlmscopeError: if there is no such place.
        """
        from vlmscope.core.analysis.pointing import Rule

        scene, state = self.session.scene, self.session.state
        picture = scene.picture
        if scene.stale or picture is None or (state.own is not None and not state.own.described):
            self.post(Notice("There is nothing to point at yet."))
            return None
        place = _place_of(picture, state.pointer)
        opened = _List(self, f"neurons at {place.name}", lambda: self._choose_rule(opened, place, picture))
        loaded = self.link.status.phase in (Phase.READY, Phase.BUSY)
        self._fill_here(opened, place, picture, Rule.BAR, ask=loaded or picture.sample is None)
        return opened.question

    def _choose_rule(self, opened: "_List", place: "Place", picture: "PictureView") -> AskChoice:
        from vlmscope.core.analysis.pointing import Rule
        from vlmscope.tui.dialogs.tables import RULES, rule_text

        rules = {letter: rule for letter, rule in RULES.items() if rule is not Rule.EFFECT or place.text}
        choices = [
            Choice(letter, rule_text(rule), rule is opened.rule and not opened.of_all) for letter, rule in rules.items()
        ]
        choices.append(Choice("a", "all neurons, by the same rule: asks the model", opened.of_all))

        def chosen(letter: str) -> None:
            rule = rules.get(letter) or opened.rule or Rule.BAR
            ask = letter == "a" or picture.sample is None or rule.needs_model or opened.of_all
            self._fill_here(opened, place, picture, rule, ask=ask)

        return AskChoice("by which rule", choices, chosen)

    def _fill_here(self, opened: "_List", place: "Place", picture: "PictureView", rule: "Rule", *, ask: bool) -> None:
        opened.rule, opened.of_all = rule, ask
        if ask:
            opened.fill(self._all_here(place, picture, rule), ASKING)
        else:
            opened.fill(self._own_here(place, picture, rule))

    async def _own_here(self, place: "Place", picture: "PictureView", rule: "Rule") -> NeuronTable:
        """From the scan alone."""
        from vlmscope.core.analysis.pointing import point_in_scan
        from vlmscope.tui.dialogs.tables import pointed_table

        store, labels, sample = self.session.store, self.session.scene.columns.labels, picture.sample
        assert sample is not None
        found = await asyncio.to_thread(point_in_scan, store, labels, sample, place, rule, LIMIT)
        return pointed_table(found, store.valid)

    async def _all_here(self, place: "Place", picture: "PictureView", rule: "Rule") -> NeuronTable:
        """From the model, of all neurons."""
        from vlmscope.core.causal.pointing import point
        from vlmscope.core.causal.trained import check_trained
        from vlmscope.tui.dialogs.tables import pointed_table

        store, labels = self.session.store, self.session.scene.columns.labels
        check_trained(store)
        asked = asked_picture(self.session, picture.sample, self.link.allow_key)
        found = await point(self.link, store, labels, asked, place, rule, LIMIT, Lane.BACKGROUND)
        return pointed_table(found, store.valid)

    # -- the word ------------------------------------------------------------------------------------------------

    def effects(self, word: str) -> AskNeurons:
        """The neurons on which a word of the page's description rests: estimated of all, then measured of the first.

        Raises:
            UsageError: if the description lacks the word, or the picture is not at hand.
            StoreError: if the scan is damaged.
        """
        from vlmscope.core.causal.trained import check_trained
        from vlmscope.core.method.place import word_place

        check_trained(self.session.store)
        picture = self.session.scene.picture
        if self.session.scene.stale or picture is None or not picture.tokens:
            raise UsageError("There is no description yet.")
        place = word_place(picture.tokens, word)
        asked = asked_picture(self.session, picture.sample, self.link.allow_key)
        opened = _List(self, f"neurons on which {place.name} rests")
        opened.fill(self._effects(opened, asked, place), ASKING)
        return opened.question

    async def _effects(self, opened: _List, asked: "Described", place: "Place") -> NeuronTable:
        from vlmscope.core.analysis.pointing import Rule
        from vlmscope.core.causal.pointing import EXACT, ablate_first, point
        from vlmscope.tui.dialogs.tables import pointed_table

        store, labels = self.session.store, self.session.scene.columns.labels
        found = await point(self.link, store, labels, asked, place, Rule.EFFECT, LIMIT, Lane.BACKGROUND)
        estimated = pointed_table(found, store.valid)
        opened.show(replace(estimated, lines=(*estimated.lines, f"ablating the first {EXACT} one by one …")))
        return pointed_table(await ablate_first(self.link, asked, found, EXACT, Lane.BACKGROUND), store.valid)

    # -- neurons like this one -----------------------------------------------------------------------------------

    def related(self) -> AskNeurons:
        """The neurons that share top samples with the page's."""
        from vlmscope.core.analysis.related import related
        from vlmscope.tui.dialogs.tables import related_table

        store, neuron, labels = self.session.store, self.session.state.neuron, self.session.scene.columns.labels
        opened = _List(self, f"related to {neuron}")

        async def find() -> NeuronTable:
            return related_table(await asyncio.to_thread(related, store, neuron, labels), len(store.panel or ()))

        opened.fill(find())
        return opened.question

    # -- two groups of samples -----------------------------------------------------------------------------------

    def contrast(self, a: str, b: str, *, drop_shared: bool = False) -> AskNeurons:
        """The neurons that two groups of samples activate most differently, by the top samples or by the panel.

        Raises:
            UsageError: if a group is not written as one.
        """
        from vlmscope.core.analysis.contrast import Answer, contrast
        from vlmscope.core.analysis.groups import Group, groups_apart, two_groups
        from vlmscope.tui.dialogs.tables import ANSWERS, contrast_table

        groups = Group.parse(a), Group.parse(b)
        store, columns, by = self.session.store, self.session.scene.columns, Answer.TOP

        def compare() -> NeuronTable:
            first, second, shared = groups_apart(store, *groups) if drop_shared else (*two_groups(store, *groups), 0)
            found = contrast(store, first, second, by, LIMIT)
            return contrast_table(found, groups, columns.labels, columns.concepts, shared)

        async def find() -> NeuronTable:
            return await asyncio.to_thread(compare)

        def choose() -> AskChoice:
            choices = [Choice(letter, text, answer is by) for letter, (answer, text) in ANSWERS.items()]
            return AskChoice("ranked by", choices, chosen)

        def chosen(letter: str) -> None:
            nonlocal by
            by = ANSWERS[letter][0]
            opened.fill(find())

        opened = _List(self, f"{groups[0]} against {groups[1]}", choose)
        opened.fill(find())
        return opened.question


def _place_of(picture: "PictureView", pointer: Pointer) -> "Place":
    """The patch or the word that is pointed at.

    Raises:
        UsageError: if there is no such place.
    """
    from vlmscope.core.method.place import patch_place, token_place
    from vlmscope.core.method.word_place import word_at

    at = pointer.within(picture)
    if at.on_words and picture.tokens:
        word, tokens = word_at(picture.tokens, at.token)
        return token_place(tokens, word)
    if at.on_words or picture.own_layout is None:
        raise UsageError("There is nothing to point at yet.", "The model has to see the picture first.")
    return patch_place(picture.own_layout, at.row, at.column)
