"""Lines that are typed below the page: a search, a command, a picture, tags, a folder; and what an entered one does."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.spelling import nearest
from vlmscope.core.method.labels import Label
from vlmscope.tui import command_line, keys
from vlmscope.tui import command_values as values
from vlmscope.tui.browse import pick
from vlmscope.tui.command_line import read_command
from vlmscope.tui.command_values import Command
from vlmscope.tui.dialogs import drafts
from vlmscope.tui.messages import Notice
from vlmscope.tui.views import filters
from vlmscope.tui.views.drawing import Blocks
from vlmscope.tui.views.saved import saved_views
from vlmscope.tui.views.state import AfterVerdict, Order

if TYPE_CHECKING:
    from textual.suggester import Suggester

    from vlmscope.tui.browse.screen import BrowseScreen
    from vlmscope.tui.widgets.prompt_line import PromptLine


class TypedLines:
    """The one line that is typed on ``screen``, in the place of the key bar; its draft survives the program."""

    def __init__(self, screen: "BrowseScreen") -> None:
        self._screen = screen
        self._neuron = screen.session.state.neuron  # that the line is about
        self._line: PromptLine | None = None
        self._draft = Path()
        self._picked: list[Neuron] = []  # that the line is about, if any are picked

    async def search(self) -> None:
        await self._open("search", "/", f"27.3900, an index of this layer, or which neurons: {filters.EXAMPLES}")

    async def filter(self) -> None:
        """The list's filter, to be edited."""
        line = self._screen.session.state.filter.line
        await self._open("filter", "filter ", filters.EXAMPLES, value=f"{line} " if line else "")

    async def picture(self) -> None:
        from vlmscope.tui.widgets.path_suggester import PathSuggester

        placeholder = f"PATH [PROMPT] · {keys.keys_of('back', self._screen.config.keys)[0]} leaves"
        await self._open("picture", "picture ", placeholder, PathSuggester())

    async def tags(self) -> None:
        if self._screen.session.scene.picked is not None:
            self._picked = pick.picked(self._screen.session)
            await self._open(
                "add tags", f"tags for {len(self._picked):,} neurons ", "trains, check again: added to theirs"
            )
            return
        prompt = f"tags of {self._screen.session.state.neuron} "
        await self._open("tags", prompt, "trains, check again", value=self._screen.controllers.triage.tags)

    async def export(self) -> None:
        await self._open("export", "export the kept neurons to ", "a folder to make", value="vlmscope-report")

    async def command(self, value: str = "") -> None:
        from vlmscope.tui.widgets.path_suggester import PathSuggester

        names = [f"{verb.usage.split()[0]} " for verb in command_line.VERBS.values()]
        names += [f"pictures {name}" for name in Blocks]
        names += [f"theme {name}" for name in sorted(self._screen.app.available_themes)]
        names += [f"label {word}" for word in (*(label.word for label in Label), filters.HIGH_WORDS[0], "all")]
        names += [f"sort {order}" for order in Order]
        names += [f"after {after}" for after in AfterVerdict]
        with contextlib.suppress(UsageError):  # the file of views cannot be read: ``:view`` says why
            names += [f"{verb} {name}" for verb in ("view", "delete-view") for name in saved_views()]
        names += [f"ablate {word}" for word in command_line.ABLATE_WORDS]
        placeholder = "27.3900 · Tv 2.5 · label visual · image PATH · help"
        await self._open("command", ":", placeholder, PathSuggester("image ", names), value)

    async def _open(
        self, prompt: str, word: str, placeholder: str, suggester: "Suggester | None" = None, value: str = ""
    ) -> None:
        # Awaited by the key's own action: letters that are typed at once are for the line, not for the screen.
        from vlmscope.tui.widgets.prompt_line import PromptLine

        screen, line = self._screen, self._line
        if line is None:
            line = self._line = PromptLine(id="prompt")
            await screen.mount(line, after="#keys")
        screen.query_one("#keys").display = False
        self._neuron = screen.session.state.neuron
        self._draft = screen.controllers.triage.drafts.line(prompt, self._neuron)
        left = drafts.kept(self._draft)
        if left is not None and prompt == "tags":
            value = left
            screen.posts.notify(Notice("Tags that were typed and never entered are back."))
        elif left is not None:
            line.remember(prompt, left)
            screen.posts.notify(Notice("↑ brings back a line that was never entered."))
        line.open(prompt, word, placeholder, suggester, value)

    def keep_draft(self) -> None:
        """Write what is being typed to its draft."""
        if self._line is not None and self._line.typed:
            drafts.keep(self._draft, self._line.typed)

    def changed(self, prompt: str, text: str) -> None:
        """A line is being typed: a search, or a filter, lists at once what it asks for."""
        if prompt in ("search", "filter"):
            self._screen.controllers.tasks.run_task(self._preview(prompt, text))

    async def _preview(self, prompt: str, text: str) -> None:
        count = await self._screen.controllers.find.preview(prompt, text)
        if self._line is not None and self._line.display:
            self._line.show_count(count)

    def left(self) -> None:
        """The line was left without being entered."""
        self.ended()
        self._screen.show(self._screen.controllers.find.end())

    def ended(self) -> None:
        """The line was entered or left: its draft goes, and the key bar is back."""
        self._screen.query_one("#keys").display = True
        drafts.drop(self._draft)

    async def entered(self, prompt: str, text: str) -> None:
        """Do what an entered line asks for.

        Raises:
            VlmscopeError: if it cannot be read or done.
        """
        session, controllers = self._screen.session, self._screen.controllers
        match prompt:
            case "search" | "filter":
                self._screen.show(await controllers.find.enter(prompt, text))
            case "export":
                controllers.tasks.run_task(controllers.triage.export(text))
            case "add tags":
                controllers.triage.add_tags(self._picked, text)
            case "tags":
                controllers.triage.set_tags(self._neuron, text)
            case _:
                line = f"image {text}" if prompt == "picture" else text
                state = replace(session.state, thresholds=session.wanted)
                await self._run(read_command(line, state, session.store.numbering))

    async def _run(self, command: Command) -> None:
        screen, controllers = self._screen, self._screen.controllers
        match command:
            case values.GoTo() | values.SetThresholds() | values.SetFilter() | values.SetOrder():
                await self._list(command)
            case values.ShowImage(path, question):
                screen.show(controllers.model.show_image(path, question))
            case values.SetTheme() | values.SetAfter() | values.SetPictures():
                self._set(command)
            case values.OwnWords(text):
                controllers.score.score_own_words(text)
            case values.ShowShares(scans):
                await screen.show_shares(scans)
            case values.CompareGroups(a, b, drop_shared):
                await screen.ask(controllers.point.contrast(a, b, drop_shared=drop_shared))
            case values.SetAblating() | values.Check() | values.ShowEffects():
                await self._intervene(command)
            case values.ShowView() | values.SaveView() | values.DeleteView():
                await self._view(command)
            case values.Do(action):
                await screen.run_action(action)

    async def _list(self, command: values.Listing) -> None:
        screen, find = self._screen, self._screen.controllers.find
        match command:
            case values.GoTo(neuron):
                screen.show(screen.session.go(neuron))
            case values.SetThresholds(thresholds):
                find.relabel(thresholds)
            case values.SetFilter(filter_):
                await find.set_filter(filter_)
            case values.SetOrder(order):
                await find.set_order(order)

    def _set(self, command: values.Setting) -> None:
        screen = self._screen
        match command:
            case values.SetAfter(after):
                screen.controllers.triage.after = after
                screen.posts.notify(Notice(f"After a verdict: {after}."))
            case values.SetTheme(name):
                themes = screen.app.available_themes
                if name not in themes:
                    meant = nearest(name, themes)
                    raise UsageError(f"{name!r} is not a theme.", f"{meant}Themes: {', '.join(sorted(themes))}.")
                screen.app.theme = name
            case values.SetPictures(blocks):
                screen.draw_with(blocks)

    async def _intervene(self, command: values.Intervening) -> None:
        screen, controllers = self._screen, self._screen.controllers
        match command:
            case values.SetAblating(ablating):
                screen.show(controllers.ablate.set(ablating))
            case values.Check(word):
                screen.show(controllers.check.begin(word))
            case values.ShowEffects(word):
                await screen.ask(controllers.point.effects(word))

    async def _view(self, command: values.Viewing) -> None:
        views = self._screen.controllers.view
        match command:
            case values.ShowView(name):
                await views.show(name)
            case values.SaveView(name):
                views.save(name)
            case values.DeleteView(name):
                views.delete(name)
