"""Which neurons two groups of samples activate most differently: two answers, side by side. No model is asked.

- Enrichment: how many of a neuron's top samples are of the first group, against the number by chance; exact, of all
  neurons.
- The panel's difference: activations on the panel's samples of both groups, which the neuron has not selected. Means of
  all neurons; AUC, interval and p of the leading thousand.

Activations count as norms do, 0 to 10, negative ones as 0. q is the false discovery rate by Benjamini and Hochberg,
over all neurons of the scan.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.groups import Members
from vlmscope.core.analysis.related import shared_counts
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.hypergeometric import enrichment_p, log_odds_ratio
from vlmscope.core.method.rank_sum import auc_intervals, aucs, rank_sum_p
from vlmscope.core.method.rank_test import q_array
from vlmscope.core.store.arrays import COPY_AGAIN
from vlmscope.core.store.panel import Panel
from vlmscope.core.store.reader import ScanStore

LEADING = 1000  #: neurons whose AUC is computed, at least
FEW = 10  #: samples of a group in the panel, below which a difference rests on few
FOUND_AT = 0.05  #: the false discovery rate at which neurons are counted
BLOCK = 2048  #: neurons looked at together: their activations fit into the processor's cache
THREADS = min(4, os.cpu_count() or 1)

Floats = NDArray[np.float64]


class Answer(StrEnum):
    """By which of the two answers neurons are ranked."""

    TOP = "top"
    PANEL = "panel"


@dataclass(frozen=True)
class Enrichment:
    """One neuron's top samples.

    Attributes:
        samples: how many of them are in either group. of_a: how many are in the first.
        by_chance: how many would be.
        odds_ratio: above 1 for the first group, below 1 for the second; a half is added to each count.
    """

    samples: int
    of_a: int
    by_chance: float
    odds_ratio: float
    p: float
    q: float


@dataclass(frozen=True)
class Difference:
    """One neuron on the panel's samples of both groups.

    Attributes:
        mean_a, mean_b: the mean norm of each.
        effect: their difference in standard deviations within groups; None where the norm is the same on all samples.
        auc: the chance that a sample of the first group activates the neuron more. interval: 95 %.
        q: exact or too large: neurons outside the leading thousand count as if their p were larger.
    """

    mean_a: float
    mean_b: float
    effect: float | None
    auc: float
    interval: tuple[float, float]
    p: float
    q: float

    @property
    def difference(self) -> float:
        """Of the mean norms, a less b."""
        return self.mean_a - self.mean_b


@dataclass(frozen=True)
class Contrasted:
    """A ranked neuron; ``panel`` is None where the groups cannot be compared there."""

    neuron: Neuron
    top: Enrichment
    panel: Difference | None


@dataclass(frozen=True)
class Contrast:
    """Two groups compared.

    Attributes:
        by: the answer that ranks.
        samples: of the groups.
        in_panel: the panel's samples of the groups; None where the scan has no panel.
        neurons: of the scan.
        ranked: the largest effects first, of equal ones the smaller p, then the lower address.
        enriched, depleted: neurons whose top samples hold more, or less, of the first group at q of 5 % or less.
        different: of the ``looked_at`` leading neurons, those whose panel samples differ at q of 5 % or less.
    """

    by: Answer
    samples: tuple[int, int]
    in_panel: tuple[int, int] | None
    neurons: int
    ranked: tuple[Contrasted, ...]
    enriched: int
    depleted: int
    different: int
    looked_at: int

    @property
    def has_panel(self) -> bool:
        """Whether both groups have samples in a panel."""
        return self.in_panel is not None and min(self.in_panel) > 0


def contrast(store: ScanStore, a: Members, b: Members, by: Answer, limit: int) -> Contrast:
    """Rank all neurons by how differently two groups of samples activate them.

    Args:
        a, b: bool (S,), from ``groups.two_groups``: they have no sample in common, and each has one at least.
        limit: neurons in ``ranked``, at most.

    Raises:
        StoreError: if neurons are to be ranked by the panel, and the scan has none, or a group has no sample there; or
            if the scan is damaged.
    """
    top = _TopSamples(store, a, b)
    panel = store.panel_for("A ranking by the panel") if by is Answer.PANEL else store.panel
    in_panel = None if panel is None else (int(a[panel.samples].sum()), int(b[panel.samples].sum()))
    apart = None if panel is None or in_panel is None or not min(in_panel) else _PanelSamples(store, panel, a, b)
    if by is Answer.PANEL and apart is None:
        raise StoreError(
            f"The panel of {store.folder} has no sample of one of the groups.", "Rank by the top samples: --by top"
        )
    size = max(LEADING, limit)
    # The order is by whole arrays only as far as it must be: a thousand of some 350,000 are sorted.
    measure = np.abs(top.log_odds) if by is Answer.TOP or apart is None else np.abs(apart.effect)
    leading = _leading(measure, top.p if by is Answer.TOP else None, size)
    differences = None if apart is None else apart.of(leading)
    if differences is not None and by is Answer.PANEL:
        far = np.abs(differences.auc - 0.5)
        order = np.lexsort((leading, -measure[leading], differences.p, -far))
        leading, differences = leading[order], differences.at(order)
    ranked = tuple(
        Contrasted(
            store.numbering.of_flat(at),
            top.of(int(at)),
            None if differences is None else differences.one(row),
        )
        for row, at in enumerate(leading[:limit].tolist())
    )
    found = top.q <= FOUND_AT
    return Contrast(
        by=by,
        samples=(int(a.sum()), int(b.sum())),
        in_panel=in_panel,
        neurons=store.layers * store.neurons,
        ranked=ranked,
        enriched=int(np.count_nonzero(found & (top.log_odds > 0))),
        depleted=int(np.count_nonzero(found & (top.log_odds < 0))),
        different=0 if differences is None else int(np.count_nonzero(differences.q <= FOUND_AT)),
        looked_at=0 if differences is None else len(leading),
    )


def _leading(measure: Floats, p: Floats | None, size: int) -> NDArray[np.int64]:
    """The ``size`` neurons of the largest measure, in order; of equal ones the smaller p, then the lower address."""
    if size < len(measure):
        least = np.partition(measure, len(measure) - size)[len(measure) - size]
        those = np.flatnonzero(measure >= least)
    else:
        those = np.arange(len(measure))
    keys = (those, -measure[those]) if p is None else (those, p[those], -measure[those])
    found: NDArray[np.int64] = those[np.lexsort(keys)][:size]
    return found


class _TopSamples:
    """Enrichment of all neurons; arrays of shape (L * F,)."""

    def __init__(self, store: ScanStore, a: Members, b: Members) -> None:
        self._groups = int(a.sum()), int(b.sum())
        self.of_a = shared_counts(store, np.flatnonzero(a).tolist()).ravel().astype(np.int64)
        counted = store.manifest.scanned
        if sum(self._groups) == counted:
            self.drawn = np.full(self.of_a.shape, store.valid)
        else:
            self.drawn = shared_counts(store, np.flatnonzero(a | b).tolist()).ravel().astype(np.int64)
        # p and effect follow from two small numbers: each pair is computed once.
        width = store.manifest.top_n + 1
        pairs, places = np.unique(self.drawn * width + self.of_a, return_inverse=True)
        drawn, of_a = np.divmod(pairs, width)
        if (of_a > self._groups[0]).any() or (drawn - of_a > self._groups[1]).any():
            raise StoreError(f"{store.folder} is damaged: a neuron has the same top sample twice.", COPY_AGAIN)
        tables = {int(n): enrichment_p(*self._groups, int(n)) for n in np.unique(drawn)}
        by_pair = np.array([tables[n][k] for n, k in zip(drawn.tolist(), of_a.tolist(), strict=True)])
        self.p: Floats = by_pair[places]
        self.log_odds: Floats = log_odds_ratio(of_a.astype(np.float64), drawn.astype(np.float64), *self._groups)[places]
        self.q = q_array(self.p)

    def of(self, at: int) -> Enrichment:
        drawn = int(self.drawn[at])
        return Enrichment(
            samples=drawn,
            of_a=int(self.of_a[at]),
            by_chance=drawn * self._groups[0] / sum(self._groups),
            odds_ratio=float(np.exp(self.log_odds[at])),
            p=float(self.p[at]),
            q=float(self.q[at]),
        )


@dataclass(frozen=True, eq=False)
class _Differences:
    """Of some neurons: arrays of the same length, but for ``ends``, the interval's two."""

    mean_a: Floats
    mean_b: Floats
    effect: Floats
    auc: Floats
    low: Floats
    high: Floats
    p: Floats
    q: Floats

    def at(self, order: NDArray[np.int64]) -> "_Differences":
        return _Differences(**{name: values[order] for name, values in vars(self).items()})

    def one(self, row: int) -> Difference:
        own = {name: float(values[row]) for name, values in vars(self).items()}
        effect = own.pop("effect")
        return Difference(
            effect=effect if np.isfinite(effect) else None, interval=(own.pop("low"), own.pop("high")), **own
        )


class _PanelSamples:
    """Means of all neurons over the panel's samples of both groups, quickly; arrays (L * F,)."""

    def __init__(self, store: ScanStore, panel: Panel, a: Members, b: Members) -> None:
        self._panel, self._neurons = panel, store.layers * store.neurons
        drawn = np.arange(panel.drawn)[panel.columns]
        self._columns = tuple(drawn[group[panel.samples]] for group in (a, b))
        self._sizes = len(self._columns[0]), len(self._columns[1])
        maximum = store.maximum.ravel().astype(np.float64)
        with np.errstate(divide="ignore"):
            self._scale = np.where(maximum > 0, 10 / maximum, 0)  # from activations to norms
        sums, squares = self._sums()
        means = sums / np.array(self._sizes)
        within = np.maximum(squares - (sums * means).sum(axis=1), 0) / max(sum(self._sizes) - 2, 1)
        # What is left of equal squares is rounding: float32 keeps seven digits.
        within[within <= 1e-6 * squares / sum(self._sizes)] = 0
        between = means[:, 0] - means[:, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            self.effect: Floats = np.where(within > 0, between / np.sqrt(within), np.sign(between) * np.inf)
        self.effect[between == 0] = 0
        self.means: Floats = means * self._scale[:, None]

    def _sums(self) -> tuple[Floats, Floats]:
        """Sums of activations over each group, float64 (L * F, 2), and of their squares over both, float64 (L * F,)."""
        weights = np.zeros((3, self._panel.drawn), dtype=np.float32)
        for which, columns in enumerate(self._columns):
            weights[which, columns] = weights[2, columns] = 1
        sums, squares = np.empty((self._neurons, 2)), np.empty(self._neurons)

        def work(block: slice) -> None:
            # By einsum, which starts no threads of its own: on a busy machine those of a product of matrices wait ten
            # times as long as they work.
            values = self._panel.positive(block)
            for which in range(2):
                sums[block, which] = np.einsum("np,p->n", values, weights[which])
            squares[block] = np.einsum("np,p->n", np.square(values, out=values), weights[2])

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, _blocks(self._neurons)))
        return sums, squares

    def of(self, neurons: NDArray[np.int64]) -> _Differences:
        """The whole comparison of these neurons."""
        rows = [self._panel.positive(slice(at, at + 1)) for at in neurons.tolist()]
        values = np.concatenate(rows) if rows else np.empty((0, self._panel.drawn), dtype=np.float32)
        first, second = (values[:, columns] for columns in self._columns)
        found = aucs(first, second)
        low, high = auc_intervals(found)
        p = rank_sum_p(found)
        scale = self._scale[neurons]
        return _Differences(
            mean_a=first.mean(axis=1, dtype=np.float64) * scale,
            mean_b=second.mean(axis=1, dtype=np.float64) * scale,
            effect=self.effect[neurons],
            auc=found.value,
            low=low,
            high=high,
            p=p,
            q=q_array(p, self._neurons),
        )


def _blocks(size: int) -> Iterator[slice]:
    return (slice(begin, begin + BLOCK) for begin in range(0, size, BLOCK))
