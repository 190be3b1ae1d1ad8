"""Actions of the main screen that a controller, a dialog or a typed line does alone."""

from typing import TYPE_CHECKING

from vlmscope.core.base.text import written
from vlmscope.tui import keys
from vlmscope.tui.browse import pick
from vlmscope.tui.browse.action_base import Actions
from vlmscope.tui.messages import Notice
from vlmscope.tui.terminal import NOTE_MOST

if TYPE_CHECKING:
    from vlmscope.tui.dialogs.note import NoteScreen


class DelegatedActions(Actions):
    """Keys that ask a controller, or open a dialog."""

    note: "NoteScreen | None" = None  #: the last one that was opened

    # -- intervening ---------------------------------------------------------------------------------------------

    async def action_check(self) -> None:
        if picked := pick.picked(self.controllers.session):
            await self.ask(self.controllers.batch.check(picked))
            return
        self.show(self.controllers.check.show())
        self.controllers.check.begin_first()

    async def action_related(self) -> None:
        await self.ask(self.controllers.point.related())

    # -- finding -------------------------------------------------------------------------------------------------

    async def action_filter(self) -> None:
        await self.ask(self.controllers.find.choose_filter())

    async def action_sort(self) -> None:
        await self.ask(self.controllers.find.choose_order())

    async def action_published(self) -> None:
        await self.ask(self.controllers.find.choose_published())

    async def action_search(self) -> None:
        await self.typed_lines.search()

    async def action_views(self) -> None:
        await self.ask(self.controllers.view.choose())

    async def action_reset(self) -> None:
        await self.controllers.find.reset()

    async def action_filter_line(self) -> None:
        await self.typed_lines.filter()

    # -- the model and the API -----------------------------------------------------------------------------------

    async def action_explain(self) -> None:
        if picked := pick.picked(self.controllers.session):
            self.controllers.batch.explain(picked)
        else:
            await self.ask(self.controllers.explain.explain())

    async def action_simulate(self) -> None:
        picked, controllers = pick.picked(self.controllers.session), self.controllers
        await self.ask(controllers.batch.score(picked) if picked else controllers.score.choose_backend())

    async def action_choose(self) -> None:
        await self.ask(self.controllers.notebook.choose_explanation())

    async def action_allow(self) -> None:
        await self.ask(self.controllers.consent.ask())

    def action_exact_map(self) -> None:
        self.controllers.model.ask_exact()

    def action_writes(self) -> None:
        self.controllers.promoted.ask()

    def action_restart_model(self) -> None:
        self.controllers.requests.run_task(self.controllers.model_link.restart())

    def action_unload_model(self) -> None:
        self.controllers.requests.run_task(self.controllers.model.unload())

    async def action_own_picture(self) -> None:
        await self.typed_lines.picture()

    # -- deciding ------------------------------------------------------------------------------------------------

    def action_verdict(self, number: int) -> None:
        if self.count.is_verdict(number):
            self.controllers.triage.decide(number)

    def action_pick(self) -> None:
        self.show(pick.switch(self.controllers.session, self.times()))

    def action_pick_range(self) -> None:
        self.show(pick.switch_range(self.controllers.session))

    def action_bookmark(self) -> None:
        self.controllers.triage.switch_bookmark()

    def action_undo(self) -> None:
        self.controllers.tasks.run_task(self.controllers.triage.undo())

    def action_redo(self) -> None:
        self.controllers.tasks.run_task(self.controllers.triage.redo())

    async def action_tags(self) -> None:
        await self.typed_lines.tags()

    async def action_note(self) -> None:
        from vlmscope.tui.dialogs.note import NoteScreen

        neuron, text, draft = await self.controllers.triage.note_to_edit()
        if len(text) > NOTE_MOST:
            editor = keys.keys_of("note.editor", self.config.keys)[0]
            self.posts.notify(Notice(f"This note is too long for here: {editor} opens an editor."))
            return

        def keep(new: str) -> None:
            self.controllers.tasks.run_task(self.controllers.triage.keep_note(neuron, written(new), draft))

        self.note = NoteScreen(f"note on {neuron}", text, draft, keep)
        await self.app.push_screen(self.note)

    def action_note_editor(self) -> None:
        self.controllers.tasks.run_task(self.controllers.triage.edit_note())

    def action_copy_markdown(self) -> None:
        self.controllers.tasks.run_task(self.controllers.triage.copy_markdown())

    async def action_export(self) -> None:
        await self.typed_lines.export()
