"""Modality preference in ``vlmscope stats`` and ``vlmscope labels``: words, JSON and lines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.text import Text

from vlmscope.core.analysis.control import find_control
from vlmscope.core.analysis.preference import FACTOR, NORM, NeuronPreference, Preference, Preferences, preferences
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.spelling import nearest
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.options import number

TITLE = "modality preference"
HEAD = "preference       V only  T only    both  ratio (90 %)              q  same q"  #: of ``preference_text``
NormOption = Annotated[
    float,
    typer.Option(
        "--norm",
        parser=number("--norm", f"{NORM:g}", float),
        metavar="NORM",
        help=f"What both sides must pass for the modality preference, 0 to 10; default: {NORM:g}.",
        show_default=False,
    ),
]
PREFERENCE_WORDS = {which.word: which for which in Preference}
#: A neuron's in ``labels --neurons --json``: its keys, and where each value is in a row, after those of the label.
PREFERENCE_ENTRY: Mapping[str, object] = {
    "is": 12,
    "visual_only": 13,
    "text_only": 14,
    "both": 15,
    "neither": 16,
    "ratio": 17,
    "interval": [18, 19],
    "p": 20,
    "q": 21,
    "equivalence_p": 22,
    "equivalence_q": 23,
}


@dataclass(frozen=True, eq=False)
class PreferenceCounts:
    """How many neurons have each preference, int64 (L, 4), by so many ``pairs``; ``seed`` of a control, else None."""

    norm: float
    counts: NDArray[np.int64]
    pairs: int
    seed: int | None


def preference_counts(store: ScanStore, norm: float) -> tuple[PreferenceCounts, ...]:
    """The scan's, and its control's where that has a panel, too; none where the scan has no panel.

    Raises:
        StoreError: if the scan or its control is damaged.
    """
    if store.panel is None:
        if norm != NORM:
            store.panel_for("--norm")
        return ()
    control, found = find_control(store), list[PreferenceCounts]()
    for one in (store, control):
        if one is not None and one.panel is not None:
            own, of = preferences(one, one.panel, norm), one.manifest.control
            seed = None if of is None or one is store else of.seed
            found.append(PreferenceCounts(norm, own.counts(), own.pairs, seed))
    return tuple(found)


def counts_json(found: tuple[PreferenceCounts, ...]) -> dict[str, object]:
    """``preference`` of ``stats --json``; no key where the scan has no panel."""
    if not found:
        return {}
    rows = [
        {
            "pairs": one.pairs,
            "total": _by_word(one.counts.sum(axis=0)),
            "layers": [{"layer": layer, **_by_word(row)} for layer, row in enumerate(one.counts)],
        }
        for one in found
    ]
    control = None if len(rows) == 1 else {"seed": found[1].seed, **rows[1]}
    return {"preference": {"norm": found[0].norm, "factor": FACTOR, **rows[0], "control": control}}


def counts_lines(names: Sequence[str], scans: Sequence[tuple[PreferenceCounts, ...]]) -> list[Text]:
    """A line for each scan that has a panel, and for its control."""
    rows = [
        (name if one is found[0] else f"  control, seed {one.seed}", one)
        for name, found in zip(names, scans, strict=True)
        for one in found
    ]
    if not rows:
        return []
    width = max(len(TITLE), *(len(who) for who, _ in rows))
    lines = [Text(), output.row(f"{TITLE:<{width}}{''.join(f'{which.word:>12}' for which in Preference)}")]
    for who, one in rows:
        total = one.counts.sum(axis=0)
        parts = "".join(f"{part / max(int(total.sum()), 1):>12.1%}" for part in total.tolist())
        lines.append(output.row(f"{who:<{width}}{parts}  on {one.pairs} samples"))
    norm = rows[0][1].norm
    return [
        *lines,
        output.row(f"Both sides at norm {norm:g}; multimodal: their rates are within a factor of {FACTOR:g}."),
    ]


def _by_word(counts: NDArray[np.int64]) -> dict[str, int]:
    return {which.word: int(counts[which]) for which in Preference}


def preference_of(text: str) -> Preference:
    """A reader of ``--preference``.

    Raises:
        UsageError: if there is no such preference.
    """
    found = PREFERENCE_WORDS.get(text.strip().lower())
    if found is None:
        raise UsageError(
            f"--preference is {text!r}, not a modality preference.",
            f"{nearest(text, PREFERENCE_WORDS)}Preferences: {', '.join(PREFERENCE_WORDS)}.",
        )
    return found


def preference_rows(
    found: Preferences, layers: NDArray[np.int64], indices: NDArray[np.int64]
) -> Iterator[tuple[object, ...]]:
    """The values of ``PREFERENCE_ENTRY`` of each of these neurons."""
    at = (layers, indices)
    words = [which.word for which in Preference]
    visual, text, both = (counts[at] for counts in (found.visual_only, found.text_only, found.both))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (visual + both) / (text + both)  # not finite where no sample passes by the text side: null
    numbers = (visual, text, both, found.pairs - visual - text - both, ratio, found.low[at], found.high[at])
    tests = (found.p[at], found.q[at], found.equivalence_p[at], found.equivalence_q[at])
    columns = (column.tolist() for column in (found.preference[at], *numbers, *tests))
    return ((words[which], *rest) for which, *rest in zip(*columns, strict=True))


def preference_text(one: NeuronPreference) -> str:
    """Columns under ``HEAD``."""
    low, high = one.interval
    ratio = "-" if one.ratio is None else f"{one.ratio:.2f}"
    word = f"{one.preference.letter} {one.preference.word}"
    counts = f"{one.visual_only:>8}{one.text_only:>8}{one.both:>8}"
    return f"{word:<15}{counts}  {f'{ratio} ({low:.2f} to {high:.2f})':<20}{one.q:>7.2g}{one.equivalence_q:>8.2g}"
