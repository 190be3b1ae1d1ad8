"""Whether *clearest first* shows what a model has learnt: objects of the demo first, and little of its control."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from vlmscope.core.analysis.clearness import clearness, control_clearness
from vlmscope.core.analysis.control import find_control
from vlmscope.core.store.reader import ScanStore

FIRST = 20  #: neurons looked at


@dataclass(frozen=True)
class Clearest:
    """How clear the demo's neurons are.

    Attributes:
        first: neurons looked at, the clearest of those with a high-confidence label, as the list has them.
        objects: those of them whose leading concept is an object of the scenes.
        mean, control: the mean clearness of all neurons, trained and with random weights; None without a control.
    """

    first: int
    objects: int
    mean: float
    control: float | None


def bench_clearest(store: ScanStore, objects: Collection[str]) -> Clearest:
    """The figures of a scan whose scenes hold these objects.

    Raises:
        StoreError: if the scan or its control is damaged.
    """
    labels, concepts, control = store.stored_labels(), store.concepts, find_control(store)
    clear = clearness(store, labels)
    order = np.lexsort([-clear.ravel(), ~labels.high_confidence.ravel()])[:FIRST]
    led = ("" if concepts is None else concepts.leading(*divmod(at, store.neurons)) for at in order.tolist())
    random = None if control is None else float(control_clearness(control, control.stored_labels()).mean())
    return Clearest(len(order), sum(word in objects for word in led), float(clear.mean()), random)
