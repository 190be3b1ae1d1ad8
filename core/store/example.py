"""One sample of a scan, and one neuron's activation on it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.demo import image_path
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.fields import Fields
from vlmscope.core.method.labels import Label
from vlmscope.core.method.layout import Box, VisualLayout
from vlmscope.core.method.norm import norm
from vlmscope.core.store.original import original_problem


@dataclass(frozen=True)
class Sample:
    """One image with its description, as scanned."""

    index: int  #: in the data
    image: str  #: path relative to ``image_root``
    description: str
    tokens: tuple[str, ...]  #: the description's tokens, spelled; joined they are the description
    image_root: str | None  #: the manifest's
    sha256: str | None = None  #: of the image file; None if the scan has none
    #: The folder whose pictures are used without a digest; None for any folder, once the user has agreed.
    within: Path | None = field(default=Path(), compare=False)
    seen: Box | None = None  #: the part of the picture that the model sees, as shares; None where the scan has none
    fields: Fields = field(default_factory=dict, compare=False)  #: what the listing has on it beside
    read_layout: Callable[[], VisualLayout] | None = field(default=None, compare=False, repr=False)  #: the scan's

    @cached_property
    def layout(self) -> VisualLayout:
        """Where its visual tokens look, in ``seen``.

        Raises:
            StoreError: if the scan is damaged there. A skipped sample has no layout.
        """
        if self.read_layout is None:
            raise StoreError(f"Sample {self.index} has no layout of visual tokens.", "Name another sample.")
        return self.read_layout()

    @property
    def picture(self) -> Path:
        """Where the original picture should be."""
        return image_path(self.image_root, self.image)

    @property
    def picture_problem(self) -> str:
        """Why ``picture`` is not this sample's picture, as the end of a sentence; empty if it is."""
        return original_problem(self.picture, self.sha256, self.within)

    @property
    def picture_here(self) -> Path | None:
        """Where the original picture is, or None if it is missing or its SHA-256 is another."""
        return None if self.picture_problem else self.picture


@dataclass(frozen=True, eq=False)
class Example:
    """One neuron on one of its top samples.

    Attributes:
        rank: from 0.
        activation: the sample's largest activation over its visual and text tokens, by which it is ranked.
        maximum: gmax of the neuron, the activation whose norm is 10.
        visual, text: float32 (8,), (4,), largest activations in order; -inf where there are fewer tokens.
        vote: the sample's vote at the thresholds asked for.
        peak_patch, peak_token: the visual token (of ``sample.layout``) and the text token of the largest activation, or
            None.
        visual_values: float32 (V,), approximate activations read from 8 bits, or None where not kept.
        map_layout: where these look: ``sample.layout``, or a plain grid that the scan has pooled them to.
        text_map: float32 (tokens,), read from 8 bits too.
        read_crop: reads the crop that the model saw, a small JPEG; raises ``StoreError`` if it cannot.
        cover: the one cover of the crop that the visual values are of, from 0; None for all.
        small: the maps are small ones: pooled to few cells, in 16 levels, the words as far as they are kept.
        exact: maps and crop are not the scan's, but the model's own answer, float32 and a lossless PNG.
    """

    rank: int
    sample: Sample
    activation: float
    maximum: float
    visual: NDArray[np.float32]
    text: NDArray[np.float32]
    vote: Label
    peak_patch: int | None
    peak_token: int | None
    visual_values: NDArray[np.float32] | None
    map_layout: VisualLayout
    text_map: NDArray[np.float32] | None
    read_crop: Callable[[], bytes]
    small: bool = False
    exact: bool = False
    cover: int | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of ``visual_map``."""
        return self.map_layout.grid

    @cached_property
    def visual_map(self) -> NDArray[np.float32] | None:
        """The visual values on ``grid``: float32 (rows, columns), the largest of the tokens of each cell."""
        return None if self.visual_values is None else self.map_layout.cells(self.visual_values, *self.grid)

    def of_cover(self, cover: int) -> "Example":
        """The same with the visual values of one of ``map_layout``'s covers alone: their map is on its own grid."""
        own = self.map_layout.cover == cover
        values = None if self.visual_values is None else self.visual_values[own]
        layout = VisualLayout(self.map_layout.edges[own], np.zeros(int(own.sum()), dtype=np.uint8))
        return replace(self, visual_values=values, map_layout=layout, cover=cover)

    @property
    def peak_place(self) -> tuple[int, int] | None:
        """Row and column of the visual token with the largest activation: on ``grid``, of a small map on its layout's.

        So all top samples of a scan have the peak on the same grid.
        """
        grid = self.sample.layout.grid if self.small else self.grid
        return None if self.peak_patch is None else self.sample.layout.place(self.peak_patch, *grid)

    @cached_property
    def visual_norms(self) -> NDArray[np.float32] | None:
        """The visual map as norms, 0 to 10."""
        return None if self.visual_map is None else norm(self.visual_map, self.maximum)

    @cached_property
    def text_norms(self) -> NDArray[np.float32] | None:
        """The text map as norms, 0 to 10."""
        return None if self.text_map is None else norm(self.text_map, self.maximum)
