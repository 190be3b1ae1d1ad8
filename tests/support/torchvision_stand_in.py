"""Stand-ins for what transformers refuses without torchvision, for pictures alone.

torchvision is not installed beside the tests' torch. Without it ``AutoProcessor`` refuses every processor that has a
part for videos, and Pixtral's, whose part for pictures runs on Pillow. The names that are replaced are private to
transformers: only tests do this.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import processing_utils
from transformers.video_processing_utils import VideoProcessorMixin


class StandInVideoProcessor(VideoProcessorMixin):
    """Takes the place of a processor's part for videos; it processes none."""

    merge_size = temporal_patch_size = 2
    num_frames = fps = 1

    def __init__(self, **kwargs: Any) -> None:
        self.size: dict[str, int] = {}

    @classmethod
    def from_pretrained(cls, *_: Any, **__: Any) -> "StandInVideoProcessor":
        return cls()

    def save_pretrained(self, *_: Any, **__: Any) -> list[str]:
        return []

    def to_dict(self) -> dict[str, Any]:
        return {"video_processor_type": type(self).__name__}


_utils: Any = processing_utils
_mapping: dict[str, Any] = _utils._LazyAutoProcessorMapping._MAPPING_NAMES  # where transformers finds parts by name
_original = _mapping["video_processor"]


def install() -> None:
    """Let transformers find the stand-ins, for the rest of the process."""
    module = _utils.transformers_module
    if module.__dict__.get("StandInVideoProcessor") is not None:
        return
    module.VideoProcessorMixin = VideoProcessorMixin
    module.StandInVideoProcessor = StandInVideoProcessor
    _mapping["video_processor"] = (__name__, StandInVideoProcessor.__name__)
    pixtral: Any = importlib.import_module("transformers.models.pixtral")
    pixtral.PixtralProcessor = module.PixtralProcessor = _pixtral_processor()


def remove(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transformers refuse processors with a part for videos again, for one test."""
    monkeypatch.setitem(_mapping, "video_processor", _original)
    monkeypatch.delattr(_utils.transformers_module, "StandInVideoProcessor")


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
