"""The causal check: whether an intervention on neurons changes a word more than on matched neurons."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from vlmscope.core.base.clock import now
from vlmscope.core.base.errors import Cancelled, StoreError, UsageError, WorkerError
from vlmscope.core.base.intervention import Edit, Intervention, InterventionKind
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.causal.ablation import NOTHING_TO_REMOVE, SILENT, check_fits, share
from vlmscope.core.causal.edits import direction_edit, edits, find_peaks, matched_edit, peaks_sought
from vlmscope.core.causal.matching import candidates, matched_neurons, matched_sets
from vlmscope.core.causal.pictures import Described, pick
from vlmscope.core.causal.words import WordPlace, check_present, leading_words, other_words, place_of
from vlmscope.core.causal.written import Written, WrittenSizes
from vlmscope.core.method.rank_test import mean_interval, two_sided_p
from vlmscope.core.method.word_place import same_word
from vlmscope.core.notebook.check import CausalCheck, CheckedPicture, CheckSettings, MatchedNeurons
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.interventions import InterventionAnswer, InterventionRequest, WrittenAnswer
from vlmscope.core.worker.messages import Phase

CONTROLS = ("neurons", "direction")
LEAST_CONTROLS = 19  #: that p takes: with 19 the least p is 0.1
LEAST_PICTURES = 3  #: that a verdict takes
CLOSE = 2.0  #: a matched neuron that writes within this factor is near
LARGE = 0.1  #: the share of a layer above which matched sets run short
DEFAULTS = CheckSettings()
REASON_LENGTH = 200

UNMATCHED = "it is silent here: no neuron is matched to it"
FAR = "no matched neuron writes within a factor of 2 of it"

R = TypeVar("R")


@dataclass(frozen=True)
class _Job:
    """What every step of one check needs."""

    store: ScanStore
    model: Asks
    neurons: tuple[Neuron, ...]
    word: str
    settings: CheckSettings
    lane: Lane

    @property
    def intervention(self) -> Intervention:
        return Intervention.parse(self.settings.intervention)


@dataclass(frozen=True, eq=False)
class _Measured:
    """One picture. ``controls``: each control's change of the word."""

    picture: CheckedPicture
    place: WordPlace
    change: float
    controls: Sequence[float]


def check_settings(store: ScanStore, settings: CheckSettings) -> None:
    """Raise UsageError if no check can be made with these settings."""
    intervention = Intervention.parse(settings.intervention)
    if settings.control not in CONTROLS:
        raise UsageError(f"{settings.control!r} is not a kind of control.", f"Controls: {', '.join(CONTROLS)}.")
    directed = settings.control == "direction" and intervention.kind is InterventionKind.MEAN
    if directed and store.manifest.hook is HookPoint.GATE:
        raise UsageError(
            "The mean of a scan's gate depends on each neuron's own up branch: no other direction can have it.",
            "Use --control neurons, or zero, x3 or clamp5.",
        )


async def check(
    store: ScanStore,
    model: Asks,
    neurons: Sequence[Neuron],
    word: str,
    settings: CheckSettings = DEFAULTS,
    *,
    name: str = "",
    pictures: Sequence[Described] | None = None,
    sizes: WrittenSizes | None = None,
    lane: Lane = Lane.BACKGROUND,
    on_step: Callable[[int, int], None] = lambda _done, _of: None,
) -> CausalCheck:
    """Compare what an intervention on ``neurons`` does to ``word`` with what it does on matched neurons.

    Nothing is kept: ``run`` keeps the checks of many neurons, ``Notebook.add_check`` keeps one.

    Args:
        neurons: one, or a set whose members are all changed at once; then it has a ``name``.
        word: as ``default_word`` or ``one_word`` gives it.
        pictures: None for top samples whose description has the word.
        sizes: of a run over many neurons; None for one of its own.
        on_step: called with the number of finished steps, and of all.

    Raises:
        UsageError: if no description has the word, or the settings contradict each other.
        StoreError: if no picture is at hand, or the scan is damaged.
        Cancelled: if it was stopped.
        WorkerError: if the model process has gone, or no picture can be measured.
    """
    check_settings(store, settings)
    job = _Job(store, model, tuple(neurons), word, settings, lane)
    placed = _placed(job, pictures)
    sizes = sizes or WrittenSizes(model, lane)
    steps, done = 2 * len(placed) + peaks_sought(job.intervention, job.neurons), 0
    notes: list[str] = []
    on_step(0, steps)

    def step() -> None:
        nonlocal done
        done += 1
        on_step(done, steps)

    answers: list[tuple[Described, WordPlace, WrittenAnswer]] = []
    failures: dict[str, int] = {}
    for picture, place in placed:
        answer = await _unless_gone(job, sizes.of(picture, settings.at), failures)
        if answer is not None:
            answers.append((picture, place, answer))
        step()
    if not answers:
        raise WorkerError(f"No picture can be measured: {next(iter(failures))}")
    written = Written.mean([answer for _, _, answer in answers])
    silent = written.total(job.neurons) < SILENT
    matched = () if silent else tuple(_matched(job, written))
    peaks = await find_peaks(store, model, job.intervention, job.neurons, lane, step)
    rows = (
        edits(store, job.intervention, job.neurons, peaks),
        *(_control_row(job, written, peaks, those) for those in matched),
    )
    known = leading_words(store.concepts)
    measured: list[_Measured] = []
    for picture, place, _ in answers:
        found = await _unless_gone(job, _measure(job, picture, place, rows, known), failures)
        if found is not None:
            measured.append(found)
        step()
    if not measured:
        raise WorkerError(f"No picture can be measured: {next(iter(failures))}")
    if silent:
        nothing = job.intervention.kind in (InterventionKind.ZERO, InterventionKind.SCALE)
        notes.append(NOTHING_TO_REMOVE if nothing else UNMATCHED)
    for reason, count in failures.items():
        notes.append(f"{count} picture{'s' if count > 1 else ''} left out: {reason.rstrip('.')}")
    return _result(job, name, measured, written, matched, notes)


def _placed(job: _Job, pictures: Sequence[Described] | None) -> list[tuple[Described, WordPlace]]:
    """The pictures that have the word, with its place."""
    if pictures is None:
        picked = pick(job.store, job.neurons, job.word, job.settings.pictures)
        if not picked.pictures and picked.problems:
            raise StoreError(f"No picture is at hand: {picked.problems[0]}.", "A check runs the model on them.")
        pictures = picked.pictures
        if not pictures:
            raise UsageError(
                f"{job.word} is in no description of the top samples.", "Name another word, or a picture of your own."
            )
    check_present(job.word, [picture.tokens for picture in pictures])
    places = ((picture, place_of(picture.tokens, job.word)) for picture in pictures)
    return [(picture, place) for picture, place in places if place is not None]


def _matched(job: _Job, written: Written) -> list[tuple[Neuron, ...]]:
    settings = job.settings
    allowed = candidates(written, job.store.concepts, job.neurons, job.word)
    if len(job.neurons) == 1:
        return matched_neurons(written, allowed, job.neurons[0], settings.controls)
    return matched_sets(written, allowed, job.neurons, settings.controls, settings.seed)


def _control_row(
    job: _Job, written: Written, peaks: Mapping[Neuron, float], those: Sequence[Neuron]
) -> tuple[Edit, ...]:
    """What is done to matched neurons, each in the place of one that is checked."""
    stands_for = direction_edit if job.settings.control == "direction" else matched_edit
    return tuple(
        stands_for(job.store, job.intervention, written, one, other, peaks.get(one))
        for one, other in zip(job.neurons, those, strict=True)
    )


def ends_run(model: Asks, error: WorkerError) -> bool:
    """Whether no other request would succeed: the model process has gone, or was stopped."""
    return isinstance(error, Cancelled) or model.status.phase is Phase.FAILED


async def _unless_gone(job: _Job, work: Awaitable[R], failures: dict[str, int]) -> R | None:
    """What one picture gives, or None if it cannot be used; then its reason is counted.

    Raises:
        Cancelled: if the model was stopped.
        WorkerError: if the model process has gone: all other pictures would fail, too.
    """
    try:
        return await work
    except WorkerError as error:
        if ends_run(job.model, error):
            raise
        reason = plain(error.message, REASON_LENGTH)
        failures[reason] = failures.get(reason, 0) + 1
        return None


async def _measure(
    job: _Job, picture: Described, place: WordPlace, rows: tuple[tuple[Edit, ...], ...], known: frozenset[str]
) -> _Measured:
    """Measure one picture.

    Controls need the word alone; the checked neurons need the whole description, too. They are run beside their
    controls as well, so that rounding treats all rows as one.
    """
    whole = await _ask(job, picture, rows[:1])
    check_fits(whole, picture)
    change, controls = float(whole.changes[0, place.token]), np.zeros(0, dtype=np.float64)
    if len(rows) > 1:
        at_word = (await _ask(job, picture, rows, (place.token,))).changes[:, 0].astype(np.float64)
        change, controls = float(at_word[0]), at_word[1:]
    if not (np.isfinite(whole.changes).all() and np.isfinite(whole.kl).all() and np.isfinite(controls).all()):
        raise WorkerError("A log-odds is not finite.")
    others = other_words(picture.tokens, known, job.word).values()
    checked = CheckedPicture(
        sample=picture.ref.sample,
        image=picture.image,
        change=change,
        p=share(whole.p[place.token]),
        p_after=share(whole.p_after[0, place.token]),
        first=bool(whole.first[place.token]),
        first_after=bool(whole.first_after[0, place.token]),
        others=float(np.mean([whole.changes[0, other.token] for other in others])) if others else None,
        kl=float(whole.kl[0].sum(dtype=np.float64)),
        baseline=float(controls.mean()) if len(controls) else None,
    )
    return _Measured(checked, place, change, controls.tolist())


async def _ask(
    job: _Job, picture: Described, rows: tuple[tuple[Edit, ...], ...], tokens: tuple[int, ...] = ()
) -> InterventionAnswer:
    return await job.model.ask(InterventionRequest(picture.ref, rows, job.settings.at, tokens), job.lane)


def _result(
    job: _Job,
    name: str,
    measured: Sequence[_Measured],
    written: Written,
    matched: Sequence[tuple[Neuron, ...]],
    notes: Sequence[str],
) -> CausalCheck:
    """The statistics over what was measured."""
    own = written.total(job.neurons)
    effect = float(np.mean([one.change for one in measured]))
    controls = [
        MatchedNeurons(those, float(np.mean([one.controls[at] for one in measured])), written.total(those) / own)
        for at, those in enumerate(matched)
    ]
    token = measured[0].place.spelled
    if not same_word(token.strip().lower(), job.word):
        notes = [*notes, f"{job.word} takes several tokens: the first, {token.strip()!r}, counts"]
    notes = [*notes, *_limits(job, len(measured), controls, own)]
    enough = len(controls) >= LEAST_CONTROLS and len(measured) >= LEAST_PICTURES
    differences = [one.change - (one.picture.baseline or 0.0) for one in measured] if controls else []
    interval = mean_interval(differences)
    return CausalCheck(
        neurons=job.neurons,
        name=name,
        word=job.word,
        token=token,
        settings=job.settings,
        created=now(),
        pictures=tuple(one.picture for one in measured),
        matched=tuple(controls),
        effect=effect,
        p=two_sided_p(effect, [control.effect for control in controls]) if enough else None,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        interval="" if interval is None else interval.kind.value,
        match=float(np.median([control.written for control in controls])) if controls else None,
        note="; ".join(notes),
    )


def _limits(job: _Job, pictures: int, controls: Sequence[MatchedNeurons], own: float) -> list[str]:
    """Why there is no p, or what limits it."""
    found: list[str] = []
    if own < SILENT:
        return found
    if pictures < LEAST_PICTURES:
        have = "1 picture has" if pictures == 1 else f"{pictures} pictures have"
        found.append(f'{have} "{job.word}" in the description, and a verdict needs {LEAST_PICTURES}')
    kind = "matched neuron" if len(job.neurons) == 1 else "matched set"
    if len(controls) < LEAST_CONTROLS:
        count = f"{len(controls)} {kind}{'' if len(controls) == 1 else 's'}" if controls else f"no {kind}"
        found.append(f"{count} can be had, and p needs {LEAST_CONTROLS}")
    elif len(controls) < job.settings.controls:
        found.append(f"there are no more than {len(controls)} {kind}s, of {job.settings.controls}")
    if controls and not any(1 / CLOSE <= control.written <= CLOSE for control in controls):
        found.append(FAR)
    layers = {neuron.layer for neuron in job.neurons}
    sizes = {layer: sum(neuron.layer == layer for neuron in job.neurons) for layer in layers}
    if any(size > LARGE * job.store.numbering.units for size in sizes.values()) and len(job.neurons) > 1:
        found.append("the set has more than a tenth of a layer: neurons that match it run short")
    return found
