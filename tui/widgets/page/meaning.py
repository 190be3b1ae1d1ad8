"""The page of meaning: concepts, promoted tokens, and every explanation in full."""

from dataclasses import replace
from typing import TYPE_CHECKING

from textual.strip import Strip

from vlmscope.core.notebook.check import CausalCheck
from vlmscope.core.notebook.check_words import about, effect_text, intervened, verdict
from vlmscope.core.notebook.explanation import Source
from vlmscope.tui.views.meaning import Meaning
from vlmscope.tui.widgets.lines import Span, blank, row, short, wrapped
from vlmscope.tui.widgets.page.facts import (
    HEAD,
    concepts_line,
    decided_line,
    decisions,
    promoted_line,
    said,
    spelled,
    subject,
    written_by,
)
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.core.notebook.values import SavedExplanation

CO_OCCUR = "words that co-occur, not an explanation by a model"
_LONGEST_WORD = 40  # characters of a checked word
_LONGEST_NOTE = 20_000  # characters that the page of meanings shows


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
    lines = [piece for text in shown.splitlines() for piece in wrapped(text, width - 4) or [""]]
    if len(entry.note) > _LONGEST_NOTE:
        lines.append(f"… {len(entry.note) - _LONGEST_NOTE:,} characters more")
    body = [row([(f"  {text}", palette.text)], width) for text in lines]
    return [head if head is not None else row([subject("noted", palette)], width), *body, *blank(width)]


def _reviews(meaning: Meaning, palette: Palette, width: int) -> list[Strip]:
    """What other people decided and wrote, in full."""
    lines: list[Strip] = []
    for review in () if meaning.entry is None else meaning.entry.reviews:
        head = [subject(short(review.person, HEAD - 1), palette), *decisions(replace(review, note=""), palette)]
        lines.append(row(head, width))
        for text in review.note[:_LONGEST_NOTE].splitlines():
            lines += _wrapped(text, palette, width)
    return [*lines, *blank(width)] if lines else []


def meaning_page(meaning: Meaning, width: int, palette: Palette) -> list[Strip]:
    """Everything in words about the neuron: concepts, tokens, every explanation with its source."""
    lines = [
        *_decided(meaning, palette, width),
        *_reviews(meaning, palette, width),
        concepts_line(meaning, palette, width),
    ]
    lines.append(row([subject("", palette), (CO_OCCUR, palette.muted)], width))
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
    if meaning.judged.get(None):
        lines += [*_scores(meaning, None, palette, width), *blank(width)]
    for check in entry.checks if entry is not None else ():
        lines += [*_check(check.check, palette, width), *blank(width)]
    if entry is not None and len(entry.explanations) > 1:
        lines.append(row([(f"{meaning.choose_key} chooses which one leads", palette.muted)], width))
    elif not meaning.asking and (entry is None or not entry.explanations):
        lines.append(row([(f"no explanation yet: {meaning.explain_key} asks for one", palette.muted)], width))
    return lines


def _scores(meaning: Meaning, explanation: int | None, palette: Palette, width: int) -> list[Strip]:
    from vlmscope.core.scoring.judge_report import AnyReport
    from vlmscope.core.scoring.preferred import ordered
    from vlmscope.tui.widgets.page.score_words import score_text

    lines = []
    reports: list[AnyReport] = [*meaning.scores.get(explanation, ()), *meaning.judged.get(explanation, ())]
    for report in ordered(reports):
        for at, line in enumerate(wrapped(score_text(report, samples=True), width - HEAD)):
            lines.append(row([subject("" if at else "score", palette), (line, palette.text)], width))
    return lines


def _check(check: CausalCheck, palette: Palette, width: int) -> list[Strip]:
    """A causal check: what was done, its result, its numbers; the page of checks has all of it."""
    done = intervened(check.settings.intervention, check.settings.at)
    head = f"checked · {short(check.word, _LONGEST_WORD)} {done} · {_time(check.created)}"
    numbers = f"{effect_text(check)}, {about(check)}"
    return [
        row([(f"  {head}", palette.strong)], width),
        *_wrapped(verdict(check), palette, width),
        *(row([(f"  {line}", palette.muted)], width) for line in wrapped(numbers, width - 4)),
    ]


def _promoted(meaning: Meaning, palette: Palette, width: int) -> list[Strip]:
    if meaning.promoted is None:
        return [promoted_line(meaning, palette, width)]
    lines = []
    for name, words in (("promotes", meaning.promoted.top), ("against", meaning.promoted.bottom)):
        lines.append(row([subject(name, palette), (spelled(words), palette.text)], width))
    note = "a first-order reading of its output weights; the up projection may turn one into the other"
    lines += [row([subject("", palette), (line, palette.muted)], width) for line in wrapped(note, width - HEAD)]
    return lines


def _wrapped(text: str, palette: Palette, width: int) -> list[Strip]:
    return [row([("  ", palette.text), (line, palette.text)], width) for line in wrapped(text, width - 4)]


def _time(created: str) -> str:
    return created.replace("T", " ")[:16]


def _one(saved: "SavedExplanation", palette: Palette, width: int) -> list[Strip]:
    explanation = saved.explanation
    parts: list[Span] = [("▸ " if saved.leads else "  ", palette.accent)]
    parts.append((f"#{saved.id} · {written_by(explanation)}", palette.strong))
    lines = [row(parts, width), *_wrapped(said(explanation), palette, width)]
    for name, value in (("looks for", ", ".join(explanation.visual_phrases)), ("words", explanation.text_cue)):
        if value:
            lines.append(row([(f"  {name}: ", palette.muted), (value, palette.text)], width))
    origin = [_time(explanation.created)]
    if explanation.source is Source.API:
        cost = "price unknown" if explanation.cost_usd is None else f"${explanation.cost_usd:.4f}"
        tokens = f"{explanation.input_tokens:,} + {explanation.output_tokens:,} tokens"
        origin += [explanation.prompt_version, f"{len(explanation.samples)} samples", tokens, cost]
    pieces = wrapped(" · ".join(origin), width - 4)
    return [*lines, *(row([(f"  {line}", palette.muted)], width) for line in pieces)]
