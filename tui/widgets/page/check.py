"""A causal check: the verdict, where the effect is among those of its controls, and every picture's value."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual.strip import Strip

from vlmscope.core.notebook.check import CausalCheck, CheckedPicture
from vlmscope.core.notebook.check_words import (
    about,
    effect_text,
    interval_text,
    intervened,
    match_text,
    notes,
    signed,
    title,
    verdict,
)
from vlmscope.tui.views.check import CheckView
from vlmscope.tui.widgets.lines import Span, blank, row, wrapped
from vlmscope.tui.widgets.numbers import nats, probability, spark
from vlmscope.tui.widgets.palette import Palette

OWN = "◆"  #: the checked neuron among its controls
_LEAST_PLOT = 24  # cells of the page from which there is a plot
_LEAST_NAME = 12  # cells of a picture's name
_LEAST_ROWS = 2  # lines of the table: its head and one picture


def check_page(view: CheckView, width: int, height: int, palette: Palette) -> list[Strip]:
    """The page of one check; of its pictures as many as have room."""
    lines = [row([(view.doing, palette.accent)], width)] if view.doing else []
    check = view.check
    if check is None:
        if not view.doing:
            hint = f"no causal check yet: {view.check_key} compares it with matched neurons"
            lines.append(row([(hint, palette.muted)], width))
        return lines[:height]
    lines += [*_head(view, check, palette, width), *_verdict(check, palette, width)]
    numbers = [*_numbers(check, palette, width), *blank(width)]
    room = height - len(lines) - len(numbers)
    if room < _LEAST_ROWS:  # the pictures matter more than the numbers' second line
        numbers = numbers[: max(2, height - len(lines) - _LEAST_ROWS)]
        room = height - len(lines) - len(numbers)
    return [*lines, *numbers, *_pictures(check, palette, width, room)][:height]


def _head(view: CheckView, check: CausalCheck, palette: Palette, width: int) -> list[Strip]:
    place = f"  check {view.place + 1} of {view.count}, J K show the others" if view.count > 1 else ""
    settings = check.settings
    first = f"{title(check)} {intervened(settings.intervention, settings.at)}"
    made = f"{about(check)} · seed {settings.seed} · {check.created.replace('T', ' ')[:16]}"
    return [
        row([(first, palette.strong), (place, palette.muted)], width),
        *(row([(line, palette.muted)], width) for line in wrapped(made, width, "  ")),
    ]


def _verdict(check: CausalCheck, palette: Palette, width: int) -> list[Strip]:
    look = palette.accent if check.found else palette.strong
    lines = [row([(line, look)], width) for line in wrapped(verdict(check), width)]
    said = wrapped(" ".join(notes(check)), width)
    return [*lines, *(row([(line, palette.text)], width) for line in said), *blank(width)]


def _numbers(check: CausalCheck, palette: Palette, width: int) -> list[Strip]:
    lines = [row([(line, palette.text)], width) for line in wrapped(effect_text(check), width, "  ")]
    lines += _plot(check, palette, width)
    for text in (interval_text(check), match_text(check)):
        lines += [row([(line, palette.muted)], width) for line in wrapped(text, width, "  ")]
    return lines


def _plot(check: CausalCheck, palette: Palette, width: int) -> list[Strip]:
    """The controls' effects on an axis, and the check's own; none where all are the same."""
    if check.effect is None or not check.matched or width < _LEAST_PLOT:
        return []
    effects = [one.effect for one in check.matched]
    low, high = min(*effects, check.effect), max(*effects, check.effect)
    if low == high:
        return []
    ends = f"{signed(low)} ", f" {signed(high)}"
    cells = max(width - len(ends[0]) - len(ends[1]), 1)

    def cell(effect: float) -> int:
        return min(int((effect - low) / (high - low) * cells), cells - 1)

    counts = [0.0] * cells
    for effect in effects:
        counts[cell(effect)] += 1
    drawn, at = spark(counts), cell(check.effect)
    parts: list[Span] = [(ends[0], palette.muted), (drawn[:at], palette.text), (OWN, palette.accent)]
    return [row([*parts, (drawn[at + 1 :], palette.text), (ends[1], palette.muted)], width)]


@dataclass(frozen=True)
class _Column:
    """A column of the table of pictures."""

    name: str
    width: int
    texts: Sequence[str]


def _pictures(check: CausalCheck, palette: Palette, width: int, height: int) -> list[Strip]:
    """A line for each picture, in columns that have room."""
    if not check.pictures or height < _LEAST_ROWS:
        return []
    more = len(check.pictures) > height - 1
    shown = check.pictures[: height - (2 if more and height > _LEAST_ROWS else 1)]
    columns: list[_Column] = []
    room = width - _LEAST_NAME
    for column in _columns(shown):
        if columns and column.width + 2 > room:
            break
        columns.append(column)
        room -= column.width + 2
    name = max(_LEAST_NAME + room, 1)
    lines = [_line("picture", [column.name for column in columns], columns, name, palette, width, head=True)]
    for at, picture in enumerate(shown):
        texts = [column.texts[at] for column in columns]
        lines.append(_line(_name(picture), texts, columns, name, palette, width))
    left = len(check.pictures) - len(shown)
    return [*lines, row([(f"and {left} more", palette.muted)], width)][:height] if left else lines


def _columns(shown: Sequence[CheckedPicture]) -> list[_Column]:
    """What matters most first."""
    return [
        _Column("change", 8, [signed(one.change) for one in shown]),
        _Column("controls", 8, [_known(one.baseline) for one in shown]),
        _Column("p", 16, [f"{probability(one.p)} → {probability(one.p_after)}" for one in shown]),
        _Column("others", 8, [_known(one.others) for one in shown]),
        _Column("KL", 6, [nats(one.kl) for one in shown]),
        _Column("first", 9, [first_choice(one.first, one.first_after) for one in shown]),
    ]


def first_choice(before: bool, after: bool) -> str:
    """Whether a token is the model's first choice, without and with the intervention."""
    return f"{'yes' if before else 'no'} → {'yes' if after else 'no'}" if before != after else "yes" if after else "no"


def _known(value: float | None) -> str:
    return "-" if value is None else signed(value)


def _name(picture: CheckedPicture) -> str:
    number = "" if picture.sample is None else f"#{picture.sample} "
    return f"{number}{picture.image.rpartition('/')[2]}"


def _line(
    name: str,
    texts: Sequence[str],
    columns: Sequence[_Column],
    room: int,
    palette: Palette,
    width: int,
    *,
    head: bool = False,
) -> Strip:
    """A line of the table: the name is cut, the columns are not."""
    look = palette.muted if head else palette.text
    cells = "".join(f"  {text:>{column.width}}" for text, column in zip(texts, columns, strict=True))
    return Strip.join([row([(name, palette.muted)], room), row([(cells, look)], max(width - room, 0))])
