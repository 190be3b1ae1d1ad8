"""Where the demo is: a trained tiny LLaVA, its pictures and its scan, shipped as the package ``sample_data``.

The folder is read-only, since a wheel may be installed anywhere. Files derived from it go to the user's own folders.
"""

from importlib.util import find_spec
from pathlib import Path

from vlmscope.core.base.errors import StoreError

DEMO = "demo"  #: names the demo's scan, its model, its images


def demo_folder() -> Path:
    """The folder ``sample_data``. Raises StoreError if this installation has none."""
    spec = find_spec("vlmscope.sample_data")
    if spec is None or not spec.submodule_search_locations:
        raise StoreError("The demo is not part of this installation.", "Install vlmscope again, or open your own scan.")
    return Path(spec.submodule_search_locations[0])


def scan_folder(name: str) -> Path:
    """The folder of the scan that the user named: ``demo``, or a path.

    Raises:
        StoreError: if the path begins with ``~`` and a name that is not a user's.
    """
    try:
        return demo_folder() / "scan" if name == DEMO else Path(name).expanduser()
    except RuntimeError as error:
        raise StoreError(f"{name} is not a folder: {error}", "Write the path in full.") from error


def model_source(name: str) -> str:
    """What ``from_pretrained`` takes for the model that the user named: ``demo``, a hub name or a folder."""
    return str(demo_folder() / "model") if name == DEMO else name


def samples_file() -> Path:
    """The demo's ``samples.jsonl``."""
    return demo_folder() / "samples.jsonl"


def image_path(image_root: str | None, image: str) -> Path:
    """The path of a sample's picture; ``image_root`` is from the manifest, ``image`` from the sample."""
    if image_root == DEMO:
        return demo_folder() / image
    return Path(image_root or "") / image
