"""What a scan holds on one sample, and on one neuron's activation on it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.labels import Label
from vlmscope.core.method.norm import norm


@dataclass(frozen=True)
class Sample:
    """One image with its description, as scanned."""

    index: int  #: in the data
    image: str  #: path relative to the manifest's ``image_root``
    description: str
    tokens: tuple[str, ...]  #: the description's tokens, spelled; joined they are the description
    picture: Path  #: where the original picture should lie

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
        read_crop: what ``crop`` calls.
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
    read_crop: Callable[[], bytes]

    @property
    def visual_norms(self) -> NDArray[np.float32] | None:
        """``visual_map`` as norms, 0 to 10."""
        return None if self.visual_map is None else norm(self.visual_map, self.maximum)

    @property
    def text_norms(self) -> NDArray[np.float32] | None:
        """``text_map`` as norms, 0 to 10."""
        return None if self.text_map is None else norm(self.text_map, self.maximum)

    @property
    def crop(self) -> bytes:
        """The crop that the model saw, as a small JPEG; read from the disk each time.

        Raises:
            StoreError: if it cannot be read.
        """
        return self.read_crop()
