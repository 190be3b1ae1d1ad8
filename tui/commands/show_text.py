"""One neuron as lines of text: in colours where the terminal has them, in glyphs everywhere else."""

from contextlib import suppress

from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from vlmscope.core.base.errors import NotebookError
from vlmscope.core.base.text import plain
from vlmscope.core.method.correlation import TokenKind
from vlmscope.core.method.heatmap import GLYPHS, ColourMap, glyph_rows, open_crop, overlay, shade
from vlmscope.core.method.labels import COLOURS, Label
from vlmscope.core.notebook.check import CausalCheck
from vlmscope.core.notebook.check_words import about, effect_text, intervened, verdict
from vlmscope.core.notebook.explanation import Source
from vlmscope.core.notebook.values import Entry, Review
from vlmscope.core.scoring.judge_report import AnyReport, JudgeReport, judged_words, read_report
from vlmscope.core.scoring.preferred import ordered
from vlmscope.core.scoring.report import OTHERS, WHAT, ScoreReport, score_words
from vlmscope.core.store.example import Example
from vlmscope.tui.commands.concepts import as_words, share
from vlmscope.tui.commands.labels import p_text
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.output import row
from vlmscope.tui.commands.show_page import ShownNeuron

PICTURE_WIDTHS = (12, 36)  #: cells of one of the two pictures
HIGHEST = 48  #: lines of them
STRETCH = 4  #: of a map in glyphs along one side, at most
NOTE = 500  #: characters of a note
PERSON = 24  #: characters of a person's name
PEAKS = 6  #: words named
PEAK_WIDTH = 24  #: characters of one


def as_lines(
    page: ShownNeuron,
    picked: Example | None,
    top: int,
    colour_map: ColourMap,
    target: Console,
    *,
    across: bool = False,
) -> list[Text]:
    """The page for ``target``: a heatmap of ``picked``, a list of the first ``top`` samples.

    Args:
        across: list samples across the range as well; the scan has a panel.
    """
    lines = [_head(page), _firmness(page), _source(page), *_concepts(page), *_said(page), Text()]
    if picked is not None:
        lines += [*_sample_head(page, picked), *_heatmap(page, picked, colour_map, target), *_description(page, picked)]
        peaks = page.store.peak_tokens(page.neuron)[:PEAKS]
        if peaks:
            words = ", ".join(f"{plain(word, PEAK_WIDTH)} ×{count}" for word, count in peaks)
            lines += [row(f"peaks: {words}"), Text()]
    lines += _top_samples(page, top, target)
    return [*lines, Text(), *_across_range(page, target)] if across else lines


def _head(page: ShownNeuron) -> Text:
    line = row()
    line.append(f"{page.neuron}  ", style="bold")
    line.append(f"{page.label.letter} {page.label.word}", style=f"bold {COLOURS[page.label]}")
    for which in Label:
        share = page.fractions[which.word]
        line.append(f"  {which.letter} {'-' if share is None else f'{share:.2f}'}", style=COLOURS[which])
    line.append("  high-confidence" if page.high_confidence else "")
    line.append(f"  max {page.maximum:.4g}")
    return line


def _firmness(page: ShownNeuron) -> Text:
    firm = page.firmness
    interval = f"95 % interval {share(firm.low)} to {share(firm.high)}"
    parts = [
        f"margin {share(firm.margin)}",
        f"sign test p {p_text(firm.sign_p)}",
        f"share {'-' if firm.share is None else share(firm.share)} ({interval})",
        "fragile" if firm.fragile else "not fragile",
    ]
    return row(f"label: {', '.join(parts)}")


def _source(page: ShownNeuron) -> Text:
    manifest, at = page.store.manifest, page.thresholds
    return row(
        f"{manifest.model.name} · {manifest.read_at} · {manifest.scanned} samples, top {manifest.valid}"
        f" · Tv {at.T_v:g} nv {at.n_v} Tt {at.T_t:g} nt {at.n_t}"
    )


def _concepts(page: ShownNeuron) -> list[Text]:
    found = page.concepts
    if found is None:
        return []
    if not found.words:
        return [row("concepts: no word stands out")]
    return [row(f"concepts: {as_words(found)}  purity {share(found.purity)} (base {share(found.base_rate)})")]


def _said(page: ShownNeuron) -> list[Text]:
    """What the paper, the notebook's explanations and the user say."""
    lines, entry = [], page.entry
    if page.published is not None:
        lines.append(row(f"the paper, figure {page.published.figure}: {page.published.text}"))
    for saved in entry.explanations:
        explanation = saved.explanation
        by = explanation.model or ("you" if explanation.source is Source.USER else explanation.source.value)
        by = f"borrowed from {by}" if explanation.source is Source.BORROWED else by
        found = "" if explanation.pattern_found else "no pattern found: "
        lines.append(row(f"{'explained' if saved.leads else 'also'}: {found}{explanation.text} ({by}, #{saved.id})"))
        lines += [row(f"  {line}") for line in _scores(entry, saved.id)]
    lines += [row(line) for line in _scores(entry, None)]
    if entry.failure is not None:
        lines.append(row(f"explanation {'refused' if entry.failure.refused else 'failed'}: {entry.failure.reason}"))
    lines += [row(line) for saved in entry.checks for line in _check(saved.check)]
    noted = _noted(entry)
    lines += [row(f"noted: {noted}")] if noted else []
    return [*lines, *(row(f"{plain(one.person, PERSON)} noted: {_noted(one)}") for one in entry.reviews)]


def _noted(one: Entry | Review) -> str:
    """What a person decided and wrote."""
    marks = [one.verdict or "", "bookmarked" if one.bookmark else "", *(f"#{tag}" for tag in one.tags)]
    return "  ".join([*(mark for mark in marks if mark), *([plain(one.note, NOTE)] if one.note else [])])


def _scores(entry: Entry, explanation: int | None) -> list[str]:
    """The scores of one explanation, or of the neuron itself, in the order of the rule; unknown ones are left out."""
    reports: list[AnyReport] = []
    for saved in entry.scores if explanation is not None else entry.own_scores:
        with suppress(NotebookError):
            if saved.explanation_id == explanation:
                reports.append(read_report(saved.body))
    lines = []
    for report in ordered(reports):
        if isinstance(report, JudgeReport):
            lines.append(
                f"score by {report.backend}{'' if report.independent else ' (not independent)'}: {judged_words(report)}"
            )
            continue
        found = [(kind, pooled) for kind in report.pooled if (pooled := report.headline(kind)) is not None]
        values = "  ".join(
            f"{kind.value} {score_words(pooled, samples=True)}{_second(report, kind)}" for kind, pooled in found
        )
        lines.append(f"score by {report.backend}{'' if report.independent else ' (not independent)'}: {values}")
    if any(not isinstance(report, JudgeReport) for report in reports):
        lines.append(f"  {WHAT}; {OTHERS}")
    return lines


def _second(report: ScoreReport, kind: TokenKind) -> str:
    second = report.with_concept(kind)
    return "" if second is None else f", with the concept {score_words(second, samples=True)}"


def _check(check: CausalCheck) -> list[str]:
    """What a causal check found; it is not an explanation."""
    effect, done = effect_text(check), intervened(check.settings.intervention, check.settings.at)
    return [f'causal check "{check.word}" {done}: {effect}; {about(check)}', f"  {verdict(check)}"]


def _sample_head(page: ShownNeuron, top: Example) -> list[Text]:
    """Which sample it is, and its vote; where its visual tokens are not one plain grid, how many there are."""
    at, maximum, layout = page.thresholds, page.maximum, top.sample.layout
    visual, text = _norm(top.visual[at.n_v - 1], maximum), _norm(top.text[at.n_t - 1], maximum)
    image = top.sample.image
    head = row(
        f"sample {top.rank + 1} of {len(page.samples)}  #{top.sample.index}  {image}  activation {top.activation:.4g}"
        f"  vote {top.vote.letter} (v{at.n_v} {visual}, threshold {at.T_v:g}; t{at.n_t} {text}, threshold {at.T_t:g})"
    )
    if top.small:
        return [head, row(f"small map: {top.grid[0]} x {top.grid[1]} cells, in 16 levels")]
    if layout.is_plain:
        return [head]
    (rows, columns), covers = top.grid, f"{layout.covers} cover{'' if layout.covers == 1 else 's'}"
    which = "the map" if top.cover is None else f"the map of cover {top.cover + 1}"
    return [head, row(f"{len(layout)} visual tokens in {covers} of the picture; {which} is {rows} x {columns}")]


def _norm(activation: float, maximum: float) -> str:
    if not maximum > 0 or activation == float("-inf"):
        return "-"
    return f"{min(max(10 * float(activation) / maximum, 0.0), 10.0):.2f}"


def _heatmap(page: ShownNeuron, top: Example, colour_map: ColourMap, target: Console) -> list[Text]:
    norms = top.visual_norms
    if norms is None:
        return [row(f"no heatmap: maps are stored for samples 1 to {page.store.manifest.mapped}"), Text()]
    crop = open_crop(top.read_crop())
    if not output.has_colours(target):
        width, height = _glyphs(norms.shape, crop)
        frame = "+" + "-" * width + "+"
        body = [f"|{glyphs}|" for glyphs in glyph_rows(norms, width, height)]
        return [*(row(line) for line in (frame, *body, frame)), row(f'norm 0 to 10: "{GLYPHS}"'), Text()]
    low, high = PICTURE_WIDTHS
    width = max(low, min(high, (target.width - 2) // 2))
    # A high crop is drawn narrower, its shape kept: it would fill thousands of lines.
    width = max(1, min(width, round(2 * HIGHEST * crop.width / crop.height)))
    height = max(2, min(round(crop.height * width / crop.width / 2) * 2, 2 * HIGHEST))
    origin = crop.resize((width, height), Image.Resampling.BOX)
    activation = overlay(origin, norms, colour_map)
    lines = []
    for y in range(0, height, 2):
        line = row()
        _half_blocks(line, origin, y)
        line.append("  ")
        _half_blocks(line, activation, y)
        lines.append(line)
    return [*lines, Text()]


def _glyphs(grid: tuple[int, ...], crop: Image.Image) -> tuple[int, int]:
    """Glyphs of a line, and lines: two a patch, as a cell is about twice as high as wide; more where patches are not
    square in the crop, so that its shape is kept as far as ``STRETCH`` allows."""
    rows, columns = grid
    shape = (crop.width / columns) / (crop.height / rows)
    return round(2 * columns * min(max(shape, 1), STRETCH)), round(rows * min(max(1 / shape, 1), STRETCH))


def _half_blocks(line: Text, picture: Image.Image, y: int) -> None:
    """Two rows of pixels as one row of cells."""
    pixels = picture.crop((0, y, picture.width, y + 2)).tobytes()
    for x in range(picture.width):
        upper, lower = 3 * x, 3 * (x + picture.width)
        style = Style(
            color=Color.from_rgb(*pixels[upper : upper + 3]), bgcolor=Color.from_rgb(*pixels[lower : lower + 3])
        )
        line.append("▀", style)


def _description(page: ShownNeuron, top: Example) -> list[Text]:
    """The description; words above Tt stand in brackets, and are shaded where there are colours."""
    tokens, found = top.sample.tokens, top.text_norms
    norms = [0.0] * len(tokens) if found is None else found.tolist()
    text = Text()
    for token, value in zip(tokens, norms, strict=True):
        word = plain(token)
        if not value > page.thresholds.T_t:
            text.append(word)
            continue
        bare = word.lstrip()
        text.append(word[: len(word) - len(bare)])
        red, green, blue = shade(value)
        text.append(f"[{bare}]", Style(color="black", bgcolor=Color.from_rgb(red, green, blue)))
    return [text, Text()]


def _top_samples(page: ShownNeuron, count: int, target: Console) -> list[Text]:
    lines = [row("rank  sample  activation  vote  image and description")]
    for top in page.samples[:count]:
        sample = top.sample
        line = row(f"{top.rank + 1:>4}  {sample.index:>6}  {top.activation:>10.4g}  ")
        line.append(f"{top.vote.letter:<4}", style=COLOURS[top.vote])
        line.append(plain(f"  {sample.image}  {sample.description}"))  # it is measured before it is written
        if target.is_terminal:
            line.truncate(target.width, overflow="ellipsis")
        lines.append(line)
    left = len(page.samples) - count
    return [*lines, row(f"and {left} more: --top {len(page.samples)}")] if left > 0 else lines


def _across_range(page: ShownNeuron, target: Console) -> list[Text]:
    """Panel samples that are not among the top samples, each with the share of the panel that activates less."""
    assert page.across is not None and page.store.panel is not None
    lines = [row(f"across the range: of {len(page.store.panel)} samples drawn at random, without the top samples")]
    if not page.across:
        return [*lines, row("all of them are among the top samples")]
    lines.append(row("place  sample  activation  drawn     image and description"))
    for one in page.across:
        sample = page.store.sample(one.sample)
        drawn = "random" if one.quantile is None else f"near {one.quantile:.0%}"
        line = row(f"{one.place:>5.0%}  {sample.index:>6}  {one.activation:>10.4g}  {drawn:<8}")
        line.append(plain(f"  {sample.image}  {sample.description}"))  # it is measured before it is written
        if target.is_terminal:
            line.truncate(target.width, overflow="ellipsis")
        lines.append(line)
    return lines
