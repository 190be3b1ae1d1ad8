"""What a notebook answers with: plain frozen values for the list, the page and the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from functools import lru_cache

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.check import CausalCheck
from vlmscope.core.notebook.explanation import Explanation, FailedExplanation


class Verdict(StrEnum):
    """What a person decided on a neuron; no decision is None."""

    KEEP = "keep"
    REJECT = "reject"
    UNSURE = "unsure"


class Kind(StrEnum):
    """What an event in the notebook changed."""

    VERDICT = "verdict"
    NOTE = "note"
    TAGS = "tags"
    BOOKMARK = "bookmark"
    LEAD = "lead"  #: which explanation is shown first
    OWN_EXPLANATION = "own_explanation"  #: a person's own words
    EXPLANATION = "explanation"  #: an API's or a paper's
    FAILURE = "failure"
    SCORE = "score"
    CHECK = "check"  #: a causal check; of a set: with the address of its first neuron
    COLLEAGUE = "colleague"  #: another person's verdicts and notes, taken in; with the address of the first neuron

    @property
    def undoable(self) -> bool:
        """False for what an API gave, as it cost money, and for checks: all of them stay."""
        return self not in (Kind.EXPLANATION, Kind.FAILURE, Kind.SCORE, Kind.CHECK)


#: By kind: VERDICT a Verdict or None; NOTE a str, empty for none; TAGS a sorted tuple; BOOKMARK a bool; LEAD an
#: explanation's id, None for the newest; OWN_EXPLANATION its text and COLLEAGUE the person, None where it is not there.
Value = Verdict | str | tuple[str, ...] | bool | int | None


@dataclass(frozen=True)
class Change:
    """What has just happened to a neuron: ``before`` was there, ``after`` is there now (after an undo too).

    ``others``: neurons that were changed in the same step.
    """

    neuron: Neuron
    kind: Kind
    before: Value
    after: Value
    others: tuple[Neuron, ...] = ()


@dataclass(frozen=True)
class Decision:
    """Changes of many neurons that were made together: one step of undo; it can be withdrawn while nothing follows it.

    Attributes:
        changes: one for each neuron that was not so already.
        events: their ids. redoable: of the events that could be redone before.
    """

    changes: tuple[Change, ...]
    events: tuple[int, ...] = ()
    redoable: tuple[int, ...] = ()


@dataclass(frozen=True)
class SavedExplanation:
    """An explanation in the notebook."""

    id: int  #: unique in this notebook; a later one is larger, and failures and scores count on with it
    neuron: Neuron
    explanation: Explanation
    leads: bool  #: it is the one to show: chosen, or the newest where none was chosen


@dataclass(frozen=True)
class SavedScore:
    """A score of an explanation, or of the neuron itself; each ``backend`` writes a ``body`` of its own."""

    id: int
    neuron: Neuron
    explanation_id: int | None  #: None for a score that needs no explanation
    backend: str
    created: str
    body: Mapping[str, object]


@dataclass(frozen=True)
class SavedCheck:
    """A causal check in the notebook, of a neuron or a set."""

    id: int
    check: CausalCheck


@dataclass(frozen=True)
class Review:
    """What another person's notebook holds on one neuron; fields as in ``Entry``."""

    person: str
    verdict: Verdict | None = None
    note: str = ""
    tags: tuple[str, ...] = ()
    bookmark: bool = False


@dataclass(frozen=True)
class Colleague:
    """Another person whose verdicts and notes were taken in.

    Attributes:
        source: the notebook that they were taken from, as it was named.
        created: when, ISO 8601, UTC.
    """

    person: str
    source: str
    created: str


@dataclass(frozen=True)
class Entry:
    """All that the notebook holds on one neuron."""

    neuron: Neuron
    verdict: Verdict | None = None
    note: str = ""  #: empty if there is none
    tags: tuple[str, ...] = ()  #: sorted without regard to case
    bookmark: bool = False
    explanations: tuple[SavedExplanation, ...] = ()  #: the leading one first, then the newest first
    failure: FailedExplanation | None = None  #: the newest failed request, if no explanation came after it
    scores: tuple[SavedScore, ...] = ()  #: newest first, of any of ``explanations``
    checks: tuple[SavedCheck, ...] = ()  #: newest first; sets' are not among them
    reviews: tuple[Review, ...] = ()  #: other people's, by name
    own_scores: tuple[SavedScore, ...] = ()  #: newest first, of the neuron itself: of no explanation


#: By their number in the two lowest of ``Mark.bits``.
VERDICTS: tuple[Verdict | None, ...] = (None, Verdict.KEEP, Verdict.REJECT, Verdict.UNSURE)


class MarkBit(IntFlag):
    """One bit of ``Mark.bits`` for each field after the verdict, in their order."""

    BOOKMARK = 4
    NOTE = 8
    TAGS = 16
    EXPLAINED = 32
    SCORED = 64
    FAILED = 128


@dataclass(frozen=True)
class Mark:
    """What the list shows of a neuron's entry; ``failed``: a request for an explanation has failed, ever."""

    verdict: Verdict | None = None
    bookmark: bool = False
    has_note: bool = False
    has_tags: bool = False
    explained: bool = False
    scored: bool = False
    failed: bool = False

    @property
    def bits(self) -> int:
        """The mark in 8 bits, for columns of hundreds of thousands of neurons; 0 for an empty one."""
        flags = (self.bookmark, self.has_note, self.has_tags, self.explained, self.scored, self.failed)
        return VERDICTS.index(self.verdict) + sum(bit for bit, flag in zip(MarkBit, flags, strict=True) if flag)

    @staticmethod
    @lru_cache(maxsize=256)
    def of_bits(bits: int) -> "Mark":
        """The mark of these ``bits``."""
        return Mark(VERDICTS[bits & 3], *(bool(bits & bit) for bit in MarkBit))


@dataclass(frozen=True)
class Resume:
    """Where the session was left: the neuron, and filter, order and earlier places in the screen's own spelling."""

    neuron: Neuron
    filter: str = ""
    order: str = ""
    places: str = ""
