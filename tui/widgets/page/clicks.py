"""What a click on the page hits: a vote, a patch or a word."""

from typing import TYPE_CHECKING

from vlmscope.tui.messages import PatchChosen, SampleChosen, TokenChosen
from vlmscope.tui.views.scene import Scene
from vlmscope.tui.widgets.page.frame import GAP, PageFrame
from vlmscope.tui.widgets.page.head import votes_shown
from vlmscope.tui.widgets.page.pictures import patch_at
from vlmscope.tui.widgets.page.words import Words

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView


def vote_hit(view: Scene, width: int, x: int) -> SampleChosen | None:
    """The sample whose vote is in cell ``x`` of the line of votes."""
    head, first, count = votes_shown(view, width)
    return SampleChosen(first + x - head) if 0 <= x - head < count and view.state.own is None else None


def place_hit(
    picture: "PictureView", room: PageFrame, shown: Words, first: int, x: int, y: int
) -> PatchChosen | TokenChosen | None:
    """The patch or word in cell ``x`` of line ``y``, which counts from the first line of the pictures.

    Args:
        shown: the description. first: the line of it that its room begins with.
    """
    cells, lines = room.picture
    if 0 <= y < lines:
        patch = patch_at(picture, room.picture, x if x < cells else x - cells - GAP, y)
        return PatchChosen(*patch) if patch is not None and x < 2 * cells + GAP else None
    if lines <= y < lines + room.words:
        line = y - lines + first
        there = [(cell, token) for token, (own, cell) in enumerate(shown.places) if own == line and cell <= x]
        return TokenChosen(max(there)[1]) if there else None
    return None
