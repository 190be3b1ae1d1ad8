"""Which samples an explanation is scored on: never one that it was written from."""

import hashlib
from collections.abc import Collection

import numpy as np

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.layout import WHOLE
from vlmscope.core.scoring.protocol import HeldOut
from vlmscope.core.store.example import Sample
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.store.original import MISSING, UNCHECKED
from vlmscope.core.store.reader import ScanStore

LOCAL_RANKS, LOCAL_RANDOM = range(2, 41, 2), 20  #: of backends that cost nothing
FOREIGN = "the file in place of its picture is not the one that was scanned"
NOT_CHECKED = "the scan has no digest of its picture, which is outside the scan's folder"
PAID_RANKS, PAID_RANDOM = range(2, 11, 2), 5


def seed_of(scan_id: str, neuron: Neuron, purpose: str = "") -> int:
    """The seed of everything random about a neuron: the same on every machine, and for every backend."""
    text = f"{scan_id} {neuron} {purpose}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def held_out(store: ScanStore, neuron: Neuron, written_from: Collection[int], *, paid: bool = False) -> list[HeldOut]:
    """The samples to score on: top samples of even ranks, best first, then random ones by index.

    Random ones are drawn outside the top samples. Which they are does not depend on ``written_from``, so that two
    explanations of a neuron are compared on the same samples. Of a scan in progress only processed ones are drawn: its
    scores are not those of the whole scan.

    Args:
        written_from: samples that are left out of both.
        paid: fewer samples.

    Raises:
        StoreError: if the scan is damaged.
    """
    manifest = store.manifest
    top = store.top_samples(neuron)
    ranks, count = (PAID_RANKS, PAID_RANDOM) if paid else (LOCAL_RANKS, LOCAL_RANDOM)
    ranked: list[tuple[int, int | None]] = [(top[rank - 1], rank) for rank in ranks if rank <= len(top)]
    closed = {*top, *(skip.sample for skip in manifest.skipped)}
    others = [sample for sample in range(manifest.samples) if sample not in closed and store.processed(sample)]
    drawn = np.random.default_rng(seed_of(manifest.scan_id, neuron)).permutation(len(others))[:count]
    chosen = ranked + [(sample, None) for sample in sorted(others[at] for at in drawn.tolist())]
    return [to_predict(store.sample(index), rank, manifest) for index, rank in chosen if index not in written_from]


def to_predict(one: Sample, rank: int | None, manifest: Manifest) -> HeldOut:
    """All that a simulator may look at of a sample."""
    problem = one.picture_problem
    reasons = {MISSING: HeldOut.picture_problem, UNCHECKED: NOT_CHECKED}
    reason = next((words for begins, words in reasons.items() if problem.startswith(begins)), FOREIGN)
    return HeldOut(
        sample=one.index,
        rank=rank,
        picture=None if problem else one.picture,
        prompt=manifest.prompt,
        description=one.description,
        tokens=one.tokens,
        layout=one.layout,
        seen=one.seen or WHOLE,
        picture_problem=reason if problem else HeldOut.picture_problem,
    )
