"""What the title line is painted from."""

from dataclasses import dataclass

from vlmscope.core.method.labels import Thresholds
from vlmscope.core.worker.messages import ModelStatus

Counts = tuple[int, int, int, int]  #: of neurons that are visual, text, multimodal, unknown
LayerCounts = tuple[Counts, ...]  #: the same of each layer


@dataclass(frozen=True)
class TitleView:
    """Which scan this is, its label shares, the thresholds, and how the model is.

    Attributes:
        control: the control's label counts: None where there is no control, all 0 while they are on their way.
        spent: on requests to an API, in this session.
        scan_progress: of a scan that is not whole, the longest words first.
    """

    name: str
    model: str
    hook: str
    scanned: int
    skipped: int
    top_n: int
    counts: Counts
    thresholds: Thresholds
    status: ModelStatus
    control: Counts | None = None
    spent: str = ""
    scan_progress: tuple[str, ...] = ()
