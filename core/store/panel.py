"""The panel of a scan: a few hundred samples drawn at random, and what every neuron does on each of them.

Top samples are selected by the neuron itself; those of the panel are not. So whatever compares a neuron's samples with
the others, or two groups of samples with each other, reads the panel. It is an optional part of a scan.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.bfloat16 import decoded
from vlmscope.core.store.manifest import Manifest

PANEL_SAMPLE, PANEL_VISUAL, PANEL_TEXT = "panel_sample", "panel_visual", "panel_text"
SCAN_AGAIN = "Scan again with this vlmscope, without --panel 0."

At = tuple[int | slice, ...]


@dataclass(frozen=True, eq=False)
class Panel:
    """The panel's P samples that count, and every neuron's largest activations on them.

    Activations are rounded to bfloat16: within 0.4 % of what the model computed. A sample that was skipped, or that a
    scan in progress has not processed, is not among the P.

    Attributes:
        samples: int32 (P,), indices in the data, ascending.
        drawn: how many samples were drawn; P is at most that.
        columns: which of the drawn samples the P are, for reading ``stored``.
        stored: the arrays ``panel_visual`` and ``panel_text``, uint16 (L, F, drawn), for what must be quick; else read
            by ``visual``, ``text`` and ``largest``.
    """

    samples: NDArray[np.int32]
    drawn: int
    columns: NDArray[np.intp] | slice
    stored: tuple[NDArray[np.uint16], NDArray[np.uint16]]

    def __len__(self) -> int:
        return len(self.samples)

    def visual(self, at: At = ()) -> NDArray[np.float32]:
        """The largest activation over each sample's visual tokens, -inf where it has none.

        Args:
            at: layers, then indices, as ``ScanStore.labels``. Read by layer: all of a large model take 0.4 GB a kind.

        Returns:
            float32 (..., P).
        """
        return decoded(self._bits(self.stored[0], at))

    def text(self, at: At = ()) -> NDArray[np.float32]:
        """The same over each sample's text tokens."""
        return decoded(self._bits(self.stored[1], at))

    def largest(self, at: At = ()) -> NDArray[np.float32]:
        """The same over both kinds: what top samples are ranked by, but for the rounding."""
        return np.maximum(self.visual(at), self.text(at))

    def positive(self, block: slice) -> NDArray[np.float32]:
        """``largest`` of a block of neurons with negatives as 0, quickly: numbered over all layers.

        Returns:
            float32 (n, drawn), of all drawn samples: only the ``columns`` count.
        """
        visual, text = (array.reshape(-1, array.shape[-1]).view(np.int16)[block] for array in self.stored)
        # Of bfloat16 the order of what is not negative is that of the integers; negatives are negative.
        found = np.maximum(visual, text)
        np.maximum(found, 0, out=found)
        bits = found.astype(np.int32)
        bits <<= 16
        return bits.view(np.float32)

    def _bits(self, array: NDArray[np.uint16], at: At) -> NDArray[np.uint16]:
        return np.asarray(array[at][..., self.columns])


@lru_cache(maxsize=8)
def draw_panel(data_id: str, samples: int, panel: int) -> tuple[int, ...]:
    """The samples of a panel: ``panel`` of 0 to ``samples`` - 1 at random, ascending; all, if there are fewer.

    They follow from the data alone, with every version of every library: shards, ranks and a resumed scan draw the
    same. A smaller panel is part of a larger one.

    Args:
        data_id: the manifest's ``panel_data_id``.
    """
    if panel >= samples:
        return tuple(range(samples))
    order = sorted(range(samples), key=lambda sample: sha256(f"panel {data_id} {sample}".encode()).digest())
    return tuple(sorted(order[:panel]))


def panel_of(manifest: Manifest, arrays: dict[str, NDArray[Any]], processed: NDArray[np.bool_]) -> Panel | None:
    """The panel of a scan, or None where it has none.

    Args:
        arrays: of the scan. processed: bool (S,), which samples the scan has processed.

    Raises:
        ValueError: if its samples are not ascending, or not samples of the scan.
    """
    if not manifest.panel_drawn:
        return None
    drawn = np.array(arrays[PANEL_SAMPLE])
    if (np.diff(drawn) <= 0).any() or drawn[0] < 0 or drawn[-1] >= manifest.samples:
        raise ValueError(f"{PANEL_SAMPLE}.npy does not hold ascending indices of samples")
    counts = processed[drawn]
    counts &= ~np.isin(drawn, [skip.sample for skip in manifest.skipped])
    columns = slice(None) if counts.all() else np.flatnonzero(counts)
    return Panel(drawn[columns], len(drawn), columns, (arrays[PANEL_VISUAL], arrays[PANEL_TEXT]))
