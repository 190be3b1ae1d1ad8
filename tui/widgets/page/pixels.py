"""Pictures in true pixels, by kitty's protocol or sixel, over the boxes that the page leaves blank for them.

textual-image asks the terminal which of the two it knows when it is imported, so ``vlmscope open`` imports it before
the screen takes the terminal, and only where the settings ask for pixels. Its widgets are the page's children.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

if TYPE_CHECKING:
    from PIL import Image
    from textual.widget import Widget
    from textual_image.widget import AutoImage, SixelImage

CELL = (8, 16)  #: pixels of a cell that a picture is made for; textual-image scales them to the terminal's
KEPT = 64  #: pictures
_MARK = "pixels"
_Put = tuple[int, Region]  # a picture's number and its place


class Pixels:
    """The pictures of a page, and the widgets that show them."""

    def __init__(self) -> None:
        self._images: OrderedDict[int, Image.Image] = OrderedDict()
        self._numbers = count()
        self._widgets: list[tuple[AutoImage | SixelImage, _Put | None]] = []

    def box(self, image: "Image.Image") -> list[Strip]:
        """Blank lines for ``image``, of ``CELL`` pixels a cell, by which ``put`` finds its place."""
        number = next(self._numbers)
        self._images[number] = image
        if len(self._images) > KEPT:
            self._images.popitem(last=False)
        width, height = image.width // CELL[0], image.height // CELL[1]
        return [Strip([Segment(" " * width, Style(meta={_MARK: number}))], width)] * height

    def put(self, page: "Widget", places: Mapping[int, Region]) -> None:
        """Show the pictures of a page at their places in it, and hide all others."""
        from textual_image.widget import Image as PixelWidget

        shown = [(number, region) for number, region in places.items() if number in self._images]
        while len(self._widgets) < len(shown):
            widget = PixelWidget()
            widget.styles.position = "absolute"
            self._widgets.append((widget, None))
            page.mount(widget)
        for at, (widget, before) in enumerate(self._widgets):
            wanted = shown[at] if at < len(shown) else None
            if wanted == before:
                continue
            self._widgets[at] = widget, wanted
            widget.display = wanted is not None
            if wanted is None:
                widget.image = None
                continue
            number, region = wanted
            widget.styles.offset = region.offset
            widget.styles.width, widget.styles.height = region.size
            if before is None or before[0] != number:
                widget.image = self._images[number]


def places(lines: Sequence[Strip]) -> dict[int, Region]:
    """Where the boxes of ``Pixels.box`` are among a page's lines: a region in cells for each picture's number."""
    found: dict[int, Region] = {}
    for y, line in enumerate(lines):
        x = 0
        for segment in line:
            number = segment.style.meta.get(_MARK) if segment.style is not None and segment.style.meta else None
            if number is not None:
                here = Region(x, y, segment.cell_length, 1)
                found[number] = found[number].union(here) if number in found else here
            x += segment.cell_length
    return found
