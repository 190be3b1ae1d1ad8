"""The colours of the screen, fitted to the theme: labels stay readable on dark and on light, and without colour.

Where a theme's background leaves a label's colour too little contrast, it is moved towards black or white until the
contrast is enough. With NO_COLOR no style has a colour: then weight, underline and reverse carry what colour would, and
labels are distinguished by their letters, as always.
"""

from dataclasses import dataclass
from functools import lru_cache

from rich.color import Color
from rich.style import Style
from textual.app import App

from vlmscope.core.method.heatmap import GREEN, RGB, ColourMap, shade
from vlmscope.core.method.labels import COLOURS
from vlmscope.core.method.norm import TOP
from vlmscope.tui.views.drawing import Blocks, Drawing

SHADES = 4  #: of a word's background for a norm of 1: the eye distinguishes no more
_LIGHT_GREEN: RGB = (102, 204, 120)  # on a light theme: dark ink must stay readable on full green
_FALL: RGB = (213, 94, 0)  # vermillion and blue of Okabe and Ito: two hues that every eye tells apart
_RISE: RGB = (0, 114, 178)
#: The same in 256 colours, from weak to strong, on a dark and on a light theme. A blend with the background would be
#: the background's colour, or black.
_FEW: dict[RGB, tuple[tuple[RGB, RGB, RGB], tuple[RGB, RGB, RGB]]] = {
    GREEN: (((0, 95, 0), (0, 135, 0), (0, 175, 0)), ((175, 215, 175), (135, 215, 135), (95, 215, 95))),
    _FALL: (((95, 0, 0), (175, 95, 0), (215, 95, 0)), ((255, 215, 175), (255, 175, 135), (255, 135, 95))),
    _RISE: (((0, 0, 95), (0, 95, 135), (0, 95, 215)), ((175, 215, 255), (135, 175, 255), (95, 175, 255))),
}
#: Of labels in bars on a light theme, by ``Label``. Colours dark enough for letters are all equally dark there.
_LIGHT_BARS: tuple[RGB, ...] = ((0, 114, 178), (204, 133, 0), (0, 77, 56), (120, 120, 120))
CONTRAST = 4.5  #: WCAG 2.2, level AA, for text


@dataclass(frozen=True)
class Palette:
    """Styles by their meaning, and the characters that the terminal draws pictures with."""

    dark: bool
    colourless: bool
    background: RGB
    foreground: RGB
    labels: tuple[Style, ...]  #: by ``Label``
    base: Style  #: what everything stands on
    text: Style
    strong: Style
    muted: Style
    accent: Style
    cursor: Style  #: the row that the cursor is on
    warning: Style
    shades: tuple[Style, ...] = ()  #: of a word by its norm: SHADES of them for a norm of 1
    falls: tuple[Style, ...] = ()  #: of a word that becomes less likely, in the same steps
    rises: tuple[Style, ...] = ()  #: of a word that becomes more likely
    bars: tuple[Style, ...] = ()  #: of labels in bars, by ``Label``
    colour_map: ColourMap = ColourMap.FADE  #: of heatmaps, where the user has not chosen
    blocks: Blocks = Blocks.HALF  #: what pictures are drawn with
    few_colours: bool = False  #: whether the terminal has 256 colours, not 16 million
    pixels: bool = False  #: whether zoom and contact sheet are drawn in true pixels


@lru_cache(maxsize=4096)
def style(foreground: RGB | None, background: RGB | None = None, *, bold: bool | None = None) -> Style:
    """A Rich style from plain colours."""
    return Style(
        color=None if foreground is None else Color.from_rgb(*foreground),
        bgcolor=None if background is None else Color.from_rgb(*background),
        bold=bold,
    )


STALE = 0.6  #: how far what is out of date fades into the background


@lru_cache(maxsize=4096)
def _faded(colour: Color | None, background: RGB, otherwise: RGB | None) -> RGB | None:
    own = colour.get_truecolor() if colour is not None and not colour.is_default else otherwise
    return None if own is None else mix((own[0], own[1], own[2]), background, STALE)


def faded_style(look: Style, palette: Palette) -> Style:
    """A style of what is out of date; without colours it is dim."""
    if palette.colourless:
        return look + Style(dim=True)
    back = _faded(look.bgcolor, palette.background, None)
    ink = _faded(look.color, palette.background, palette.foreground)
    return Style(bold=look.bold, underline=look.underline, reverse=look.reverse) + style(ink, back)


def rgb(colour: str) -> RGB:
    """A colour that is written as ``#56B4E9``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def mix(one: RGB, other: RGB, share: float) -> RGB:
    """``share`` of ``other`` in ``one``."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def luminance(colour: RGB) -> float:
    """Relative luminance, 0 to 1 (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: RGB, other: RGB) -> float:
    """Contrast ratio, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: RGB, background: RGB, least: float = CONTRAST) -> RGB:
    """``colour``, moved away from ``background`` in small steps until it can be read on it."""
    target: RGB = (0, 0, 0) if luminance(background) > 0.18 else (255, 255, 255)
    for step in range(21):
        candidate = mix(colour, target, step / 20)
        if contrast(candidate, background) >= least:
            return candidate
    return target


@lru_cache(maxsize=4096)
def ink(background: RGB) -> RGB:
    """Black or white, whichever reads better on ``background``."""
    return max(((0, 0, 0), (255, 255, 255)), key=lambda colour: contrast(colour, background))


def _shades(background: RGB, full: RGB, few: tuple[RGB, RGB, RGB] | None) -> tuple[Style, ...]:
    """Of the norms 0 to 10 in steps of ``1 / SHADES``; ``few``: the colours to take where there are few."""
    last = int(TOP) * SHADES
    colours: list[RGB] = [shade(level / SHADES, background, full) for level in range(last + 1)]
    if few is not None:
        colours = [few[min(len(few) * level // last, len(few) - 1)] for level in range(last + 1)]
    return tuple(style(ink(colour), colour) for colour in colours)


def _tones(background: RGB, colour: RGB, light: RGB, drawing: Drawing, *, dark: bool) -> tuple[Style, ...]:
    """The shades of one colour on the theme's background; ``light``: the same colour on a light theme."""
    few = _FEW[colour][0 if dark else 1] if drawing.few_colours else None
    return _shades(background, colour if dark else light, few)


def _theme_colour(app: App[None], name: str, default: RGB) -> RGB:
    from textual.color import Color as TextualColor
    from textual.color import ColorParseError

    try:
        colour = TextualColor.parse(app.theme_variables.get(name, ""))
    except ColorParseError:
        return default
    return default if colour.ansi is not None else colour.rgb


def make_palette(app: App[None], drawing: Drawing = Drawing()) -> Palette:  # noqa: B008 (frozen)
    """The palette of the app's theme, for what the terminal can draw."""
    dark = app.current_theme.dark
    colour_map = ColourMap.DIM if dark else ColourMap.FADE  # on a dark screen white would look like light
    if app.no_color:
        plain = Style()
        bold = Style(bold=True)
        return Palette(
            dark=dark,
            colourless=True,
            background=(0, 0, 0),
            foreground=(255, 255, 255),
            labels=(bold, bold, bold, Style(dim=True)),
            bars=(bold, bold, bold, Style(dim=True)),
            base=plain,
            text=plain,
            strong=bold,
            muted=plain,
            accent=bold,
            cursor=Style(reverse=True),
            warning=bold,
            colour_map=colour_map,
            blocks=drawing.blocks,
        )
    background = _theme_colour(app, "background", (0, 0, 0) if dark else (255, 255, 255))
    foreground = _theme_colour(app, "foreground", (224, 224, 224) if dark else (31, 31, 31))
    accent = readable(_theme_colour(app, "primary", foreground), background)
    # A cursor row must leave every label colour readable, so it is close to the background.
    cursor = mix(background, accent, 0.16)
    labels = tuple(style(readable(rgb(colour), cursor)) for colour in COLOURS.values())
    return Palette(
        dark=dark,
        colourless=False,
        background=background,
        foreground=foreground,
        labels=labels,
        base=Style() if app.native_ansi_color else style(foreground, background),
        text=Style(),
        strong=Style(bold=True),
        muted=style(readable(mix(foreground, background, 0.45), background)),
        accent=style(accent, bold=True),
        cursor=style(None, cursor),
        warning=style(readable(_theme_colour(app, "warning", (255, 166, 43)), background), bold=True),
        shades=_tones(background, GREEN, _LIGHT_GREEN, drawing, dark=dark),
        falls=_tones(background, _FALL, mix(_FALL, (255, 255, 255), 0.4), drawing, dark=dark),
        rises=_tones(background, _RISE, mix(_RISE, (255, 255, 255), 0.4), drawing, dark=dark),
        bars=labels if dark else tuple(map(style, _LIGHT_BARS)),
        colour_map=colour_map,
        blocks=drawing.blocks,
        few_colours=drawing.few_colours,
        pixels=drawing.pixels,
    )
