"""The lines around the panes: the title and the footer of keys."""

from collections.abc import Mapping

from rich.style import Style

from vlmscope.core.method.labels import Label
from vlmscope.core.worker.messages import ModelStatus, Phase
from vlmscope.tui.keys import BY_ID, FOOTER, FOOTER_END, FooterItem, footer_keys
from vlmscope.tui.views.title import TitleView
from vlmscope.tui.widgets.lines import Lines, Part, row, short
from vlmscope.tui.widgets.numbers import percent, short_shares
from vlmscope.tui.widgets.palette import Palette


def status_text(status: ModelStatus) -> str:
    """The model's state in a few words."""
    if status.phase is Phase.LOADING and status.progress is not None:
        return f"{status.phase} {100 * status.progress:.0f}%"
    if status.phase is Phase.BUSY and status.detail:
        return f"{status.phase}: {short(status.detail, 24)}"
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
            shares.append((f"{label.letter} {percent(count, whole)}  ", palette.labels[label]))
        control: list[Part] = []
        if view.control is not None:
            control = [("control ", palette.muted), *short_shares(view.control, palette), ("  ", palette.text)]
        t = view.thresholds
        limits: list[Part] = [(f"Tv {t.T_v:g} nv {t.n_v} Tt {t.T_t:g} nt {t.n_t}  ", palette.text)]
        spent: list[Part] = [(f"{view.spent}  ", palette.warning)] if view.spent else []
        failed = view.status.phase is Phase.FAILED
        model: list[Part] = [("model: ", palette.muted)]
        model.append((status_text(view.status), palette.warning if failed else palette.text))
        usual = [*limits, *spent, *model]
        idents = _idents(view)
        # The control's shares stand beside, unless nothing but the name would be left of what the scan is.
        tries = [(ident, [*control, *usual]) for ident in idents[:-1]] if control else []
        tries += [(ident, usual) for ident in idents]
        if view.status.phase is Phase.OFF:
            # A scan's progress matters more than that there is no model yet.
            tries += [(words, [*limits, *spent]) for words in view.scan_progress]
        tries += [(words, right) for words in view.scan_progress for right in (usual, [*spent, *model])]
        for ident, beside in tries:
            right = [*shares, *beside, (" ", palette.text)]
            need = sum(len(text) for text, _ in right)
            for brand in (" vlmscope  ", " "):
                left: list[Part] = [(brand, palette.accent), (ident, palette.text)]
                used = len(brand) + len(ident)
                if used + 2 + need <= width:
                    self.show([row([*left, (" " * (width - used - need), palette.text), *right], width)], palette.base)
                    return
        self.show([row([(" ", palette.text), *shares, *usual], width)], palette.base)


def _idents(view: TitleView) -> list[str]:
    """Which scan this is, the longest words first."""
    name, model = short(view.name, 24), short(view.model, 36)
    skipped = f" (skipped {view.skipped})" if view.skipped else ""
    if view.scan_progress:
        count = view.scan_progress[0]
        return [
            f"{name} · {model} · {view.hook} · {count}{skipped} · N {view.top_n}",
            f"{name} · {view.hook} · {count}{skipped} · N {view.top_n}",
            f"{name} · {count}",
        ]
    return [
        f"{name} · {model} · {view.hook} · {view.scanned} samples{skipped} · N {view.top_n}",
        f"{name} · {view.hook} · {view.scanned} samples{skipped} · N {view.top_n}",
        f"{name} · {view.hook} · {view.scanned}{' +' + str(view.skipped) if skipped else ''} · N {view.top_n}",
        name,
    ]


class KeyBar(Lines):
    """The footer: keys that do something here, as many as fit; a click does the same."""

    def __init__(self, remapped: Mapping[str, str], *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._remapped = remapped
        self._view: tuple[tuple[FooterItem, ...], Palette] | None = None

    def present(self, first: tuple[FooterItem, ...], palette: Palette) -> None:
        """Show ``first`` (what matters most just now), then the usual hints, and help and quit at the end."""
        if (first, palette) != self._view:
            self._view = (first, palette)
            self.repaint()

    def paint(self) -> None:
        if self._view is None:
            return
        first, palette = self._view
        width = self.size.width
        last = [part for item in FOOTER_END for part in self._item(item, palette)]
        used = 1 + sum(len(text) for text, _ in last)
        parts: list[Part] = [(" ", palette.text)]
        for item in [*first, *(item for item in FOOTER if item[0] not in {ids for ids, _ in first})]:
            shown = self._item(item, palette)
            size = sum(len(text) for text, _ in shown)
            if used + size > width:
                break
            parts += shown
            used += size
        self.show([row([*parts, *last], width)], palette.base)

    def _item(self, item: FooterItem, palette: Palette) -> list[Part]:
        ids, word = item
        # The last of a pair goes forward, which is what a click most often wants.
        action = BY_ID[ids[0] if ids[0].endswith("next") else ids[-1]]
        click = Style.from_meta({"@click": action.call if "." in action.call else f"screen.{action.call}"})
        return [(footer_keys(ids, self._remapped), palette.accent + click), (f" {word}  ", palette.muted + click)]
