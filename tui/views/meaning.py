"""What is known in words about a neuron: gathered for the page from the scan, the notebook and the model."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import NotebookError
from vlmscope.core.base.neuron import Neuron

if TYPE_CHECKING:
    from vlmscope.core.analysis.published import Published
    from vlmscope.core.method.concepts import ConceptList
    from vlmscope.core.notebook.values import Entry
    from vlmscope.core.scoring.judge_report import JudgeReport
    from vlmscope.core.scoring.report import ScoreReport
    from vlmscope.core.worker.messages import PromotedAnswer


def reports_of(entry: "Entry") -> "dict[int | None, tuple[ScoreReport, ...]]":
    """Simulators' scores of an entry by their explanation, newest first; those of another version are left out."""
    from vlmscope.core.scoring.report import ScoreReport

    found: dict[int | None, tuple[ScoreReport, ...]] = {}
    for saved in entry.scores:
        with contextlib.suppress(NotebookError):
            found[saved.explanation_id] = (*found.get(saved.explanation_id, ()), ScoreReport.from_json(saved.body))
    return found


def judged_of(entry: "Entry") -> "dict[int | None, tuple[JudgeReport, ...]]":
    """The same of judges' scores; those of the neuron itself have None in place of an explanation."""
    from vlmscope.core.scoring.judge_report import JudgeReport

    found: dict[int | None, tuple[JudgeReport, ...]] = {}
    for saved in (*entry.scores, *entry.own_scores):
        with contextlib.suppress(NotebookError):
            found[saved.explanation_id] = (*found.get(saved.explanation_id, ()), JudgeReport.from_json(saved.body))
    return found


@dataclass(frozen=True, eq=False)
class Meaning:
    """Words about one neuron.

    Attributes:
        concepts: the words that stand out in its top samples' descriptions; None if the scan has none at all.
        whole: whether the scan is whole; a scan in progress has no concepts yet.
        published: the paper's text on it.
        entry: what the notebook holds; None while it is being read, or there is no notebook.
        scores: those of ``entry`` that can be read, by the explanation's id, newest first; judged: those of judges,
            under None those of the neuron itself.
        entry_problem: why there is no notebook; empty if there is one.
        promoted: the tokens that it promotes; None while missing.
        promoted_note: why they are missing, or that the model is being asked.
        asking: the background work on it; empty without any.
        explain_key, promoted_key, choose_key: the keys that ask, as the user has mapped them; score_key shows scores.
    """

    neuron: Neuron
    concepts: "ConceptList | None" = None
    whole: bool = True
    published: "Published | None" = None
    entry: "Entry | None" = None
    scores: "Mapping[int | None, tuple[ScoreReport, ...]]" = field(default_factory=dict)
    judged: "Mapping[int | None, tuple[JudgeReport, ...]]" = field(default_factory=dict)
    entry_problem: str = ""
    promoted: "PromotedAnswer | None" = None
    promoted_note: str = ""
    asking: str = ""
    explain_key: str = "E"
    promoted_key: str = "w"
    choose_key: str = "c"
    score_key: str = "s"
