"""A made-up control beside a made-up scan, for tests of what is shown."""

from pathlib import Path

from vlmscope.core.store.manifest import MANIFEST, ControlInfo, read_manifest
from vlmscope.core.store.synthetic import write_synthetic_scan


def make_control(scan: Path, seed: int = 3) -> Path:
    """Write other random numbers of the size of ``tests/conftest.py``'s scan beside it, as its control."""
    folder = scan.with_name(f"{scan.name}.control")
    write_synthetic_scan(folder, layers=4, neurons=32, samples=12, top_n=8, maps=0, grid=(4, 4), image=32, seed=99)
    info = ControlInfo(scan_id=read_manifest(scan).scan_id, seed=seed)
    manifest = read_manifest(folder).model_copy(update={"control": info})
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    return folder
