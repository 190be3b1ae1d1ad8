"""How ``check`` and ``ablate --controls`` write causal checks: text, JSON, and what stderr adds."""

from collections.abc import Sequence

from rich.text import Text

from vlmscope.core.base.text import plain
from vlmscope.core.causal.run import CheckResult, CheckStatus
from vlmscope.core.notebook import check_words as words
from vlmscope.core.notebook.check import CausalCheck, CheckedPicture
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.neuron_run import counts_text
from vlmscope.tui.commands.shared.notes import Notes

WORD = 20  #: cells of a word in a table, at most
BEYOND = "beyond all"


def check_lines(check: CausalCheck) -> list[Text]:
    """One check in full: its size beside the controls', the verdict, every picture, what limits it."""
    head = output.row()
    head.append(words.title(check), style="bold")
    head.append(f"  {words.intervened(check.settings.intervention, check.settings.at)}  {words.about(check)}")
    verdict = output.row("  ")
    verdict.append(words.verdict(check), style="bold")
    parts = (words.interval_text(check), words.pictures_text(check), words.match_text(check))
    lines = [head, output.row(f"  {words.effect_text(check)}"), verdict]
    lines += [output.row(f"  {part}") for part in parts if part]
    lines += [output.row(f"  first choice: the word on {_firsts(check.pictures)}")]
    return lines + [output.row(f"  {note}") for note in words.notes(check)]


def _firsts(pictures: Sequence[CheckedPicture]) -> str:
    """On how many pictures the word is the model's first choice, and the change of other words there."""
    before, after = sum(one.first for one in pictures), sum(one.first_after for one in pictures)
    others = [one.others for one in pictures if one.others is not None]
    text = f"{before} of {len(pictures)} pictures, {after} with the intervention"
    return f"{text}; other words {words.signed(sum(others) / len(others))}" if others else text


def check_table(results: Sequence[CheckResult]) -> list[Text]:
    """Many checks, a line each; those without one are named on stderr."""
    found = [result for result in results if result.check is not None]
    if not found:
        return []
    word_cells = max(len("word"), *(len(plain(result.word, WORD)) for result in found))
    lines = [
        output.row(
            f"{'neuron':<12}  {'word':<{word_cells}}  {'change':>7}  {'controls':>8}  {'p':>6}  {'q':>6}  {'match':>5}"
            "  verdict"
        )
    ]
    for result in found:
        assert result.check is not None  # for mypy
        check, controls = result.check, [one.effect for one in result.check.matched]
        line = output.row(f"{result.neuron!s:<12}  {plain(result.word, WORD):<{word_cells}}")
        line.append(f"  {'-' if check.effect is None else words.signed(check.effect):>7}")
        line.append(f"  {words.signed(sum(controls) / len(controls)) if controls else '-':>8}")
        line.append(f"  {_rate(check.p):>6}  {_rate(result.q):>6}")
        line.append(f"  {'-' if check.match is None else f'{check.match:.2f}x':>5}  ")
        line.append(words.short_verdict(check), style="bold" if check.found else "")
        if check.p is None and check.note:
            line.append(f": {check.note}")
        lines.append(line)
    return lines


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def check_notes(results: Sequence[CheckResult], controls: int, notes: Notes) -> None:
    """What stderr adds: what was not checked and why, how many were, and how small p and q can be."""
    for result in results:
        if result.check is None:
            notes.write(f"{result.neuron} {result.status.value}: {result.reason}")
    ranked = [result.check for result in results if result.check is not None and result.check.p is not None]
    notes.write(counts_text((result.status for result in results), CheckStatus))
    if len(ranked) > 1:
        beyond = sum(check.beyond_all for check in ranked)
        chance = sum(check.least_p for check in ranked)
        notes.write(
            f"{len(ranked)} neurons checked, q is over them; {beyond} are {BEYOND} controls, "
            f"about {chance:.1f} would be by chance"
        )
        least = max(check.least_p for check in ranked)
        notes.write(
            f"With {controls} controls p is {least:.2g} at the least, and q is never below it: "
            "more --controls allow less."
        )


def check_json(result: CheckResult) -> dict[str, object]:
    """One neuron of a run; values are null where nothing was checked."""
    check = result.check
    found: dict[str, object] = {"neuron": str(result.neuron), "word": result.word or None}
    if check is None:
        empty: dict[str, object] = {"effect": None, "p": None, "q": None, "controls": [], "values": [], "match": None}
        return {**found, **empty, "status": result.status.value, "reason": result.reason}
    return {**found, **_values(check, result.q), "status": result.status.value, "reason": "", **_details(check)}


def set_json(check: CausalCheck) -> dict[str, object]:
    """A check that is not of a run: of a set, ``neuron`` is null; ``q`` is that of one test."""
    neuron = None if check.of_set else str(check.neurons[0])
    return {"neuron": neuron, "word": check.word, **_values(check, check.p), **_details(check)}


def _values(check: CausalCheck, q: float | None) -> dict[str, object]:
    return {
        "effect": check.effect,
        "p": check.p,
        "q": q,
        "controls": [one.effect for one in check.matched],
        "values": list(check.values),
        "match": check.match,
    }


def _details(check: CausalCheck) -> dict[str, object]:
    settings = check.settings
    return {
        "verdict": words.verdict(check),
        "beyond_all": check.beyond_all,
        "low": check.low,
        "high": check.high,
        "interval": check.interval or None,
        "note": check.note,
        "name": check.name or None,
        "neurons": [str(one) for one in check.neurons],
        "token": check.token,
        "intervention": settings.intervention,
        "at": settings.at.value,
        "control": settings.control,
        "seed": settings.seed,
        "created": check.created,
        "pictures": [vars(one) for one in check.pictures],
        "matched": [
            {"neurons": [str(each) for each in one.neurons], "effect": one.effect, "written": one.written}
            for one in check.matched
        ],
    }
