"""Measuring where the visual tokens of a new size look can be stopped."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vlmscope.core.base.callbacks import not_cancelled
from vlmscope.core.base.errors import Cancelled
from vlmscope.core.model.load import load
from vlmscope.core.worker.messages import ModelSpec


def test_measuring_stops_between_two_pictures(family_folder: Callable[[str], Path]) -> None:
    """A measurement makes some ten pictures, of thirteen tiles each in some models."""
    vlm = load(ModelSpec(str(family_folder("llava")), device="cpu"))
    asked: list[int] = []

    def after_three() -> bool:
        asked.append(1)
        return len(asked) > 3

    vlm.encoder.stopped = after_three
    with pytest.raises(Cancelled):
        vlm.encode(vlm.prompt("What?"), "a dog", (333, 444))
    assert len(asked) == 4
    vlm.encoder.stopped = not_cancelled
    assert len(vlm.encode(vlm.prompt("What?"), "a dog", (333, 444)).visual) == 16
