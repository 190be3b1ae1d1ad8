"""The pictures that ``show`` writes: a neuron's card, and in pixels one sample's origin and activation side by side.

Below the latter are its address, activation and scale, and the description where one of its tokens is above Tt, each
token on its shade of green, as on the screen. Where no patch is above Tv, the words stand in the place of the map: it
would be a blank square.
"""

from PIL import Image, ImageDraw, ImageFont

from vlmscope.core.base.text import plain
from vlmscope.core.data.images import png
from vlmscope.core.method.heatmap import ColourMap, open_crop, outline_colour, outlined, overlay, shade
from vlmscope.core.report.card import SAMPLES, Card, card_bytes
from vlmscope.core.report.collect import collect
from vlmscope.core.report.drawing import FigureFormat
from vlmscope.core.report.pictures import Scale, facts, with_scale
from vlmscope.core.store.example import Example
from vlmscope.tui.commands.shared.output import PictureError
from vlmscope.tui.commands.show_page import ShownNeuron

SIDE = 336  #: a small crop is enlarged by a whole factor to about this height
GAP = 12  #: white pixels between origin and activation, and above the description
FONT = 16  #: pixels
LEAST_WIDTH = 400  #: pixels of a description's lines, below the pictures of a thin crop
OUTLINE = 2  #: pixels of the line around the patches above Tv
STRIP = 160  #: pixels of the scale
LINE = 24  #: pixels from line to line
LINES = 40  #: of the description at most, so that a damaged scan makes no endless picture
TOKEN = 40  #: characters of a token at most; real ones are shorter


def neuron_card(page: ShownNeuron, colour_map: ColourMap, form: FigureFormat) -> bytes:
    """The card of a neuron.

    Raises:
        PictureError: if it has no top sample.
    """
    if not page.samples:
        raise PictureError(f"{page.neuron}: it has no top samples.", "Choose another neuron.")
    part = collect(page.store, page.entry, page.thresholds, 0)
    card = Card(page.store.manifest, page.neuron, part, page.samples[:SAMPLES], page.thresholds, colour_map)
    return card_bytes(card, form)


def neuron_png(page: ShownNeuron, picked: Example | None, colour_map: ColourMap) -> bytes:
    """The picture of a top sample as a PNG. Its text chunks name the neuron, the sample, the activation and the scale.

    Raises:
        PictureError: if there is no top sample, no map of it, or the neuron does not activate on it.
    """
    kept = page.store.manifest.mapped
    norms = None if picked is None else picked.visual_norms
    if picked is None or norms is None:
        which = "it has no top samples" if picked is None else f"the map of sample {picked.rank + 1} is not stored"
        hint = f"Stored maps: samples 1 to {kept}." if kept and picked is not None else "This scan stores no maps."
        raise PictureError(
            f"{page.neuron}: {which}.", f"{hint} On the screen (vlmscope open) the model computes any map."
        )
    tokens = (
        [] if picked.text_norms is None else list(zip(picked.sample.tokens, picked.text_norms.tolist(), strict=True))
    )
    if not (norms > 0).any() and not any(norm > 0 for _, norm in tokens):
        where = "" if picked.cover is None else f"cover {picked.cover + 1} of "
        raise PictureError(
            f"{page.neuron} does not activate on {where}sample {picked.rank + 1}: its picture is blank.",
            "Choose another sample with --sample, or another neuron.",
        )
    crop = open_crop(picked.read_crop())
    factor = max(1, round(SIDE / max(crop.size)))
    origin = crop.resize((crop.width * factor, crop.height * factor), Image.Resampling.NEAREST)
    at = page.thresholds
    has_words = any(norm > at.T_t for _, norm in tokens)
    if has_words and not (norms > at.T_v).any():
        # A map without a patch above Tv is a blank square: the words are the picture.
        words = words_picture(tokens, max(origin.width, LEAST_WIDTH))
        both = Image.new("RGB", (origin.width + GAP + words.width, max(origin.height, words.height)), "white")
        both.paste(words, (origin.width + GAP, 0))
    else:
        both = Image.new("RGB", (2 * origin.width + GAP, origin.height), "white")
        drawn = overlay(origin, norms, colour_map)
        both.paste(outlined(drawn, norms, at.T_v, outline_colour(colour_map), OUTLINE), (origin.width + GAP, 0))
    both.paste(origin, (0, 0))
    said = f"{page.neuron}  {picked.rank + 1}  activation {picked.activation:.4g}"
    both = with_scale(both, Scale(said, page.maximum, at.T_v, colour_map), LEAST_WIDTH, FONT, STRIP)
    if has_words and (norms > at.T_v).any():
        both = with_tokens(both, tokens)
    return png(both, facts(page.store.manifest, page.neuron, picked, colour_map) | {"Label": page.label.word})


def with_tokens(picture: Image.Image, tokens: list[tuple[str, float]]) -> Image.Image:
    """``picture`` with the description below it; ``tokens`` have their norms."""
    words = words_picture(tokens, max(picture.width, LEAST_WIDTH))
    page = Image.new("RGB", (words.width, picture.height + GAP + words.height), "white")
    page.paste(picture, (0, 0))
    page.paste(words, (0, picture.height + GAP))
    return page


def words_picture(tokens: list[tuple[str, float]], width: int) -> Image.Image:
    """A description in lines of ``width`` pixels, each token on its shade; ``tokens`` have their norms."""
    font = ImageFont.load_default(FONT)
    lines: list[list[tuple[int, int, str, float]]] = [[]]  # each token's place and width in pixels
    x = 0
    for token, norm in tokens:
        word = plain(token, TOKEN)
        size = round(font.getlength(word))
        if x + size > width and lines[-1]:
            lines.append([])
            x = 0
        lines[-1].append((x, size, word, norm))
        x += size
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], [(0, 0, "…", 0.0)]]
    page = Image.new("RGB", (width, LINE * len(lines)), "white")
    draw = ImageDraw.Draw(page)
    for i, line in enumerate(lines):
        y = LINE * i
        for x, size, word, norm in line:
            # The space before a word stays white; a token of spaces alone is shaded itself.
            blank = len(word) - len(word.lstrip()) if word.strip() else 0
            start = x + round(font.getlength(word[:blank]))
            draw.rectangle((start, y, max(x + size - 1, start), y + LINE - 4), fill=shade(norm))
            draw.text((x, y + 1), word, fill="black", font=font)
    return page
