"""The browse screen's side of the model: maps that the scan lacks, the user's own picture, and what went wrong."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on

from vlmscope.core.base.config import Config
from vlmscope.core.base.demo import image_path
from vlmscope.core.base.errors import Cancelled, UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import Phase
from vlmscope.tui.browse.model_link import ClientFactory
from vlmscope.tui.browse.paint import ANSWERS
from vlmscope.tui.browse.session import StatefulScreen
from vlmscope.tui.keys import keys_of
from vlmscope.tui.messages import Described, DescribeFailed, MapArrived, MapFailed, StatusChanged
from vlmscope.tui.views.state import Mode, OwnPicture, Pane

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView

    pass

ASK_AFTER_S = 0.15  #: how long the cursor rests before the model is asked


class ModelTalkScreen(StatefulScreen):
    """Requests to the model and its answers."""

    def __init__(
        self, store: ScanStore, config: Config, start: Neuron | None, name: str, factory: ClientFactory
    ) -> None:
        super().__init__(store, config, start, name, factory)
        self._asked: set[tuple[Neuron, int | None, str]] = set()

    def say(self, text: str) -> None:
        """A short word to the user."""
        self.app.notify(text, markup=False, timeout=3)

    def tell(self, error: VlmscopeError) -> None:
        """Show a failure with its mend."""
        self.app.notify(plain_lines(error), title=error.title, severity="error", markup=False)

    def want_map(self, evidence: "PictureView") -> None:
        """Ask the model for a map that the scan does not hold, once the cursor has rested."""
        if evidence.key not in self.problems and not evidence.map_problem:
            self.set_timer(ASK_AFTER_S, lambda: self._ask(evidence.key))

    def _ask(self, key: tuple[object, ...]) -> None:
        evidence, state = self._evidence, self.state
        if self._stale or evidence is None or evidence.key != key or evidence.visual is not None:
            return
        if evidence.key in self.problems or evidence.key in self._asked:
            return
        manifest = self.store.manifest
        if state.own is not None:
            if not state.own.described:
                return
            prompt, description, image = state.own.prompt, state.own.description, state.own.image
        else:
            assert evidence.sample is not None
            path = image_path(manifest.image_root, evidence.image)
            if manifest.image_root is not None and not path.is_file():
                # Loading a model for minutes only to learn this would be a bad joke.
                self._no_map(evidence.key, f"the scan keeps {manifest.maps} maps, and the picture is not at {path}")
                return
            prompt, image = manifest.prompt, str(path)
            try:
                description = self.store.sample(evidence.sample).description
            except VlmscopeError as error:
                self._no_map(evidence.key, error.message)
                return
        self._asked.add(evidence.key)
        self.link.map(state.neuron, image, prompt, description, evidence.sample)
        self._paint_all()

    def _no_map(self, key: tuple[object, ...], reason: str) -> None:
        evidence = self._evidence
        if evidence is None or evidence.key != key:
            return
        self.problems[evidence.key] = reason
        self._evidence = replace(evidence, map_problem=reason)
        self._paint_all()

    def _key_of(self, sample: int | None, image: str) -> str:
        """The picture as evidence names it: a sample's answer bears the full path."""
        return image if sample is None else self.store.sample(sample).image

    @on(MapArrived)
    def _map_arrived(self, message: MapArrived) -> None:
        answer = message.answer
        own = self.state.own
        key = (answer.neuron, answer.sample, self._key_of(answer.sample, answer.image))
        self._asked.discard(key)
        if answer.sample is None and (own is None or not own.described or own.image != answer.image):
            return  # a picture that has been left
        self.answers[key] = answer
        while len(self.answers) > ANSWERS:
            self.answers.popitem(last=False)
        if not self._stale:
            self._evidence = self.gather()
        self._paint_all()

    @on(MapFailed)
    def _map_failed(self, message: MapFailed) -> None:
        from vlmscope.core.worker.client import Superseded

        evidence = self._evidence
        key = (message.neuron, message.sample, self._key_of(message.sample, message.image))
        self._asked.discard(key)
        if evidence is not None and evidence.key == key and evidence.visual is None:
            if isinstance(message.error, Superseded):
                self._evidence = replace(evidence, map_problem="")
                self.want_map(self._evidence)
            else:
                self._no_map(key, plain_lines(message.error))
        self._paint_all()

    @on(StatusChanged)
    def _status_changed(self, message: StatusChanged) -> None:
        self.paint_title()
        phase = message.status.phase
        if phase is Phase.FAILED:
            self.app.notify(
                plain(message.status.detail) or "It gave no reason. :restart loads it again.",
                title="The model process failed",
                severity="error",
                markup=False,
            )
        elif phase in (Phase.READY, Phase.OFF, Phase.STARTING) and self.problems:
            self.problems.clear()
            self.settle()
        self._paint_all()

    # -- the user's own picture ----------------------------------------------------------------------------------

    def show_image(self, path: str, question: str | None) -> None:
        """Put a picture under the neuron: the model describes it, or answers ``question``.

        Raises:
            UsageError: if there is no such file.
        """
        file = Path(path).expanduser()
        if not file.is_file():
            raise UsageError(
                f"There is no picture at {plain(str(file))}.", "Check the path; quote it if it has blanks."
            )
        own = OwnPicture(str(file.resolve()), question or self.store.manifest.question)
        self._forget_own()
        mode = Mode.PICTURES if self.state.mode is Mode.STATISTICS else self.state.mode
        self.become(replace(self.state, own=own, mode=mode, pane=Pane.PAGE))
        self.link.describe(own)
        self._paint_all()

    def _forget_own(self) -> None:
        """The same picture may come again with other words: its maps are not the same then."""
        for key in [key for key in self.answers if key[1] is None]:
            del self.answers[key]
        for key in [key for key in self.problems if key[1] is None]:
            del self.problems[key]
        self._asked = {key for key in self._asked if key[1] is not None}

    def leave_image(self) -> None:
        """Back to the neuron's own samples."""
        self._forget_own()
        self.become(replace(self.state, own=None))

    @on(Described)
    def _described(self, message: Described) -> None:
        if self.state.own != message.own:
            return
        answer = message.answer
        self.become(
            replace(
                self.state,
                own=replace(
                    message.own,
                    prompt=answer.prompt,
                    description=answer.description,
                    tokens=answer.tokens,
                    crop=answer.crop,
                ),
            )
        )

    @on(DescribeFailed)
    def _describe_failed(self, message: DescribeFailed) -> None:
        if self.state.own != message.own:
            return
        self.leave_image()
        if isinstance(message.error, Cancelled):
            self.app.notify("Stopped. The neuron's own samples are back.", markup=False)
        else:
            self.tell(message.error)

    def action_restart_model(self) -> None:
        """``:restart``"""
        self.run_worker(self._guard_restart(), exclusive=True, group="restart")

    async def _guard_restart(self) -> None:
        try:
            await self.link.restart()
        except VlmscopeError as error:
            self.tell(error)

    def action_unload_model(self) -> None:
        """``:unload``"""
        self.run_worker(self._unload(), group="unload")

    async def _unload(self) -> None:
        await self.link.unload()
        self.app.notify("The model is unloaded; its memory is free.", markup=False)

    async def action_own_picture(self) -> None:
        """Ask for the path of a picture."""
        await self.ask_line("picture", "picture ", f"PATH [PROMPT] · {keys_of('back', self.config.keys)[0]} leaves", [])

    async def ask_line(self, prompt: str, word: str, placeholder: str, suggestions: list[str], value: str = "") -> None:
        """Open the prompt line; ``BrowseScreen`` has it."""
        raise NotImplementedError


def plain_lines(error: VlmscopeError) -> str:
    """A failure's message and mend, harmless, each on a line of its own."""
    return "\n".join(plain(line) for line in str(error).splitlines())
