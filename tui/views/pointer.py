"""The place that the user points at: a patch of the picture or a word of the description, and the neuron's value there.

Patches are the cells of the sample's own grid (``VisualLayout.grid``), also where the scan keeps coarser maps.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView


@dataclass(frozen=True)
class Pointer:
    """Where the user points. Rows, columns and tokens count from 0; the page shows the nearest that the picture has.

    Attributes:
        on_words: whether the token counts, not the patch.
    """

    row: int = 0
    column: int = 0
    token: int = 0
    on_words: bool = False

    def within(self, picture: "PictureView") -> "Pointer":
        """The nearest place that this picture has."""
        rows, columns = (1, 1) if picture.own_layout is None else picture.own_layout.grid
        return replace(
            self,
            row=min(max(self.row, 0), rows - 1),
            column=min(max(self.column, 0), columns - 1),
            token=min(max(self.token, 0), max(len(picture.tokens) - 1, 0)),
        )

    def moved(self, down: int, right: int) -> "Pointer":
        """Another patch; of words, ``right`` alone moves."""
        if self.on_words:
            return replace(self, token=self.token + right)
        return replace(self, row=self.row + down, column=self.column + right)


def at_peak(picture: "PictureView") -> Pointer:
    """The patch and the word on which the neuron activates most; the middle of the picture where that is not known."""
    layout = picture.own_layout
    rows, columns = (1, 1) if layout is None else layout.grid
    row, column = rows // 2, columns // 2
    if layout is not None and picture.peak_patch is not None and picture.peak_patch < len(layout):
        row, column = layout.place(picture.peak_patch, rows, columns)
    return Pointer(row, column, picture.peak_token or 0).within(picture)


@dataclass(frozen=True)
class Reading:
    """The neuron's value at one place.

    Attributes:
        place: in words.
        activation, norm: None while there is no map.
        exact: whether they are the model's, not read from 8 bits. A map of 8 bits has 0 for activations below 0.
    """

    place: str
    activation: float | None = None
    norm: float | None = None
    exact: bool = False


def reading(picture: "PictureView", pointer: Pointer, maximum: float) -> Reading:
    """What the neuron gives where ``pointer`` is; ``maximum``: the neuron's, whose norm is 10."""
    at, answer, norm, activation = pointer.within(picture), picture.answer, None, None
    if at.on_words:
        if not picture.tokens:
            return Reading("no words yet")
        place = f"word {at.token + 1} “{picture.tokens[at.token].strip()}”"
        if picture.words is not None and at.token < len(picture.words):
            norm = float(picture.words[at.token])
            activation = None if answer is None else float(answer.text[at.token])
    elif picture.own_layout is None:
        return Reading("no patches yet")
    else:
        place, grid = f"patch {at.row},{at.column}", picture.own_layout.grid
        if picture.visual is not None and picture.layout is not None:
            norm = float(picture.layout.cells(picture.visual, *grid)[at.row, at.column])
            if answer is not None:
                activation = float(answer.layout.cells(answer.visual, *grid)[at.row, at.column])
    if norm is not None and activation is None:
        activation = norm * maximum / 10
    return Reading(place, activation, norm, picture.exact)
