"""The screen's side of the model process, which starts when it is first needed; no key waits for it."""

from collections.abc import Callable

from vlmscope.core.base.config import Config
from vlmscope.core.base.errors import WorkerError
from vlmscope.core.base.text import plain
from vlmscope.core.store.hub import would_download
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.worker.client import A, Lane, ModelClient
from vlmscope.core.worker.messages import ModelSpec, ModelStatus, Phase, Request

ClientFactory = Callable[[ModelSpec, Callable[[ModelStatus], None], float], ModelClient]


def start_process(spec: ModelSpec, on_status: Callable[[ModelStatus], None], idle_unload_s: float) -> ModelClient:
    """The real model process; imported here, because browsing does not need it."""
    from vlmscope.core.worker.process import ModelProcess

    return ModelProcess(spec, on_status, idle_unload_s)


class ModelLink:
    """Asks the model; loads it if it is off."""

    def __init__(self, manifest: Manifest, config: Config, factory: ClientFactory, allow_key: str) -> None:
        """Nothing is started yet; ``allow_key`` lets the user consent to a download."""
        self.allow_key = allow_key
        self.consented = False  #: whether the user has agreed to a download
        self._spec = ModelSpec(
            name=manifest.model.name,
            revision=manifest.model.revision,
            device=config.device,
            dtype=config.dtype,
            hook=manifest.hook,
            device_map=config.device_map,
            image_options=manifest.model.image_options,
            chat_options=manifest.model.chat_options,
            weights=manifest.model.weights,
            processor=manifest.model.processor,
        )
        self._idle_unload_s = config.idle_unload_minutes * 60
        self._factory = factory
        self._client: ModelClient | None = None
        self._asked = dict.fromkeys(Lane, 0)
        self.listeners: list[Callable[[], None]] = []  #: called at each change of ``status``, ``asking`` or ``busy``

    @property
    def status(self) -> ModelStatus:
        """The model process's state; OFF before it was ever needed."""
        return self._client.status if self._client is not None else ModelStatus(Phase.OFF)

    @property
    def asking(self) -> bool:
        """Whether the screen's lane waits for an answer."""
        return self._asked[Lane.SCREEN] > 0

    @property
    def busy(self) -> bool:
        """Whether any lane waits for an answer."""
        return any(self._asked.values())

    @property
    def needs_consent(self) -> bool:
        """Whether the first load would download a model that the user has not agreed to: the manifest names it."""
        return self._client is None and not self.consented and would_download(self._spec.name, self._spec.revision)

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        """As in ``vlmscope.core.worker.client.Asks``; also raises WorkerError where a download needs consent."""
        self._count(lane, 1)
        try:
            return await self.client.ask(request, lane)
        finally:
            self._count(lane, -1)

    def _count(self, lane: Lane, by: int) -> None:
        self._asked[lane] += by
        self._changed()

    def _changed(self, _status: ModelStatus | None = None) -> None:
        for listener in self.listeners:
            listener()

    @property
    def client(self) -> ModelClient:
        """The model process's client, made when it is first needed.

        Raises:
            WorkerError: if the model would be downloaded, and the user has not agreed to that.
        """
        if self.needs_consent:
            name = plain(self._spec.name, 100)
            raise WorkerError(f"{name} is not on this disk and would be downloaded.", f"{self.allow_key} allows it.")
        if self._client is None:
            self._client = self._factory(self._spec, self._changed, self._idle_unload_s)
        return self._client

    async def stop(self) -> None:
        """Stop what the model is doing for the screen."""
        if self._client is not None:
            await self._client.stop()

    async def restart(self) -> None:
        """Start the process again and load the model.

        Raises:
            VlmscopeError: if it cannot be started.
        """
        await self.client.restart()

    async def unload(self) -> None:
        """Free the model's memory."""
        if self._client is not None:
            await self._client.unload()

    async def close(self) -> None:
        """End the process."""
        self.listeners.clear()
        if self._client is not None:
            await self._client.close()
