"""Label shares by layer: of the scan on the screen, of its control, and of other scans beside (figures 5 to 7).

Everything is counted in threads: the scan's own shares are there at once, what takes longer (a control, fragile labels,
other scans) is an ellipsis until it comes.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from vlmscope.core.analysis.control import may_have_control
from vlmscope.core.analysis.firmness import fragile
from vlmscope.core.analysis.statistics import (
    ScanStatistics,
    control_statistics,
    count_labels,
    labels_at,
    named_apart,
    own_statistics,
)
from vlmscope.core.base.config import Config
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import Labels, Thresholds
from vlmscope.core.store.reader import ScanStore, open_scan
from vlmscope.tui.dialogs.ending import end
from vlmscope.tui.keys import BY_ID, footer_keys
from vlmscope.tui.shares.table import ShareBlock, SharesView, ShareTable, names_of
from vlmscope.tui.widgets.palette import make_palette

#: What the browse screen's keys do here: remapped there, they are here too.
_CALLS = {
    "neuron.next": "scroll(1)",
    "neuron.previous": "scroll(-1)",
    "list.first": "end(-1)",
    "list.last": "end(1)",
    "list.down": "half_page(1)",
    "list.up": "half_page(-1)",
    "sample.next": "side(1)",
    "sample.previous": "side(-1)",
    "shares": "leave",
    "help": "help",
}


@dataclass(frozen=True, eq=False)
class _Compared:
    """One scan, as far as it is known.

    ``typed`` names it until it is; ``controlled`` while its control is being counted.
    """

    typed: str
    found: ScanStatistics | None = None
    problem: str = ""
    controlled: bool = False
    control_problem: str = ""


class SharesScreen(Screen[None]):
    """The paper's figures; leaves to the browse screen."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(BY_ID[name].keys, call, show=False, id=name) for name, call in _CALLS.items()),
        Binding("f", "high_only", "High-confidence only", show=False),
        Binding("escape,q", "leave", "Leave", show=False, priority=True),
    ]

    def __init__(
        self,
        store: ScanStore,
        labels: Labels | None,
        thresholds: Thresholds,
        name: str,
        others: tuple[str, ...],
        config: Config,
    ) -> None:
        """Compare ``store``, which the user calls ``name``, with the scans called ``others``.

        Args:
            labels: the first scan's, if they are there.
            thresholds: of all scans.
        """
        super().__init__()
        self._store = store
        self._labels = labels
        self._thresholds = thresholds
        self._config = config
        self._high_only = False
        first = _Compared(name)
        if labels is not None:
            first = replace(first, found=own_statistics(store, labels), controlled=may_have_control(store))
        self._scans = [first, *map(_Compared, others)]

    def compose(self) -> ComposeResult:
        yield ShareTable(id="shares")

    def on_mount(self) -> None:
        self._new_theme()
        self.app.theme_changed_signal.subscribe(self, lambda _: self._new_theme())
        self.run_worker(self._count_all(), exit_on_error=False)

    def _new_theme(self) -> None:
        self._palette = make_palette(self.app)
        self._paint()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            self.app.notify(plain(str(event.worker.error)), title="Not counted", severity="error", markup=False)

    # -- counting ------------------------------------------------------------------------------------------------

    async def _count_all(self) -> None:
        for at in range(len(self._scans)):
            await self._count(at)

    async def _count(self, at: int) -> None:
        """One scan: its shares, its control's, its fragile labels, each shown as it comes."""
        now = self._scans[at]
        try:
            store, labels = await asyncio.to_thread(self._open, at)
            found = await asyncio.to_thread(own_statistics, store, labels)
        except (VlmscopeError, OSError) as error:
            self._know(at, replace(now, problem=str(error)))
            return
        self._know(at, now := replace(now, found=found, controlled=may_have_control(store)))
        try:
            found = replace(found, control=await asyncio.to_thread(control_statistics, store, self._thresholds))
            self._know(at, now := replace(now, found=found, controlled=False))
        except (VlmscopeError, OSError) as error:
            self._know(at, now := replace(now, controlled=False, control_problem=str(error)))
        marks = await asyncio.to_thread(lambda: count_labels(labels, fragile(store, labels)))
        self._know(at, replace(now, found=replace(found, fragile=marks)))

    def _open(self, at: int) -> tuple[ScanStore, Labels]:
        if at == 0:
            return self._store, self._labels or labels_at(self._store, self._thresholds)
        store = open_scan(scan_folder(self._scans[at].typed))
        return store, labels_at(store, self._thresholds)

    def _know(self, at: int, scan: _Compared) -> None:
        self._scans[at] = scan
        self._paint()

    # -- painting ------------------------------------------------------------------------------------------------

    def _paint(self) -> None:
        known = [(scan.typed, scan.found) for scan in self._scans if scan.found is not None]
        named = iter(named_apart([found for _, found in known], [typed for typed, _ in known]))
        blocks: list[ShareBlock] = []
        for scan in self._scans:
            found = None if scan.found is None else next(named)
            blocks.append(ShareBlock((scan.typed,) if found is None else names_of(found), found, scan.problem))
            if found is not None and found.control is not None:
                blocks.append(ShareBlock(names_of(found.control), found.control, is_control=True))
            elif scan.controlled or scan.control_problem:
                blocks.append(ShareBlock(("control",), problem=scan.control_problem, is_control=True))
        view = SharesView(
            blocks=tuple(blocks),
            thresholds=self._thresholds,
            high_only=self._high_only,
            lonely=bool(known) and not any(block.is_control for block in blocks),
            keys=self._keys(len(blocks)),
        )
        for table in self.query(ShareTable):  # there is none any more when the screen is being left
            table.present(view, self._palette)

    def _keys(self, blocks: int) -> tuple[tuple[str, str, str], ...]:
        def of(*ids: str) -> str:
            return footer_keys(ids, self._config.keys)

        keys = [
            ("esc", "back", "leave"),
            ("f", "all neurons" if self._high_only else "high-confidence", "high_only"),
            (of("neuron.next", "neuron.previous"), "layers", "scroll(1)"),
            *([(of("sample.previous", "sample.next"), "columns", "side(1)")] if blocks > 1 else []),
            (of("help"), "help", "help"),
        ]
        if len(self._scans) == 1:
            keys.append((f"{of('command')}stats SCAN", "a scan beside", "leave"))
        return tuple(keys)

    # -- keys ----------------------------------------------------------------------------------------------------

    def action_high_only(self) -> None:
        self._high_only = not self._high_only
        self._paint()

    def action_scroll(self, by: int) -> None:
        self.query_one(ShareTable).scroll_layers(by)

    def action_end(self, which: int) -> None:
        self.query_one(ShareTable).go_to_end(which)

    def action_half_page(self, which: int) -> None:
        table = self.query_one(ShareTable)
        table.scroll_layers(which * max(table.page_rows // 2, 1))

    def action_side(self, by: int) -> None:
        self.query_one(ShareTable).scroll_blocks(by)

    def action_help(self) -> None:
        from vlmscope.tui.dialogs.help import HelpScreen

        self.app.push_screen(HelpScreen(self._config.keys, self._palette, self))

    def action_leave(self) -> None:
        end(self)
