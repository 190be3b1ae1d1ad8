"""What an intervention on neurons does to every token of descriptions, and to the captions that the model writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vlmscope.core.base.errors import WorkerError
from vlmscope.core.base.intervention import Edit, Intervention, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.captions import CaptionChange, caption_change
from vlmscope.core.causal.edits import edits, find_peaks, peaks_sought
from vlmscope.core.causal.pictures import Described
from vlmscope.core.causal.words import leading_words, other_words, place_of
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.interventions import (
    CaptionRequest,
    InterventionAnswer,
    InterventionRequest,
    WrittenRequest,
)

ZERO = Intervention()
SILENT = 1e-6  #: written size below which there is nothing to remove
NOTHING_TO_REMOVE = "it is silent here: nothing to remove"
NOT_FITTING = "The model's tokens do not fit this scan: another model made it."


@dataclass(frozen=True)
class TokenChange:
    """One token of a description.

    Attributes:
        token: as spelled.
        log_odds, p, first: without the intervention; ``first``: whether it is the model's first choice.
        change: log-odds with the intervention, less ``log_odds``.
        kl: in nats, of the distribution that predicts the token.
    """

    token: str
    log_odds: float
    change: float
    p: float
    p_after: float
    first: bool
    first_after: bool
    kl: float


@dataclass(frozen=True)
class OtherWord:
    """Another concept word of the description, read at its first token."""

    word: str
    token: int
    change: float


@dataclass(frozen=True)
class AblatedPicture:
    """One picture.

    Attributes:
        sample: its index; None for a user's own picture. image: its name.
        tokens: of the whole description.
        word_at: the number of the word's first token; None where the description lacks the word, or none is asked for.
        word_tokens: how many tokens the word takes; 0 without it.
        others: the description's other concept words, in order.
        caption: the model's caption without and with the intervention, if it was asked for.
    """

    sample: int | None
    image: str
    tokens: tuple[TokenChange, ...]
    word_at: int | None
    word_tokens: int
    others: tuple[OtherWord, ...]
    caption: CaptionChange | None = None

    @property
    def word(self) -> TokenChange | None:
        """The word's first token."""
        return None if self.word_at is None else self.tokens[self.word_at]

    @property
    def kl(self) -> float:
        """Over the description, in nats."""
        return sum(token.kl for token in self.tokens)

    @property
    def others_change(self) -> float | None:
        """Mean change of the other concept words; None where there are none."""
        return sum(other.change for other in self.others) / len(self.others) if self.others else None


@dataclass(frozen=True)
class Ablation:
    """What an intervention does on some pictures. It is not an explanation.

    Attributes:
        neurons: all changed at once. name: of a set, such as ``concept apple``; empty for one neuron.
        word: whose tokens are marked; empty for none.
        silent: whether the neurons write nothing on these pictures, so that there is nothing to remove.
    """

    neurons: tuple[Neuron, ...]
    name: str
    intervention: Intervention
    at: Positions
    word: str
    pictures: tuple[AblatedPicture, ...]
    silent: bool

    @property
    def subject(self) -> str:
        """The address of one neuron; a set's name and size."""
        return str(self.neurons[0]) if not self.name else f"{self.name} ({len(self.neurons)} neurons)"


async def ablate(
    store: ScanStore,
    model: Asks,
    neurons: Sequence[Neuron],
    pictures: Sequence[Described],
    *,
    intervention: Intervention = ZERO,
    at: Positions = Positions.ALL,
    word: str = "",
    name: str = "",
    caption: bool = False,
    lane: Lane = Lane.BACKGROUND,
    on_step: Callable[[int, int], None] = lambda _done, _of: None,
) -> Ablation:
    """Intervene on ``neurons``, all at once, on each picture.

    Args:
        word: marked where the description has it; ``default_word`` and ``one_word`` give it.
        name: of a set.
        caption: whether the model also describes each picture, without and with the intervention.
        on_step: called with the number of finished pictures, and of all; a clamp finds each neuron's peak before, which
            is a step, too.

    Raises:
        StoreError: if a clamp has no picture to find the peak on, or the scan is damaged.
        WorkerError: as ``Asks.ask``; also if the model is not the scan's.
    """
    steps, done = peaks_sought(intervention, neurons) + len(pictures), 0
    on_step(0, steps)

    def step() -> None:
        nonlocal done
        done += 1
        on_step(done, steps)

    peaks = await find_peaks(store, model, intervention, neurons, lane, step)
    row = edits(store, intervention, neurons, peaks)
    known = leading_words(store.concepts)
    found: list[AblatedPicture] = []
    for picture in pictures:
        answer = await model.ask(InterventionRequest(picture.ref, (row,), at), lane)
        check_fits(answer, picture)
        change = await _captions(model, picture, row, at, known, word, lane) if caption else None
        found.append(_picture(picture, answer, known, word, change))
        step()
    silent = _still(found) and await is_silent(model, neurons, pictures, at, lane)
    return Ablation(tuple(neurons), name, intervention, at, word, tuple(found), silent)


def check_fits(answer: InterventionAnswer, picture: Described) -> None:
    """Raise WorkerError if an answer over all tokens has another number of them than the description."""
    if answer.p.shape != (len(picture.tokens),):
        raise WorkerError(NOT_FITTING, "Name the model that made the scan.")


def share(p: np.float32) -> float:
    """A probability, which rounding may have put above 1."""
    return min(1.0, max(0.0, float(p)))


async def is_silent(
    model: Asks, neurons: Sequence[Neuron], pictures: Sequence[Described], at: Positions, lane: Lane
) -> bool:
    """Whether the neurons' written sizes sum to less than ``SILENT`` on every picture. Raises as ``Asks.ask``."""
    for picture in pictures:
        size = (await model.ask(WrittenRequest(picture.ref, at), lane)).size
        if sum(float(size[neuron.layer, neuron.unit]) for neuron in neurons) >= SILENT:
            return False
    return True


def _still(pictures: Sequence[AblatedPicture]) -> bool:
    """Whether no token changes: only then written sizes are asked for."""
    return bool(pictures) and all(abs(token.change) < SILENT for one in pictures for token in one.tokens)


def _picture(
    picture: Described, answer: InterventionAnswer, known: frozenset[str], word: str, caption: CaptionChange | None
) -> AblatedPicture:
    tokens = tuple(
        TokenChange(
            token=token,
            log_odds=float(answer.log_odds[at]),
            change=float(answer.changes[0, at]),
            p=share(answer.p[at]),
            p_after=share(answer.p_after[0, at]),
            first=bool(answer.first[at]),
            first_after=bool(answer.first_after[0, at]),
            kl=float(answer.kl[0, at]),
        )
        for at, token in enumerate(picture.tokens)
    )
    place = place_of(picture.tokens, word) if word else None
    others = other_words(picture.tokens, known, word)
    return AblatedPicture(
        sample=picture.ref.sample,
        image=picture.image,
        tokens=tokens,
        word_at=None if place is None else place.token,
        word_tokens=0 if place is None else place.tokens,
        others=tuple(OtherWord(other, at.token, tokens[at.token].change) for other, at in others.items()),
        caption=caption,
    )


async def _captions(
    model: Asks,
    picture: Described,
    row: tuple[Edit, ...],
    at: Positions,
    known: frozenset[str],
    word: str,
    lane: Lane,
) -> CaptionChange:
    ref = picture.ref
    before, after = [
        (await model.ask(CaptionRequest(ref.image, ref.prompt, ref.sample, those, at), lane)).description
        for those in ((), row)
    ]
    return caption_change(before, after, known, word)
