"""A control: the same samples through the same architecture with random weights.

The label rule also labels the neurons of a network that has learnt nothing, most of them multimodal (79 %, measured in
demo_model.md). Shares of labels mean something only beside the shares of such a control.

A control is an ordinary scan. Its manifest names the scan that it belongs to, by ``scan_id``, and the seed of its
weights. It is beside its scan, as ``<SCAN>.control``. Where the user may not write there, as in the demo, it is in the
user's data folder, as ``controls/<the first 16 digits of scan_id>``. ``find_control`` tries both, in that order; the
demo comes with a control, which one of the user's own replaces.
This module does not load a model; ``core.model.load`` makes the weights.
"""

import os
from pathlib import Path

from vlmscope.core.base.config import data_folder
from vlmscope.core.base.demo import DEMO, demo_folder
from vlmscope.core.base.errors import SamplesError, UsageError
from vlmscope.core.data.images import is_file
from vlmscope.core.data.samples import Data, ListedImage, data_path
from vlmscope.core.store.manifest import MANIFEST, Manifest
from vlmscope.core.store.original import UNCHECKED, original_problem
from vlmscope.core.store.progress import check_whole
from vlmscope.core.store.reader import ScanStore

PUT_BACK = "Put the images back, or name the folder that their paths are relative to: --images FOLDER"


def control_places(store: ScanStore) -> tuple[Path, Path]:
    """Where a scan's control may be: beside it, or in the user's data folder; of the demo there first."""
    folder = store.folder.resolve()
    beside, kept = folder.with_name(f"{folder.name}.control"), data_folder() / "controls" / store.manifest.scan_id[:16]
    return (kept, beside) if _is_shipped(beside) else (beside, kept)


def new_control_folder(store: ScanStore) -> Path:
    """Where a scan's control is written unless the user names a folder."""
    first, second = control_places(store)
    return first if _is_shipped(second) or os.access(first.parent, os.W_OK | os.X_OK) else second


def _is_shipped(folder: Path) -> bool:
    """Whether a folder is one of the demo's, which nothing is written to."""
    return demo_folder().resolve() in folder.parents


def is_control_of(manifest: Manifest, scan: Manifest) -> bool:
    return manifest.control is not None and manifest.control.scan_id == scan.scan_id


def find_control(store: ScanStore) -> ScanStore | None:
    """The scan's control, or None; its manifest must name this scan.

    An unfinished control counts from its first sample on.

    Raises:
        StoreError: if the control is damaged.
    """
    for folder in control_places(store):
        if _is_scan(folder):
            found = ScanStore(folder)
            if is_control_of(found.manifest, store.manifest) and found.manifest.scanned:
                return found
    return None


def may_have_control(store: ScanStore) -> bool:
    """Whether there is a scan where the control would be; it is not opened."""
    return any(_is_scan(folder) for folder in control_places(store))


def _is_scan(folder: Path) -> bool:
    try:
        return (folder / MANIFEST).is_file()
    except OSError:  # a folder that may not be read counts as empty
        return False


def control_data(store: ScanStore, images: str | None = None, limit: int | None = None) -> Data:
    """The samples of a scan, in its order, with the descriptions stored in it.

    A picture is used if its SHA-256 is the scan's. Others are used in a folder that the user names with ``images``, and
    those without a digest where ``store.images_trusted``: the crops that a control keeps may be passed on with it. What
    the scan skipped is skipped without being read.

    Args:
        images: the folder that the scan's image paths are relative to, or ``demo``; None for the one in its manifest.
        limit: how many samples, from the first on; None for all.

    Raises:
        UsageError: if the scan is a control itself.
        StoreError: if it is unfinished: then not all of its samples are known.
        SamplesError: if images are missing, or are not those that were scanned.
    """
    manifest = store.manifest
    if manifest.control is not None:
        raise UsageError(f"{store.folder} is itself a control.", "Name the scan that it belongs to.")
    check_whole(store, "A control takes")
    if images == DEMO:
        name, root = DEMO, demo_folder()
    elif images is not None:
        name, root = manifest.data if manifest.data != DEMO else images, data_path(images)
    elif manifest.image_root is None:
        raise SamplesError(f"{store.folder} does not name the folder of its images.", PUT_BACK)
    else:
        name = manifest.data
        root = demo_folder() if manifest.image_root == DEMO else Path(manifest.image_root)
    samples = [store.sample(index) for index in range(manifest.samples)][:limit]
    skipped = {skip.sample: skip.reason for skip in manifest.skipped}
    missing = [s.image for s in samples if s.index not in skipped and not is_file(root / s.image)]
    if missing:
        raise SamplesError(
            f"Of the {len(samples)} images of {store.folder}, {len(missing)} are not in {root}, {missing[0]} first.",
            PUT_BACK,
        )
    named = None if images is None else root.resolve()
    for sample in samples:
        path = root / sample.image
        if sample.index in skipped or (named is not None and path.resolve().is_relative_to(named)):
            continue
        problem = original_problem(path, sample.sha256, sample.within)
        if problem:
            unchecked = problem.startswith(UNCHECKED)
            raise SamplesError(
                f"The images of {store.folder} cannot be scanned again: {problem}.",
                f"If you trust the scan, add --trust-images; or {PUT_BACK[0].lower()}{PUT_BACK[1:]}"
                if unchecked
                else PUT_BACK,
            )
    # A skipped sample keeps its place, so that the others keep their numbers.
    return Data(
        name,
        root,
        tuple(ListedImage(s.image, s.description, trouble=skipped.get(s.index, ""), fields=s.fields) for s in samples),
    )
