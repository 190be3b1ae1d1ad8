"""What is old on the page while a key is held: its lines are faded, under the address that they belong to."""

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from vlmscope.tui.views.scene import Scene
from vlmscope.tui.widgets.lines import row
from vlmscope.tui.widgets.palette import Palette, faded_style


def still_line(view: Scene, palette: Palette, width: int) -> Strip:
    """The neuron that the lines below still belong to."""
    old = view.facts.neuron if view.meaning is None and view.facts is not None else None
    neuron = view.meaning.neuron if view.meaning is not None else old
    return row([(f"still {neuron}" if neuron is not None else "…", palette.warning)], width)


def faded(strip: Strip, palette: Palette) -> Strip:
    """A line that is out of date: its colours are as near to the background as those of an old picture."""
    return Strip([Segment(text, faded_style(look or Style(), palette)) for text, look, _ in strip], strip.cell_length)
