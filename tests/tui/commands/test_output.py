"""What commands share: harmless output on stdout and stderr, options in groups, a cost that is agreed to."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from vlmscope.core.base.config import Api
from vlmscope.core.base.errors import UsageError
from vlmscope.core.llm.budget import CostOffer, Estimate
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.groups import grouped
from vlmscope.tui.commands.shared.neuron_run import agree
from vlmscope.tui.commands.shared.notes import Notes, note

HOSTILE = "a\x1b[31mb\u202ec\x07d\x9b1me"


def harmless(text: str) -> bool:
    return not {"\x1b", "\u202e", "\x07", "\x9b"} & set(text)


def test_text_from_outside_reaches_no_terminal_raw(capsys: pytest.CaptureFixture[str]) -> None:
    output.write(f"{HOSTILE}\n{HOSTILE}")
    output.write_lines([output.row(HOSTILE), Text(HOSTILE)])
    output.write_json([HOSTILE])
    note(f"{HOSTILE}\nsecond")
    captured = capsys.readouterr()
    assert harmless(captured.out) and harmless(captured.err)
    assert captured.out.count("[31mb") == 5
    assert captured.err.count("\n") == 1


def test_colours_stay_on_their_characters() -> None:
    line = output.row("a\x1b")
    line.append("red", style="red")
    target = Console(force_terminal=True, color_system="standard", width=20, file=None)
    with target.capture() as rendered:
        output.write_lines([line], target=target)
    assert line.plain == "a red"
    assert [(span.start, span.end) for span in line.spans] == [(2, 5)]
    assert rendered.get() == ""  # it goes to stdout in one piece


def test_of_no_lines_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_lines([])
    assert capsys.readouterr().out == ""


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option("--width", help="Of it.")] = 3
    height: Annotated[int | None, typer.Option("--height")] = None


def test_a_group_is_options_and_one_value() -> None:
    seen: list[object] = []

    def command(*, name: str, size: Size, loud: bool = False) -> None:
        seen.append((name, size, loud))

    app = typer.Typer()
    app.command()(grouped(command))
    run = CliRunner()
    assert run.invoke(app, ["x"]).exit_code == 0
    assert run.invoke(app, ["y", "--height", "4", "--loud", "--width", "5"]).exit_code == 0
    assert seen == [("x", Size(), False), ("y", Size(5, 4), True)]
    assert run.invoke(app, ["z", "--size", "4"]).exit_code == 2
    assert "Of it." in run.invoke(app, ["--help"]).output


def test_a_cost_above_the_budget_is_named_before_it_is_agreed_to(capsys: pytest.CaptureFixture[str]) -> None:
    cost = Estimate(9000, 1000, 0.0325, "2026-06", 2)
    for budget, shown in ((0.01, True), (1.0, False), (0.0, False)):
        offer = CostOffer(cost, Api(budget_usd=budget))
        assert offer.short == "at most about 9,000 tokens in and 1,000 out, $0.0325"
        agree(offer, f"2 neurons: {offer.short}", "explained", Notes(), True)
        err = capsys.readouterr().err
        assert err.startswith("2 neurons: at most about")
        assert ("budget_usd is $0.0100: the run may end before all are explained" in err) == shown
        assert offer.exceeds_budget == shown
    with pytest.raises(UsageError, match="not a terminal to ask on") as caught:
        agree(offer, "", "explained", Notes(), False, ", or look")
    assert caught.value.hint == "Add --yes, or look."


def test_the_lines_of_a_dialog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:secret@gpu:8000/v1")
    known = CostOffer(Estimate(9000, 1000, 0.0325, "2026-06", 2), Api(model="m\x1b", budget_usd=5)).lines()
    assert known == [
        "to m  at http://gpu:8000/v1.",
        "",
        "At most $0.0325: 9,000 tokens in and 1,000 out, prices of 2026-06.",
        "Budget: $5.00 a session. Later requests of this session are sent without asking.",
    ]
    unknown = CostOffer(Estimate(9000, 1000, None, "", 2), Api(model="m", budget_usd=0)).lines()
    assert "The price of m is not known: set it in [api.prices]." in unknown[2]
    assert unknown[3].startswith("Budget: no limit.")
