"""Reports: what is known of some neurons as one folder, ``report.md`` or ``report.json`` and its pictures.

    OUT/
      report.md, or report.json    core/report/markdown.py; the schema is core/report/schema.py
      images/L3-N17-1.png          origin and activation of a neuron's best sample, side by side; or
                                   origin and words, where no patch is above Tv

The same export twice gives the same bytes but for the date, which stands alone on its line.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from vlmscope.core.base.callbacks import OnCount
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Entry
from vlmscope.core.report.collect import IMAGES, collect, report_of
from vlmscope.core.report.folder import export_folder
from vlmscope.core.report.markdown import neuron_text, report_markdown
from vlmscope.core.report.pictures import Scale, facts, picture
from vlmscope.core.report.schema import NeuronPart, Report
from vlmscope.core.report.words import tokens_of, words_are_the_picture
from vlmscope.core.store.reader import ScanStore

SAMPLES = 3  #: reported of a neuron by default


class Format(StrEnum):
    """What a report is written as."""

    MARKDOWN = "markdown"
    JSON = "json"

    @property
    def file(self) -> str:
        """Its name in the report's folder."""
        return "report.json" if self is Format.JSON else "report.md"


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        file: the report, in its folder.
        neurons, pictures: how many.
        bytes: of all files.
    """

    file: Path
    neurons: int
    pictures: int
    bytes: int


def write_report(
    out: Path,
    store: ScanStore,
    notebook: Notebook | None,
    neurons: Sequence[Neuron],
    thresholds: Thresholds,
    form: Format = Format.MARKDOWN,
    *,
    when: datetime,
    samples: int = SAMPLES,
    progress: OnCount = lambda _done, _total: None,
) -> Written:
    """Write a report on ``neurons``, by layer and index, each once; or nothing at all.

    It is written into a hidden folder beside ``out`` and renamed. Pictures are made of those samples of which the scan
    keeps a map.

    Args:
        out: a folder that does not exist, or is empty.
        notebook: None where there is none yet.
        when: with a time zone; the date in the report.
        samples: of each neuron, the best.

    Raises:
        ReportError: if ``out`` is taken or cannot be written.
        UsageError: if a neuron is none of this scan.
        StoreError, NotebookError: if the scan or the notebook cannot be read.
    """
    wanted = sorted(set(neurons))
    with export_folder(out) as folder:
        (folder / IMAGES).mkdir()
        parts: list[NeuronPart] = []
        sizes: list[int] = []  # of the pictures, in bytes
        for done, neuron in enumerate(wanted):
            progress(done, len(wanted))
            entry = Entry(neuron) if notebook is None else notebook.entry(neuron)
            parts.append(collect(store, entry, thresholds, samples))
            sizes += _write_pictures(folder, store, neuron, parts[-1], thresholds)
        created = when.astimezone(UTC).isoformat(timespec="seconds")
        sets = () if notebook is None else notebook.set_checks()
        report = report_of(store.manifest, thresholds, tuple(parts), created, sets)
        text = (report_markdown(report) if form is Format.MARKDOWN else report_json(report)).encode()
        (folder / form.file).write_bytes(text)
        if not sizes:
            (folder / IMAGES).rmdir()
    progress(len(wanted), len(wanted))
    return Written(out / form.file, len(wanted), len(sizes), sum(sizes) + len(text))


def report_json(report: Report) -> str:
    """``report`` as JSON: ASCII alone, so that text from outside reaches no terminal raw."""
    return json.dumps(report.model_dump(mode="json"), indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def neuron_markdown(
    store: ScanStore, entry: Entry, neuron: Neuron, thresholds: Thresholds, samples: int = SAMPLES
) -> str:
    """One neuron as a report has it, but without pictures: for the clipboard.

    Args:
        entry: what the notebook holds; one of another neuron, as it may be while the screen moves on, counts as none.

    Raises:
        UsageError: if the neuron is none of this scan.
        StoreError: if the scan is damaged.
    """
    return neuron_text(collect(store, entry if entry.neuron == neuron else Entry(neuron), thresholds, samples))


def _write_pictures(folder: Path, store: ScanStore, neuron: Neuron, part: NeuronPart, at: Thresholds) -> list[int]:
    """Write the pictures that ``part`` names; return their sizes."""
    sizes = []
    for sample in part.samples:
        example = store.example(neuron, sample.rank - 1)
        if sample.picture is None or example.visual_map is None:
            continue
        scale = Scale(f"{neuron}  {sample.rank}  activation {example.activation:.4g}", example.maximum, at.T_v)
        about = facts(store.manifest, neuron, example)
        words = tokens_of(example) if words_are_the_picture(example, at) else ()
        png = picture(example.read_crop(), example.visual_map, example.maximum, about, scale, words)
        (folder / sample.picture).write_bytes(png)
        sizes.append(len(png))
    return sizes
