"""What a neuron means, as far as anybody has said: gathered for the page from the scan, the notebook and the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vlmscope.core.base.neuron import Neuron

if TYPE_CHECKING:
    from vlmscope.core.analysis.published import Published
    from vlmscope.core.method.concepts import ConceptList
    from vlmscope.core.notebook.values import Entry
    from vlmscope.core.scoring.report import ScoreReport
    from vlmscope.core.worker.messages import PromotedAnswer


@dataclass(frozen=True)
class Meaning:
    """Words about one neuron.

    Attributes:
        concepts: the words that stand out in its top samples' descriptions; None if the scan has none at all.
        whole: whether the scan is; one in progress has no concepts yet.
        published: what the paper says of it.
        entry: what the notebook holds; None while it is being read, or there is no notebook.
        scores: those of ``entry`` that can be read, by the explanation's id, newest first.
        entry_problem: why there is no notebook; empty if there is one.
        writes: the tokens that it promotes; None while not known.
        writes_note: why they are not known, or that the model is being asked.
        asking: what is being done to explain it; empty if nothing is.
        explain_key, writes_key, choose_key: the keys that ask, as the user has mapped them.
    """

    neuron: Neuron
    concepts: "ConceptList | None" = None
    whole: bool = True
    published: "Published | None" = None
    entry: "Entry | None" = None
    scores: "Mapping[int, tuple[ScoreReport, ...]]" = field(default_factory=dict)
    entry_problem: str = ""
    writes: "PromotedAnswer | None" = None
    writes_note: str = ""
    asking: str = ""
    explain_key: str = "E"
    writes_key: str = "w"
    choose_key: str = "c"
