"""The neuron as a whole, beside or below the pictures: what it means, its peaks, its distributions in short."""

from typing import TYPE_CHECKING

from textual.strip import Strip

from vlmscope.core.method.distribution import BINS
from vlmscope.core.notebook.check_words import short_verdict, signed
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.tui.views.facts import Facts
from vlmscope.tui.views.meaning import Meaning
from vlmscope.tui.widgets.lines import Span, beside, blank, row, short, wrapped
from vlmscope.tui.widgets.numbers import activation, fraction, heights, share_active, spark
from vlmscope.tui.widgets.page.statistics import histogram
from vlmscope.tui.widgets.page.words import spell
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.core.notebook.values import Entry, Review

HEAD = 10  #: cells of what a line is about
NO_CONCEPTS = "none in this scan: vlmscope concepts adds them"
NOT_YET = "found when the scan is whole"
_WORD = 24  # characters of one word that are shown
_NOTE = 200  # characters of a note that the page shows in one line
_REVIEWS = 2  # other people, of whom the page shows a line each
_VERDICTS = {"keep": "✓", "reject": "✗", "unsure": "?"}
_TOKENS = 8  # tokens that are named on either side
TALL = 9  #: lines from which the facts have histograms, not one line each
_LEAST_PEAKS = 4  # lines that the column beside the pictures keeps for the peaks
_MOST_SAID = 4  # lines of the explanation below the pictures


def _peaks(facts: Facts, palette: Palette, width: int) -> Strip:
    parts: list[Span] = [subject("peaks", palette)]
    for at, (word, count) in enumerate(facts.peaks):
        parts.append((" · " if at else "", palette.muted))
        parts.append((spell(word) or "␣", palette.text))
        parts.append((f" ×{count}", palette.muted))
    if not facts.peaks:
        parts.append(("fires on no word of its top samples", palette.muted))
    return row(parts, width)


def _with_note(text: str, note: str, palette: Palette, width: int) -> Strip:
    """A text that is cut where it is too long, and a note that never is."""
    room = max(width - len(note), 1)
    return Strip.join([row([(text, palette.text)], room), row([(note, palette.muted)], len(note))])


def facts_beside(facts: Facts, meaning: Meaning, width: int, height: int, palette: Palette) -> list[Strip]:
    """A narrow column: concepts and explanation, one peak word per line, both distributions where there is room."""
    sparks: list[Strip] = []
    for name, distribution, kind in facts.distributions:
        active = share_active(distribution.share_active)
        sparks.append(row([(f"{name} ", palette.muted), (active, palette.text)], width))
        sparks.append(row([(spark(heights(distribution, BINS // 2)), palette.labels[kind])], width))
    lines = meaning_beside(meaning, width, max(height - _LEAST_PEAKS, 1), palette)
    lines.append(row([("words at its peaks", palette.muted)], width))
    if not facts.peaks:
        lines.append(row([("none", palette.muted)], width))
    room = height - len(lines)
    for word, count in facts.peaks[: max(room - len(sparks), min(room, 3))]:
        lines.append(_with_note(spell(word) or "␣", f" ×{count}", palette, width))
    if len(lines) + len(sparks) <= height:
        lines += sparks
    return lines[:height]


def facts_below(facts: Facts, meaning: Meaning, width: int, height: int, palette: Palette) -> list[Strip]:
    """What it means, its peaks, and its distributions: what matters most first; histograms where there is room."""
    sparks = []
    for name, distribution, kind in facts.distributions:
        numbers = f"  {share_active(distribution.share_active)}", f" · mean {activation(distribution.mean)}"
        plot: list[Span] = [subject(name, palette), (spark(heights(distribution)), palette.labels[kind])]
        sparks.append(row([*plot, (numbers[0], palette.text), (numbers[1], palette.muted)], width))
    decided = decided_line(meaning, palette, width)
    noted = [*score_lines(meaning, palette, width), *check_lines(meaning, palette, width)]
    noted += [] if decided is None else [decided]
    noted += review_lines(meaning, palette, width, _REVIEWS)
    others = 4 + len(noted) + len(sparks)  # the blank, concepts, promoted tokens, peaks
    said = explanation_lines(meaning, palette, width, max(1, min(height - others, _MOST_SAID)))
    concepts, promoted = concepts_line(meaning, palette, width), promoted_line(meaning, palette, width)
    lines = [*blank(width), concepts, *said, *noted, _peaks(facts, palette, width), promoted]
    rest = height - len(lines)
    if rest < TALL + 1:
        return [*lines, *sparks][:height]
    half, tall = (width - 3) // 2, min(rest - 1, 18)
    plots = [(histogram(*of, half, tall, palette), half) for of in facts.distributions]
    return [*lines, *blank(width), *beside(plots, tall, gap=3)][:height]


# -- what it means -----------------------------------------------------------------------------------------------------


def subject(text: str, palette: Palette) -> Span:
    return (f"{text:<{HEAD}}", palette.muted)


def concepts_line(meaning: Meaning, palette: Palette, width: int) -> Strip:
    """The words that stand out, strongest first, and how pure the first one is."""
    found = meaning.concepts
    parts: list[Span] = [subject("concepts", palette)]
    if found is None:
        return row([*parts, (NO_CONCEPTS if meaning.whole else NOT_YET, palette.muted)], width)
    if not found.words:
        return row([*parts, ("no word stands out", palette.muted)], width)
    note = f"  purity {fraction(found.purity)} (base {fraction(found.base_rate)})"
    used = HEAD + len(note)
    for at, concept in enumerate(found.words):
        text, number = short(concept.word, _WORD), f" {concept.strength:.1f}"
        if at and used + 3 + len(text) + len(number) > width:
            break
        used += len(text) + len(number) + (3 if at else 0)
        parts += [(" · " if at else "", palette.muted), (text, palette.text), (number, palette.muted)]
    return row([*parts, (note, palette.muted)], width)


def spelled(words: tuple[str, ...]) -> str:
    """Spelled tokens, each spelling once."""
    seen = dict.fromkeys(short(word, _WORD).strip() or "␣" for word in words)
    return " ".join(list(seen)[:_TOKENS])


def promoted_line(meaning: Meaning, palette: Palette, width: int) -> Strip:
    """The tokens that it promotes and suppresses."""
    parts: list[Span] = [subject("promotes", palette)]
    if meaning.promoted is None:
        note = meaning.promoted_note or f"{meaning.promoted_key} asks the model"
        return row([*parts, (note, palette.muted)], width)
    half = max((width - HEAD - 10) // 2, 8)
    parts.append((short(spelled(meaning.promoted.top), half), palette.text))
    parts.append(("  against ", palette.muted))
    parts.append((short(spelled(meaning.promoted.bottom), half), palette.muted))
    return row(parts, width)


def written_by(explanation: Explanation) -> str:
    match explanation.source:
        case Source.USER:
            return "you"
        case Source.CONCEPTS:
            return "its concepts"
        case Source.BORROWED:
            return f"borrowed from {short(explanation.model, 20)}"
        case Source.PAPER:
            return "the paper"
    confidence = f", {explanation.confidence} confidence" if explanation.confidence else ""
    return f"{short(explanation.model, 40)}{confidence}"


def said(explanation: Explanation) -> str:
    return explanation.text if explanation.pattern_found else f"no pattern found: {explanation.text}"


def explanation_lines(meaning: Meaning, palette: Palette, width: int, height: int) -> list[Strip]:
    """The leading explanation in at most ``height`` lines, or why there is none."""
    text, by, look = "", "", palette.text
    entry = meaning.entry
    if meaning.asking:
        text, look = meaning.asking, palette.accent
    elif entry is not None and entry.failure is not None:
        what = "refused" if entry.failure.refused else "failed"
        text, look = f"{what}: {entry.failure.reason}", palette.warning
    elif entry is not None and entry.explanations:
        first = entry.explanations[0].explanation
        more = len(entry.explanations) - 1
        text, by = said(first), f"{written_by(first)}{f', {more} more' if more else ''}"
    elif meaning.published is not None:
        text, by = meaning.published.text, f"the paper, figure {meaning.published.figure}"
    elif meaning.entry_problem:
        text, look = f"no notebook: {meaning.entry_problem}", palette.warning
    else:
        text, look = f"none yet: {meaning.explain_key} asks", palette.muted
    lines = wrapped(text, width - HEAD) or [""]
    if by:
        if len(lines[-1]) + len(by) + 3 + HEAD <= width:
            lines[-1] = f"{lines[-1]} "
        else:
            lines.append("")
    cut = len(lines) > height
    lines = lines[:height]
    strips = []
    for at, line in enumerate(lines):
        parts: list[Span] = [subject("explained" if at == 0 else "", palette), (line, look)]
        if at == len(lines) - 1 and cut:
            parts.append(("…", look))
        elif at == len(lines) - 1 and by:
            parts.append((f"({by})", palette.muted))
        strips.append(row(parts, width))
    return strips


def score_lines(meaning: Meaning, palette: Palette, width: int) -> list[Strip]:
    """The first score of each kind, of the leading explanation, or of another if that has none; no line without any."""
    entry = meaning.entry
    if entry is None or not (meaning.scores or meaning.judged):
        return []
    from vlmscope.core.notebook.score_order import is_chosen
    from vlmscope.core.scoring.preferred import ordered
    from vlmscope.tui.widgets.page.score_words import first_judged, first_scores

    for saved in entry.explanations:
        reports = meaning.scores.get(saved.id, ())
        judges = ordered(meaning.judged.get(saved.id, ()))
        if judges and is_chosen(judges[0].backend) and judges[0].headline is not None and judges[0].headline.value:
            return [row([subject("score", palette), (first_judged(judges[0], width - HEAD), palette.text)], width)]
        if reports:
            total = sum(len(others) for found in (meaning.scores, meaning.judged) for others in found.values())
            hint = f"  {total} more: {meaning.score_key}"
            text, shown = first_scores(reports, width - HEAD - (len(hint) if total > 1 else 0))
            note = f"  {total - shown} more: {meaning.score_key}" if total > shown else ""
            return [row([subject("score", palette), (text, palette.text), (note, palette.muted)], width)]
    for saved in entry.explanations:
        for judgement in ordered(meaning.judged.get(saved.id, ())):
            text = first_judged(judgement, width - HEAD)
            return [row([subject("score", palette), (text, palette.text)], width)]
    for judgement in meaning.judged.get(None, ()):
        text = first_judged(judgement, width - HEAD)
        return [row([subject("score", palette), (text, palette.text)], width)]
    return []


def check_lines(meaning: Meaning, palette: Palette, width: int) -> list[Strip]:
    """The newest causal check in short; no line without any."""
    entry = meaning.entry
    if entry is None or not entry.checks:
        return []
    first, more = entry.checks[0].check, len(entry.checks) - 1
    effect = "" if first.effect is None else f" {signed(first.effect)}"
    parts: list[Span] = [subject("checked", palette), (f"{short(first.word, _WORD)}{effect}", palette.text)]
    parts.append((f"  {short_verdict(first)}", palette.strong if first.found else palette.text))
    return [row([*parts, (f"  {more} more" if more else "", palette.muted)], width)]


def decided_line(meaning: Meaning, palette: Palette, width: int) -> Strip | None:
    """Verdict, bookmark, tags and the note's beginning; None where nothing was decided."""
    entry = meaning.entry
    if entry is None or not (entry.verdict or entry.bookmark or entry.tags or entry.note):
        return None
    return row([subject("noted", palette), *decisions(entry, palette)], width)


def review_lines(meaning: Meaning, palette: Palette, width: int, most: int) -> list[Strip]:
    """The same of other people whose notes were taken in, a line each; ``most`` at most."""
    reviews = () if meaning.entry is None else meaning.entry.reviews[:most]
    return [row([subject(short(one.person, HEAD - 1), palette), *decisions(one, palette)], width) for one in reviews]


def decisions(one: "Entry | Review", palette: Palette) -> list[Span]:
    """What a person decided, and the note's beginning."""
    parts: list[Span] = []
    if one.verdict:
        parts.append((f"{_VERDICTS[one.verdict]} {one.verdict}  ", palette.strong))
    if one.bookmark:
        parts.append(("bookmarked  ", palette.text))
    if one.tags:
        parts.append((f"#{' #'.join(tag for tag in one.tags)}  ", palette.accent))
    return [*parts, (one.note[:_NOTE], palette.text)]


def meaning_beside(meaning: Meaning, width: int, height: int, palette: Palette) -> list[Strip]:
    """A narrow column: a few concepts, and the explanation as far as it fits."""
    found = meaning.concepts
    lines = [row([("concepts", palette.muted)], width)]
    if found is None or not found.words:
        lines[0] = row([("concepts: none", palette.muted)], width)
    else:
        for at, concept in enumerate(found.words[:3]):
            note = f" {fraction(found.purity)} pure" if at == 0 else f" {concept.strength:.1f}"
            lines.append(_with_note(short(concept.word, _WORD), note, palette, width))
    shown = explanation_lines(meaning, palette, width + HEAD, max(height - len(lines) - 1, 1))
    lines.append(row([("explained", palette.muted)], width))
    lines += [strip.crop(HEAD, width + HEAD).adjust_cell_length(width) for strip in shown]
    decided = decided_line(meaning, palette, width + HEAD)
    if decided is not None:
        lines[height - 1 :] = [decided.crop(HEAD, width + HEAD).adjust_cell_length(width)]
    return lines[:height]
