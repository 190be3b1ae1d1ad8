"""``vlmscope`` and ``vlmscope open``: from a folder's name to the screen, by the shortest way."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

from vlmscope.core.base.demo import DEMO
from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.signals import Ending
from vlmscope.tui.ask_terminal import Question


class NoTerminalError(VlmscopeError):
    title = "The screen needs a terminal"


def open_screen(
    scan: str = DEMO, address: str | None = None, *, device: str | None = None, dtype: str | None = None
) -> int:
    """Show ``scan`` on the screen until the user quits.

    Args:
        scan: ``demo`` or a folder.
        address: the neuron to begin with.
        device, dtype: where and how the model runs if it is needed; the settings' where not given.

    Returns:
        the screen's exit code; 128 and the number of the signal, if one has ended it.

    Raises:
        UsageError: if the address is none, lies outside the model, or lacks a pole.
        StoreError: if the scan cannot be read.
        NoTerminalError: if there is nothing to draw on.
    """
    with _quick_imports():
        start = Neuron.parse(address) if address is not None else None
        # Everything that can fail is tried before the screen's libraries load.
        from vlmscope.core.base.config import data_folder, load_config
        from vlmscope.core.store.reader import open_scan

        store = open_scan(scan)
        if start is not None:
            store.numbering.checked(start)
        given = {"device": device, "dtype": dtype}
        config = load_config().model_copy(update={name: value for name, value in given.items() if value is not None})
        _check_terminal(scan)
        from vlmscope.tui.views.drawing import PROBES, Drawing, blocks_for, lacking

        with Question(tuple(PROBES.values())) as question:
            from vlmscope.tui.app import VlmscopeApp

            answers = question.answers()

    name = DEMO if scan == DEMO else store.folder.resolve().name
    app = VlmscopeApp(store, config, start, name, first_start=data_folder() / "started")
    blocks = blocks_for(config.pictures, answers.name, answers.widths)
    few_colours, lacks = app.console.color_system == "256", lacking(answers.widths)
    pixels = config.pictures == "graphics" and draws_pixels()
    app.browse.drawing = Drawing(blocks, few_colours, pixels, lacks)
    app.typed_ahead = answers.typed
    with Ending(lambda ending: app.leave(ending.number)):
        app.run()
    return app.return_code or 0


def draws_pixels() -> bool:
    """Whether the terminal draws pictures in true pixels, and the extra that sends them is installed.

    textual-image asks the terminal when it is imported, and reads its answers: the screen must not be up. What passes
    through tmux or screen arrives in the wrong place, or not at all.
    """
    if os.environ.get("TMUX") or os.environ.get("STY"):
        return False
    try:
        from textual_image.renderable import Image, SixelImage, TGPImage
        from textual_image.widget import Image as _  # noqa: F401  # asks for the size of a cell
    except ImportError:
        return False
    return Image in (SixelImage, TGPImage)


@contextlib.contextmanager
def _quick_imports() -> Iterator[None]:
    """Let no garbage be collected: imports make hardly any, and looking for it took a twentieth of the start.

    What they made stays for good, so later collections need not look at it either: keys stay smooth.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _check_terminal(scan: str) -> None:
    # Textual draws on stderr and reads keys from stdin.
    for stream, what in ((sys.__stdin__, "input"), (sys.__stderr__, "stderr")):
        if stream is None or not stream.isatty():
            raise NoTerminalError(
                f"Its {what} is not a terminal.", f"For pipes: vlmscope labels {scan}, vlmscope show {scan} L0/N0."
            )
    if os.environ.get("TERM") == "dumb":
        raise NoTerminalError("TERM is dumb.", "Set TERM to your terminal's name, such as xterm-256color.")
