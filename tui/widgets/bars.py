"""The lines around the panes: the title, the layer strip in both its shapes, and the footer of keys."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.style import Style
from textual.events import Click

from core.labels import Label, Thresholds
from core.model_messages import ModelStatus, Phase
from core.plain_text import plain
from tui.keys import BY_ID, HINTS, LAST_HINTS, Hint, hint_keys
from tui.messages import LayerChosen
from tui.widgets.lines import Lines, Part, blank, row
from tui.widgets.numbers import label_bar, percent
from tui.widgets.palette import Palette


@dataclass(frozen=True)
class TitleView:
    """Which scan this is, its label shares, the thresholds, and how the model is."""

    name: str
    model: str
    hook: str
    scanned: int
    skipped: int
    top_n: int
    counts: tuple[int, int, int, int]
    thresholds: Thresholds
    status: ModelStatus
    spent: str = ""  #: on requests to an API, in this session


def status_text(status: ModelStatus) -> str:
    """The model's state in a few words."""
    if status.phase is Phase.LOADING and status.progress is not None:
        return f"{status.phase} {100 * status.progress:.0f}%"
    if status.phase is Phase.BUSY and status.detail:
        return f"{status.phase}: {plain(status.detail, 24)}"
    return str(status.phase)


class TitleBar(Lines):
    """One line: most important first, the rest as far as it fits."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._view: tuple[TitleView, Palette] | None = None

    def present(self, view: TitleView, palette: Palette) -> None:
        """Show ``view``."""
        if (view, palette) != self._view:
            self._view = (view, palette)
            self.repaint()

    def paint(self) -> None:
        if self._view is None:
            return
        view, palette = self._view
        width = self.size.width
        whole = sum(view.counts)
        shares: list[Part] = []
        for label, count in zip(Label, view.counts, strict=True):
            shares.append((f"{label.letter} {percent(count, whole)}  ", palette.label(label)))
        t = view.thresholds
        limits: list[Part] = [(f"Tv {t.T_v:g} nv {t.n_v} Tt {t.T_t:g} nt {t.n_t}  ", palette.text)]
        failed = view.status.phase is Phase.FAILED
        model: list[Part] = [(f"{view.spent}  ", palette.warning)] if view.spent else []
        model.append(("model: ", palette.muted))
        model.append((status_text(view.status), palette.warning if failed else palette.text))
        name = plain(view.name, 24)
        skipped = f" (skipped {view.skipped})" if view.skipped else ""
        idents = [
            f"{name} · {plain(view.model, 36)} · {view.hook} · {view.scanned} samples{skipped} · N {view.top_n}",
            f"{name} · {view.hook} · {view.scanned} samples{skipped} · N {view.top_n}",
            f"{name} · {view.hook} · {view.scanned}{' +' + str(view.skipped) if skipped else ''} · N {view.top_n}",
            name,
        ]
        right = [*shares, *limits, *model, (" ", palette.text)]
        need = sum(len(text) for text, _ in right)
        for ident in idents:
            for brand in (" vlmscope  ", " "):
                left: list[Part] = [(brand, palette.accent), (ident, palette.text)]
                used = len(brand) + len(ident)
                if used + 2 + need <= width:
                    self.show([row([*left, (" " * (width - used - need), palette.text), *right], width)], palette.base)
                    return
        self.show([row([(" ", palette.text), *shares, *limits, *model], width)], palette.base)


@dataclass(frozen=True)
class LayersView:
    """Label counts of each layer, L times 4, and which layer is shown.

    ``notes`` say which model and data these are, the longest first: the folded strip shows what fits.
    """

    counts: tuple[tuple[int, int, int, int], ...]
    layer: int
    notes: tuple[str, ...]


class LayerStrip(Lines):
    """One bar a layer: the paper's figure 5."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._first = 0
        self._view: tuple[LayersView, Palette] | None = None

    def present(self, view: LayersView, palette: Palette) -> None:
        """Show ``view``, scrolled so that the layer is in view."""
        if (view, palette) != self._view:
            self._view = (view, palette)
            self.repaint()

    def paint(self) -> None:
        if self._view is None:
            return
        view, palette = self._view
        width, height = self.size
        layers = len(view.counts)
        room = max(height - 2, 1) if layers > height - 2 else layers
        self._first = min(max(view.layer - room // 2, 0), max(layers - room, 0))
        lines = []
        for layer in range(self._first, min(self._first + room, layers)):
            chosen = layer == view.layer
            parts: list[Part] = [
                ("▸" if chosen else " ", palette.accent),
                (f"{layer:>2} ", palette.strong if chosen else palette.muted),
                *label_bar(view.counts[layer], width - 5, palette),
                (" ", palette.text),
            ]
            strip = row(parts, width)
            lines.append(strip.apply_style(palette.cursor) if chosen else strip)
        lines += blank(width, max(height - 1 - len(lines), 0))
        lines.append(row(legend(palette), width))
        self.show(lines[:height], palette.base)

    def on_click(self, event: Click) -> None:
        at = event.get_content_offset(self)
        if at is not None:
            self.post_message(LayerChosen(self._first + at.y))


def legend(palette: Palette) -> list[Part]:
    """What the colours and letters mean."""
    letters: list[Part] = [(f"{label.letter} ", palette.label(label) + palette.strong) for label in Label]
    return [(" ", palette.text), *letters, ("by layer", palette.muted)]


class FoldedStrip(Lines):
    """The layer strip in one line: each layer's most frequent label, and the shares of the layer shown."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._first, self._left, self._last = 0, 0, 0
        self._view: tuple[LayersView, Palette] | None = None

    def present(self, view: LayersView, palette: Palette) -> None:
        """Show ``view``."""
        if (view, palette) != self._view:
            self._view = (view, palette)
            self.repaint()

    def paint(self) -> None:
        if self._view is None:
            return
        view, palette = self._view
        width = self.size.width
        layers = len(view.counts)
        counts = view.counts[view.layer]
        whole = sum(counts)
        tail: list[Part] = [(f"  L{view.layer}: ", palette.text)]
        tail += [(f"{label.letter} {percent(counts[label], whole)} ", palette.label(label)) for label in Label]
        need = sum(len(text) for text, _ in tail)
        head = " layers "
        room = max(width - need - len(head) - 4, 1)
        self._first = min(max(view.layer - room // 2, 0), max(layers - room, 0))
        self._left = len(head) + 1
        last = self._last = min(self._first + room, layers)
        parts: list[Part] = [(head, palette.muted), ("‹" if self._first else " ", palette.muted)]
        for layer in range(self._first, last):
            label = Label(view.counts[layer].index(max(view.counts[layer])))
            look = palette.label(label)
            parts.append((label.letter, look + Style(reverse=True, bold=True) if layer == view.layer else look))
        parts.append(("›" if last < layers else " ", palette.muted))
        free = width - need - len(head) - 2 - (last - self._first) - 3
        note = next((note for note in view.notes if len(note) <= free), "")
        tail.append((f"{note:>{max(free, 0) + 2}}", palette.muted))
        self.show([row([*parts, *tail], width)], palette.base)

    def on_click(self, event: Click) -> None:
        layer = self._first + event.x - self._left
        if self._first <= layer < self._last:
            self.post_message(LayerChosen(layer))


class KeyBar(Lines):
    """The footer: keys that do something here, as many as fit; a click does the same."""

    def __init__(self, remapped: Mapping[str, str], *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._remapped = remapped
        self._view: tuple[tuple[Hint, ...], Palette] | None = None

    def present(self, first: tuple[Hint, ...], palette: Palette) -> None:
        """Show ``first`` (what matters most just now), then the usual hints, and help and quit at the end."""
        if (first, palette) != self._view:
            self._view = (first, palette)
            self.repaint()

    def paint(self) -> None:
        if self._view is None:
            return
        first, palette = self._view
        width = self.size.width
        last = [part for hint in LAST_HINTS for part in self._hint(hint, palette)]
        used = 1 + sum(len(text) for text, _ in last)
        parts: list[Part] = [(" ", palette.text)]
        for hint in [*first, *(hint for hint in HINTS if hint[0] not in {ids for ids, _ in first})]:
            shown = self._hint(hint, palette)
            size = sum(len(text) for text, _ in shown)
            if used + size > width:
                break
            parts += shown
            used += size
        self.show([row([*parts, *last], width)], palette.base)

    def _hint(self, hint: Hint, palette: Palette) -> list[Part]:
        ids, word = hint
        # The last of a pair goes forward, which is what a click most often wants.
        action = BY_ID[ids[0] if ids[0].endswith("next") else ids[-1]]
        click = Style.from_meta({"@click": action.call if "." in action.call else f"screen.{action.call}"})
        return [(hint_keys(ids, self._remapped), palette.accent + click), (f" {word}  ", palette.muted + click)]
