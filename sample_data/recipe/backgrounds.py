"""The 24 backgrounds, each drawn with random details: uint8 (96, 96, 3)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SIDE = 96
Picture = NDArray[np.uint8]
Rng = np.random.Generator
_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
_UNIT = _Y / (SIDE - 1)


def _ramp(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> NDArray[np.float32]:
    a, b = np.array(top, dtype=np.float32), np.array(bottom, dtype=np.float32)
    ramp: NDArray[np.float32] = a + (b - a) * _UNIT[..., None]
    return ramp


def _noise(picture: NDArray[np.float32], rng: Rng, amount: float) -> Picture:
    light = rng.normal(0, 6)  # the whole picture a little lighter or darker
    noisy = picture + rng.normal(0, amount, (SIDE, SIDE, 1)) + light
    return noisy.clip(0, 255).astype(np.uint8)


def _land(
    rng: Rng, sky: tuple[tuple[int, int, int], tuple[int, int, int]], ground: tuple[int, int, int], horizon: float
) -> NDArray[np.float32]:
    picture = _ramp(*sky)
    line = SIDE * horizon + rng.normal(0, 3) + 2 * np.sin(_X[0] / rng.uniform(8, 16) + rng.uniform(0, 6))
    below = line[None, :] < _Y
    picture[below] = np.array(ground, dtype=np.float32)
    return picture


def _dots_at(picture: NDArray[np.float32], rng: Rng, count: int, colour: tuple[int, int, int], low: int = 0) -> None:
    ys, xs = rng.integers(low, SIDE, count), rng.integers(0, SIDE, count)
    picture[ys, xs] = colour


def _grass(rng: Rng) -> Picture:
    picture = _land(rng, ((150, 205, 250), (210, 235, 255)), (105, 175, 75), 0.35)
    _dots_at(picture, rng, 150, (70, 140, 50), 40)
    return _noise(picture, rng, 5)


def _sea(rng: Rng) -> Picture:
    picture = _land(rng, ((190, 225, 250), (215, 240, 255)), (45, 105, 175), 0.25)
    waves = (np.sin(_Y * 0.9 + 3 * np.sin(_X / 9 + rng.uniform(0, 6))) > 0.9) & (_Y > 30)
    picture[waves] = (140, 185, 225)
    return _noise(picture, rng, 3)


def _beach(rng: Rng) -> Picture:
    picture = _land(rng, ((120, 200, 250), (60, 160, 210)), (240, 220, 165), 0.5)
    _dots_at(picture, rng, 120, (215, 190, 130), 55)
    return _noise(picture, rng, 3)


def _road(rng: Rng) -> Picture:
    picture = _land(rng, ((175, 210, 235), (220, 235, 245)), (95, 95, 100), 0.3)
    for start in range(int(rng.integers(0, 12)), SIDE, 22):
        picture[62:66, start : start + 12] = (240, 240, 230)
    return _noise(picture, rng, 4)


def _city(rng: Rng) -> Picture:
    picture = _ramp((15, 15, 45), (50, 45, 90))
    left = 0
    while left < SIDE:
        width, top = int(rng.integers(10, 20)), int(rng.integers(25, 70))
        picture[top:, left : left + width] = (30, 30, 38)
        for y in range(top + 3, SIDE - 3, 7):
            for x in range(left + 2, min(left + width - 3, SIDE - 3), 5):
                if rng.random() < 0.45:
                    picture[y : y + 3, x : x + 2] = (250, 220, 120)
        left += width
    return _noise(picture, rng, 3)


def _stars(rng: Rng) -> Picture:
    picture = _ramp((5, 5, 25), (25, 20, 60))
    _dots_at(picture, rng, 70, (255, 255, 235))
    return _noise(picture, rng, 2)


def _snow(rng: Rng) -> Picture:
    picture = _land(rng, ((185, 200, 220), (215, 225, 235)), (245, 248, 252), 0.35)
    _dots_at(picture, rng, 130, (255, 255, 255))
    return _noise(picture, rng, 2)


def _desert(rng: Rng) -> Picture:
    picture = _land(rng, ((250, 215, 150), (255, 235, 190)), (215, 150, 80), 0.4)
    dunes = (np.sin(_Y * 0.35 + 2 * np.sin(_X / 20 + rng.uniform(0, 6))) > 0.85) & (_Y > 45)
    picture[dunes] = (190, 125, 60)
    return _noise(picture, rng, 3)


def _table(rng: Rng) -> Picture:
    grain = np.sin(_Y * 0.55 + 1.5 * np.sin(_X / 17 + rng.uniform(0, 6)))
    picture = np.array((150, 98, 55), dtype=np.float32) + grain[..., None] * np.array((16, 12, 8), dtype=np.float32)
    picture[:: SIDE // 3] -= 45
    return _noise(picture, rng, 3)


def _floor(rng: Rng) -> Picture:
    shift, step = rng.integers(0, 12, 2), 12
    even = ((_X + shift[0]) // step + (_Y + shift[1]) // step) % 2 == 0
    picture = np.where(even[..., None], np.float32(225), np.float32(150))
    return _noise(np.repeat(picture, 3, axis=2).astype(np.float32), rng, 3)


def _sunset(rng: Rng) -> Picture:
    picture = _ramp((90, 40, 110), (255, 150, 60))
    centre = rng.uniform(20, 76)
    picture[(_X - centre) ** 2 + (_Y - 70) ** 2 < 120] = (255, 230, 120)
    picture[82:] = (60, 30, 50)
    return _noise(picture, rng, 3)


def _forest(rng: Rng) -> Picture:
    picture = _ramp((60, 110, 60), (35, 75, 35))
    for x in rng.integers(0, SIDE, 9):
        picture[:, x : x + int(rng.integers(2, 5))] = (75, 52, 32)
    picture[80:] = (50, 65, 30)
    return _noise(picture, rng, 8)


def _mountains(rng: Rng) -> Picture:
    picture = _ramp((165, 205, 240), (225, 240, 250))
    for shade, low in ((150, 30), (115, 50)):
        peak, period = rng.uniform(0, 30), rng.uniform(26, 40)
        line = low + np.abs((_X[0] + peak) % period - period / 2) * 1.5
        picture[line[None, :] < _Y] = (shade - 10, shade, shade + 10)
    return _noise(picture, rng, 3)


def _underwater(rng: Rng) -> Picture:
    picture = _ramp((70, 190, 215), (10, 60, 120))
    for x, y in rng.integers(4, SIDE - 4, (9, 2)):
        ring = np.abs(np.hypot(_X - x, _Y - y) - 2.5) < 0.8
        picture[ring] = (215, 245, 255)
    return _noise(picture, rng, 3)


def _clouds(rng: Rng) -> Picture:
    picture = _ramp((90, 160, 235), (165, 210, 250))
    for _ in range(5):
        x, y = rng.uniform(0, SIDE, 2)
        for dx in (-9, 0, 9):
            picture[(_X - x - dx) ** 2 + ((_Y - y) * 1.4) ** 2 < rng.uniform(40, 90)] = (250, 252, 255)
    return _noise(picture, rng, 2)


def _bricks(rng: Rng) -> Picture:
    picture = np.full((SIDE, SIDE, 3), (165, 75, 60), dtype=np.float32)
    shift = int(rng.integers(0, 8))
    row = ((_Y + shift) // 8).astype(int)
    picture[((_Y + shift) % 8 < 1.5) | ((_X + (row % 2) * 8 + shift) % 16 < 1.5)] = (205, 190, 180)
    return _noise(picture, rng, 5)


def _stripes(rng: Rng) -> Picture:
    band = (_X + rng.uniform(0, 16)) % 16 < 8
    a, b = (225, 205, 230), (185, 150, 200)
    return _noise(np.where(band[..., None], np.array(a, np.float32), np.array(b, np.float32)), rng, 2)


def _dots(rng: Rng) -> Picture:
    picture = np.full((SIDE, SIDE, 3), (250, 235, 215), dtype=np.float32)
    x, y = (_X + rng.uniform(0, 14)) % 14 - 7, (_Y + rng.uniform(0, 14)) % 14 - 7
    picture[x**2 + y**2 < 9] = (215, 120, 110)
    return _noise(picture, rng, 2)


def _plain(colour: tuple[int, int, int]) -> Callable[[Rng], Picture]:
    return lambda rng: _noise(np.full((SIDE, SIDE, 3), colour, dtype=np.float32), rng, 2)


BACKGROUNDS: dict[str, Callable[[Rng], Picture]] = {
    "grass": _grass,
    "sea": _sea,
    "beach": _beach,
    "road": _road,
    "city": _city,
    "stars": _stars,
    "snow": _snow,
    "desert": _desert,
    "table": _table,
    "floor": _floor,
    "sunset": _sunset,
    "forest": _forest,
    "mountains": _mountains,
    "underwater": _underwater,
    "clouds": _clouds,
    "bricks": _bricks,
    "stripes": _stripes,
    "dots": _dots,
    "white": _plain((246, 246, 246)),
    "grey": _plain((150, 150, 150)),
    "blue": _plain((110, 150, 225)),
    "green": _plain((135, 205, 130)),
    "yellow": _plain((245, 225, 120)),
    "pink": _plain((250, 190, 205)),
}
