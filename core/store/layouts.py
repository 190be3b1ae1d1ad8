"""The layouts of a scan on disk: those that are not plain grids are two arrays, all others follow from the manifest."""

from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import SamplesError, StoreError
from vlmscope.core.base.text import plain
from vlmscope.core.method.layout import SCALE, VisualLayout
from vlmscope.core.store.manifest import VISUAL_TOKENS, LayoutInfo, Manifest

EDGES, COVER = "layout_edges", "layout_cover"


def distinct(layouts: Iterable[VisualLayout]) -> tuple[VisualLayout, ...]:
    """Each layout once, in the order of their ids: the same for a scan and for its shards together."""
    return tuple(sorted(set(layouts), key=lambda layout: layout.id))


def layout_infos(layouts: Sequence[VisualLayout]) -> tuple[LayoutInfo, ...]:
    """The manifest's entries of these layouts. Raises pydantic's ValidationError, a ValueError, if one does not fit."""
    return tuple(
        LayoutInfo(id=layout.id, tokens=len(layout), grid=layout.grid, plain=layout.is_plain) for layout in layouts
    )


def check_layout(layout: VisualLayout) -> None:
    """Raises SamplesError if a scan cannot store a sample with this layout."""
    cells = layout.grid[0] * layout.grid[1]
    if max(len(layout), cells) > VISUAL_TOKENS:
        raise SamplesError(
            f"its picture has {len(layout):,} visual tokens on {cells:,} patches; at most {VISUAL_TOKENS:,} fit",
            "Make the picture smaller.",
        )


def layout_arrays(layouts: Sequence[VisualLayout]) -> dict[str, NDArray[Any]]:
    """The arrays that a scan stores of these layouts, in the order of the manifest: none if all are plain."""
    stored = [layout for layout in layouts if not layout.is_plain]
    if not stored:
        return {}
    return {
        EDGES: np.concatenate([layout.edges for layout in stored]),
        COVER: np.concatenate([layout.cover for layout in stored]),
    }


def map_layout(layout: VisualLayout, cells: int | None) -> VisualLayout:
    """The layout of a sample's stored map: its own, or a plain grid of at most ``cells`` x ``cells``.

    A plain grid within that stays as it is.
    """
    if cells is None or (layout.is_plain and max(layout.grid) <= cells):
        return layout
    rows, columns = (min(size, cells) for size in layout.grid)
    return VisualLayout.plain(rows, columns)


def largest_map(layouts: Iterable[VisualLayout], cells: int | None) -> int:
    """Values of the largest map of samples with these layouts; 0 where there are none."""
    return max((len(map_layout(layout, cells)) for layout in layouts), default=0)


def sized(manifest: Manifest, layouts: Collection[VisualLayout]) -> Manifest:
    """The manifest with the sizes of the maps that samples with these layouts have."""
    small = manifest.small
    if small is not None:
        small = small.model_copy(update={"values": largest_map(layouts, small.cells)})
    largest = largest_map(layouts, manifest.map_cells)
    return manifest.model_copy(update={"visual_tokens_max": largest, "small": small})


class StoredLayouts:
    """The layouts of a scan by their ids, each made and checked when it is first asked for."""

    def __init__(
        self, folder: Path, infos: Sequence[LayoutInfo], edges: NDArray[np.uint16] | None, cover: NDArray[Any] | None
    ) -> None:
        """``edges`` and ``cover``: of the layouts that are not plain, as ``layout_arrays`` makes them, or None."""
        self._folder = folder
        self._edges, self._cover = edges, cover
        starts = accumulate((0 if info.plain else info.tokens for info in infos), initial=0)
        self._infos = {info.id: (info, start) for info, start in zip(infos, starts, strict=False)}
        self._only = infos[0].id if len(infos) == 1 else None
        self._made: dict[str, VisualLayout] = {}

    def get(self, layout: str) -> VisualLayout:
        """The layout of this id, which must be one of the manifest's. Raises StoreError if it is damaged."""
        found = self._made.get(layout)
        if found is None:
            found = self._made[layout] = self._make(*self._infos[layout])
        return found

    def of_sample(self, layout: str | None, sample: int) -> VisualLayout:
        """The layout that a sample's line names; a line of schema 2 names none, and means the only one.

        Raises:
            StoreError: if there is no such layout, or it is damaged.
        """
        name = self._only if layout is None else layout
        if name is None or name not in self._infos:
            named = "no layout" if name is None else f"the layout {plain(name, 40)}, which the manifest lacks"
            raise self._damaged(f"sample {sample} names {named}")
        return self.get(name)

    def _make(self, info: LayoutInfo, start: int) -> VisualLayout:
        if info.plain:
            layout = VisualLayout.plain(*info.grid)
        else:
            assert self._edges is not None and self._cover is not None  # opened where the manifest has such layouts
            edges = np.array(self._edges[start : start + info.tokens])
            if edges.max(initial=0) > SCALE or (edges[:, 2:] <= edges[:, :2]).any():
                raise self._damaged(f"the layout {info.id} has a box that is empty or outside of the picture")
            layout = VisualLayout(edges, np.array(self._cover[start : start + info.tokens]))
        if layout.id != info.id:
            raise self._damaged(f"the boxes of the layout {info.id} are those of another")
        if layout.grid != info.grid:
            raise self._damaged(f"the layout {info.id} has a grid of {layout.grid}; the manifest promises {info.grid}")
        return layout

    def _damaged(self, what: str) -> StoreError:
        return StoreError(f"{self._folder} is damaged: {what}.", "Copy the scan again from where it was made.")
