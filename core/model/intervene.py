"""Rows of edits on a sample: what each does to the prediction of the description's tokens.

A row whose lowest layer adds its FFN's output to the stream begins after that layer: what the neurons write is changed
in the kept stream, and only the layers above run. Otherwise that layer itself runs again, with its edits; where the
model cannot begin there, the pass begins lower, and at worst it is a full one, vision tower and all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmscope.core.base.callbacks import Stopped, check, not_cancelled
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.intervention import Positions
from vlmscope.core.model.changed import Changed
from vlmscope.core.model.clean import STOPPED, CleanPass, Sample
from vlmscope.core.model.edits import Places, Row, edited, lowest
from vlmscope.core.model.encode import Encoded
from vlmscope.core.model.readings import Readings, read
from vlmscope.core.model.restart import Restart, Ways
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.model.ways import MeasuredWays
from vlmscope.core.worker.interventions import InterventionAnswer

_ROWS = 8  #: of a batch on the CPU, where more are not faster
_MOST_ROWS = 32  #: of a batch on a GPU
_BYTES = 2 << 30  #: of one layer's tensors of a batch


@dataclass(frozen=True)
class _Batch:
    """Rows that run together.

    Attributes:
        rows: their numbers in the request.
        start: the layer at which the pass begins; None for a full pass.
        written: the layer whose edits are made in the stream that it gave; None for none.
    """

    rows: tuple[int, ...]
    start: int | None
    written: int | None


class Interventions:
    """Interventions on one model."""

    def __init__(self, vlm: Vlm) -> None:
        self._vlm = vlm
        self._restart = Restart(vlm)
        self._measured = MeasuredWays(vlm, self._restart)

    def intervene(
        self,
        sample: Sample,
        rows: Sequence[Row],
        at: Positions,
        tokens: Sequence[int] = (),
        stopped: Stopped = not_cancelled,
        *,
        full: bool = False,
    ) -> InterventionAnswer:
        """Predict tokens of the description without edits, and with each row of them.

        Args:
            tokens: places among the description's tokens; none for all of them.
            full: whether each row is a full pass through the model, for comparison.

        Raises:
            UsageError: if the description has no such token.
            Cancelled: when ``stopped`` turns true, which is read before every layer.
        """
        encoded, clean = sample.encoded, sample.clean
        positions, targets = _predicted(encoded, tokens)
        places = Places.of_sample(at, encoded)
        reference = clean.hidden[:, positions]
        logits = self._vlm.logits.of_all
        with torch.inference_mode():
            before = read(logits, reference, targets)
            changes = _Changes(len(rows), before)
            ways = None if full else self._ways(sample, stopped)
            changed = Changed(self._vlm, clean, places)
            active = list(range(len(rows))) if full else changed.active(rows)
            for batch in self._batches(rows, active, ways, clean):
                check(stopped, STOPPED)
                of_batch = [rows[number] for number in batch.rows]
                # In half precision a batch rounds otherwise than one row: the row without edits belongs to it.
                beside = self._vlm.model.dtype != torch.float32
                run = [[], *of_batch] if beside else of_batch
                found = self._run(sample, ways, batch, run, places, positions, changed, stopped)
                found = found if beside else torch.cat([reference.to(found.device), found])
                changes.take(batch.rows, read(logits, found, targets))
        return changes.answer()

    def _ways(self, sample: Sample, stopped: Stopped) -> Ways | None:
        two = lambda: self._vlm.inputs([sample.encoded] * 2, [sample.image] * 2)  # noqa: E731
        return self._measured.of(sample.clean, two, sample.encoded.text.start - 1, stopped)

    def _batches(
        self, rows: Sequence[Row], active: Sequence[int], ways: Ways | None, clean: CleanPass
    ) -> Iterator[_Batch]:
        """Rows that begin together, as many at a time as memory should take."""
        groups: dict[tuple[int | None, int | None], list[int]] = {}
        for number in active:
            groups.setdefault(_begins(rows[number], ways), []).append(number)
        most = self._rows_at_a_time(clean)
        for (start, written), numbers in groups.items():
            for first in range(0, len(numbers), most):
                yield _Batch(tuple(numbers[first : first + most]), start, written)

    def _rows_at_a_time(self, clean: CleanPass) -> int:
        vlm = self._vlm
        numbers = clean.hidden.shape[1] * (4 * vlm.neurons + 8 * clean.hidden.shape[2])
        most = _ROWS if vlm.device.type == "cpu" else _MOST_ROWS
        fitting: int = _BYTES // (numbers * vlm.model.dtype.itemsize)
        return max(1, min(most, fitting))

    def _run(
        self,
        sample: Sample,
        ways: Ways | None,
        batch: _Batch,
        rows: Sequence[Row],
        places: Places,
        positions: Sequence[int],
        changed: Changed,
        stopped: Stopped,
    ) -> Tensor:
        """At K positions, (B, K, H), after the final norm."""
        if batch.start is None or ways is None:
            inputs = self._vlm.inputs([sample.encoded] * len(rows), [sample.image] * len(rows))
            with self._vlm.busy, self._vlm.stoppable(stopped, STOPPED), edited(self._vlm.ffns, rows, places):
                return self._vlm.decode(inputs)[:, positions]
        first = sample.encoded.text.start - 1
        if ways.last and not bool(places.edited[:first].any()):
            given = None if batch.written is None else changed.stream(batch.written, rows, first)
            return self._restart.run_last(
                sample.clean, ways, batch.start, rows, places, positions, first, given, stopped
            )
        given = None if batch.written is None else changed.stream(batch.written, rows)
        return self._restart.run(sample.clean, ways, batch.start, rows, places, positions, given, stopped)


def _begins(row: Row, ways: Ways | None) -> tuple[int | None, int | None]:
    """Where a row's pass begins, and the layer whose edits are made in the stream."""
    low = lowest([row])
    if ways is None or low is None:
        return None, None
    if ways.adds[low] and ways.starts[low + 1]:
        return low + 1, low
    return ways.start(low), None


def _predicted(encoded: Encoded, tokens: Sequence[int]) -> tuple[list[int], Tensor]:
    """The positions that predict tokens of a description, and these tokens: int64 (K,).

    Raises:
        UsageError: if the description has no such token.
    """
    count = len(encoded.tokens)
    outside = next((token for token in tokens if not 0 <= token < count), None)
    if outside is not None:
        raise UsageError(f"The description has {count} tokens; {outside} is not the number of one.")
    places = [encoded.text.start + token for token in (tokens or range(count))]
    return [place - 1 for place in places], encoded.input_ids[places]


class _Changes:
    """Collects the readings of batches."""

    def __init__(self, rows: int, before: Readings) -> None:
        tokens = before.p.shape[1]
        self._before = before
        self._changes = np.zeros((rows, tokens), np.float32)
        self._p = before.p.numpy().repeat(rows, axis=0)
        self._first = before.first.numpy().repeat(rows, axis=0)
        self._kl = np.zeros((rows, tokens), np.float32)

    def take(self, rows: Sequence[int], found: Readings) -> None:
        """``found``: of the row without edits, and of ``rows``."""
        numbers = list(rows)
        self._changes[numbers] = (found.log_odds[1:] - found.log_odds[0]).numpy()
        self._p[numbers], self._first[numbers] = found.p[1:].numpy(), found.first[1:].numpy()
        self._kl[numbers] = found.kl[1:].numpy()

    def answer(self) -> InterventionAnswer:
        before = self._before
        return InterventionAnswer(
            log_odds=_flat(before.log_odds),
            p=_flat(before.p),
            first=_flat(before.first).astype(np.uint8),
            changes=self._changes,
            p_after=self._p,
            first_after=self._first.astype(np.uint8),
            kl=self._kl,
        )


def _flat(found: Tensor) -> NDArray[np.float32]:
    numbers: NDArray[np.float32] = found[0].numpy()
    return numbers
