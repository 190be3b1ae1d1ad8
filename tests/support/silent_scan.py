"""A small scan with contrastive evidence: a panel, and the concepts of ``put``."""

from pathlib import Path

from tests.tui.commands.test_search import put
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan


def silent_scan(folder: Path, panel: int | None = 40) -> ScanStore:
    """60 samples, top 8, maps of the first 3."""
    write_synthetic_scan(folder, layers=4, neurons=32, samples=60, top_n=8, maps=3, grid=(2, 2), image=24, panel=panel)
    put(folder)
    return ScanStore(folder)
