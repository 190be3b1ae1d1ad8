"""Write the demo's control: its samples through random weights, kept small enough to ship.

``python -m vlmscope.sample_data.recipe.make_control --out FOLDER`` scans the demo's own samples with random weights of
seed 0, in bfloat16, with 20 top samples of each neuron, without maps and panel. Crops are left out: the scan has them.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from vlmscope.core.analysis.control import control_data
from vlmscope.core.base.demo import DEMO, scan_folder
from vlmscope.core.model.load import load
from vlmscope.core.scan.scan import scan
from vlmscope.core.store.manifest import ControlInfo
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.sample_log import CROPS, SAMPLES
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec

SEED, TOP = 0, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    store = ScanStore(scan_folder(DEMO))
    scanned = store.manifest
    model = load(ModelSpec(DEMO, device="cpu", dtype="bfloat16", hook=scanned.hook), seed=SEED)
    of = ControlInfo(scan_id=scanned.scan_id, seed=SEED, data_id=scanned.panel_data_id)
    options = ScanOptions(
        hook=scanned.hook,
        top_n=TOP,
        maps=0,
        small_maps=0,
        panel=0,
        thresholds=scanned.thresholds.value(),
        question=scanned.question,
        prompt_template=scanned.prompt,
        control=of,
    )
    scan(model, control_data(store), out, options, lambda _what, _done, _total: None)
    drop_crops(out)


def drop_crops(folder: Path) -> None:
    """Empty the file of crops, and every line's place in it."""
    store = ScanStore(folder)
    lines = np.zeros_like(store.arrays["sample_lines"])
    old, text = (folder / SAMPLES).read_bytes(), b""
    for index, (start, end) in enumerate(np.array(store.arrays["sample_lines"]).tolist()):
        record = json.loads(old[start:end])
        line = json.dumps(record | {"crop": [0, 0]}).encode("ascii") + b"\n"
        lines[index] = len(text), len(text) + len(line)
        text += line
    (folder / SAMPLES).write_bytes(text)
    (folder / CROPS).write_bytes(b"")
    np.save(folder / store.manifest.arrays / "sample_lines.npy", lines, allow_pickle=False)


if __name__ == "__main__":
    main()
