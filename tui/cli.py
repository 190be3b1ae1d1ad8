"""The command line: which commands there are, and what ``--help`` says about them.

A command is a plain function in ``tui/commands/``, registered at the end of this file. Its module must not import
torch: ``tests/test_imports.py`` would fail. Failures are raised as ``VlmscopeError`` and reported by
``tui/__main__.py`` alone.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vlmscope.core.base.config import APP
from vlmscope.core.base.demo import DEMO
from vlmscope.core.base.errors import UsageError
from vlmscope.tui.commands.ablate import ablate
from vlmscope.tui.commands.at import at
from vlmscope.tui.commands.bench import bench
from vlmscope.tui.commands.check import check
from vlmscope.tui.commands.concepts import concepts
from vlmscope.tui.commands.contrast import contrast_
from vlmscope.tui.commands.describe import describe
from vlmscope.tui.commands.doctor import doctor
from vlmscope.tui.commands.explain import explain
from vlmscope.tui.commands.export import export
from vlmscope.tui.commands.labels import labels
from vlmscope.tui.commands.merge import merge
from vlmscope.tui.commands.merge_notes import merge_notes
from vlmscope.tui.commands.open import open_screen
from vlmscope.tui.commands.related import related_
from vlmscope.tui.commands.scan import scan
from vlmscope.tui.commands.score import score
from vlmscope.tui.commands.search import search
from vlmscope.tui.commands.shared.groups import grouped
from vlmscope.tui.commands.show import show
from vlmscope.tui.commands.simulate import simulate
from vlmscope.tui.commands.stats import stats
from vlmscope.tui.commands.verdict import verdict
from vlmscope.tui.commands.views import views

LOOK = "Look at a scan"
MAKE = "Make a scan"
HELP = "Help"

EXAMPLES = """\
Examples:

  vlmscope                                   the demo, on the screen
  vlmscope open SCAN L27/N3900               a scan, from one neuron on
  vlmscope labels demo --Tv 2.5 --json       label counts at another threshold
  vlmscope show demo L3/N17 --png n17.png    one neuron, as text or as a picture
  vlmscope search demo train --label visual  neurons that go with a word
  vlmscope scan --model demo --images FOLDER --out SCAN
"""


class _StoppedError(Exception):
    """Carries what typer would otherwise report in its own way."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__()
        self.cause = cause


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, BrokenPipeError) as error:
            raise _StoppedError(error) from error

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None and (name == DEMO or Path(name).is_dir()):
            raise UsageError(f"{name} is not a command.", f"To open it: vlmscope open {name}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name=APP,
    cls=_Commands,
    invoke_without_command=True,
    pretty_exceptions_enable=False,  # an ordinary traceback: shorter, and no values of variables in it
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXAMPLES,
)


def run(args: Sequence[str]) -> int:
    """Parse and run ``args``.

    Returns:
        the exit code: typer's own messages included.

    Raises:
        VlmscopeError, KeyboardInterrupt, BrokenPipeError: for the caller to report.
    """
    try:
        app(args=list(args), prog_name=APP)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    except _StoppedError as stopped:
        raise stopped.cause from None
    return 0


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"{APP} {version(APP)}")
        raise typer.Exit


@app.callback()
def screen(
    ctx: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Explore the FFN neurons of vision-language models in a terminal.

    Without a command, opens the demo.
    """
    if ctx.invoked_subcommand is None:
        raise typer.Exit(open_screen())


def open_(
    scan: Annotated[str, typer.Argument(metavar="SCAN", help="The folder of a scan, or 'demo'.")] = DEMO,
    address: Annotated[
        str | None, typer.Argument(metavar="[ADDRESS]", help="Begin with this neuron, such as L3/N17.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Where the model runs: auto, cpu, cuda, cuda:1, mps.")
    ] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="auto, float32, bfloat16, float16.")] = None,
) -> None:
    """Open a scan on the screen; one that is in progress is followed.

    The model loads only when something needs it; --device and --dtype override the settings.
    """
    raise typer.Exit(open_screen(scan, address, device=device, dtype=dtype))


for panel, commands in {
    LOOK: (
        open_,
        labels,
        stats,
        show,
        search,
        contrast_,
        at,
        related_,
        explain,
        simulate,
        score,
        ablate,
        check,
        verdict,
        merge_notes,
        views,
        export,
    ),
    MAKE: (scan, describe, merge, concepts),
    HELP: (doctor,),
}.items():
    for command in commands:
        app.command(command.__name__.rstrip("_").replace("_", "-"), rich_help_panel=panel)(grouped(command))
app.add_typer(bench, name="bench", rich_help_panel=HELP)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
