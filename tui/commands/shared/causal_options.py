"""What ``ablate`` and ``check`` share: what becomes of neurons, where, and what it is compared with."""

from typing import Annotated

import typer

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.intervention import CHOICES, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.causal.check import CONTROLS, LEAST_CONTROLS
from vlmscope.core.causal.words import default_word, one_word
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.shared.options import SEEDS

MOST_CONTROLS = 9999
CONTROL = "Compared with"

ToOption = Annotated[
    str, typer.Option("--to", metavar="WHAT", help=f"What the neuron's output becomes: {CHOICES}.", show_default=True)
]
AtOption = Annotated[
    Positions,
    typer.Option("--at", help="Where: all tokens, the answer's (from the one before its first), or the picture's."),
]
WordOption = Annotated[
    str | None,
    typer.Option("--word", help="The word whose log-odds are read; default: the leading concept.", show_default=False),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=SEEDS - 1, help="Of what is drawn at random.", rich_help_panel=CONTROL)
]
ControlOption = Annotated[
    str,
    typer.Option(
        "--control",
        metavar="|".join(CONTROLS),
        help="The same on matched neurons, or the neuron's own output along their directions.",
        rich_help_panel=CONTROL,
    ),
]
CONTROLS_HELP = f"How many matched neurons, or matched sets; p takes {LEAST_CONTROLS}."


def asked_word(store: ScanStore, typed: str | None, neurons: list[Neuron] | tuple[Neuron, ...]) -> str:
    """The word that was typed, or the neurons' default word; empty where none of them has one.

    Raises:
        UsageError: if it is not one word, or the scan has no concepts to take it from.
    """
    if typed is not None:
        return one_word(typed, store.concepts)
    if store.concepts is None:
        raise UsageError(
            f"{plain(str(store.folder), 200)} has no concepts to take a word from.", "Name one: --word train."
        )
    return default_word(store.concepts, neurons)
