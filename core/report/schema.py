"""A report as values: the content of ``report.json``, from which the Markdown is written, too. Schema version 1.

A field may be added within a version; none changes its meaning or goes. Text from captions, models and users is
unchanged: the code that shows it makes it safe. A number that does not exist is None.
"""

import math
from numbers import Real
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from vlmscope.core.base.intervention import Positions
from vlmscope.core.base.neuron import Poles
from vlmscope.core.base.validation import Frozen
from vlmscope.core.method.labels import LabelWord
from vlmscope.core.notebook.explanation import Confidence, Source
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.store.manifest import ModelInfo, Skipped, ThresholdsInfo


def _known(value: object) -> float | None:
    """A number that JSON can hold, or None for NaN, infinity and what is not a number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        return None
    return float(value)


def whole(value: object) -> object:
    """A text without half characters, as of mis-encoded file names: each becomes a question mark. UTF-8 has none."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _interval(value: object) -> object:
    """Two numbers, or None for what is not an interval."""
    ends = [_known(end) for end in value] if isinstance(value, list | tuple) else []
    return ends if len(ends) == 2 and None not in ends else None


Number = Annotated[float | None, BeforeValidator(_known)]
WholeText = Annotated[str, BeforeValidator(whole)]  #: from outside
_AnyText = Annotated[WholeText, BeforeValidator(lambda value: str(value or ""))]
_Count = Annotated[int | None, BeforeValidator(_count)]


class Part(Frozen):
    """A part of a report; made of a value of ours that has fields of the same names."""

    model_config = ConfigDict(from_attributes=True)


class ScanPart(Part):
    """The scan that the report was made from; fields as in its ``manifest.json``."""

    scan_id: str
    created: str
    model: ModelInfo
    hook: str
    poles: Poles = Poles.ONE  #: BOTH: a unit is two neurons, such as L3/N17+ and L3/N17-
    question: str
    data: str
    data_sha256: str
    samples: int
    scanned: int
    skipped: tuple[Skipped, ...]
    top_n: int
    maps: int
    thresholds: ThresholdsInfo  #: the scan's own
    versions: dict[str, str]  #: of vlmscope and of libraries, when it was scanned

    @model_serializer(mode="wrap")
    def _without_one_pole(self, fields: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave out one pole: reports on such scans stay what they were."""
        made: dict[str, object] = fields(self)
        return {name: value for name, value in made.items() if name != "poles" or self.poles is Poles.BOTH}


class Shares(Part):
    """A number for each label: of the top samples that vote for it, or None where there are none."""

    visual: Number
    text: Number
    multimodal: Number
    unknown: Number


class Votes(Part):
    """How many of the top samples vote for each label."""

    visual: int
    text: int
    multimodal: int
    unknown: int


class ConceptPart(Part):
    """A word that stands out in the top samples' descriptions, and its z-score."""

    word: WholeText
    strength: Number


class ConceptsPart(Part):
    """Words that co-occur with the neuron's activation: no explanation by a model."""

    words: tuple[ConceptPart, ...]
    purity: Number  #: the share of the ``looked_at`` first top samples whose description has the first word
    looked_at: int
    base_rate: Number  #: the share of all descriptions that have it


class TokenPart(Part):
    """A token, and what one unit of activation adds to its logit, but for the norm's division."""

    token: WholeText
    logit: Number


class PromotedPart(Part):
    """A first-order reading of the output weights: tokens that are promoted most and suppressed most."""

    top: tuple[TokenPart, ...]
    bottom: tuple[TokenPart, ...]


class PublishedPart(Part):
    """The neuron in arXiv 2502.18485."""

    label: LabelWord
    text: WholeText
    figure: WholeText
    images: tuple[WholeText, ...]


class FigurePart(Part):
    """One number of a score, read out of its ``body``.

    Attributes:
        name: where it stood there, such as ``visual, top``; empty if at the top.
        pooled: None if it is undefined, with the ``reason``.
        interval: lower and upper end; ``interval_kind``: what it is an interval of.
        planned, counted: samples.
    """

    name: WholeText
    pooled: Number
    interval: Annotated[tuple[float, float] | None, BeforeValidator(_interval)] = None
    interval_kind: _AnyText = ""
    baseline: Number = None
    planned: _Count = None
    counted: _Count = None
    reason: _AnyText = ""


class ScorePart(Part):
    """A score of an explanation, or of the neuron itself; ``body`` is as its backend wrote it."""

    backend: WholeText
    created: WholeText
    figures: tuple[FigurePart, ...]
    body: dict[str, JsonValue]


class ExplanationPart(Part):
    """An explanation of the neuron; fields as in ``vlmscope.core.notebook.explanation.Explanation``.

    Attributes:
        leads: it is the one to show.
        source: ``api``: a model; ``user``: the person who keeps the notebook; ``paper``; ``concepts``: the
            neuron's concept words, put together to be scored; ``borrowed``: those of the neuron whose address is in
            ``model``, to be scored on this one.
        scores: the newest first.
    """

    id: int  #: in the notebook: what ``vlmscope simulate --explanation`` takes
    leads: bool
    text: WholeText
    pattern_found: bool
    source: Source
    model: WholeText
    prompt_version: WholeText
    confidence: Confidence | None
    visual_phrases: tuple[WholeText, ...]
    text_cue: WholeText
    samples: tuple[int, ...]
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    created: WholeText
    scores: tuple[ScorePart, ...]


class CheckSettingsPart(Part):
    """How a check was made; fields as in ``vlmscope.core.notebook.check.CheckSettings``."""

    intervention: WholeText
    at: Positions
    control: WholeText
    pictures: int
    controls: int
    seed: int


class CheckedPicturePart(Part):
    """One picture of a check; fields as in ``vlmscope.core.notebook.check.CheckedPicture``."""

    sample: int | None
    image: WholeText
    change: Number
    p: Number
    p_after: Number
    first: bool
    first_after: bool
    others: Number
    kl: Number
    baseline: Number


class ControlPart(Part):
    """Matched neurons in the place of the checked ones; ``effect`` and ``written`` as in ``MatchedNeurons``."""

    neurons: tuple[str, ...]
    effect: Number
    written: Number


class CheckPart(Part):
    """A causal check of a neuron or a set, which is not an explanation.

    Fields as in ``vlmscope.core.notebook.check.CausalCheck``.

    Attributes:
        id: in the notebook.
        name: of a set; empty for one neuron.
        least_p: the least p that so many controls allow. beyond_all: whether p is that.
        controls: the matched neurons, one for each checked neuron.
        outcome: the result in a few words. lines: all of it in words.
    """

    id: int
    neurons: tuple[str, ...]
    name: WholeText
    word: WholeText
    token: WholeText
    settings: CheckSettingsPart
    created: WholeText
    effect: Number
    p: Number
    least_p: float
    beyond_all: bool
    low: Number
    high: Number
    interval: WholeText
    match: Number
    note: WholeText
    outcome: WholeText
    lines: tuple[WholeText, ...]
    pictures: tuple[CheckedPicturePart, ...]
    controls: tuple[ControlPart, ...]


class FailurePart(Part):
    """The newest request for an explanation, if it gave none."""

    reason: WholeText
    refused: bool
    model: WholeText
    created: WholeText


class ReviewPart(Part):
    """What another person's notebook holds on the neuron."""

    person: WholeText
    verdict: Verdict | None
    bookmark: bool
    tags: tuple[WholeText, ...]
    note: WholeText


class NotedPart(Part):
    """What the notebook holds on a neuron."""

    neuron: str  #: its address, ``L27/N3900``
    layer: int
    index: int
    verdict: Verdict | None
    bookmark: bool
    tags: tuple[WholeText, ...]
    note: WholeText
    explanations: tuple[ExplanationPart, ...]  #: the leading one first, then the newest first
    failure: FailurePart | None
    checks: tuple[CheckPart, ...]  #: of the neuron by itself, the newest first
    reviews: tuple[ReviewPart, ...] = ()  #: other people's, by name
    own_scores: tuple[ScorePart, ...] = ()  #: of the neuron itself, which need no explanation, the newest first


class WordPart(Part):
    """A token of a description and its norm, 0 to 10, read off the stored map: approximate."""

    token: WholeText
    norm: float


class SamplePart(Part):
    """One of the top samples.

    Attributes:
        rank: from 1.
        sample: its index in the data.
        score: its largest activation.
        words: tokens whose norm is above Tt, the strongest first; empty where no map is stored.
        above: where in the description the words above Tt are: first character, and the one after the last.
        picture: path, relative to the report, of origin and activation, or words, side by side; None without a map.
    """

    rank: int
    sample: int
    image: WholeText
    description: WholeText
    score: Number
    vote: LabelWord
    words: tuple[WordPart, ...]
    above: tuple[tuple[int, int], ...] = ()
    picture: str | None


class FirmnessPart(Part):
    """How close the vote was; fields as in ``vlmscope.core.analysis.firmness.NeuronFirmness``.

    Attributes:
        share: of the leading class, with its 95 % interval from ``low`` to ``high``.
        margin: its lead over the second class, as a share. sign_p: of the sign test.
        fragile: the label is another if Tv or Tt moves by 10 %, or there is a tie.
    """

    share: Number
    margin: float
    sign_p: float
    low: float
    high: float
    fragile: bool


class NeuronPart(NotedPart):
    """All that is reported of a neuron."""

    label: LabelWord
    high_confidence: bool
    fractions: Shares
    votes: Votes
    firmness: FirmnessPart | None = None  #: of the label; None in reports of earlier versions
    top_samples: int
    maximum: Number  #: the activation whose norm is 10
    concepts: ConceptsPart | None  #: None where the scan has none
    promoted: PromotedPart | None  #: None where the model was not asked
    published: PublishedPart | None  #: None unless the paper shows this very neuron
    samples: tuple[SamplePart, ...]


class Report(Part):
    """The whole document; ``created`` is the only field that differs between two reports of the same."""

    format: Literal["vlmscope-report"] = "vlmscope-report"
    schema_version: Literal[1] = 1
    created: str = Field(description="ISO 8601, UTC")
    vlmscope: str  #: the version that wrote the report
    scan: ScanPart
    thresholds: ThresholdsInfo  #: those of the report's labels
    neurons: tuple[NeuronPart, ...]  #: by layer and index
    sets: tuple[CheckPart, ...] = ()  #: checks of sets that share a neuron with these, the newest first
