"""A page's pictures as strips, which are kept: stepping back and forth decodes nothing."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from textual.strip import Strip

from vlmscope.tui.views.scene import Scene
from vlmscope.tui.views.state import Mode
from vlmscope.tui.widgets.page.frame import PageFrame
from vlmscope.tui.widgets.page.head import waiting
from vlmscope.tui.widgets.page.pixels import Pixels
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView

_KEPT = 128  # pictures


class DrawnPictures:
    """Pictures and maps in their boxes. What draws them is imported for the first one, after the first paint."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], list[Strip]] = OrderedDict()
        self.pixels = Pixels()

    def forget(self) -> None:
        """Draw all again, as with other colours."""
        self._kept.clear()

    def box(
        self,
        which: str,
        view: Scene,
        picture: "PictureView",
        room: PageFrame,
        palette: Palette,
        pointed: tuple[int, int] | None,
    ) -> list[Strip]:
        """The picture, or the neuron's map over it: drawn once for the same neuron, sample, size and map.

        Args:
            which: ``origin`` or ``activation``.
            pointed: row and column of the patch to be framed; None for none.
        """
        from vlmscope.tui.widgets.page.pictures import activation_box, origin_box

        colour_map, reason, pixels = view.state.colour_map, waiting(view, picture), self._in_pixels(view, palette)
        stale = view.stale and pixels is None
        maximum = float(view.columns.store.maximum[picture.neuron.layer, picture.neuron.index])
        problem = (picture.map_problem, reason) if picture.visual is None else None
        # Norms are relative to the maximum, which grows during a scan.
        cover = picture.cover(view.state.cover)
        of_map = (picture.key, picture.exact, maximum, problem, colour_map, cover, picture.thresholds.T_v)
        of_crop = (picture.sample, picture.image, picture.crop is None, id(picture.whole))
        key = (which, of_crop if which == "origin" else of_map, room.picture, stale, pointed, pixels is None)
        strips = self._kept.pop(key, None)
        if strips is None and which == "origin":
            strips = origin_box(picture, room.picture, palette, stale=stale, pointed=pointed, pixels=pixels)
        elif strips is None:
            strips = activation_box(
                picture,
                room.picture,
                colour_map,
                palette,
                stale=stale,
                waiting=reason,
                cover=cover,
                pointed=pointed,
                pixels=pixels,
            )
        self._keep(key, strips)
        return strips

    def small_box(self, view: Scene, palette: Palette, picture: "PictureView", size: tuple[int, int]) -> list[Strip]:
        """A small picture of the contact sheet; without its map where that is missing, or no patch is above Tv.

        The map of a text neuron would be a blank square: its words are below.
        """
        from vlmscope.tui.widgets.page.pictures import activation_box, origin_box

        sheet, colour_map = view.sheet, view.state.colour_map
        # While a key is held. After a single one the pictures stay, under their own address, for the instant that the
        # next ones take: painting all of them twice would cost twice as much.
        pixels = self._in_pixels(view, palette)
        stale = pixels is None and view.stale and sheet is not None and sheet.key.neuron != view.state.neuron
        maximum = float(view.columns.store.maximum[picture.neuron.layer, picture.neuron.index])
        nothing = picture.visual is None or not (picture.visual > picture.thresholds.T_v).any()
        key = ("small", picture.key, picture.exact, maximum, nothing, colour_map, size, stale, pixels is None)
        strips = self._kept.pop(key, None)
        if strips is None:
            if nothing and picture.crop is not None:
                strips = origin_box(picture, size, palette, stale=stale, pixels=pixels)
            else:
                strips = activation_box(
                    picture, size, colour_map, palette, stale=stale, waiting="", marked=False, pixels=pixels
                )
        self._keep(key, strips)
        return strips

    def _in_pixels(self, view: Scene, palette: Palette) -> Pixels | None:
        """What shows the view's pictures in true pixels; None where block characters do."""
        return self.pixels if palette.pixels and view.state.mode in (Mode.ZOOM, Mode.SHEET) else None

    def _keep(self, key: tuple[object, ...], strips: list[Strip]) -> None:
        self._kept[key] = strips
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
