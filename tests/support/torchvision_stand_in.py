"""Stand-ins for what transformers refuses without torchvision, for pictures alone.

torchvision is not installed beside the tests' torch. Without it ``AutoProcessor`` refuses every processor that has a
part for videos, and Pixtral's, whose part for pictures runs on Pillow. The names that are replaced are private to
transformers: only tests do this.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from transformers import processing_utils
from transformers.video_processing_utils import VideoProcessorMixin


class StandInVideoProcessor(VideoProcessorMixin):
    """Takes the place of a processor's part for videos; it processes none."""

    merge_size = 2
    temporal_patch_size = 2

    def __init__(self, **kwargs: Any) -> None:
        self.kept = kwargs

    @classmethod
    def from_pretrained(cls, *_: Any, **__: Any) -> "StandInVideoProcessor":
        return cls()

    def save_pretrained(self, *_: Any, **__: Any) -> list[str]:
        return []

    def to_dict(self) -> dict[str, Any]:
        return {"video_processor_type": type(self).__name__}


def install() -> None:
    """Let transformers find the stand-ins, for the rest of the process."""
    found: Any = processing_utils
    module = found.transformers_module
    module.VideoProcessorMixin = VideoProcessorMixin
    module.StandInVideoProcessor = StandInVideoProcessor
    found._LazyAutoProcessorMapping._MAPPING_NAMES["video_processor"] = (__name__, StandInVideoProcessor.__name__)
    module.PixtralProcessor = _pixtral_processor()


def _pixtral_processor() -> Any:
    """Pixtral's processor from its file: transformers gives a dummy in its place. It needs one function of the file
    for torchvision, which the file for Pillow has too."""
    package = "transformers.models.pixtral"
    folder = Path(str(processing_utils.__file__)).parent / "models" / "pixtral"
    spec = importlib.util.spec_from_file_location(f"{package}.processing_pixtral", folder / "processing_pixtral.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.modules[f"{package}.image_processing_pixtral"] = importlib.import_module(
        f"{package}.image_processing_pil_pixtral"
    )
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[f"{package}.image_processing_pixtral"]
    return module.PixtralProcessor
