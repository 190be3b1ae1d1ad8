"""A description as a picture: its words on their shades of green, as on the screen.

Where no patch is above Tv, a map would be a blank square: the words stand in its place.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlmscope.core.base.text import plain
from vlmscope.core.method.heatmap import shade
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.store.example import Example

if TYPE_CHECKING:
    from PIL import Image

LINES = 40  #: of the description at most, so that a damaged scan makes no endless picture
TOKEN = 40  #: characters of a token at most; real ones are shorter

Tokens = Sequence[tuple[str, float]]  #: of a description, each with its norm


def tokens_of(example: Example) -> list[tuple[str, float]]:
    """The description's tokens with their norms; none where the scan keeps no norms of them."""
    norms = example.text_norms
    return [] if norms is None else list(zip(example.sample.tokens, norms.tolist(), strict=True))


def words_are_the_picture(example: Example, at: Thresholds) -> bool:
    """Whether a word is above Tt, and no patch of a map is above Tv."""
    norms = example.visual_norms
    above = norms is not None and bool((norms > at.T_v).any())
    return not above and any(norm > at.T_t for _, norm in tokens_of(example))


def words_picture(tokens: Tokens, width: int, size: int) -> "Image.Image":
    """A description in lines of ``width`` pixels, each token on its shade. ``size``: of the font, in pixels."""
    from PIL import Image, ImageDraw, ImageFont

    font, high = ImageFont.load_default(size), size * 3 // 2
    lines: list[list[tuple[int, int, str, float]]] = [[]]  # each token's place and width in pixels
    x = 0
    for token, norm in tokens:
        word = plain(token, TOKEN)
        length = round(font.getlength(word))
        if x + length > width and lines[-1]:
            lines.append([])
            x = 0
        lines[-1].append((x, length, word, norm))
        x += length
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], [(0, 0, "…", 0.0)]]
    page = Image.new("RGB", (width, high * len(lines)), "white")
    draw = ImageDraw.Draw(page)
    for i, line in enumerate(lines):
        y = high * i
        for x, length, word, norm in line:
            # The space before a word stays white; a token of spaces alone is shaded itself.
            blank = len(word) - len(word.lstrip()) if word.strip() else 0
            start = x + round(font.getlength(word[:blank]))
            draw.rectangle((start, y, max(x + length - 1, start), y + high - size // 4), fill=shade(norm))
            draw.text((x, y + 1), word, fill="black", font=font)
    return page
