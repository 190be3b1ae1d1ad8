"""Scenes: one to four groups of one to three equal objects on a background. The same seed is the same scene."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmscope.sample_data.recipe.backgrounds import BACKGROUNDS, SIDE
from vlmscope.sample_data.recipe.words import CLASSES, COLOUR_NAMES, COLOURS, NAMES, SCENE_NAMES, TINTED

SPRITES = Path(__file__).parent / "sprites"
#: Side of one object in pixels, by count (1 to 3) and size (small, normal, large), before a little chance.
PIXELS = ((17, 27, 41), (14, 20, 28), (13, 18, 24))
GROUP_SHARES = (0.18, 0.27, 0.30, 0.25)  #: of one to four groups
COUNT_SHARES = (0.6, 0.23, 0.17)  #: of one to three objects in a group
TEST_SEEDS = 1 << 40  #: held-out scenes have seeds from here on, those of training are below


@dataclass(frozen=True)
class ObjectGroup:
    """Equal objects at one place: ``size`` 0 to 2, ``place`` 0 to 8 row by row, boxes (x0, y0, x1, y1) in pixels."""

    name: str
    count: int
    size: int
    colour: str | None
    place: int
    boxes: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class PictureScene:
    """A picture, uint8 (96, 96, 3), and what is in it; groups in reading order.

    ``owner`` is int8 (96, 96): the group whose object shows at a pixel, or -1.
    """

    picture: NDArray[np.uint8]
    background: str
    groups: tuple[ObjectGroup, ...]
    owner: NDArray[np.int8]


@cache
def _sprite(name: str, colour: str | None, side: int) -> NDArray[np.float32]:
    """RGBA, float32 (side, side, 4), colour 0 to 255 and alpha 0 to 1."""
    rgba = Image.open(SPRITES / f"{name}.png").convert("RGBA")
    pixels = np.asarray(rgba.resize((side, side), Image.Resampling.LANCZOS), dtype=np.float32).copy()
    if colour is not None:
        rgb = pixels[..., :3]
        high, low = rgb.max(axis=-1), rgb.min(axis=-1)
        coloured = (high - low) > 0.25 * np.maximum(high, 1)  # wheels, windows and pages keep theirs
        light = ((high + low) / 510)[..., None]
        paint = np.array(COLOURS[colour], dtype=np.float32)
        tinted = np.where(light < 0.5, paint * 2 * light, paint + (255 - paint) * (2 * light - 1))
        pixels[..., :3] = np.where(coloured[..., None], tinted, rgb)
    pixels[..., 3] /= 255
    return pixels


def _corners(centre: NDArray[np.float64], count: int, side: int) -> list[tuple[int, int]]:
    """Upper left corners of a group: one; two side by side; three as a triangle; moved inside the picture."""
    offsets = {
        1: [(0.0, 0.0)],
        2: [(-0.5, 0.0), (0.5, 0.0)],
        3: [(-0.5, 0.45), (0.5, 0.45), (0.0, -0.45)],
    }[count]
    at = np.array([[centre[0] + dx * side, centre[1] + dy * side] for dx, dy in offsets]) - side / 2
    at -= np.minimum(at.min(axis=0), 0)
    at -= np.maximum(at.max(axis=0) + side - SIDE, 0)
    return [(int(x), int(y)) for x, y in at]


def _is_at(place: int, corners: list[tuple[int, int]], side: int) -> bool:
    """Whether a group's middle is still in its cell, 3 px from the border, after it was moved into the picture."""
    middle = np.mean(corners, axis=0) + side / 2
    left, top = 32 * (place % 3), 32 * (place // 3)
    return bool(left + 3 <= middle[0] <= left + 29 and top + 3 <= middle[1] <= top + 29)


def make_scene(seed: int) -> PictureScene:
    """The scene of this seed."""
    rng = np.random.default_rng(seed)
    background = str(rng.choice(SCENE_NAMES))
    picture = BACKGROUNDS[background](rng).astype(np.float32)
    owner = np.full((SIDE, SIDE), -1, dtype=np.int8)
    wanted = int(rng.choice(4, p=GROUP_SHARES)) + 1
    names = rng.choice(NAMES, wanted, replace=False)
    places = sorted(int(p) for p in rng.choice(9, wanted, replace=False))
    groups: list[ObjectGroup] = []
    for name, place in zip(names, places, strict=True):
        for _ in range(6):  # until it hides little of the others; then it is left out
            count = int(rng.choice(3, p=COUNT_SHARES)) + 1
            size = int(rng.integers(0, 3)) if wanted < 3 else int(rng.choice(3, p=(0.4, 0.4, 0.2)))
            side = PIXELS[count - 1][size] + int(rng.integers(-1, 2))
            centre = np.array([16 + 32 * (place % 3), 16 + 32 * (place // 3)]) + rng.uniform(-8, 8, 2)
            corners = _corners(centre, count, side)
            covered = sum(np.count_nonzero(owner[y : y + side, x : x + side] >= 0) for x, y in corners)
            if covered < 0.12 * count * side * side and _is_at(place, corners, side):
                break
        else:
            continue
        colour = str(rng.choice(COLOUR_NAMES)) if name in TINTED else None
        sprites = CLASSES[str(name)][1]
        sprite = _sprite(sprites[int(rng.integers(0, len(sprites)))], colour, side)
        if name not in ("train", "bus", "clock") and rng.random() < 0.5:
            sprite = sprite[:, ::-1]
        for x, y in corners:
            part, alpha = picture[y : y + side, x : x + side], sprite[..., 3:]
            part += (sprite[..., :3] - part) * alpha
            owner[y : y + side, x : x + side][alpha[..., 0] > 0.5] = len(groups)
        boxes = tuple((x, y, x + side, y + side) for x, y in corners)
        groups.append(ObjectGroup(str(name), count, size, colour, place, boxes))
    return PictureScene(picture.clip(0, 255).astype(np.uint8), background, tuple(groups), owner)
