"""What a scan holds on one sample, and on one neuron's activation on it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.demo import image_path
from vlmscope.core.method.labels import Label


@dataclass(frozen=True)
class Sample:
    """One image with its description, as scanned."""

    index: int  #: in the data
    image: str  #: path relative to ``image_root``
    description: str
    tokens: tuple[str, ...]  #: the description's tokens, spelled; joined they are the description
    image_root: str | None  #: the manifest's

    @property
    def picture(self) -> Path:
        """Where the original picture should lie."""
        return image_path(self.image_root, self.image)

    @property
    def picture_here(self) -> Path | None:
        """Where the original picture lies, or None where it does not."""
        return self.picture if self.picture.is_file() else None


@dataclass(frozen=True, eq=False)
class Example:
    """One neuron on one of its top samples.

    Attributes:
        rank: from 0.
        activation: the sample's largest activation over its visual and text tokens, by which it is ranked.
        maximum: gmax of the neuron, the activation whose norm is 10.
        visual, text: float32 (8,), (4,), largest activations in order; -inf where there are fewer tokens.
        vote: its own vote at the thresholds asked for.
        peak_patch, peak_token: where the largest visual and text activation lie, or None.
        visual_map: float32 (rows, columns), approximate activations read from 8 bits, or None where not kept.
        text_map: float32 (tokens,), read from 8 bits too.
        visual_norms, text_norms: the maps as norms, 0 to 10.
        read_crop: reads the crop that the model saw, a small JPEG; raises ``StoreError`` if it cannot.
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
    visual_map: NDArray[np.float32] | None
    text_map: NDArray[np.float32] | None
    visual_norms: NDArray[np.float32] | None
    text_norms: NDArray[np.float32] | None
    read_crop: Callable[[], bytes]
