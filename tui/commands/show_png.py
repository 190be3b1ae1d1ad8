"""The pictures that ``show`` writes: a neuron's card, and in pixels one sample's origin and activation side by side.

Below the latter are its address, activation and scale, and the description where one of its tokens is above Tt, each
token on its shade of green, as on the screen. Where no patch is above Tv, the words stand in the place of the map: it
would be a blank square.
"""

from PIL import Image

from vlmscope.core.data.images import png
from vlmscope.core.method.heatmap import ColourMap, open_crop, outline_colour, outlined, overlay
from vlmscope.core.report.card import SAMPLES, Card, card_bytes
from vlmscope.core.report.collect import collect
from vlmscope.core.report.drawing import FigureFormat
from vlmscope.core.report.pictures import Scale, facts, with_scale
from vlmscope.core.report.words import tokens_of, words_are_the_picture, words_picture
from vlmscope.core.store.example import Example
from vlmscope.tui.commands.shared.output import PictureError
from vlmscope.tui.commands.show_page import ShownNeuron

SIDE = 336  #: a small crop is enlarged by a whole factor to about this height
GAP = 12  #: white pixels between origin and activation, and above the description
FONT = 16  #: pixels
LEAST_WIDTH = 400  #: pixels of a description's lines, below the pictures of a thin crop
OUTLINE = 2  #: pixels of the line around the patches above Tv
STRIP = 160  #: pixels of the scale


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
    tokens = tokens_of(picked)
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
    if words_are_the_picture(picked, at):
        words = words_picture(tokens, max(origin.width, LEAST_WIDTH), FONT)
        both = Image.new("RGB", (origin.width + GAP + words.width, max(origin.height, words.height)), "white")
        both.paste(words, (origin.width + GAP, 0))
    else:
        both = Image.new("RGB", (2 * origin.width + GAP, origin.height), "white")
        drawn = overlay(origin, norms, colour_map)
        both.paste(outlined(drawn, norms, at.T_v, outline_colour(colour_map), OUTLINE), (origin.width + GAP, 0))
    both.paste(origin, (0, 0))
    said = f"{page.neuron}  {picked.rank + 1}  activation {picked.activation:.4g}"
    both = with_scale(both, Scale(said, page.maximum, at.T_v, colour_map), LEAST_WIDTH, FONT, STRIP)
    if (norms > at.T_v).any() and any(norm > at.T_t for _, norm in tokens):
        both = with_tokens(both, tokens)
    return png(both, facts(page.store.manifest, page.neuron, picked, colour_map) | {"Label": page.label.word})


def with_tokens(picture: Image.Image, tokens: list[tuple[str, float]]) -> Image.Image:
    """``picture`` with the description below it; ``tokens`` have their norms."""
    words = words_picture(tokens, max(picture.width, LEAST_WIDTH), FONT)
    page = Image.new("RGB", (words.width, picture.height + GAP + words.height), "white")
    page.paste(picture, (0, 0))
    page.paste(words, (0, picture.height + GAP))
    return page
