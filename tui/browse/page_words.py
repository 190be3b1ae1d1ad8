"""The words on the page's neuron, and its scores and checks: gathered from the scene and what the session keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.browse.answers import Answers
from vlmscope.tui.views.check import CheckView, check_view
from vlmscope.tui.views.columns import Noted
from vlmscope.tui.views.meaning import Meaning, judged_of, reports_of
from vlmscope.tui.views.scene import Scene
from vlmscope.tui.views.score import ScoreView, score_view
from vlmscope.tui.views.state import Mode, State

if TYPE_CHECKING:
    from vlmscope.core.analysis.published import Published
    from vlmscope.core.notebook.values import Entry, SavedCheck
    from vlmscope.core.scoring.simulation import Outcome


@dataclass(frozen=True)
class AskKeys:
    """The keys that ask for what the page lacks, as the user has mapped them."""

    explain: str = "E"
    promoted: str = "w"
    choose: str = "c"
    score: str = "s"
    check: str = "C"
    exact_map: str = "X"


def meaning_of(
    scene: Scene, entry: "Entry | None", published: "Published | None", answers: Answers, keys: AskKeys
) -> Meaning:
    """Everything in words about the page's neuron; ``entry``: what the notebook holds, as in ``Scene``."""
    neuron, columns = scene.state.neuron, scene.columns
    return Meaning(
        neuron=neuron,
        concepts=None if columns.concepts is None else columns.concepts.of(neuron),
        whole=columns.store.manifest.progress is None,
        published=published,
        entry=entry,
        scores={} if entry is None or not entry.scores else reports_of(entry),
        judged={} if entry is None or not (entry.scores or entry.own_scores) else judged_of(entry),
        entry_problem=scene.entry_problem,
        promoted=answers.promoted.get(neuron),
        promoted_note=answers.promoted_notes.get(neuron, ""),
        asking=next((words for (_, at), words in scene.doing.items() if at == neuron), ""),
        explain_key=keys.explain,
        promoted_key=keys.promoted,
        choose_key=keys.choose,
        score_key=keys.score,
    )


def empty_entry(noted: Noted, neuron: Neuron) -> "Entry | None":
    """The empty entry of a neuron that nothing was noted on, as most are; None if the notebook must be read."""
    marked = noted.bits[neuron.layer * noted.neurons + neuron.index]  # every step asks: no call
    if marked or neuron in noted.checked or neuron in noted.reviewed:
        return None
    from vlmscope.core.notebook.values import Entry

    return Entry(neuron)


def score_of(
    state: State, meaning: Meaning | None, outcomes: "Mapping[tuple[Neuron, str, str], Outcome]", store: ScanStore
) -> ScoreView | None:
    """What the page of scores shows; None on other pages, and while the notebook is being read."""
    if state.mode is not Mode.SCORE or meaning is None or meaning.entry is None:
        return None
    return score_view(meaning.entry, outcomes, state.score, state.example, store)


def check_of(
    state: State, meaning: Meaning | None, set_checks: "tuple[SavedCheck, ...]", check_key: str
) -> CheckView | None:
    """What the page of causal checks shows; None on other pages. ``set_checks``: those of sets, newest first."""
    if state.mode is not Mode.CHECK or meaning is None or meaning.neuron != state.neuron:
        return None
    saved = set_checks if state.set_check else () if meaning.entry is None else meaning.entry.checks
    return check_view(saved, state.check, meaning.asking, check_key)
