"""Actions that move: through neurons, layers and samples, a mark over the picture; what is clicked is gone to."""

from dataclasses import replace

from textual import on

from vlmscope.tui.browse import moves
from vlmscope.tui.browse.action_base import Actions
from vlmscope.tui.messages import LayerChosen, Notice, OrderChosen, PatchChosen, RowChosen, SampleChosen, TokenChosen
from vlmscope.tui.views.state import Mode
from vlmscope.tui.widgets.neuron_list import NeuronList
from vlmscope.tui.widgets.page.page import Page


class MovingActions(Actions):
    """Keys and clicks that move, and the digits that count them."""

    def moved(self, moved: moves.Moved) -> None:
        """Paint a move, and show its message."""
        changed, note = moved
        if note:
            self.posts.notify(Notice(note))
        self.show(changed)

    def before_action(self, action: str) -> None:
        """An action is about to run, as Textual writes it."""
        if self.session.scene.count or self.count.decided is not None:
            self.count.before(action)

    def times(self) -> int:
        """How often a move is made."""
        return self.count.take() if self.session.scene.count else 1

    def action_digit(self, number: int) -> None:
        self.count.digit(number)

    def action_count(self) -> None:
        """Of the palette, which types no digit."""
        self.posts.notify(Notice("Type a count before a move: 10j, 200], 5l."))

    @property
    def points(self) -> bool:
        """Whether a patch or a word is pointed at."""
        return self.session.state.mode is Mode.POINT

    @property
    def in_sheet(self) -> bool:
        """Whether the contact sheet is shown."""
        return self.session.state.mode is Mode.SHEET

    def action_step(self, by: int) -> None:
        by *= self.times()
        if self.points:
            self._move_pointer(by, 0)
        elif self.in_sheet:
            self.show(moves.to_cell(self.session, by * self.query_one(Page).sheet_columns))
        else:
            self.show(self.session.step(by))

    def action_end(self, which: int) -> None:
        self.show(self.session.go_row(0 if which < 0 else len(self.session.scene.selection) - 1))

    def action_half_page(self, which: int) -> None:
        self.show(self.session.step(which * self.times() * max(self.query_one(NeuronList).page_rows // 2, 1)))

    def action_layer(self, by: int) -> None:
        layer, last = self.session.state.neuron.layer, self.session.store.layers - 1
        wanted = min(max(layer + by * self.times(), 0), last)
        if wanted != layer:
            self.moved(moves.to_layer(self.session, wanted))

    def action_sample(self, by: int) -> None:
        by *= self.times()
        if self.points:
            self._move_pointer(0, by)
        elif self.in_sheet:
            self.show(moves.to_cell(self.session, by))
        else:
            self.moved(moves.to_sample(self.session, by))

    def action_next_untriaged(self) -> None:
        self.moved(moves.to_untriaged(self.session))

    async def action_match(self, by: int) -> None:
        await self.controllers.find.next_match(by * self.times())

    async def action_places(self, by: int) -> None:
        await self.controllers.find.go_back(by)

    @on(RowChosen)
    def _row_chosen(self, message: RowChosen) -> None:
        with self.guard():
            self.show(self.session.go_row(message.position))

    @on(OrderChosen)
    def _order_chosen(self, message: OrderChosen) -> None:
        self.controllers.tasks.run_task(self.controllers.find.set_order(message.order))

    @on(SampleChosen)
    def _sample_chosen(self, message: SampleChosen) -> None:
        with self.guard():
            self.show(self.session.change_state(rank=message.rank))

    @on(PatchChosen)
    def _patch_chosen(self, message: PatchChosen) -> None:
        with self.guard():
            pointer = replace(self.session.state.pointer, row=message.row, column=message.column, on_words=False)
            self.show(self.session.change_state(pointer=pointer))

    @on(TokenChosen)
    def _token_chosen(self, message: TokenChosen) -> None:
        with self.guard():
            pointer = replace(self.session.state.pointer, token=message.token, on_words=True)
            self.show(self.session.change_state(pointer=pointer))

    @on(LayerChosen)
    def _layer_chosen(self, message: LayerChosen) -> None:
        with self.guard():
            self.moved(moves.to_layer(self.session, message.layer))

    def _move_pointer(self, down: int, right: int) -> None:
        if down and self.session.state.pointer.on_words:
            self.show(moves.to_token(self.session, self.query_one(Page).token_by_line(down)))
        else:
            self.show(moves.to_place(self.session, down, right))

    def action_point(self) -> None:
        self.moved(moves.to_pointing(self.session))
        self.controllers.model.want_map()
