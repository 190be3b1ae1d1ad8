"""A small scan whose neurons can be checked without a model."""

from pathlib import Path

import pytest

from tests.support.explain_parts import with_pictures
from tests.support.worded import concepts_of
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore

NEURON = Neuron(1, 3)


@pytest.fixture
def store(tmp_path: Path, scan: Path) -> ScanStore:
    """The small scan with pictures and concepts: NEURON has train and dog, its neighbour dog alone."""
    found = with_pictures(tmp_path, scan)
    placed = {(1, 3): (("train", 9.0), ("dog", 4.0)), (1, 4): (("dog", 8.0),), (2, 0): (("train", 7.0),)}
    found.__dict__["concepts"] = concepts_of(found, placed)
    return found
