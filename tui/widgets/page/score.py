"""Origin, ground truth and prediction side by side, as the paper's figures have them, with the score and its limits."""

import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from textual.strip import Strip

from vlmscope.core.base.errors import StoreError
from vlmscope.core.method.heatmap import open_crop
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.scoring.judge_report import AnyReport, JudgeReport, figure_words
from vlmscope.core.scoring.report import OTHERS, WHAT, ScoreReport, score_words
from vlmscope.tui.views.evidence import PictureView
from vlmscope.tui.views.scene import Scene
from vlmscope.tui.views.score import ScoreView
from vlmscope.tui.widgets.lines import Span, beside, blank, row, wrapped
from vlmscope.tui.widgets.page.frame import GAP, SCALE
from vlmscope.tui.widgets.page.pictures import activation_box, drawn_map, message_box, origin_box, scale
from vlmscope.tui.widgets.page.score_words import GROUPS, KINDS, score_text
from vlmscope.tui.widgets.page.words import words
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.core.scoring.simulation import PredictedSample

_OTHERS = 3  # other scores that are named on the page
_ROOMY = 30  # lines from which each score has its number of samples; below, one line has them all


def score_page(scene: Scene, width: int, height: int, palette: Palette) -> list[Strip]:
    """The page's score: numbers, then one sample after the other."""
    score = scene.score
    if score is None:
        return [row([("no score yet: S simulates the neuron from its explanation", palette.muted)], width)]
    if score.report is None:
        unread = row([(f"{_place(score)}its score cannot be read: {score.problem}", palette.warning)], width)
        return [unread, *_others(score, palette, width)]
    if isinstance(score.report, JudgeReport):
        return _judged(score, score.report, palette, width)[:height]
    lines = _numbers(score, score.report, palette, width, brief=height < _ROOMY)
    if not score.examples:
        note = (
            "the pictures are not kept: S computes them again"
            if score.leads
            else "the pictures are not kept: c makes this explanation lead, then S computes them again"
        )
        return [*lines, *blank(width), row([(note, palette.muted)], width)][:height]
    return [*lines, *_example(scene, score, score.examples[score.at], width, height - len(lines), palette)][:height]


def note_of(report: AnyReport) -> str:
    """The limits of a score, in one line."""
    own = "independent of the inspected model" if report.independent else ""
    return "; ".join(filter(None, [own, report.note]))


def _place(score: ScoreView) -> str:
    """Which of several scores it is; empty where there is one."""
    return f"score {score.place + 1} of {score.count} · " if score.count > 1 else ""


def _others(score: ScoreView, palette: Palette, width: int) -> list[Strip]:
    """The neuron's other scores: none is hidden by the one that is shown."""
    lines = []
    for at, other in enumerate(score.others[:_OTHERS]):
        head = "J K show the others: " if at == 0 else ""
        more = len(score.others) - _OTHERS
        note = f"  and {more} more" if more > 0 and at == _OTHERS - 1 else ""
        text = wrapped(f"{head}{score_text(other)}{note}", max(width, 8), "  ")
        lines += [row([(line, palette.muted)], width) for line in text]
    return lines


def _numbers(score: ScoreView, report: ScoreReport, palette: Palette, width: int, *, brief: bool) -> list[Strip]:
    said = textwrap.shorten(report.explanation, max(width - 4, 20), placeholder=" …")
    phrases = f"looks for: {', '.join(phrase for phrase in report.phrases)}" if report.phrases else ""
    lines = [
        row([(f"“{said}” ", palette.strong)], width),
        row(
            [
                (_place(score), palette.muted),
                (f"by {report.backend}", palette.text),
                (f" · {phrases}" if phrases else "", palette.muted),
            ],
            width,
        ),
        row([(note_of(report), palette.muted)], width),
    ]
    for kind, groups in report.pooled.items():
        for group, found in groups.items():
            text = f"{KINDS[kind]}, {GROUPS[group]}: {score_words(found, samples=not brief)}"
            lines += [row([(line, palette.text)], width) for line in wrapped(text, width, "  ")]
    scored = [found for groups in report.pooled.values() for found in groups.values() if found.score is not None]
    if scored:
        over = ", ".join(str(found.counted) for found in scored)
        what = f"Pearson, over {over} samples; others: other neurons' explanations" if brief else f"{WHAT}; {OTHERS}"
        lines += [row([(line, palette.muted)], width) for line in wrapped(what, width, "  ")]
    if report.failures:
        reasons = list(dict.fromkeys(failure.reason for failure in report.failures))
        failed = len({failure.sample for failure in report.failures})
        lines.append(row([(f"{failed} samples failed: {'; '.join(reasons)}", palette.warning)], width))
    return [*lines, *_others(score, palette, width)]


def _judged(score: ScoreView, report: JudgeReport, palette: Palette, width: int) -> list[Strip]:
    """A judge's score: its metrics, then its answers on each sample."""
    said = textwrap.shorten(report.explanation, max(width - 4, 20), placeholder=" …")
    head = f"“{said}” " if said else "which of five samples does not belong?"
    lines = [
        row([(head, palette.strong)], width),
        row([(_place(score), palette.muted), (f"by {report.backend}", palette.text)], width),
        row([(note_of(report), palette.muted)], width),
    ]
    for metric, found in report.figures.items():
        lines += [
            row([(line, palette.text)], width) for line in wrapped(f"{metric}: {figure_words(found)}", width, "  ")
        ]
    groups = ((True, "activating"), (False, "silent")) if report.samples else ()
    for activates, head in groups:
        ratings = [f"#{one.sample} {one.rating}" for one in report.samples if one.activates is activates]
        text = f"{head} samples, rated 0 to 10: {', '.join(ratings)}"
        lines += [row([(line, palette.muted)], width) for line in wrapped(text, width, "  ")]
    if report.rounds:
        taken = ("found" if one.answer == one.intruder else f"#{one.answer}" for one in report.rounds)
        shown = (f"#{one.intruder} {what}" for one, what in zip(report.rounds, taken, strict=True))
        text = f"intruders, and what was taken for one: {', '.join(shown)}"
        lines += [row([(line, palette.muted)], width) for line in wrapped(text, width, "  ")]
    if report.failures:
        reasons = list(dict.fromkeys(failure.reason for failure in report.failures))
        text = f"{len(report.failures)} samples failed: {'; '.join(reasons)}"
        lines += [row([(line, palette.warning)], width) for line in wrapped(text, width, "  ")]
    return [*lines, *_others(score, palette, width)]


def _example(
    scene: Scene, score: ScoreView, example: "PredictedSample", width: int, height: int, palette: Palette
) -> list[Strip]:
    sample, truth, predicted = example.sample, example.truth, example.prediction
    rank = f"rank {sample.rank}" if sample.rank is not None else "random"
    parts: list[Span] = [
        (f"example {score.at + 1} of {len(score.examples or ())}", palette.strong),
        (f" · {rank} · #{sample.sample}", palette.muted),
    ]
    scored = score.report.samples if isinstance(score.report, ScoreReport) else ()
    own = next((one for one in scored if one.sample == sample.sample), None)
    for kind, value in (own.values if own is not None else {}).items():
        shown = f"{value.value:.2f}" if value.value is not None else f"n/a ({value.reason})"
        parts.append((f" · {KINDS[kind]} {shown}", palette.text))
    if example.reason:
        parts.append((f" · {example.reason}", palette.warning))
    cells = max((width - SCALE - 3 * GAP) // 3, 4)
    rows = max(min(cells // 2, height - 6), 1)
    picture = _picture(score, sample.sample)
    colour_map = drawn_map(picture, scene.state.colour_map, palette)

    def box(norms: NDArray[np.float32] | None, problem: str) -> tuple[list[Strip], int]:
        if norms is None:
            return message_box(problem, cells, rows, palette), cells
        shown = replace(picture, visual=norms.ravel(), layout=VisualLayout.plain(*norms.shape))
        return activation_box(shown, (cells, rows), colour_map, palette, stale=False, waiting="", marked=False), cells

    heads = [([row([(name, palette.muted)], cells)], cells) for name in ("origin", "ground truth", "prediction")]
    blocks = [
        (origin_box(picture, (cells, rows), palette, stale=False), cells),
        box(truth.visual if truth else None, "no truth"),
        box(predicted.visual if predicted else None, "not predicted"),
        (scale(rows, colour_map, palette), SCALE),
    ]
    lines = [row(parts, width), *beside(heads, 1, GAP), *beside(blocks, rows, GAP)]
    rest = height - len(lines)
    told = words(sample.tokens, truth.text if truth is not None else None, 3.0, palette, width).lines
    if predicted is None or predicted.text is None:
        return [*lines, *told[:rest]]
    half = max(rest // 2 - 1, 1)
    again = words(sample.tokens, predicted.text, 3.0, palette, width).lines
    return [*lines, *told[:half], row([("predicted:", palette.muted)], width), *again[:half]]


def _picture(score: ScoreView, sample: int) -> PictureView:
    try:
        crop, problem = (open_crop(score.crop), "") if score.crop else (None, "the scan has none")
    except StoreError as error:
        crop, problem = None, error.message
    return PictureView(
        neuron=score.neuron,
        thresholds=Thresholds(),
        rank=None,
        sample=sample,
        image="",
        crop=crop,
        crop_problem=problem,
    )
