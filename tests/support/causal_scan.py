"""A small scan that ``vlmscope ablate`` and ``check`` run on without a model: with pictures on disk, and concepts."""

from collections.abc import Callable
from pathlib import Path

from tests.support.explain_parts import picture
from tests.support.linear_model import LinearModel
from tests.tui.commands.test_search import put
from vlmscope.core.base.demo import DEMO
from vlmscope.core.store.manifest import MANIFEST, read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import A, Lane
from vlmscope.core.worker.messages import DescribeAnswer, DescribeRequest, ModelSpec, ModelStatus, Request

TOKENS = ("A", " dog", " and", " tr", "ain", ".")  #: of the user's own picture


def ready_scan(scan: Path, folder: Path) -> ScanStore:
    """Give a synthetic scan pictures in ``folder`` (``--trust-images`` reads them) and the concepts of ``put``.

    Neuron n of every layer has the words ``n % 4`` and ``n % 3`` of boat, cat, dog and train; every eighth has none.
    """
    put(scan)
    manifest = read_manifest(scan)
    model = manifest.model.model_copy(update={"name": DEMO})  # which is never downloaded
    changed = manifest.model_copy(update={"image_root": str(folder), "model": model})
    (scan / MANIFEST).write_text(changed.model_dump_json())
    store = ScanStore(scan)
    for index in range(store.manifest.samples):
        (folder / store.sample(index).image).write_bytes(picture(seed=index))
    return store


class LinearProcess(LinearModel):
    """``LinearModel`` in the place of the model process; it also describes a picture."""

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        if isinstance(request, DescribeRequest):
            self.tokens = len(TOKENS)
            text = "".join(TOKENS)
            return DescribeAnswer(request.image, request.question, "<image>", text, TOKENS, b"")  # type: ignore[return-value]  # as asked
        return await super().ask(request, lane)

    async def close(self) -> None:
        """Nothing to end."""


def starts(model: LinearProcess) -> Callable[..., LinearProcess]:
    """What stands for ``ModelProcess``: gives ``model``."""

    def start(spec: ModelSpec, on_status: Callable[[ModelStatus], None], idle_unload_s: float = 0) -> LinearProcess:
        on_status(model.status)
        return model

    return start
