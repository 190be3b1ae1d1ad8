"""A first start suggests what to do, once."""

from pathlib import Path

import numpy as np

from tests.support.worded import concepts_of
from vlmscope.core.store.reader import ScanStore, open_scan
from vlmscope.tui.browse.first_start import first_steps, is_first


def test_the_demo_suggests_apples_and_another_scan_its_strongest_concept(scan: Path) -> None:
    demo = first_steps(open_scan("demo").concepts, {})
    assert demo == "Try /apple: its neurons · o l: clearest first · z: more pictures · ?: help"
    assert len(demo) <= 78, "it fits into 80 columns"
    other = concepts_of(ScanStore(scan), {(0, 0): (("train", 9.0),), (1, 2): (("river", 11.0),)})
    assert np.isfinite(other.strength).all()
    assert first_steps(other, {"sheet": "F2"}).startswith("Try /river: its neurons · o l: ")
    assert "F2: more" in first_steps(other, {"sheet": "F2"})
    assert first_steps(None, {}).startswith("Try o l: ")


def test_only_the_first_start_is_one(tmp_path: Path) -> None:
    marker = tmp_path / "new/started"
    assert is_first(marker)
    assert not is_first(marker)
    assert is_first(Path("/proc/none/started")), "where nothing can be kept, nothing fails"
