"""What commands that score share: options, and the results: a line or an object of each neuron, or why it has none."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.base.text import counted
from vlmscope.core.method.labels import COLOURS, Label, Labels
from vlmscope.core.scoring.judge_run import JudgeResult
from vlmscope.core.scoring.run import ScoreResult, ScoreStatus
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.neuron_run import counts_text
from vlmscope.tui.commands.shared.notes import Notes

ScoredWordsOption = Annotated[
    str | None,
    typer.Option(
        "--explanation",
        metavar="TEXT|ID|ADDRESS",
        help="Words to score, an explanation's number in the notebook, or another neuron's address.",
    ),
]
ScoredAgainOption = Annotated[bool, typer.Option("--again", help="Score what has a score already, too.")]


def write_scores(
    results: Sequence[tuple[ScoreResult | JudgeResult, str]],
    stopped: VlmscopeError | None,
    labels: Labels,
    as_json: bool,
    notes: Notes,
    undefined: int = 0,
) -> None:
    """Write a run's results to stdout, and what is to be known of them to stderr.

    Args:
        results: each with its scores in words; of those without a report any. stopped: what ended the run early.
        undefined: how many reports have no score.

    Raises:
        VlmscopeError: ``stopped``; or if no neuron was scored.
    """
    found = [(one, one.report) for one, _ in results]
    reports = [report for _, report in found if report is not None]
    if as_json:
        output.write_json([_as_json(one, labels.of(one.neuron)) for one, _ in results])
    else:
        output.write_lines(
            [_line(one, labels.of(one.neuron), words) for one, words in results if one.report is not None]
        )
    for note in dict.fromkeys(report.note for report in reports):
        if note:
            notes.write(note)
    for one, report in found:
        if report is None:
            notes.write(f"{one.neuron} {one.status.value}: {one.reason}")
        elif report.failures and one.status is ScoreStatus.SCORED:
            missing = len({failure.sample for failure in report.failures})
            reasons = list(dict.fromkeys(failure.reason for failure in report.failures))
            more = f" and {len(reasons) - 1} other reasons" if len(reasons) > 1 else ""
            notes.write(f"{one.neuron}: {counted(missing, 'sample')} left out: {reasons[0]}{more}")
    counts = counts_text((one.status for one, _ in results), ScoreStatus)
    notes.write(counts + (f" ({undefined} of them n/a)" if undefined else ""))
    if stopped is not None:
        raise stopped
    if not reports:
        raise VlmscopeError("No neuron was scored.", "The reasons are listed above.")


def _as_json(result: ScoreResult | JudgeResult, label: Label) -> dict[str, object]:
    return {
        "neuron": str(result.neuron),
        "label": label.word,
        "status": result.status.value,
        "explanation": None if result.explanation is None else result.explanation.text,
        "reason": result.reason,
        "report": None if result.report is None else result.report.to_json(),
    }


def _line(result: ScoreResult | JudgeResult, label: Label, words: str) -> Text:
    line = output.row(f"{result.neuron!s:<12}")
    line.append(f"{label.word:<11}", style=COLOURS[label])
    return line.append(words)
