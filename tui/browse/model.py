"""The model's part: maps that the scan lacks, the user's own picture, and the state of the model process."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import Cancelled, VlmscopeError
from vlmscope.core.base.files import user_path
from vlmscope.core.data.images import is_file
from vlmscope.core.store.original import MISSING, UNCHECKED
from vlmscope.core.worker.client import Superseded
from vlmscope.core.worker.messages import DescribeRequest, MapRequest, Phase
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.answers import MapKey
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.own_picture import PictureError, picture_file, small_jpeg
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import LoadPage, Notice, Post, Repaint
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.views.state import Mode, OwnPicture

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView


@dataclass(eq=False)
class ModelControl:
    """Asks the model for what the page lacks, once the cursor has rested for ``ask_after_s``."""

    session: Session
    link: ModelLink
    post: Post
    tasks: Tasks
    ask_after_s: float
    _asked: set[MapKey] = field(default_factory=set)
    _wanted: set[MapKey] = field(default_factory=set)  #: exact maps that the user has asked for

    def __post_init__(self) -> None:
        self.link.listeners.append(self._link_changed)

    def _link_changed(self) -> None:
        session, status = self.session, self.link.status
        before = session.scene.status.phase
        self.post(Repaint(incoming.set_model(session, status, asking=self.link.asking, busy=self.link.busy)))
        if status.phase is before:
            return
        if status.phase is Phase.FAILED:
            reason = status.detail or "It gave no reason. :restart loads it again."
            self.post(Notice(reason, None, "The model process failed", "error"))
        elif status.phase in (Phase.READY, Phase.OFF, Phase.STARTING) and session.answers.forget_problems():
            self.post(LoadPage())

    # -- maps ----------------------------------------------------------------------------------------------------

    def want_map(self) -> None:
        """Ask for the map that the page lacks, once the cursor has rested.

        No model is loaded for it: while it is off, ``ask_exact`` alone asks. The page that points shows exact values
        where the model is loaded.
        """
        for picture in self._pictures():
            if self._lacks(picture) and not picture.map_problem:
                self.tasks.run_task(self._ask_when_rested(picture.key))
                return  # the other one's is asked for when this one is there

    def _pictures(self) -> "list[PictureView]":
        """What the page shows: the neuron, and the pinned one beside it."""
        scene = self.session.scene
        return [picture for picture in (scene.picture, scene.beside) if picture is not None]

    def ask_exact(self) -> None:
        """Ask for the exact map of the page's picture once it is there, even if that has failed before."""
        self.tasks.run_task(self._ask_exact())

    async def _ask_exact(self) -> None:
        while self.session.scene.stale:  # a key is held
            await asyncio.sleep(self.ask_after_s)
        picture = self.session.scene.picture
        if picture is None:
            self.post(Notice("There is no picture to ask for.", None))
        elif picture.exact:
            self.post(Notice("This map is exact already.", None))
        else:
            self._wanted.update(one.key for one in self._pictures())
            if self.session.answers.map_problems.pop(picture.key, None) is not None:
                self.post(Repaint(self.session.refresh_picture()))
            await self._ask_if_lacking(picture.key)

    def _lacks(self, picture: "PictureView") -> bool:
        if picture.exact:
            return False
        phase = self.link.status.phase
        if picture.key in self._wanted or self.session.state.own is not None:
            return True
        if self.session.state.mode is Mode.POINT and phase in (Phase.READY, Phase.BUSY):
            return True
        return picture.visual is None and phase is not Phase.OFF

    async def _ask_when_rested(self, key: MapKey) -> None:
        await asyncio.sleep(self.ask_after_s)
        await self._ask_if_lacking(key)

    async def _ask_if_lacking(self, key: MapKey) -> None:
        picture = next((one for one in self._pictures() if one.key == key), None)
        if self.session.scene.stale or picture is None or not self._lacks(picture):
            return
        if key in self.session.answers.map_problems or key in self._asked:
            return
        request = self._request(key)
        if isinstance(request, str):
            self.post(Repaint(incoming.no_map(self.session, key, request)))
        elif request is not None:
            self._asked.add(key)
            await self._ask(key, request)

    def _request(self, key: MapKey) -> MapRequest | str | None:
        """The request for a map; a text: why no map is possible; None while the own picture is not described."""
        neuron, index, _ = key
        store, own = self.session.store, self.session.state.own
        if own is not None:
            return MapRequest(neuron, own.image, own.prompt, own.description, None) if own.described else None
        assert index is not None
        manifest = store.manifest
        try:
            sample = store.sample(index)
        except VlmscopeError as error:
            return error.message
        problem = sample.picture_problem
        if problem and not (manifest.image_root is None and problem.startswith(MISSING)):
            # The model would load for minutes only to find that the picture is missing.
            how = f"; {self.link.allow_key} allows it" if problem.startswith(UNCHECKED) else ""
            return f"the scan keeps {manifest.maps} maps, and {problem}{how}"
        return MapRequest(neuron, str(sample.picture), manifest.prompt, sample.description, index)

    async def _ask(self, key: MapKey, request: MapRequest) -> None:
        try:
            answer = await self.link.ask(request)
        except Superseded:
            self._asked.discard(key)
            self.want_map()
        except VlmscopeError as error:
            self._asked.discard(key)
            self.post(Repaint(incoming.no_map(self.session, key, str(error))))
        else:
            self._asked.discard(key)
            self.post(Repaint(incoming.take_map(self.session, answer, key[2])))
            if self.session.scene.beside is not None:
                self.want_map()

    # -- the user's own picture ----------------------------------------------------------------------------------

    def show_image(self, path: str, question: str | None) -> Changed:
        """Put a picture under the neuron: it is shown, then the model describes it, or answers ``question``.

        Raises:
            PictureError: if there is no such file.
        """
        if question is not None and not is_file(user_path(path)) and is_file(user_path(f"{path} {question}")):
            path, question = f"{path} {question}", None  # a path with a blank that is not quoted
        file = picture_file(path)
        own = OwnPicture(str(file.resolve()), question or self.session.store.manifest.question)
        changed = incoming.show_own(self.session, own)
        self._asked = {key for key in self._asked if key[1] is not None}
        self.tasks.run_task(self._show_and_describe(own))
        return changed

    async def _show_and_describe(self, own: OwnPicture) -> None:
        """Show the picture as soon as it is read; a picture that cannot be read never loads the model."""
        try:
            whole = await asyncio.to_thread(small_jpeg, Path(own.image))
        except PictureError:
            if self.session.state.own == own:
                self.post(Repaint(self.leave_image()))
            raise
        if self.session.state.own == own:
            read = replace(own, whole=whole)
            self.post(Repaint(self.session.change_state(own=read)))
            await self._describe(read)

    def leave_image(self) -> Changed:
        """Go back to the neuron's own samples."""
        self._asked = {key for key in self._asked if key[1] is not None}
        return incoming.leave_own(self.session)

    async def _describe(self, own: OwnPicture) -> None:
        try:
            answer = await self.link.ask(DescribeRequest(own.image, own.question))
        except VlmscopeError as error:
            if self.session.state.own != own:
                return
            self.post(Repaint(self.leave_image()))
            if not isinstance(error, Cancelled):
                raise
            self.post(Notice("Stopped. The neuron's own samples are back.", None))
            return
        if self.session.state.own == own:
            described = replace(
                own,
                prompt=answer.prompt,
                description=answer.description,
                tokens=answer.tokens,
                crop=answer.crop,
                seen=answer.seen,
            )
            self.post(Repaint(self.session.change_state(own=described)))

    # -- the process ---------------------------------------------------------------------------------------------

    async def unload(self) -> None:
        """Free the model's memory."""
        await self.link.unload()
        self.post(Notice("The model is unloaded; its memory is free.", None))
