"""What the list of neurons is painted from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Labels
from vlmscope.tui.views.selection import Selection

if TYPE_CHECKING:
    from vlmscope.core.method.concepts import Concepts


@dataclass(frozen=True, eq=False)
class ListView:
    """What the list shows.

    Attributes:
        title: around it, at the top. subtitle: at the bottom.
        selection: which neurons, in which order.
        labels: of all neurons, (L, F).
        maximum: float32 (L, F).
        cursor: the row with the cursor, or None.
        cursor_is_page: whether the cursor's row is the neuron on the page, or only the row nearest to it.
        all_layers: rows bear whole addresses.
        has_concepts: whether there is a column of concepts. concepts: of all neurons, or None while they are not read.
        marks: up to four characters beside the address of each neuron that somebody has worked on.
        empty: what stands there if there are no rows.
    """

    title: str
    subtitle: str
    selection: Selection
    labels: Labels
    maximum: NDArray[np.float32]
    cursor: int | None
    cursor_is_page: bool
    all_layers: bool
    has_concepts: bool
    concepts: "Concepts | None"
    marks: Mapping[Neuron, str]
    empty: str
