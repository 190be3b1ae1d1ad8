"""The page of an ablation: the description with every token's change, the largest changes, and the captions.

It shows one neuron, or one set, on one picture: whether other neurons do as much is what a check shows.
"""

from typing import TYPE_CHECKING

from rich.style import Style
from textual.strip import Strip

from vlmscope.core.notebook.check_words import intervened, signed
from vlmscope.tui.views.ablation import AblationView
from vlmscope.tui.widgets.lines import Span, blank, row, short, wrapped
from vlmscope.tui.widgets.numbers import nats, probability
from vlmscope.tui.widgets.page.check import first_choice
from vlmscope.tui.widgets.page.words import Words, flow, spell
from vlmscope.tui.widgets.palette import SHADES, Palette

if TYPE_CHECKING:
    from vlmscope.core.causal.ablation import AblatedPicture, Ablation, TokenChange
    from vlmscope.core.causal.captions import CaptionChange

HEAD = 10  #: cells of what a line is about
_MARKED = 0.05  # a change of log-odds from which a token is marked
_LARGEST = 8  # tokens in the table
_OTHERS = 6  # other words that are named
_WORD = 20  # characters of a token
_CHOSEN = Style(bold=True, underline=True)


def ablation_page(view: AblationView, width: int, palette: Palette) -> list[Strip]:
    """All lines of the page: the screen shows as many as it has room for."""
    from vlmscope.core.causal.ablation_words import notes_on

    ablation, picture = view.ablation, view.picture
    if ablation is None or picture is None:
        text, look = (view.problem, palette.warning) if view.problem else (view.doing or "…", palette.accent)
        return [row([(line, look)], width) for line in wrapped(text, width)]
    lines = [_head(view, ablation, palette, width), *blank(width)]
    said = [line for text in notes_on(ablation, [picture]) for line in wrapped(text, width)]
    if said:
        lines += [*(row([(line, palette.strong)], width) for line in said), *blank(width)]
    lines += [*description(picture, palette, width).lines, *blank(width)]
    lines += [*_word(ablation, picture, palette, width), *_others(picture, palette, width)]
    lines.append(row([_about("rest", palette), (f"KL {nats(picture.kl)} over the description", palette.text)], width))
    lines += _caption(picture.caption, ablation.word, palette, width)
    lines += [*blank(width), *_table(picture, palette, width), *blank(width)]
    hint = f"Whether matched neurons do as much: {view.check_key} checks it."
    return [*lines, *(row([(line, palette.muted)], width) for line in wrapped(hint, width))]


def description(picture: "AblatedPicture", palette: Palette, width: int) -> Words:
    """The description, every token in the colour and with the sign of its change; the word is underlined."""
    at = picture.word_at
    word = range(0) if at is None else range(at, at + picture.word_tokens)
    parts = [_spans(one, palette, chosen=place in word) for place, one in enumerate(picture.tokens)]
    return flow([one.token for one in picture.tokens], parts, -1 if at is None else at, width)


def _spans(one: "TokenChange", palette: Palette, *, chosen: bool) -> list[Span]:
    text = spell(one.token)
    body = text.lstrip() or "␣"
    lead = text[: len(text) - len(text.lstrip())] if text.strip() else text[:-1]
    more = _CHOSEN if chosen else Style()
    if abs(one.change) < _MARKED:
        return [(lead, palette.text), (body, palette.text + more)]
    if palette.colourless:
        return [(lead, palette.text), (f"[{body}]{signed(one.change)}", palette.strong + more)]
    shades = palette.falls if one.change < 0 else palette.rises
    size = 10 * abs(one.change) / (1 + abs(one.change))
    return [(lead, palette.text), (f"{body}{'▾' if one.change < 0 else '▴'}", shades[round(size * SHADES)] + more)]


def _head(view: AblationView, ablation: "Ablation", palette: Palette, width: int) -> Strip:
    done = f"{ablation.subject} {intervened(str(ablation.intervention), ablation.at)}"
    several = len(ablation.pictures)
    place = f"  picture {min(max(view.at, 0), several - 1) + 1} of {several}" if several > 1 else ""
    doing = f"  {view.doing}" if view.doing else ""
    return row([(done, palette.strong), (place, palette.muted), (doing, palette.accent)], width)


def _word(ablation: "Ablation", picture: "AblatedPicture", palette: Palette, width: int) -> list[Strip]:
    one = picture.word
    if one is None:
        if not ablation.word:
            return []
        lacks = f"“{short(ablation.word, _WORD)}” is not in this description"
        return [row([_about("word", palette), (lacks, palette.muted)], width)]
    first = {(True, True): "still the first choice", (True, False): "no longer the first choice"}
    choice = first.get((one.first, one.first_after), "not the first choice")
    if (one.first, one.first_after) == (False, True):
        choice = "now the first choice"
    numbers = f"log-odds {signed(one.change)} · p {probability(one.p)} → {probability(one.p_after)} · {choice}"
    return [
        row([_about("" if at else short(ablation.word, HEAD - 2), palette), (line, palette.strong)], width)
        for at, line in enumerate(wrapped(numbers, width - HEAD))
    ]


def _others(picture: "AblatedPicture", palette: Palette, width: int) -> list[Strip]:
    """What becomes of the description's other concept words: beside a success stands what was lost."""
    if not picture.others:
        return []
    largest = sorted(picture.others, key=lambda other: -abs(other.change))[:_OTHERS]
    more = len(picture.others) - len(largest)
    text = " · ".join(f"{short(other.word, _WORD)} {signed(other.change)}" for other in largest)
    text += f" and {more} more" if more else ""
    return [
        row([_about("" if at else "others", palette), (line, palette.text)], width)
        for at, line in enumerate(wrapped(text, width - HEAD))
    ]


def _table(picture: "AblatedPicture", palette: Palette, width: int) -> list[Strip]:
    """The tokens that change most."""
    order = sorted(range(len(picture.tokens)), key=lambda at: -abs(picture.tokens[at].change))
    shown = [picture.tokens[at] for at in order[:_LARGEST] if picture.tokens[at].change]
    if not shown:
        return []
    head = f"{'largest changes':<{_WORD}}{'log-odds':>9}{'p':>18}{'KL':>8}  first choice"
    lines, room = [row([(head, palette.muted)], width)], min(_WORD, width)
    for one in shown:
        name = short(spell(one.token).strip() or "␣", _WORD - 1)
        p = f"{probability(one.p)} → {probability(one.p_after)}"
        numbers = f"{signed(one.change):>9}{p:>18}{nats(one.kl):>8}  {first_choice(one.first, one.first_after)}"
        lines.append(Strip.join([row([(name, palette.text)], room), row([(numbers, palette.text)], width - room)]))
    return lines


def _caption(caption: "CaptionChange | None", word: str, palette: Palette, width: int) -> list[Strip]:
    """The model's own caption with the intervention on, differing words marked; and which objects are lost."""
    if caption is None:
        return []
    if caption.unchanged:
        return [row([_about("caption", palette), ("unchanged", palette.text)], width)]
    tokens = [("" if at == 0 else " ") + one.text for at, one in enumerate(caption.words)]
    parts = [_caption_word(token, one.differs, palette) for token, one in zip(tokens, caption.words, strict=True)]
    after = flow(tokens, parts, -1, width - HEAD).lines
    lines = [Strip.join([row([_about("" if at else "caption", palette)], HEAD), line]) for at, line in enumerate(after)]
    before = wrapped(caption.before, width - HEAD)
    lines += [
        row([_about("" if at else "before", palette), (line, palette.muted)], width) for at, line in enumerate(before)
    ]
    found = []
    if caption.had_word != caption.has_word:
        found.append(f"“{short(word, _WORD)}” is {'there' if caption.has_word else 'gone'}")
    if caption.lost:
        named = ", ".join(short(one, _WORD) for one in caption.lost[:_OTHERS])
        found.append(f"{len(caption.lost)} of {len(caption.others)} other objects are gone: {named}")
    elif caption.others:
        found.append(f"all {len(caption.others)} other objects are still named")
    told = [line for text in found for line in wrapped(text, width - HEAD)]
    return [*lines, *(row([_about("", palette), (line, palette.text)], width) for line in told)]


def _caption_word(token: str, differs: bool, palette: Palette) -> list[Span]:
    text = spell(token)
    body = text.lstrip()
    shown = f"[{body}]" if differs and palette.colourless else body
    return [(text[: len(text) - len(body)], palette.text), (shown, palette.warning if differs else palette.text)]


def _about(text: str, palette: Palette) -> Span:
    return (f"{text:<{HEAD}}", palette.muted)
