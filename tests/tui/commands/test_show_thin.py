"""A thin crop in a scan from elsewhere is shown in bounded memory and length."""

import io
import json
import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmscope.core.store.manifest import MANIFEST
from vlmscope.tui.__main__ import main


def with_crop(folder: Path, width: int, height: int) -> None:
    """Every sample of the scan has one crop of this size."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    (folder / "crops.bin").write_bytes(buffer.getvalue())
    where = {"crop": [0, len(buffer.getvalue())]}
    records = [json.loads(one) | where for one in (folder / "samples.jsonl").read_bytes().splitlines()]
    lines = [json.dumps(one).encode() + b"\n" for one in records]
    (folder / "samples.jsonl").write_bytes(b"".join(lines))
    ends = np.cumsum([len(one) for one in lines])
    arrays = folder / str(json.loads((folder / MANIFEST).read_text())["arrays"])
    np.save(arrays / "sample_lines.npy", np.stack([np.r_[0, ends[:-1]], ends], axis=-1))


@pytest.mark.parametrize("size", [(4096, 1), (1, 4096)])
def test_a_thin_crop_is_shown(
    scan_copy: Path, tmp_path: Path, size: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    with_crop(scan_copy, *size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["show", str(scan_copy), "L0/N0", "--png", str(tmp_path / "a.png")]) == 0
    assert main(["show", str(scan_copy), "L0/N0"]) == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    assert len(capsys.readouterr().out.splitlines()) < 400
