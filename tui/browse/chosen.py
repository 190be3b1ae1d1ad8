"""The neurons that are changed together: the page's, or a set that the user chose."""

import asyncio
from typing import TYPE_CHECKING

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.views.state import Ablating, SetKind

if TYPE_CHECKING:
    from vlmscope.core.causal.sets import NeuronSet
    from vlmscope.core.notebook.notebook import Notebook


async def chosen_neurons(store: ScanStore, link: NotebookLink, choice: Ablating, neuron: Neuron | None) -> "NeuronSet":
    """The set that ``choice`` names; ``neuron`` alone where it names none.

    Raises:
        VlmscopeError: if the set has no neurons, or cannot be read.
    """
    from vlmscope.core.causal.sets import of_addresses, of_concept, of_kept, of_tag

    if neuron is not None:
        return of_addresses([neuron])
    if choice.kind is SetKind.NEURONS:
        return of_addresses([store.numbering.parse(address) for address in choice.name.split()])
    if choice.kind is SetKind.CONCEPT:
        word, _, most = choice.name.rpartition(" ")
        if word and most.isdecimal() and int(most):
            return await asyncio.to_thread(of_concept, store, word, int(most))
        return await asyncio.to_thread(of_concept, store, choice.name)

    def read(notebook: "Notebook | None") -> "NeuronSet":
        return of_tag(store, notebook, choice.name) if choice.kind is SetKind.TAG else of_kept(store, notebook)

    found = await link.read(read, None)
    return read(None) if found is None else found
