"""Two neurons on one sample: a line on each, and what stands above their maps."""

from typing import TYPE_CHECKING

import numpy as np
from textual.strip import Strip

from vlmscope.core.base.text import plain
from vlmscope.tui.widgets.lines import Span, row
from vlmscope.tui.widgets.numbers import activation
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView

WORDS = 3  #: strongest ones of a description, that are named
WORD_WIDTH = 16  #: characters of one


def here_line(picture: "PictureView", valid: int, palette: Palette, width: int, before: str = "") -> Strip:
    """What a neuron does on the sample: its rank there, activation, vote and strongest words, as many as fit whole."""
    parts: list[Span] = [(before, palette.muted), (str(picture.neuron), palette.strong)]
    if picture.rank is not None:
        parts.append((f" · sample {picture.rank + 1} of {valid}", palette.muted))
    else:
        parts.append((" · not a top sample", palette.muted))
    if picture.activation is not None:
        parts.append((f" · activation {activation(picture.activation)}", palette.text))
    elif picture.below is not None:
        parts.append((f" · below {activation(picture.below)}", palette.text))
    if picture.vote is not None:
        parts.append((f" · {picture.vote.letter} {picture.vote.word}", palette.labels[picture.vote]))
    mark = "" if picture.exact else "≈"
    parts += [(f" · {word} {mark}{norm:.1f}", palette.text) for word, norm in _strongest(picture)]
    kept, used = list[Span](), 0
    for text, look in parts:
        if used + len(text) > width:
            break
        kept.append((text, look))
        used += len(text)
    return row(kept, width)


def _strongest(picture: "PictureView") -> list[tuple[str, float]]:
    """The words with the largest norms above 0, as spelled, with these norms."""
    if picture.words is None:
        return []
    order = np.argsort(-picture.words, kind="stable")[:WORDS].tolist()
    found = [(plain(picture.tokens[at].strip(), WORD_WIDTH), float(picture.words[at])) for at in order]
    return [(word, norm) for word, norm in found if norm > 0 and word]


def address_line(picture: "PictureView", cover: int | None, palette: Palette, width: int, before: str = "") -> Strip:
    """Above a map: whose it is, and its peak where there is room."""
    norms = picture.cells(cover)
    peak = 0.0 if norms is None or not norms.size else float(norms.max())
    mark = "" if picture.exact else "≈"
    said = "" if norms is None else f" peak {mark}{peak:.1f}" if peak > 0 else " silent here"
    address = str(picture.neuron)
    tries = [(f"{before}{address}", said), (address, said), (address, said.replace(" peak", "")), (address, "")]
    head, value = next((one for one in tries if len(one[0]) + len(one[1]) <= width), tries[-1])
    return row([(head, palette.muted), (value, palette.text)], width)
