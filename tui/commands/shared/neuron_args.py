"""Which neurons a command is about: addresses, the clearest of each layer, or the clearest of a label."""

from typing import Annotated

import typer

from vlmscope.core.analysis.pick import clearest_of_label, clearest_of_layers
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.store.reader import ScanStore

WHICH = "Which neurons"
LIMIT = 20  #: of a label, where no other number is given

AddressesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ADDRESS]...", help="Layer and neuron, from 0, such as L3/N17.", show_default=False),
]
TopKOption = Annotated[
    int | None, typer.Option("--top-k", min=1, help="The clearest so many of each layer.", rich_help_panel=WHICH)
]
LabelOption = Annotated[
    str | None,
    typer.Option("--label", help="The clearest of a label: visual, text, multimodal.", rich_help_panel=WHICH),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, help=f"How many of that label; {LIMIT} if not given.", rich_help_panel=WHICH),
]


def pick(
    addresses: list[str], top_k: int | None, label: str | None, limit: int | None, store: ScanStore, labels: Labels
) -> list[Neuron]:
    """The neurons that were named, in that order, each once.

    Raises:
        UsageError: if none or several ways of naming them were used, or an address is none of this scan.
    """
    ways = [bool(addresses), top_k is not None, label is not None]
    if sum(ways) != 1:
        what = "Neurons are named in more than one way." if any(ways) else "No neuron is named."
        raise UsageError(what, "Give addresses such as L3/N17, or --top-k 3, or --label visual --limit 20.")
    if limit is not None and label is None:
        raise UsageError("--limit is for --label.", "Write --label visual --limit 20.")
    if top_k is not None:
        return clearest_of_layers(store, labels, top_k)
    if label is not None:
        return clearest_of_label(store, labels, _label(label), LIMIT if limit is None else limit)
    found = [Neuron.parse(address).check_within(store.layers, store.neurons) for address in addresses]
    return list(dict.fromkeys(found))


def _label(word: str) -> Label:
    for label in Label:
        if word.strip().lower() == label.word:
            return label
    raise UsageError(f"--label is {word!r}, no label.", f"Labels: {', '.join(label.word for label in Label)}.")
