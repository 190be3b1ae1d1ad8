"""From an intervention to the edits of single neurons."""

from collections.abc import Callable, Mapping, Sequence

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.intervention import Edit, Intervention, InterventionKind
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.causal.pictures import of_sample
from vlmscope.core.causal.written import Written
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.interventions import PeakRequest

PEAKS = 3  #: top samples that a clamp's z is a mean of


def edit(store: ScanStore, intervention: Intervention, neuron: Neuron, peak: float | None = None) -> Edit:
    """What the intervention replaces a neuron's z by.

    Args:
        peak: the neuron's z at its peak, as ``peak_z`` gives it; of a clamp alone.
    """
    match intervention.kind:
        case InterventionKind.ZERO:
            return Edit(neuron)
        case InterventionKind.SCALE:
            return Edit(neuron, factor=intervention.amount)
        case InterventionKind.MEAN:
            row = store.numbering.row(neuron)
            visual, text = (float(store.arrays["moments"][kind, 0, row.layer, row.index]) for kind in (0, 1))
            return Edit(neuron, visual=visual, text=text, times_up=store.manifest.hook is HookPoint.GATE)
        case InterventionKind.CLAMP:
            if peak is None:
                raise ValueError("a clamp needs the neuron's peak")
            return Edit(neuron, visual=intervention.amount * peak, text=intervention.amount * peak)


def edits(
    store: ScanStore, intervention: Intervention, neurons: Sequence[Neuron], peaks: Mapping[Neuron, float]
) -> tuple[Edit, ...]:
    """The edits of a set: all its neurons at once."""
    return tuple(edit(store, intervention, neuron, peaks.get(neuron)) for neuron in neurons)


def matched_edit(
    store: ScanStore, intervention: Intervention, written: Written, one: Neuron, other: Neuron, peak: float | None
) -> Edit:
    """The same intervention on ``other`` in the place of ``one``.

    Args:
        peak: of ``one``; of a clamp alone. ``other`` is clamped to the same written size, in its own sign.
    """
    if peak is None:
        return edit(store, intervention, other)
    size = abs(peak * written.ratio(one, other))
    return edit(store, intervention, other, size * float(written.sign[other.layer, other.unit]))


def direction_edit(
    store: ScanStore, intervention: Intervention, written: Written, one: Neuron, other: Neuron, peak: float | None
) -> Edit:
    """What ``one``'s edit takes from the residual stream, along ``other``'s column: as large, in ``other``'s sign.

    Args:
        peak: of ``one``; of a clamp alone.
    """
    own, ratio = edit(store, intervention, one, peak), written.ratio(one, other)
    return Edit(
        other,
        factor=1.0,
        visual=ratio * own.visual,
        text=ratio * own.text,
        source=one.unit,
        source_factor=ratio * (own.factor - 1),
    )


async def find_peaks(
    store: ScanStore,
    model: Asks,
    intervention: Intervention,
    neurons: Sequence[Neuron],
    lane: Lane,
    on_peak: Callable[[], None] = lambda: None,
) -> dict[Neuron, float]:
    """z of each neuron at its peak, if the intervention is a clamp; else nothing. Raises as ``peak_z``.

    Args:
        on_peak: called after each of the ``peaks_sought``.
    """
    found: dict[Neuron, float] = {}
    for neuron in neurons[: peaks_sought(intervention, neurons)]:
        found[neuron] = await peak_z(store, model, neuron, lane)
        on_peak()
    return found


def peaks_sought(intervention: Intervention, neurons: Sequence[Neuron]) -> int:
    """How many peaks ``find_peaks`` measures, each on up to three pictures: those of all neurons of a clamp."""
    return len(neurons) if intervention.kind is InterventionKind.CLAMP else 0


async def peak_z(store: ScanStore, model: Asks, neuron: Neuron, lane: Lane) -> float:
    """z, with its sign, where the activation peaks: the mean over the first three top samples with a picture.

    Of the visual and the text token with the largest activation that of the larger one counts.

    Raises:
        StoreError: if no picture is at hand.
        WorkerError: as ``Asks.ask``.
    """
    found: list[float] = []
    problem = "it has no top samples"
    for rank in range(store.valid):
        if len(found) == PEAKS:
            break
        example = store.example(neuron, rank)
        if example.sample.picture_problem:
            problem = example.sample.picture_problem
            continue
        visual = example.text[0] <= example.visual[0]
        place = example.peak_patch if visual else example.peak_token
        if place is None:
            continue
        ref = of_sample(example.sample, store.manifest.prompt).ref
        request = PeakRequest(ref, neuron, place if visual else None, None if visual else place)
        found.append((await model.ask(request, lane)).z)
    if not found:
        raise StoreError(f"A clamp of {neuron} takes its top samples' pictures: {problem}.", "Use zero, mean or x3.")
    return sum(found) / len(found)
