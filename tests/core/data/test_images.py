"""Pictures of more than 8 bits become grey pictures with all their steps, not white ones."""

import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vlmscope.core.data.images import load_image, png

RAMP = np.linspace(0, 1, 12).reshape(3, 4)  #: from black to white


def shown(path: Path) -> NDArray[np.uint8]:
    """The grey that ``path`` is read as."""
    found = np.asarray(load_image(path))
    assert found.shape[2] == 3 and (found[..., 0] == found[..., 1]).all() and (found[..., 0] == found[..., 2]).all()
    grey: NDArray[np.uint8] = found[..., 0]
    return grey


def near(found: NDArray[np.uint8], share: NDArray[np.float64]) -> bool:
    return bool(np.abs(found - 255 * share).max() <= 0.51)


def saved(path: Path, values: NDArray[np.generic]) -> Path:
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("brightest", [1.0, 0.25])
def test_16_bits_are_scaled_by_65535(tmp_path: Path, name: str, brightest: float) -> None:
    path = saved(tmp_path / name, np.rint(65535 * brightest * RAMP).astype(np.uint16))
    assert near(shown(path), brightest * RAMP)


def test_16_bits_in_the_other_byte_order(tmp_path: Path) -> None:
    values = np.rint(65535 * RAMP).astype(">u2")
    (tmp_path / "a.tif").write_bytes(tiff(values.tobytes(), 4, 3, 16, order=">"))
    assert near(shown(tmp_path / "a.tif"), RAMP)


def test_12_bits_are_scaled_by_4095(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(bytes([0xFF, 0xF8, 0x00, 0x00, 0x00, 0x00]), 4, 1, 12))
    assert shown(tmp_path / "a.tif").tolist() == [[255, 128, 0, 0]]


def test_a_pgm_of_16_bits(tmp_path: Path) -> None:
    values = np.rint(200 * RAMP).astype(">u2")  # dark, yet of 16 bits
    (tmp_path / "a.pgm").write_bytes(b"P5 4 3 65535\n" + values.tobytes())
    assert near(shown(tmp_path / "a.pgm"), RAMP * 200 / 65535)


@pytest.mark.parametrize(
    ("values", "share"),
    [
        (RAMP, RAMP),
        (0.5 * RAMP, 0.5 * RAMP),  # within 0..1: not stretched
        (255 * RAMP, RAMP),
        (4000 * RAMP - 1000, RAMP),  # its own smallest and largest
        (RAMP - 0.5, RAMP),
        (np.zeros((3, 4)), np.zeros((3, 4))),
        (np.full((3, 4), -7.0), np.zeros((3, 4))),
        (np.full((3, 4), np.nan), np.zeros((3, 4))),
    ],
)
def test_floats_are_scaled_by_their_range(
    tmp_path: Path, values: NDArray[np.float64], share: NDArray[np.float64]
) -> None:
    assert near(shown(saved(tmp_path / "a.tif", values.astype(np.float32))), share)


def test_values_that_are_not_finite_are_black_and_move_no_other(tmp_path: Path) -> None:
    values = (1000 * RAMP).astype(np.float32)
    values[1, 1], values[2, 2] = np.inf, np.nan
    found = shown(saved(tmp_path / "a.tif", values))
    assert found[1, 1] == found[2, 2] == 0 and found[2, 3] == 255 and found[0, 1] == round(255 / 11)


@pytest.mark.parametrize(("white", "share"), [(255, 1.0), (65535, 1.0), (4095, 4095 / 65535), (1_000_000, 1.0)])
def test_32_bit_integers_are_scaled_by_the_range_that_they_are_in(tmp_path: Path, white: int, share: float) -> None:
    assert near(shown(saved(tmp_path / "a.tif", np.rint(white * RAMP).astype(np.int32))), share * RAMP)


def test_they_are_rotated_by_their_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(np.rint(65535 * RAMP).astype(np.uint16)).save(tmp_path / "a.png", exif=exif)
    assert near(shown(tmp_path / "a.png"), RAMP[::-1, ::-1])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_8_bits_are_as_pillow_has_them(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(np.rint(255 * RAMP).astype(np.uint8)).convert("RGB").convert(mode).save(path)
    with Image.open(path) as image:
        expected = image.convert("RGB")
    assert np.array_equal(np.asarray(load_image(path)), np.asarray(expected))


def test_facts_are_text_chunks_and_plain(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(Image.new("RGB", (2, 2)), {"Neuron": "L3/N17", "Sample": "\x1b \udcff 犬"}))
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.info == {"Neuron": "L3/N17", "Sample": "  ? 犬"}


def tiff(data: bytes, width: int, height: int, bits: int, order: str = "<") -> bytes:
    """A grey TIFF; Pillow cannot write all kinds that it reads."""
    tags = [
        (256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
        (278, 3, height), (279, 4, len(data)),
    ]  # fmt: skip
    found = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data)) + data
    found += struct.pack(order + "H", len(tags))
    for tag, kind, value in tags:  # a short value stands in the first half of its four bytes
        found += struct.pack(
            order + ("HHIHH" if kind == 3 else "HHII"), tag, kind, 1, value, *([0] if kind == 3 else [])
        )
    return found + struct.pack(order + "I", 0)
