"""Pictures of extreme shape are refused, or shown in bounded memory."""

import io
import resource
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmscope.core.base.errors import SamplesError, StoreError
from vlmscope.core.data.images import load_image
from vlmscope.core.method.heatmap import MAX_SIDE, open_crop
from vlmscope.core.report.pictures import picture


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(15_900, 1_000), (15_900_000, 1), (1, 15_900_000), (MAX_SIDE + 1, 1), (2_100, 2_100)])
def test_a_crop_of_extreme_shape_is_refused(size: tuple[int, int]) -> None:
    data = png(*size)
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreError, match="too large") as caught:
        open_crop(data)
    assert time.monotonic() - begun < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert caught.value.hint


@pytest.mark.parametrize("size", [(MAX_SIDE, 1), (1, MAX_SIDE), (168, 1), (336, 336)])
def test_a_thin_crop_is_reported_in_bounded_memory(size: tuple[int, int]) -> None:
    data = png(*size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(picture(data, np.ones((4, 4), dtype=np.float32), 1.0)) < 100_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("size", [(101, 1), (1, 5_000), (15_900, 100)])
def test_a_picture_that_is_too_thin_is_not_scanned(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "thin.png"
    path.write_bytes(png(*size))
    with pytest.raises(SamplesError, match="too thin") as caught:
        load_image(path)
    assert caught.value.hint


def test_a_panorama_is_read(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    path.write_bytes(png(1_000, 10))
    assert load_image(path).size == (1_000, 10)
