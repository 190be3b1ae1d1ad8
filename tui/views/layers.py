"""What the layer strip is painted from."""

from dataclasses import dataclass

from vlmscope.tui.views.title import LayerCounts


@dataclass(frozen=True)
class LayersView:
    """Label counts of each layer, and which layer is shown.

    Attributes:
        notes: which model and data these are, the longest first: the folded strip shows what fits.
        control: None where the scan has no control; its counts are 0 while they are on their way.
    """

    counts: LayerCounts
    layer: int
    notes: tuple[str, ...]
    control: LayerCounts | None = None
