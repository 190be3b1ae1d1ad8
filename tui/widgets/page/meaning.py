"""What a neuron means, in lines: a few beside the pictures, or the whole page with every explanation."""

import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.strip import Strip

from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.tui.views.meaning import Meaning
from vlmscope.tui.widgets.lines import Part, blank, row, short
from vlmscope.tui.widgets.numbers import fraction
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.core.notebook.values import SavedExplanation

_HEAD = 10  # cells of what a line is about
_WORD = 24  # characters of one word that are shown
_NOTE = 200  # characters of a note that the page shows in one line
_LONGEST_NOTE = 20_000  # characters that the page of meanings shows
_VERDICTS = {"keep": "✓", "reject": "✗", "unsure": "?"}
_TOKENS = 8  # tokens that are named on either side
NO_CONCEPTS = "none in this scan: vlmscope concepts adds them"
NOT_YET = "found when the scan is whole"


def _head(text: str, palette: Palette) -> Part:
    return (f"{text:<{_HEAD}}", palette.muted)


def _purity(meaning: Meaning) -> str:
    found = meaning.concepts
    if found is None or not found.words:
        return ""
    return f"purity {fraction(found.purity)} (base {fraction(found.base_rate)})"


def concepts_line(meaning: Meaning, palette: Palette, width: int) -> Strip:
    """The words that stand out, strongest first, and how pure the first one is."""
    found = meaning.concepts
    parts: list[Part] = [_head("concepts", palette)]
    if found is None:
        return row([*parts, (NO_CONCEPTS if meaning.whole else NOT_YET, palette.muted)], width)
    if not found.words:
        return row([*parts, ("no word stands out", palette.muted)], width)
    note = f"  {_purity(meaning)}"
    used = _HEAD + len(note)
    for at, concept in enumerate(found.words):
        text, number = short(concept.word, _WORD), f" {concept.strength:.1f}"
        if at and used + 3 + len(text) + len(number) > width:
            break
        used += len(text) + len(number) + (3 if at else 0)
        parts += [(" · " if at else "", palette.muted), (text, palette.text), (number, palette.muted)]
    return row([*parts, (note, palette.muted)], width)


def _tokens(words: tuple[str, ...]) -> str:
    """Spelled tokens, each spelling once."""
    seen = dict.fromkeys(short(word, _WORD).strip() or "␣" for word in words)
    return " ".join(list(seen)[:_TOKENS])


def promoted_line(meaning: Meaning, palette: Palette, width: int) -> Strip:
    """The tokens that it promotes and suppresses."""
    parts: list[Part] = [_head("promotes", palette)]
    if meaning.promoted is None:
        note = meaning.promoted_note or f"{meaning.promoted_key} asks the model"
        return row([*parts, (note, palette.muted)], width)
    half = max((width - _HEAD - 10) // 2, 8)
    parts.append((short(_tokens(meaning.promoted.top), half), palette.text))
    parts.append(("  against ", palette.muted))
    parts.append((short(_tokens(meaning.promoted.bottom), half), palette.muted))
    return row(parts, width)


def _by(explanation: Explanation) -> str:
    match explanation.source:
        case Source.USER:
            return "you"
        case Source.CONCEPTS:
            return "its concepts"
        case Source.BORROWED:
            return f"borrowed from {short(explanation.model, 20)}"
        case Source.PAPER:
            return "the paper"
    sure = f", {explanation.confidence} confidence" if explanation.confidence else ""
    return f"{short(explanation.model, 40)}{sure}"


def _said(explanation: Explanation) -> str:
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
        text, by = _said(first), f"{_by(first)}{f', {more} more' if more else ''}"
    elif meaning.published is not None:
        text, by = meaning.published.text, f"the paper, figure {meaning.published.figure}"
    elif meaning.entry_problem:
        text, look = f"no notebook: {meaning.entry_problem}", palette.warning
    else:
        text, look = f"none yet: {meaning.explain_key} asks", palette.muted
    lines = textwrap.wrap(text, max(width - _HEAD, 8)) or [""]
    if by:
        if len(lines[-1]) + len(by) + 3 + _HEAD <= width:
            lines[-1] = f"{lines[-1]} "
        else:
            lines.append("")
    cut = len(lines) > height
    lines = lines[:height]
    strips = []
    for at, line in enumerate(lines):
        parts: list[Part] = [_head("explained" if at == 0 else "", palette), (line, look)]
        if at == len(lines) - 1 and cut:
            parts.append(("…", look))
        elif at == len(lines) - 1 and by:
            parts.append((f"({by})", palette.muted))
        strips.append(row(parts, width))
    return strips


def score_lines(meaning: Meaning, palette: Palette, width: int) -> list[Strip]:
    """The newest score of the leading explanation, or of another if that has none; no line where there is none."""
    entry = meaning.entry
    if entry is None or not meaning.scores:
        return []
    from vlmscope.tui.widgets.page.score_words import score_line

    for saved in entry.explanations:
        for report in meaning.scores.get(saved.id, ())[:1]:
            return [score_line(report, palette, width, _HEAD)]
    return []


def decided_line(meaning: Meaning, palette: Palette, width: int) -> Strip | None:
    """Verdict, bookmark, tags and the note's beginning; None where nothing was decided."""
    entry = meaning.entry
    if entry is None or not (entry.verdict or entry.bookmark or entry.tags or entry.note):
        return None
    parts: list[Part] = [_head("noted", palette)]
    if entry.verdict:
        parts.append((f"{_VERDICTS[entry.verdict]} {entry.verdict}  ", palette.strong))
    if entry.bookmark:
        parts.append(("bookmarked  ", palette.text))
    if entry.tags:
        parts.append((f"#{' #'.join(tag for tag in entry.tags)}  ", palette.accent))
    parts.append((entry.note[:_NOTE], palette.text))
    return row(parts, width)


def _decided(meaning: Meaning, palette: Palette, width: int) -> list[Strip]:
    """The same in full, every line of the note."""
    entry = meaning.entry
    line = decided_line(meaning, palette, width)
    if entry is None or line is None:
        return []
    if not entry.note:
        return [line, *blank(width)]
    rest = replace(meaning, entry=replace(entry, note=""))
    head = decided_line(rest, palette, width)
    shown = entry.note[:_LONGEST_NOTE]
    lines = [piece for text in shown.splitlines() for piece in textwrap.wrap(text, width - 4) or [""]]
    if len(entry.note) > _LONGEST_NOTE:
        lines.append(f"… {len(entry.note) - _LONGEST_NOTE:,} characters more")
    body = [row([(f"  {text}", palette.text)], width) for text in lines]
    return [head if head is not None else row([_head("noted", palette)], width), *body, *blank(width)]


def meaning_beside(meaning: Meaning, width: int, height: int, palette: Palette) -> list[Strip]:
    """A narrow column: a few concepts, and the explanation as far as it fits."""
    found = meaning.concepts
    lines = [row([("concepts", palette.muted)], width)]
    if found is None or not found.words:
        lines[0] = row([("concepts: none", palette.muted)], width)
    else:
        for at, concept in enumerate(found.words[:3]):
            note = f" {fraction(found.purity)} pure" if at == 0 else f" {concept.strength:.1f}"
            strip = row([(short(concept.word, _WORD), palette.text)], max(width - len(note), 1))
            lines.append(Strip.join([strip, row([(note, palette.muted)], len(note))]))
    shown = explanation_lines(meaning, palette, width + _HEAD, max(height - len(lines) - 1, 1))
    lines.append(row([("explained", palette.muted)], width))
    lines += [strip.crop(_HEAD, width + _HEAD).adjust_cell_length(width) for strip in shown]
    decided = decided_line(meaning, palette, width + _HEAD)
    if decided is not None:
        lines[height - 1 :] = [decided.crop(_HEAD, width + _HEAD).adjust_cell_length(width)]
    return lines[:height]


def meaning_page(meaning: Meaning, width: int, palette: Palette) -> list[Strip]:
    """Everything that was said of the neuron: concepts, tokens, every explanation with where it came from."""
    lines = [*_decided(meaning, palette, width), concepts_line(meaning, palette, width)]
    lines.append(row([_head("", palette), ("words that co-occur, no explanation by a model", palette.muted)], width))
    lines += blank(width)
    lines += _promoted(meaning, palette, width)
    lines += blank(width)
    if meaning.published is not None:
        found = meaning.published
        images = f", COCO {', '.join(found.images)}" if found.images else ""
        lines.append(row([(f"the paper, figure {found.figure}{images} · {found.label.word}", palette.strong)], width))
        lines += _wrapped(found.text, palette, width)
        lines += blank(width)
    entry = meaning.entry
    if meaning.asking:
        lines.append(row([(meaning.asking, palette.accent)], width))
    if meaning.entry_problem:
        lines.append(row([(f"no notebook: {meaning.entry_problem}", palette.warning)], width))
    if entry is not None and entry.failure is not None:
        what = "refused" if entry.failure.refused else "failed"
        head = f"{what} · {short(entry.failure.model, 40)} · {_time(entry.failure.created)}"
        lines.append(row([(head, palette.warning)], width))
        lines += _wrapped(entry.failure.reason, palette, width)
        lines += blank(width)
    for saved in entry.explanations if entry is not None else ():
        lines += _one(saved, palette, width)
        lines += _scores(meaning, saved.id, palette, width)
        lines += blank(width)
    if entry is not None and len(entry.explanations) > 1:
        lines.append(row([(f"{meaning.choose_key} chooses which one leads", palette.muted)], width))
    elif not meaning.asking and (entry is None or not entry.explanations):
        lines.append(row([(f"no explanation yet: {meaning.explain_key} asks for one", palette.muted)], width))
    return lines


def _scores(meaning: Meaning, explanation: int, palette: Palette, width: int) -> list[Strip]:
    from vlmscope.tui.widgets.page.score_words import score_lines_wrapped

    reports = meaning.scores.get(explanation, ())
    return [line for report in reports for line in score_lines_wrapped(report, palette, width, _HEAD)]


def _promoted(meaning: Meaning, palette: Palette, width: int) -> list[Strip]:
    if meaning.promoted is None:
        return [promoted_line(meaning, palette, width)]
    lines = []
    for name, words in (("promotes", meaning.promoted.top), ("against", meaning.promoted.bottom)):
        lines.append(row([_head(name, palette), (_tokens(words), palette.text)], width))
    note = "a first-order reading of its output weights; the up projection may turn one into the other"
    lines += [row([_head("", palette), (line, palette.muted)], width) for line in textwrap.wrap(note, width - _HEAD)]
    return lines


def _wrapped(text: str, palette: Palette, width: int) -> list[Strip]:
    return [row([("  ", palette.text), (line, palette.text)], width) for line in textwrap.wrap(text, width - 4)]


def _time(created: str) -> str:
    return created.replace("T", " ")[:16]


def _one(saved: "SavedExplanation", palette: Palette, width: int) -> list[Strip]:
    explanation = saved.explanation
    parts: list[Part] = [("▸ " if saved.leads else "  ", palette.accent)]
    parts.append((f"#{saved.id} · {_by(explanation)}", palette.strong))
    lines = [row(parts, width), *_wrapped(_said(explanation), palette, width)]
    for name, value in (("looks for", ", ".join(explanation.visual_phrases)), ("words", explanation.text_cue)):
        if value:
            lines.append(row([(f"  {name}: ", palette.muted), (value, palette.text)], width))
    origin = [_time(explanation.created)]
    if explanation.source is Source.API:
        cost = "price unknown" if explanation.cost_usd is None else f"${explanation.cost_usd:.4f}"
        tokens = f"{explanation.input_tokens:,} + {explanation.output_tokens:,} tokens"
        origin += [explanation.prompt_version, f"{len(explanation.samples)} samples", tokens, cost]
    wrapped = textwrap.wrap(" · ".join(origin), width - 4)
    return [*lines, *(row([(f"  {line}", palette.muted)], width) for line in wrapped)]
