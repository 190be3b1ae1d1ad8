"""A tiny model of each family, loaded once for the tests of a process, which leave it as it is."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.families import SCANNED
from tests.support.loaded_family import TinyFamily, load_family


@pytest.fixture(scope="session", params=SCANNED)
def family(request: pytest.FixtureRequest, family_folder: Callable[[str], Path]) -> TinyFamily:
    """Each family that can be scanned, one after the other."""
    return load_family(request.param, family_folder(request.param))
