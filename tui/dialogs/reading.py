"""A text to read over the screen, in sections of entries; ``/`` keeps the entries that have what is typed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from rich.table import Column, Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from vlmscope.core.base.text import plain
from vlmscope.tui.dialogs.ending import end
from vlmscope.tui.widgets.palette import Palette

_LEFT = 20  #: cells of an entry's name
_HINT = "/ filter · j k scroll · esc closes"


@dataclass(frozen=True)
class Entry:
    """A name and what it means; ``look``: the name's, None for the usual one."""

    name: str
    means: str
    look: Style | None = None


@dataclass(frozen=True)
class Section:
    """Entries under a head."""

    head: str
    entries: tuple[Entry, ...]


def matching(sections: Sequence[Section], typed: str) -> list[Section]:
    """The entries that have all words of ``typed``, in any case; a head that has them keeps all of its entries."""
    words = typed.casefold().split()

    def has(text: str) -> bool:
        return all(word in text.casefold() for word in words)

    kept = []
    for section in sections:
        entries = [one for one in section.entries if has(section.head) or has(f"{one.name} {one.means}")]
        if entries:
            kept.append(Section(section.head, tuple(entries)))
    return kept


def table(sections: Sequence[Section], palette: Palette) -> Table:
    """Names at the left, what they mean at the right, each wrapped in its own column."""
    lines = Table.grid(Column(width=_LEFT), Column(ratio=1), padding=(0, 1, 0, 0), expand=True)
    for at, section in enumerate(sections):
        if at:
            lines.add_row()
        lines.add_row(Text(section.head, palette.strong))
        for one in section.entries:
            look = palette.accent if one.look is None else one.look
            lines.add_row(Text(f" {plain(one.name)}", look), Text(plain(one.means), palette.text))
    return lines


class ReadScreen(ModalScreen[None]):
    """Sections to read, scrolled and filtered."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", show=False, priority=True),
        Binding("q,question_mark", "close", "Leave", show=False, priority=True),
        Binding("slash", "filter", "Filter", show=False, priority=True),
        Binding("enter", "read", "Read what is kept", show=False, priority=True),
        *(
            Binding(keys, f"scroll('{how}')", how.replace("_", " "), show=False)
            for keys, how in {
                "j": "down",
                "k": "up",
                "ctrl+d,space": "page_down",
                "ctrl+u": "page_up",
                "g": "home",
                "G": "end",
            }.items()
        ),
    ]

    def __init__(self, title: str, sections: Sequence[Section], palette: Palette) -> None:
        super().__init__()
        self._title = title
        self._sections = sections
        self._palette = palette

    def compose(self) -> ComposeResult:
        with Vertical(id="reading") as box:
            box.border_title = self._title
            box.border_subtitle = _HINT
            with VerticalScroll(id="read-text"):
                yield Static(table(self._sections, self._palette), markup=False)
            yield Input(placeholder="words that an entry has", id="read-filter", compact=True)

    def on_mount(self) -> None:
        self.query_one("#read-text").focus()

    @property
    def _filter(self) -> Input:
        return self.query_one("#read-filter", Input)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's)
        return action in ("leave", "read") or self.focused is not self._filter  # there keys are letters

    def action_filter(self) -> None:
        self._filter.display = True
        self.set_focus(self._filter)  # at once: the next letter is for it

    def action_read(self) -> None:
        self.set_focus(self.query_one("#read-text"))

    def on_input_changed(self, event: Input.Changed) -> None:
        kept = matching(self._sections, event.value)
        count = sum(len(section.entries) for section in kept)
        hint = f"{count} {'entry has' if count == 1 else 'entries have'} it · esc lifts the filter"
        self.query_one("#reading").border_subtitle = hint if event.value.strip() else _HINT
        self.query_one(Static).update(table(kept, self._palette) if kept else "Nothing has these words.")
        self.query_one("#read-text").scroll_home(animate=False)

    def action_leave(self) -> None:
        """Lift the filter; without one, leave."""
        box = self._filter
        if not box.display:
            end(self)
            return
        box.value = ""
        box.display = False
        self.action_read()

    def action_close(self) -> None:
        end(self)

    def action_scroll(self, how: str) -> None:
        getattr(self.query_one("#read-text"), f"scroll_{how}")(animate=False)
