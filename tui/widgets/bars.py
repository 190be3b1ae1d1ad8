"""The lines around the panes: the title and the footer of keys."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.style import Style

from core.labels import Label, Thresholds
from core.model_messages import ModelStatus, Phase
from core.plain_text import plain
from tui.keys import BY_ID, HINTS, LAST_HINTS, Hint, hint_keys
from tui.widgets.lines import Lines, Part, row
from tui.widgets.numbers import percent, short_shares
from tui.widgets.palette import Palette


@dataclass(frozen=True)
class TitleView:
    """Which scan this is, its label shares, the thresholds, and how the model is.

    ``control`` holds the control's label counts: None where there is no control, all 0 while they are on their way.
    """

    name: str
    model: str
    hook: str
    scanned: int
    skipped: int
    top_n: int
    counts: tuple[int, int, int, int]
    thresholds: Thresholds
    status: ModelStatus
    control: tuple[int, int, int, int] | None = None
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
        control: list[Part] = []
        if view.control is not None:
            control = [("control ", palette.muted), *short_shares(view.control, palette), ("  ", palette.text)]
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
        # The control's shares stand beside, unless nothing but the name would be left of what the scan is.
        tries = [(ident, control) for ident in idents[:-1]] if control else []
        for ident, beside in [*tries, *((ident, []) for ident in idents)]:
            right = [*shares, *beside, *limits, *model, (" ", palette.text)]
            need = sum(len(text) for text, _ in right)
            for brand in (" vlmscope  ", " "):
                left: list[Part] = [(brand, palette.accent), (ident, palette.text)]
                used = len(brand) + len(ident)
                if used + 2 + need <= width:
                    self.show([row([*left, (" " * (width - used - need), palette.text), *right], width)], palette.base)
                    return
        self.show([row([(" ", palette.text), *shares, *limits, *model], width)], palette.base)


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
