"""What a first start suggests, once: a search that finds something here, the clearest neurons, more pictures."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vlmscope.tui import keys

if TYPE_CHECKING:
    from vlmscope.core.method.concepts import Concepts

USUAL = "apple"  #: of the demo; elsewhere the strongest concept's word


def first_steps(concepts: "Concepts | None", remapped: Mapping[str, str]) -> str:
    """The keys to press first, in a line that fits into 80 columns."""
    from vlmscope.tui.dialogs.choice import ORDERS
    from vlmscope.tui.views.state import Order

    search, sort, sheet, help_ = (keys.keys_of(name, remapped)[0] for name in ("search", "sort", "sheet", "help"))
    clearest = next(letter for letter, order in ORDERS.items() if order is Order.CLEAREST)
    word = _word(concepts)
    find = [f"{search}{word}: its neurons"] if word else []
    steps = (*find, f"{sort} {clearest}: clearest first", f"{sheet}: more pictures", f"{help_}: help")
    return f"Try {' · '.join(steps)}"


def _word(concepts: "Concepts | None") -> str:
    if concepts is None or not concepts.words:
        return ""
    if USUAL in concepts.words:
        return USUAL
    layer, index = divmod(int(concepts.strength[..., 0].argmax()), concepts.strength.shape[1])
    return concepts.leading(layer, index)[:12]


def is_first(marker: Path) -> bool:
    """Whether nothing was suggested yet; from now on it was."""
    if marker.exists():
        return False
    with contextlib.suppress(OSError):  # where no file can be made, each start is the first one
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    return True
