"""Which characters pictures are drawn with, and which of them a terminal draws."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Blocks(StrEnum):
    """Which characters pictures are drawn with, from coarse to fine."""

    HALF = "half"
    QUADRANT = "quadrant"
    SEXTANT = "sextant"
    OCTANT = "octant"

    @property
    def pixels(self) -> tuple[int, int]:
        """How many columns and rows of pixels a cell shows."""
        return {Blocks.HALF: (1, 2), Blocks.QUADRANT: (2, 2), Blocks.SEXTANT: (2, 3), Blocks.OCTANT: (2, 4)}[self]

    @property
    def glyphs(self) -> str:
        """A character for each set of pixels that have the foreground's colour.

        Pixel i, from left to right and from top to bottom, is bit i of the character's place.
        """
        return _GLYPHS[self]


@dataclass(frozen=True)
class Drawing:
    """What the terminal can draw: found out before the screen takes it (``tui/ask_terminal.py``).

    Attributes:
        few_colours: it has 256 colours, not 16 million.
        pixels: it draws pictures in true pixels, by kitty's protocol or sixel.
        lacks: characters that it does not draw on one cell each.
    """

    blocks: Blocks = Blocks.HALF
    few_colours: bool = False
    pixels: bool = False
    lacks: frozenset[Blocks] = frozenset()


def _sextants() -> str:
    """U+1FB00 to U+1FB3B in order; the left and the right half are older characters."""
    older = {0: " ", 21: "▌", 42: "▐", 63: "█"}
    return _with_older(older, 64, 0x1FB00)


def _octants() -> str:
    """U+1CD00 to U+1CDE5 in order (Unicode 16); what quarters, quadrants and halves have is not among them."""
    older = {0: " ", 1: "\U0001cea8", 2: "\U0001ceab", 3: "\U0001fb82", 5: "▘", 10: "▝", 15: "▀", 20: "\U0001fbe6"}
    older |= {40: "\U0001fbe7", 63: "\U0001fb85", 64: "\U0001cea3", 80: "▖", 85: "▌", 90: "▞", 95: "▛"}
    older |= {128: "\U0001cea0", 160: "▗", 165: "▚", 170: "▐", 175: "▜", 192: "▂", 240: "▄", 245: "▙", 250: "▟"}
    older |= {252: "▆", 255: "█"}
    return _with_older(older, 256, 0x1CD00)


def _with_older(older: dict[int, str], count: int, first: int) -> str:
    new = (chr(code) for code in range(first, first + count))
    return "".join(older[at] if at in older else next(new) for at in range(count))


_GLYPHS = {
    Blocks.HALF: " ▀▄█",
    Blocks.QUADRANT: " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█",
    Blocks.SEXTANT: _sextants(),
    Blocks.OCTANT: _octants(),
}
#: All characters that pictures are made of. Python 3.11 does not know octants, and takes them for unprintable.
DRAWN = frozenset("".join(_GLYPHS.values()))

#: Terminals that draw sextants themselves, without a font that has them, and the version from which they do. VTE is the
#: library of GNOME's terminal and many others; it writes 0.78.2 as 7802. VS Code's is xterm.js.
_DRAW_SEXTANTS: dict[str, tuple[int, ...]] = {
    "kitty": (0, 40),
    "foot": (1, 20),
    "ghostty": (1, 2),
    "vte": (7800,),
    "wezterm": (),
    "vscode": (),
    "xterm.js": (),
}
#: The character whose width is measured, of those that are not everywhere.
PROBES = {Blocks.QUADRANT: "▚", Blocks.SEXTANT: "\U0001fb00", Blocks.OCTANT: "\U0001cd0f"}


def draws_sextants(name: str) -> bool:
    """Whether a terminal of this name and version is known to draw sextants."""
    for known, least in _DRAW_SEXTANTS.items():
        found = re.match(rf"{re.escape(known)}\b\W*(\d+(?:\.\d+)*)?", name.strip(), re.IGNORECASE)
        if found:
            version = tuple(int(part) for part in (found[1] or "0").split("."))
            return version >= least
    return False


def blocks_for(setting: str, name: str, widths: Mapping[str, int]) -> Blocks:
    """The characters for a terminal: the setting's, or what it is known to draw; coarser ones where it does not.

    Args:
        setting: a ``Blocks``, or ``auto`` or ``graphics``, which leave the choice.
        name: as the terminal gives it, with its version.
        widths: cells that it takes for a character; what it takes more or less than one for cannot be drawn.
    """
    known = Blocks.SEXTANT if draws_sextants(name) else Blocks.QUADRANT
    wanted = Blocks(setting) if setting in list(Blocks) else known
    lacks = lacking(widths)
    return next(one for one in reversed(list(Blocks)[: list(Blocks).index(wanted) + 1]) if one not in lacks)


def lacking(widths: Mapping[str, int]) -> frozenset[Blocks]:
    """The characters that take more or less than one cell, by the ``widths`` of ``PROBES``: these cannot be used."""
    return frozenset(blocks for blocks, probe in PROBES.items() if widths.get(probe, 1) != 1)
