"""Evidence and connections for the tests of explanations."""

import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.api_server import ApiServer
from tests.support.asking import Answering
from vlmscope.core.base.config import Api
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.explain.evidence import Evidence
from vlmscope.core.llm.client import Chat
from vlmscope.core.method.labels import Label
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.store.example import Example, Sample
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import MapAnswer, MapRequest

TOKENS = ("A", " red", " train", ".")


def picture(side: int = 24, seed: int = 0) -> bytes:
    """A PNG of noise."""
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def sample(rank: int = 1, tokens: tuple[str, ...] = TOKENS, index: int = 7, text: list[float] | None = None) -> Example:
    """A sample of this rank, from 1, with exact activations of a neuron whose maximum is 4."""
    rng = np.random.default_rng(rank)
    nothing = np.zeros(0, np.float32)
    return Example(
        rank=rank - 1,
        sample=Sample(index, "gone.png", "".join(tokens), tokens, "/gone"),
        activation=4.0,
        maximum=4.0,
        visual=nothing,
        text=nothing,
        vote=Label.UNKNOWN,
        peak_patch=None,
        peak_token=None,
        visual_values=rng.random(16, dtype=np.float32) * 5 - 1,
        map_layout=VisualLayout.plain(4, 4),
        text_map=np.array([0.0, 1.0, 4.0, -1.0] if text is None else text, dtype=np.float32),
        read_crop=lambda: picture(seed=rank),
        exact=True,
    )


def evidence(label: Label = Label.MULTIMODAL, index: int = 17, samples: tuple[Example, ...] = ()) -> Evidence:
    """Complete evidence of one neuron; two samples if none are given."""
    return Evidence(Neuron(3, index), label, samples or (sample(1), sample(3, index=9)))


def chat_with(server: ApiServer, **settings: object) -> Chat:
    """A connection whose waits take no time."""

    async def no_time(_: float) -> None:
        return

    return Chat(Api.model_validate({"base_url": server.url, **settings}), sleep=no_time)


class FakeMaps(Answering):
    """Exact maps that follow from neuron and sample; may do something first."""

    def __init__(self, store: ScanStore, first: Callable[[MapRequest], Awaitable[None]] | None = None) -> None:
        super().__init__()
        self.requests: list[MapRequest] = []
        self._store = store
        self._first = first

    async def map(self, request: MapRequest) -> MapAnswer:
        self.requests.append(request)
        if self._first is not None:
            await self._first(request)
        assert request.sample is not None
        tokens = len(self._store.sample(request.sample).tokens)
        layout = self._store.layout(request.sample)
        visual = np.full(len(layout), request.sample, np.float32)
        text = np.arange(tokens, dtype=np.float32)
        return MapAnswer.of(request, visual, layout, text, picture(seed=request.sample))


def with_pictures(folder: Path, scan: Path) -> ScanStore:
    """The scan with its pictures at hand, in ``folder``; it has no digests, and the user has agreed to that."""
    store = ScanStore(scan)
    store.images_trusted = True
    store.manifest = store.manifest.model_copy(update={"image_root": str(folder)})
    for index in range(store.manifest.samples):
        (folder / store.sample(index).image).write_bytes(picture(seed=index))
    return store
