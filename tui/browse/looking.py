"""Actions that change how a neuron is looked at: pages, panes, colours, texts to read; and esc, which goes back."""

from collections.abc import Callable, Sequence

from vlmscope.core.method.heatmap import ColourMap
from vlmscope.tui.browse import moves, pick
from vlmscope.tui.browse.moving import MovingActions
from vlmscope.tui.messages import Notice
from vlmscope.tui.views.state import Mode, Pane
from vlmscope.tui.widgets.page.page import Page

FOLDED = 110  #: cells from which list and page are side by side


class LookingActions(MovingActions):
    """Keys that show something else of the same neuron."""

    messages: Callable[[], Sequence[tuple[str, str]]]  #: of this session, the oldest first

    def action_colour_map(self) -> None:
        maps = list(ColourMap)
        shown = self.session.state.colour_map or self.palette.colour_map
        after = maps[(maps.index(shown) + 1) % len(maps)]
        self.show(self.session.change_state(colour_map=after))

    def action_cover(self) -> None:
        self.moved(moves.to_cover(self.session))

    def action_mode(self, name: str) -> None:
        state = self.session.state
        wanted = Mode(name)
        if wanted is Mode.SHEET and (state.own is not None or state.pinned is not None):
            wanted = Mode.ZOOM  # the user's picture is one, and so is that of two neurons
        after = Mode.PICTURES if state.mode is wanted else wanted
        from_sheet = after is Mode.ZOOM and state.mode is Mode.SHEET
        self.show(self.session.change_state(mode=after, from_sheet=from_sheet, pane=Pane.PAGE, score=0, example=0))

    async def action_shares(self) -> None:
        await self.show_shares(())

    async def show_shares(self, others: tuple[str, ...]) -> None:
        """Show the label shares by layer, and those of other scans beside."""
        from vlmscope.tui.shares.screen import SharesScreen

        scene, at = self.session.scene, self.session.wanted
        labels = scene.columns.labels if scene.columns.labels.thresholds == at else None
        await self.app.push_screen(SharesScreen(self.session.store, labels, at, scene.scan_name, others, self.config))

    def action_scroll_text(self, by: int) -> None:
        by *= self.times()
        if self.session.state.mode is Mode.SCORE:
            self.show(moves.to_score(self.session, by))
        elif self.session.state.mode is Mode.CHECK:
            self.show(moves.to_check(self.session, by))
        elif self.in_sheet:
            self.show(self.session.step(by))
        else:
            self.query_one(Page).scroll_words(by)

    def action_pane(self) -> None:
        if self.points:
            self.show(moves.to_words(self.session))
            return
        after = Pane.LIST if self.session.state.pane is Pane.PAGE else Pane.PAGE
        self.show(self.session.change_state(pane=after))

    async def action_page(self) -> None:
        if self.points:
            await self.ask(self.controllers.point.here())
        elif self.in_sheet:
            self.action_mode("zoom")
        else:
            self.show(self.session.change_state(pane=Pane.PAGE))

    def action_pin(self) -> None:
        self.moved(moves.to_pinned(self.session))

    def action_copy_address(self) -> None:
        self.app.copy_to_clipboard(str(self.session.state.neuron))
        self.posts.notify(Notice(f"{self.session.state.neuron} is sent to the clipboard."))

    def action_back(self) -> None:
        """Close messages, and leave the innermost view: a page, the own picture, the pane; after these, stop the work.

        Where a message was closed, nothing is stopped: the key may have been meant for the message alone.
        """
        if self.count.drop():
            return
        if self.session.scene.picked_rows is not None:
            self.show(pick.drop(self.session))
            return
        closed = self.posts.close_messages()
        state, scene = self.session.state, self.session.scene
        if state.mode is not Mode.PICTURES:
            opened_by = Mode.SHEET if state.mode is Mode.ZOOM and state.from_sheet else Mode.PICTURES
            self.show(self.session.change_state(mode=opened_by, from_sheet=False))
        elif state.own is not None and not state.own.described and not scene.doing:
            # It is described for this view alone, which is left then.
            self.controllers.tasks.run_task(self.controllers.model_link.stop())
        elif state.own is not None:
            self.show(self.controllers.model.leave_image())
        elif state.pinned is not None:
            self.show(moves.unpinned(self.session))
        elif state.pane is Pane.PAGE and self.app.size.width < FOLDED:
            self.show(self.session.change_state(pane=Pane.LIST))
        elif scene.picked is not None:
            self.show(pick.drop(self.session))
        elif state.left is not None:
            self.controllers.tasks.run_task(self.controllers.find.leave())
        elif not closed:
            self.controllers.stop()

    async def action_help(self) -> None:
        from vlmscope.tui.dialogs.help import HelpScreen

        await self.app.push_screen(HelpScreen(self.config.keys, self.palette, self))

    async def action_messages(self) -> None:
        from vlmscope.tui.dialogs.reading import Entry, ReadScreen, Section

        entries = tuple(Entry(*message) for message in reversed(self.messages()))
        sections = [Section("The newest first", entries or (Entry("none yet", ""),))]
        await self.app.push_screen(ReadScreen("messages of this session", sections, self.palette))
