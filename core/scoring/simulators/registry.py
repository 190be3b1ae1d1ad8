"""The backends that there are, by name, and what each needs."""

from collections.abc import Callable
from dataclasses import dataclass

from vlmscope.core.base.config import Config
from vlmscope.core.base.demo import DEMO
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.spelling import nearest
from vlmscope.core.llm.budget import Ledger
from vlmscope.core.llm.client import Chat
from vlmscope.core.scoring.protocol import Simulator
from vlmscope.core.scoring.simulators.api_text import ApiText
from vlmscope.core.scoring.simulators.grounded_sam2 import GroundedSam2
from vlmscope.core.scoring.simulators.lens import Lens
from vlmscope.core.scoring.simulators.oracle import Oracle
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks

DEFAULT = Lens.name  #: it needs nothing but the model


@dataclass(frozen=True, eq=False)
class Tools:
    """The parts that simulators are made of."""

    store: ScanStore
    model: Asks
    config: Config
    chat: Chat | None = None  #: for those that ask an API, as ``ledger``; the caller closes it
    ledger: Ledger | None = None


@dataclass(frozen=True)
class Backend:
    """One backend: a description in a few words, and its constructor."""

    means: str
    make: Callable[[Tools], Simulator]
    demo_only: bool = False


def _api_text(tools: Tools) -> Simulator:
    if tools.chat is None or tools.ledger is None:
        raise UsageError("api-text needs an API.", "Set OPENAI_API_KEY, or OPENAI_BASE_URL.")
    return ApiText(tools.chat, tools.ledger)


BACKENDS: dict[str, Backend] = {
    Lens.name: Backend("the model itself; patches and words", lambda tools: Lens.of(tools.store, tools.model)),
    GroundedSam2.name: Backend(
        "the paper's: detector and masks; patches", lambda tools: GroundedSam2(tools.config.simulate, tools.model)
    ),
    ApiText.name: Backend("the paper's: an API; words (costs money)", _api_text),
    Oracle.name: Backend(
        "the demo's known boxes; patches", lambda tools: Oracle.of_demo(tools.store.manifest), demo_only=True
    ),
}


def usable(store: ScanStore) -> tuple[str, ...]:
    """The backends that make sense on this scan."""
    demo = store.manifest.image_root == DEMO
    return tuple(name for name, backend in BACKENDS.items() if demo or not backend.demo_only)


def make_simulator(name: str, tools: Tools) -> Simulator:
    """The backend of this name.

    Raises:
        UsageError: if there is none of this name, or it cannot work on this scan.
        StoreError: if the scan lacks what it needs.
    """
    backend = BACKENDS.get(name.strip().lower())
    if backend is None:
        raise UsageError(f"{name!r} is not a backend.", f"{nearest(name, BACKENDS)}Backends: {', '.join(BACKENDS)}.")
    return backend.make(tools)
