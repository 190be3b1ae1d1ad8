"""What ``vlmscope doctor`` shows of pictures: a test row of each kind of characters, and which of them are drawn."""

import sys
from importlib.metadata import PackageNotFoundError, version

from vlmscope.core.base.config import load_config
from vlmscope.core.base.errors import VlmscopeError
from vlmscope.tui.ask_terminal import Answers, Question
from vlmscope.tui.commands.shared.findings import Finding
from vlmscope.tui.views.drawing import PROBES, Blocks, blocks_for

_ROW = 16  #: characters of each test row


def pictures() -> list[Finding]:
    """The terminal's name, a row of each kind, and what the settings lead to."""
    answers = _asked()
    found = [Finding("name", answers.name or "the terminal gives none")]
    found += [Finding(blocks.value, f"{_row(blocks)}  {_width(blocks, answers)}") for blocks in Blocks]
    try:
        setting = load_config().pictures
    except VlmscopeError:  # reported where the file is
        setting = "auto"
    blocks = blocks_for(setting, answers.name, answers.widths)
    hint = "" if setting in ("auto", "graphics", blocks) else f"The terminal does not draw {setting}s as they are."
    found.append(Finding("drawn", f"{blocks} blocks (pictures = {setting})", hint))
    try:
        pixels, hint = f"textual-image {version('textual-image')}", ""
    except PackageNotFoundError:
        pixels = "textual-image is not installed"
        hint = "For pixels: pip install 'vlmscope[graphics]'" if setting == "graphics" else ""
    return [*found, Finding("graphics", pixels, hint)]


def _asked() -> Answers:
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        return Answers()
    with Question(tuple(PROBES.values()), 0, 1) as question:
        return question.answers()


def _row(blocks: Blocks) -> str:
    """Characters of this kind, evenly over all of them: without gaps where the font has them."""
    shapes = blocks.glyphs[1:]
    return "".join(shapes[at * len(shapes) // _ROW] for at in range(_ROW))


def _width(blocks: Blocks, answers: Answers) -> str:
    width = answers.widths.get(PROBES.get(blocks, ""))
    if width is None:
        return "everywhere" if blocks is Blocks.HALF else "not measured"
    return "a cell each" if width == 1 else f"not drawn: {width} cells each"
