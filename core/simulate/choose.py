"""The backends that there are, by name."""

from collections.abc import Callable

from core.errors import UsageError
from core.scan_store import ScanStore
from core.simulate.lens import Lens
from core.simulate.oracle import Oracle
from core.simulate.protocol import ModelSide, Simulator

Make = Callable[[ScanStore, ModelSide], Simulator]

DEFAULT = Lens.name  #: it needs nothing but the model

BACKENDS: dict[str, Make] = {
    Lens.name: Lens.of,
    Oracle.name: lambda store, _: Oracle.of_demo(store.manifest),
}


def make_simulator(name: str, store: ScanStore, model: ModelSide) -> Simulator:
    """The backend of this name.

    Raises:
        UsageError: if there is none of this name, or it cannot work on this scan.
        StoreError: if the scan lacks what it needs.
    """
    make = BACKENDS.get(name.strip().lower())
    if make is None:
        raise UsageError(f"{name!r} is no backend.", f"Backends: {', '.join(BACKENDS)}.")
    return make(store, model)
