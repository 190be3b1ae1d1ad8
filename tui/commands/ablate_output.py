"""How ``ablate`` writes what an intervention does: the description with its word, the largest changes, the caption."""

from itertools import groupby

from rich.text import Text

from vlmscope.core.base.text import counted, plain
from vlmscope.core.causal.ablation import AblatedPicture, Ablation, TokenChange
from vlmscope.core.causal.captions import CaptionChange
from vlmscope.core.notebook import check_words as words
from vlmscope.tui.commands.shared import output

SHOWN = 8  #: tokens that the text lists: those that change most
REPEATED = 4  #: equal words in a row that a caption shows as one with their number: a clamp may give hundreds
TOKEN = 20  #: cells of a token, at most


def ablation_lines(ablation: Ablation) -> list[Text]:
    """What an intervention does on each picture."""
    head = output.row()
    head.append(ablation.subject, style="bold")
    head.append(f" {words.intervened(str(ablation.intervention), ablation.at)}")
    lines = [head, *(output.row(f"  {line}") for line in summary(ablation))]
    for picture in ablation.pictures:
        lines += [output.row(), *_picture_lines(picture)]
    return lines


def summary(ablation: Ablation) -> list[str]:
    """Of several pictures: the word's mean change, how often it is still said, and what else is lost."""
    read = [(one, one.word) for one in ablation.pictures]
    found = [word for _, word in read if word is not None]
    lines = []
    if len(read) > 1 and found:
        mean = sum(word.change for word in found) / len(found)
        first, after = sum(word.first for word in found), sum(word.first_after for word in found)
        lines.append(
            f"{plain(ablation.word, TOKEN)} {words.signed(mean)} over {counted(len(found), 'picture')}; "
            f"first choice on {first}, {after} with the intervention"
        )
    captions = [one.caption for one, _ in read if one.caption is not None]
    if len(captions) > 1:
        others, lost = sum(len(one.others) for one in captions), sum(len(one.lost) for one in captions)
        had, has = sum(one.had_word for one in captions), sum(one.has_word for one in captions)
        named = f"captions with the word: {had}, {has} with the intervention; " if ablation.word else ""
        lines.append(f"{named}other concept words kept: {others - lost} of {others}")
    return lines


def _picture_lines(picture: AblatedPicture) -> list[Text]:
    number = "" if picture.sample is None else f"#{picture.sample}  "
    lines = [output.row(f"{number}{picture.image}"), _description(picture)]
    shown = sorted(range(len(picture.tokens)), key=lambda at: -abs(picture.tokens[at].change))
    shown = sorted(shown, key=lambda at: at != picture.word_at)[:SHOWN]  # the word first
    width = max((len(_spelled(picture.tokens[at])) for at in shown), default=0)
    lines += [_token_line(picture.tokens[at], width, at == picture.word_at) for at in shown]
    if picture.others:
        each = ", ".join(f"{plain(one.word, TOKEN)} {words.signed(one.change)}" for one in picture.others)
        lines.append(output.row(f"  other words  {each}"))
    lines.append(output.row(f"  KL {picture.kl:.2g} over the description"))
    return lines if picture.caption is None else [*lines, _caption(picture.caption)]


def _description(picture: AblatedPicture) -> Text:
    """The description, its word in brackets."""
    line = Text()
    end = None if picture.word_at is None else picture.word_at + picture.word_tokens
    for at, token in enumerate(picture.tokens):
        text = token.token.replace("\n", " ")
        if at == picture.word_at:
            spaces = len(text) - len(text.lstrip())
            line.append(text[:spaces] + "[")
            text = text[spaces:]
        inside = picture.word_at is not None and end is not None and picture.word_at <= at < end
        line.append(text, style="bold" if inside else "")
        if at + 1 == end:
            line.append("]")
    return line


def _token_line(token: TokenChange, width: int, is_word: bool) -> Text:
    line = output.row("  ")
    line.append(f"{_spelled(token):<{width}}", style="bold" if is_word else "")
    line.append(f"  {words.signed(token.change):>7}  p {token.p:.3f} -> {token.p_after:.3f}")
    if token.first != token.first_after:
        line.append("  no longer the first choice" if token.first else "  now the first choice")
    return line


def _spelled(token: TokenChange) -> str:
    return plain(token.token.strip(), TOKEN) or repr(token.token)


def _caption(caption: CaptionChange) -> Text:
    """The new caption, the words that differ in brackets, and what it lost."""
    if caption.unchanged:
        return output.row("caption unchanged")
    line = Text("caption ")
    for word, run in groupby(caption.words):
        count = len(list(run))
        line.append(" ")
        text = f"[{word.text}]" if word.differs else word.text
        shown = " ".join([text] * count) if count < REPEATED else f"{text} x{count}"
        line.append(shown, style="bold" if word.differs else "")
    if caption.lost:
        line.append(f" (lost: {', '.join(caption.lost)})")
    return line


def ablation_json(ablation: Ablation) -> dict[str, object]:
    """Everything, a picture an entry."""
    return {
        "neurons": [str(neuron) for neuron in ablation.neurons],
        "name": ablation.name or None,
        "intervention": str(ablation.intervention),
        "at": ablation.at.value,
        "word": ablation.word or None,
        "silent": ablation.silent,
        "pictures": [_picture_json(picture) for picture in ablation.pictures],
    }


def _picture_json(picture: AblatedPicture) -> dict[str, object]:
    return {
        "sample": picture.sample,
        "image": picture.image,
        "word_at": picture.word_at,
        "change": None if picture.word is None else picture.word.change,
        "kl": picture.kl,
        "others": [vars(other) for other in picture.others],
        "tokens": [vars(token) for token in picture.tokens],
        "caption": None if picture.caption is None else caption_json(picture.caption),
    }


def caption_json(caption: CaptionChange) -> dict[str, object]:
    """Both captions; ``others`` and ``lost`` are the other concept words of the first, and those that are gone."""
    return {**vars(caption), "others": list(caption.others), "lost": list(caption.lost)}
