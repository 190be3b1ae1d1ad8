"""A report as Markdown, for GitHub and for any editor. All text from outside goes through ``escape.py``.

A neuron's heading is its address and nothing else: GitHub and others make the same anchor of it, ``#l3n17``.
"""

from collections.abc import Iterator

from pydantic import JsonValue

from vlmscope.core.base.neuron import Poles
from vlmscope.core.method.correlation import IntervalKind
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Source
from vlmscope.core.report.checks import LEGEND, NOT_EXPLAINED, SETS, check_blocks, check_cell
from vlmscope.core.report.escape import inline, quote
from vlmscope.core.report.method_line import PAPER, method_line
from vlmscope.core.report.schema import (
    ConceptsPart,
    ExplanationPart,
    FigurePart,
    NeuronPart,
    PromotedPart,
    Report,
    ReviewPart,
    SamplePart,
    ScanPart,
    ScorePart,
    TokenPart,
)
from vlmscope.core.report.scores import figure_of, leading_figures, metric

TOKENS = 8  #: named on either side
TOKEN_WIDTH = 24
SHORT = 80  #: characters of an explanation in the summary
NAME = 120  #: characters of a model's or a picture's name

_PICTURES = (
    "A picture has what the model saw, and beside it the same fading to white where the neuron does not activate;"
    " patches above Tv are outlined. Below is the scale: norm 0 is white, norm 10, the neuron's maximum, is the picture"
    " itself; the tick is Tv. Where a word is above Tt, and no patch is above Tv, the words stand in the map's place,"
    " each on its shade. In descriptions, words above Tt are bold."
)
_FRAGILE = "*fragile*: the label is another if Tv or Tt moves by 10 %, or two labels have as many votes."
_SCORES = (
    "A score is Pearson's correlation of the activations that a simulator predicts from the explanation with the true"
    " ones, on samples that the explanation was not written from; in brackets its interval. Simulators that are"
    " independent of the inspected model come first; each neuron's section has all its scores."
)
_JUDGED = (
    "*detection* and *fuzzing* are another kind of score: the balanced accuracy of a judge's answers, from the"
    " explanation alone, to which samples activate the neuron, or which patches are its own. Guessing reaches 0.5."
    " *intruder* needs no explanation: the share of rounds in which a judge found the one of five samples that does not"
    " activate the neuron. Guessing reaches 0.2."
)
_INTERVALS = {kind.value: kind.words for kind in IntervalKind}
_LETTER = {label.word: label.letter for label in Label}


def report_markdown(report: Report) -> str:
    """The whole document."""
    blocks = [_title(report), *_origin(report), *_method(report), "## Summary", _summary(report)]
    for neuron in report.neurons:
        blocks += neuron_blocks(neuron, pictures=True)
    if report.sets:
        blocks += ["## Sets", SETS, *check_blocks(report.sets)]
    return _joined(blocks)


def neuron_text(neuron: NeuronPart) -> str:
    """One neuron's section, without pictures."""
    return _joined(neuron_blocks(neuron, pictures=False))


def _joined(blocks: list[str]) -> str:
    return "\n\n".join(block for block in blocks if block) + "\n"


def _title(report: Report) -> str:
    """What the report is about."""
    count = len(report.neurons)
    scan = report.scan
    of = f"{count:,} neuron{'' if count == 1 else 's'} of {inline(scan.model.name, NAME) or 'a model without a name'}"
    data = inline(scan.data, NAME)
    return f"# {of}, on {scan.scanned:,} samples{f' of {data}' if data else ''}"


def _method(report: Report) -> list[str]:
    """How the numbers came about, and what the pictures' colours mean."""
    pictures = any(sample.picture is not None for one in report.neurons for sample in one.samples)
    return [inline(method_line(report.scan, report.thresholds)), *([_PICTURES] if pictures else [])]


def _origin(report: Report) -> list[str]:
    scan, at = report.scan, report.thresholds
    model, own = scan.model, scan.thresholds
    revision = f", revision {inline(model.revision)}" if model.revision else ""
    others = "" if at == own else f" (the scan's own: Tv {own.T_v:g}, nv {own.n_v}, Tt {own.T_t:g}, nt {own.n_t})"
    versions = ", ".join(f"{inline(name)} {inline(number)}" for name, number in scan.versions.items())
    lines = [
        f"- Model: {inline(model.name, NAME)}{revision}, {inline(model.architecture)}, {inline(model.dtype)},"
        f" {model.layers} layers of {model.neurons:,} neurons",
        f"- Hook point: {inline(scan.hook)}{', both poles' if scan.poles is Poles.BOTH else ''}",
        f"- Scan: {inline(scan.scan_id)}, made {inline(scan.created)}",
        f"- Data: {inline(scan.data, NAME)}, {_samples(scan)}; the top {scan.top_n} of each neuron are kept",
        f"- Labels: Tv {at.T_v:g}, nv {at.n_v}, Tt {at.T_t:g}, nt {at.n_t}, high-confidence above"
        f" {at.high_confidence:g}{others}",
        f"- Versions: {versions or 'not recorded'}; report by vlmscope {report.vlmscope}",
        f"- Date: {inline(report.created)}",
    ]
    return ["\n".join(lines)]


def _samples(scan: ScanPart) -> str:
    left_out = f", {len(scan.skipped):,} skipped" if scan.skipped else ""
    return f"{scan.scanned:,} of {scan.samples:,} samples{left_out}"


def _anchor(address: str) -> str:
    """What GitHub and others make of a heading: small letters, digits and hyphens; a plus is left out, too."""
    return address.lower().replace("/", "").replace("+", "")


def _summary(report: Report) -> str:
    checked = any(one.checks for one in report.neurons)
    rows = [
        f"| neuron | label | fraction | concept (purity) | verdict | explanation | score |{' check |' * checked}",
        f"| --- | --- | ---: | --- | --- | --- | --- |{' --- |' * checked}",
    ]
    for one in report.neurons:
        lead = one.explanations[0] if one.explanations else None
        cells = [
            f"[{one.neuron}](#{_anchor(one.neuron)})",
            f"{_LETTER[one.label]} {one.label}{' !' if one.high_confidence else ''}",
            _number(vars(one.fractions)[one.label]),
            _leading(one.concepts),
            one.verdict or "",
            "" if lead is None else inline(_said(lead), SHORT),
            _headline(lead.scores) if lead is not None else "",
            *([check_cell(one.checks)] if checked else []),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    notes = ["! marks a label that is high-confidence."] if any(one.high_confidence for one in report.neurons) else []
    if any(one.firmness is not None and one.firmness.fragile for one in report.neurons):
        notes.append(_FRAGILE)
    if any(one.explanations and one.explanations[0].scores for one in report.neurons):
        notes.append(_SCORES)
    scores = [score for one in report.neurons for said in one.explanations for score in said.scores]
    scores += [score for one in report.neurons for score in one.own_scores]
    if any("method" in score.body for score in scores):
        notes.append(_JUDGED)
    notes += [LEGEND] if checked else []
    return "\n\n".join(["\n".join(rows), *notes])


def _leading(concepts: ConceptsPart | None) -> str:
    if concepts is None or not concepts.words:
        return ""
    return f"{inline(concepts.words[0].word, TOKEN_WIDTH)} ({_number(concepts.purity)})"


def neuron_blocks(neuron: NeuronPart, *, pictures: bool) -> list[str]:
    """A neuron's section, in paragraphs."""
    blocks = [f"## {neuron.neuron}", _marks(neuron), _votes(neuron), _facts(neuron)]
    for at, explanation in enumerate(neuron.explanations):
        if at == 1:
            blocks.append("**Other explanations**")
        blocks += _explanation(explanation)
    if neuron.own_scores:
        lines = [line for score in neuron.own_scores for line in _score(score)]
        blocks += ["**Scores without an explanation**", "\n".join(lines)]
    if neuron.failure is not None:
        what = "was refused" if neuron.failure.refused else "failed"
        by = inline(neuron.failure.model, NAME)
        blocks.append(f"The last request for an explanation {what} ({by}, {inline(neuron.failure.created)}):")
        blocks.append(quote(neuron.failure.reason))
    if neuron.checks:
        blocks += [f"**Causal check** ({NOT_EXPLAINED})", *check_blocks(neuron.checks)]
    if neuron.published is not None:
        said = neuron.published
        images = f", COCO {inline(', '.join(said.images))}" if said.images else ""
        blocks.append(f"**Published** ({PAPER}, figure {inline(said.figure)}{images}; {said.label}):")
        blocks.append(quote(said.text))
    if neuron.note:
        blocks += ["**Note**", quote(neuron.note)]
    for review in neuron.reviews:
        blocks += [f"**{inline(review.person, NAME)}**: {_decided(review)}", quote(review.note)]
    if neuron.samples:
        shows = ", with origin and activation side by side" if pictures else ""
        blocks.append(f"**The best of {neuron.top_samples} top samples**{shows}")
        for sample in neuron.samples:
            blocks += _sample(neuron, sample, pictures=pictures)
    return blocks


def _marks(neuron: NeuronPart) -> str:
    parts = [f"**{_LETTER[neuron.label]} {neuron.label}**"]
    parts += ["high-confidence"] if neuron.high_confidence else []
    parts += ["fragile"] if neuron.firmness is not None and neuron.firmness.fragile else []
    return " · ".join([*parts, *_decisions(neuron)])


def _decided(review: ReviewPart) -> str:
    return " · ".join(_decisions(review)) or "no verdict"


def _decisions(one: NeuronPart | ReviewPart) -> list[str]:
    """What a person decided: verdict, bookmark, tags."""
    parts = [f"verdict: {one.verdict}"] if one.verdict is not None else []
    parts += ["bookmarked"] if one.bookmark else []
    return parts + ([f"tags: {', '.join(inline(tag) for tag in one.tags)}"] if one.tags else [])


def _votes(neuron: NeuronPart) -> str:
    votes, fractions = vars(neuron.votes), vars(neuron.fractions)
    return "\n".join(
        (
            f"| of {neuron.top_samples} top samples | {' | '.join(votes)} |",
            f"| --- |{' ---: |' * len(votes)}",
            f"| votes | {' | '.join(str(count) for count in votes.values())} |",
            f"| fraction | {' | '.join(_number(value) for value in fractions.values())} |",
        )
    )


def _facts(neuron: NeuronPart) -> str:
    lines = [f"- Maximum: {_number(neuron.maximum, '.4g')}"]
    if neuron.firmness is not None:
        firm = neuron.firmness
        lines.append(
            f"- Vote: share {_number(firm.share)} (95 % interval {firm.low:.2f} to {firm.high:.2f}), margin"
            f" {firm.margin:.2f}, sign test p {firm.sign_p:.2g}{'' if firm.fragile else ', not fragile'}"
        )
    if neuron.concepts is not None:
        lines.append(f"- Concepts (words that co-occur, no explanation by a model): {_concepts(neuron.concepts)}")
    if neuron.promoted is not None:
        lines.append(f"- Promoted tokens (a first-order reading of its output weights): {_promoted(neuron.promoted)}")
    return "\n".join(lines)


def _concepts(found: ConceptsPart) -> str:
    if not found.words:
        return "no word stands out"
    words = ", ".join(f"{inline(one.word, TOKEN_WIDTH)} {_number(one.strength, '.1f')}" for one in found.words)
    rate = f"purity {_number(found.purity)} of the top {found.looked_at}, base rate {_number(found.base_rate)}"
    return f"{words}; {rate}"


def _promoted(found: PromotedPart) -> str:
    return f"{_tokens(found.top)}; suppressed: {_tokens(found.bottom)}"


def _tokens(tokens: tuple[TokenPart, ...]) -> str:
    """Each spelling once."""
    spelled = dict.fromkeys(inline(one.token, TOKEN_WIDTH) or "␣" for one in tokens)
    return " · ".join(list(spelled)[:TOKENS])


def _said(explanation: ExplanationPart) -> str:
    return explanation.text if explanation.pattern_found else f"no pattern found: {explanation.text}"


def _explanation(said: ExplanationPart) -> Iterator[str]:
    yield f"**{'Explanation' if said.leads else 'Explained'}** {_by(said)}:"
    yield quote(_said(said))
    lines = [
        f"- {name}: {inline(text)}"
        for name, text in (("Looks for", ", ".join(said.visual_phrases)), ("Words", said.text_cue))
        if text
    ]
    for score in said.scores:
        lines += _score(score)
    yield "\n".join(lines)


def _by(said: ExplanationPart) -> str:
    created = inline(said.created)
    if said.source is Source.USER:
        return f"in a person's own words, {created}"
    if said.source is Source.BORROWED:
        return f"borrowed from {inline(said.model, NAME)}, to be scored here, {created}"
    if said.source is Source.CONCEPTS:
        return "concept words, no explanation by a model"
    if said.source is Source.PAPER:
        return f"in the words of the paper ({PAPER}), {created}"
    confidence = f", {said.confidence} confidence" if said.confidence else ""
    prompt = f", prompt {inline(said.prompt_version)}" if said.prompt_version else ""
    return f"by {inline(said.model, NAME) or 'an unnamed model'}{prompt}{confidence}, {created}"


def _score(score: ScorePart) -> Iterator[str]:
    for figure in score.figures:
        name = f", {inline(figure.name, NAME)}" if figure.name else ""
        details = [_pooled(figure)]
        if figure.interval is not None and figure.interval_kind:
            details[0] += f" ({inline(_INTERVALS.get(figure.interval_kind, figure.interval_kind), NAME)})"
        details += _beside(score, figure)
        if figure.planned is not None and figure.counted is not None:
            what = "rounds" if score.body.get("method") == "intruder" else "samples"
            details.append(f"{figure.counted} of {figure.planned} {what}")
        if figure.reason:
            details.append(inline(figure.reason, 2 * NAME))
        yield f"- Score {_simulator(score)}{name}: {', '.join(details)} ({inline(score.created)})"
    if not score.figures:
        yield f"- Scored by {inline(score.backend, NAME)} ({inline(score.created)}): see report.json"


def _beside(score: ScorePart, figure: FigurePart) -> list[str]:
    """What a number is compared with: a simulator's baseline, a judge's chance level and fake neurons."""
    found: JsonValue = score.body.get("scores")
    for name in figure.name.split(", "):
        found = found.get(name) if isinstance(found, dict) else None
    chance, fakes = (found.get(name) if isinstance(found, dict) else None for name in ("chance", "fakes"))
    if not isinstance(chance, float):
        return [f"baseline {_number(figure.baseline)}"]
    return [f"chance {_number(chance)}", *([f"{fakes:.0%} of fake neurons pass"] if isinstance(fakes, float) else [])]


def _headline(scores: tuple[ScorePart, ...]) -> str:
    """The score that comes first for each kind of tokens, with its group and its simulator."""
    return "; ".join(
        f"{inline(f'{figure_of(score, figure)}{metric(score, figure)}', NAME)} {_pooled(figure)} {_simulator(score)}"
        for score, figure in leading_figures(scores)
    )


def _simulator(score: ScorePart) -> str:
    return f"by {inline(score.backend, NAME)}{' (not independent)' if score.body.get('independent') is False else ''}"


def _pooled(figure: FigurePart) -> str:
    if figure.interval is None:
        return _number(figure.pooled)
    low, high = figure.interval
    return f"{_number(figure.pooled)} \\[{_number(low)}, {_number(high)}\\]"


def _sample(neuron: NeuronPart, sample: SamplePart, *, pictures: bool) -> Iterator[str]:
    yield (
        f"Sample {sample.rank}: {inline(sample.image, NAME)}, score {_number(sample.score, '.4g')},"
        f" vote {_LETTER[sample.vote]} {sample.vote}"
    )
    if pictures and sample.picture is not None:
        yield f"![{neuron.neuron}, sample {sample.rank}: origin and activation]({sample.picture})"
    yield quote(sample.description, sample.above)
    if sample.words:
        words = " · ".join(f"{inline(one.token, TOKEN_WIDTH) or '␣'} ≈{one.norm:.1f}" for one in sample.words)
        yield f"Words above Tt: {words}"


def _number(value: float | None, how: str = ".2f") -> str:
    return "n/a" if value is None else format(value, how)
