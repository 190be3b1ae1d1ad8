"""Which neurons a command is about: addresses, the clearest of each layer or of a label, or a saved view."""

from dataclasses import dataclass
from typing import Annotated

import typer

from vlmscope.core.analysis.pick import clearest_of_label, clearest_of_layers
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.shared.options import label_option
from vlmscope.tui.commands.shared.views import neurons_of_view, view_option

WHICH = "Which neurons"
LIMIT = 20  #: of a label, where no other number is given


@dataclass(frozen=True)
class NeuronOptions:
    """Four ways of naming neurons."""

    addresses: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ADDRESS]...", help="Layer and neuron, from 0, such as L3/N17.", show_default=False),
    ] = None
    top_k: Annotated[
        int | None, typer.Option("--top-k", min=1, help="The clearest so many of each layer.", rich_help_panel=WHICH)
    ] = None
    label: Annotated[Label | None, label_option("The clearest of a label: visual, text, multimodal.", WHICH)] = None
    view: Annotated[str | None, view_option("The first ones of a saved view (vlmscope views).", WHICH)] = None
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help=f"How many of that; {LIMIT} if not given.", rich_help_panel=WHICH),
    ] = None

    def pick(self, store: ScanStore, labels: Labels) -> list[Neuron]:
        """The neurons that were named, in that order, each once.

        Raises:
            UsageError: if none or several ways of naming them were used, or an address is not one of this scan's.
        """
        ways = [bool(self.addresses), self.top_k is not None, self.label is not None, self.view is not None]
        if sum(ways) != 1:
            what = "Neurons are named in more than one way." if any(ways) else "No neuron is named."
            raise UsageError(what, "Give addresses such as L3/N17, or --top-k 3, --label visual or --view NAME.")
        if self.limit is not None and self.label is None and self.view is None:
            raise UsageError("--limit is for --label and --view.", "Write --label visual --limit 20.")
        most = LIMIT if self.limit is None else self.limit
        if self.view is not None:
            return neurons_of_view(store, self.view)[:most]
        if self.top_k is not None:
            return clearest_of_layers(store, labels, self.top_k)
        if self.label is not None:
            return clearest_of_label(store, labels, self.label, most)
        found = [store.numbering.parse(address) for address in self.addresses or []]
        return list(dict.fromkeys(found))
