"""The perfect detector, for the demo alone: its scenes' boxes are known.

It predicts no text: which words a description has says nothing about what a detector sees.
"""

import json
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmscope.core.base.demo import DEMO, samples_file
from vlmscope.core.base.errors import StoreError, UsageError
from vlmscope.core.method.correlation import TokenKind
from vlmscope.core.method.patches import Corners, covered
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.scoring.protocol import SCALE, HeldOut, NoPrediction, Prediction
from vlmscope.core.scoring.search_phrases import wanted_words
from vlmscope.core.store.manifest import Manifest

Scenes = dict[str, tuple[tuple[str, Corners], ...]]  #: by picture: the name and the box of each object in it, in pixels


class Oracle:
    """The share of each cell of the grid inside boxes of the objects that the explanation names, times 10; of several
    names the largest."""

    name = "oracle"
    kinds: Collection[TokenKind] = frozenset({TokenKind.VISUAL})
    independent = True
    paid = False

    def __init__(self, scenes: Scenes) -> None:
        self._scenes = scenes
        self.names = frozenset(name for objects in scenes.values() for name, _ in objects)

    @classmethod
    def of_demo(cls, manifest: Manifest) -> "Oracle":
        """The oracle of the demo's scenes.

        Raises:
            UsageError: if the scan is not of them.
            StoreError: if they are damaged.
        """
        if manifest.image_root != DEMO:
            raise UsageError(
                "The oracle works on the demo's scenes alone.", "Use --backend lens, which works on every scan."
            )
        return cls(read_scenes())

    def objects(self, picture: Path) -> frozenset[str]:
        """What is in a scene."""
        return frozenset(name for name, _ in self._scenes.get(picture.name, ()))

    def search_phrases(self, explanation: Explanation) -> tuple[str, ...]:
        """The objects that it names."""
        return wanted_words(explanation, self.names)

    def holds(self, explanation: Explanation, sample: HeldOut) -> bool:
        """See ``KnowsBoxes``."""
        return sample.picture is not None and not self.objects(sample.picture).isdisjoint(
            self.search_phrases(explanation)
        )

    def maps_of_all(self, sample: HeldOut) -> NDArray[np.float32] | None:
        """See ``KnowsBoxes``."""
        found = self._shares(sorted(self.names), sample)
        return None if isinstance(found, NoPrediction) else found * np.float32(SCALE)

    async def simulate(self, explanation: Explanation, sample: HeldOut) -> Prediction | NoPrediction:
        """See ``Simulator``."""
        wanted = self.search_phrases(explanation)
        if not wanted:
            return NoPrediction("the explanation names no object of the demo's scenes")
        found = self._shares(wanted, sample)
        if isinstance(found, NoPrediction):
            return found
        return Prediction(visual=found.max(axis=0) * np.float32(SCALE))

    def _shares(self, names: Sequence[str], sample: HeldOut) -> NDArray[np.float32] | NoPrediction:
        """The share of each cell inside boxes of each name: float32 (names, rows, columns)."""
        if sample.picture is None or sample.picture.name not in self._scenes:
            return NoPrediction("the picture is none of the demo's scenes")
        try:
            with Image.open(sample.picture) as image:
                width, height = image.size
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            return NoPrediction(f"the picture cannot be opened: {error}")
        seen = sample.seen
        left, top = seen[0] * width, seen[1] * height
        size = (seen[3] - seen[1]) * height, (seen[2] - seen[0]) * width
        found = np.zeros((len(names), *sample.grid), dtype=np.float32)
        for at, name in enumerate(names):
            objects = [box for one, box in self._scenes[sample.picture.name] if one == name]
            if objects:
                boxes = [(x0 - left, y0 - top, x1 - left, y1 - top) for x0, y0, x1, y1 in objects]
                found[at] = covered(boxes, size, sample.grid)
        return found


@cache
def read_scenes() -> Scenes:
    """The demo's scenes, by the name of the picture's file. Raises StoreError if they cannot be read."""
    try:
        lines = samples_file().read_text(encoding="utf-8").splitlines()
        found: Scenes = {}
        for record in map(json.loads, lines):
            found[Path(record["image"]).name] = tuple((one["name"], _box(*one["box"])) for one in record["objects"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{samples_file()} is damaged: {error}.", "Install vlmscope again.") from error
    return found


def _box(x0: float, y0: float, x1: float, y1: float) -> Corners:
    return float(x0), float(y0), float(x1), float(y1)
