"""Which of all neurons fire at a place of a picture, or carry a word: what the model answers, ordered by a rule.

A picture of the scan's own needs no model where the list of those neurons is enough that have it among their top
samples: ``core/analysis/pointing.py``.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.pointing import LIMIT, Pointed, Rule, point_at_all
from vlmscope.core.base.errors import UsageError, WorkerError
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.pictures import Described, of_answer
from vlmscope.core.method.labels import Labels
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.method.place import Place
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.interventions import AttributionRequest, FiringRequest, InterventionRequest
from vlmscope.core.worker.messages import DescribeRequest, MapRequest

EXACT = 20  #: of the first neurons by effect, how many are ablated


async def describe(
    model: Asks, store: ScanStore, picture: Path, lane: Lane = Lane.SCREEN
) -> tuple[Described, VisualLayout]:
    """A picture of the user's own, described by the model as the scan's are, and where its visual tokens look.

    Raises:
        Cancelled, WorkerError: from the model process.
    """
    found = of_answer(await model.ask(DescribeRequest(str(picture), store.manifest.question), lane))
    ref = found.ref
    answer = await model.ask(MapRequest(Neuron(0, 0), ref.image, ref.prompt, ref.description, None), lane)
    return found, answer.layout


async def point(
    model: Asks,
    store: ScanStore,
    labels: Labels,
    picture: Described,
    place: Place,
    rule: Rule = Rule.BAR,
    limit: int = LIMIT,
    lane: Lane = Lane.SCREEN,
) -> Pointed:
    """All neurons at a place of a picture, ordered by a rule.

    Args:
        labels: of all neurons, to be shown.

    Raises:
        UsageError: if an effect is asked for at a patch.
        StoreError: if the scan or its concepts are damaged.
        Cancelled, WorkerError: from the model process, or if its answer does not fit the scan.
    """
    ref = picture.ref
    activation = written = effects = None
    if rule is Rule.EFFECT:
        check_word(place, "--by effect")
        effects = _of_rows(store, (await model.ask(AttributionRequest(ref, place.text[0]), lane)).effects)
    else:
        text = place.text[:1] if place.before else place.text
        answer = await model.ask(FiringRequest(ref, place.visual, text, place.before), lane)
        activation = _of_rows(store, answer.activation, -answer.lowest)
        written = _of_rows(store, answer.written)
    return point_at_all(store, labels, ref.sample, place, rule, activation, written, effects, limit)


def _of_rows(
    store: ScanStore, units: NDArray[np.float32], negative: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The model's numbers for the rows of the scan: float32 (L, F).

    Args:
        units: float32 (L, units), one number for each. negative: of the negative poles, where theirs are others.
    """
    if not store.numbering.poled:
        return units
    return np.stack((units, units if negative is None else negative), axis=-1).reshape(len(units), -1)


async def ablate_first(
    model: Asks, picture: Described, found: Pointed, count: int = EXACT, lane: Lane = Lane.SCREEN
) -> Pointed:
    """The same with what the removal of each of the first ``count`` neurons does to the word's log-odds.

    Ordered by effect, these neurons are then in the order of what was measured; the others follow.

    Raises:
        UsageError: if a patch was pointed at.
        Cancelled, WorkerError: from the model process.
    """
    check_word(found.place, "--exact")
    first = found.neurons[:count]
    if not first:
        return found
    rows = tuple((Edit(one.neuron),) for one in first)
    answer = await model.ask(InterventionRequest(picture.ref, rows, Positions.ALL, found.place.text[:1]), lane)
    if answer.changes.shape != (len(rows), 1):
        raise WorkerError("The model's answer is of another shape than asked for.")
    changes = answer.changes[:, 0].tolist()
    exact = [replace(one, exact=change) for one, change in zip(first, changes, strict=True)]
    if found.rule is Rule.EFFECT:
        exact = [exact[at] for at in sorted(range(len(exact)), key=changes.__getitem__)]
    return replace(found, neurons=(*exact, *found.neurons[count:]))


def check_word(place: Place, what: str) -> None:
    """Raise UsageError if the place is not a word of the description."""
    if not place.text:
        raise UsageError(f"{what} is about a word's log-odds, and {place.name} is not a word.", "Name one with --word.")
