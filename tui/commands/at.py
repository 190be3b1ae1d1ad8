"""``vlmscope at``: the neurons that fire at a patch of a picture, or at a word of its description."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from vlmscope.core.analysis.pointing import LIMIT, Pointed, PointedNeuron, Rule, point_in_scan
from vlmscope.core.base.config import load_config
from vlmscope.core.base.errors import StoreError, UsageError
from vlmscope.core.base.text import plain
from vlmscope.core.causal.pictures import Described, of_sample
from vlmscope.core.causal.pointing import EXACT, ablate_first, describe, point
from vlmscope.core.causal.trained import check_trained
from vlmscope.core.data.images import is_file
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.method.place import Place, patch_place, word_place
from vlmscope.core.store.example import Sample
from vlmscope.core.store.original import UNCHECKED
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import ModelSpec, picture_name
from vlmscope.core.worker.process import ModelProcess
from vlmscope.tui.commands.concepts import as_entry, as_words
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.neuron_run import RunBar, agree_to_download
from vlmscope.tui.commands.shared.notes import Notes
from vlmscope.tui.commands.shared.open_arg import opened
from vlmscope.tui.commands.shared.options import (
    JsonOption,
    ScanArgument,
    ScannedModelOptions,
    TrustImagesOption,
    number,
)

PLACE = "Where"
_PATCH = re.compile(r"\s*(-?\d{1,6})\s*[,x ]\s*(-?\d{1,6})\s*", re.ASCII)


@dataclass(frozen=True)
class _Patch:
    """A row and a column; typer takes a tuple for two values."""

    row: int
    column: int


def _patch(text: str) -> _Patch:
    found = _PATCH.fullmatch(text)
    if found is None:
        raise UsageError(f"--patch is {plain(text, 40)!r}, not a row and a column.", "Write --patch 3,4, both from 0.")
    return _Patch(int(found[1]), int(found[2]))


def at(
    *,
    scan: ScanArgument,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            parser=number("--sample", "12", int),
            metavar="I",
            help="A sample of the scan, by its number in the data: the 12 of #12.",
            rich_help_panel=PLACE,
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE", help="A picture of your own.", rich_help_panel=PLACE),
    ] = None,
    patch: Annotated[
        _Patch | None,
        typer.Option(
            "--patch",
            parser=_patch,
            metavar="ROW,COL",
            help="A patch, from 0,0 at the top left.",
            rich_help_panel=PLACE,
        ),
    ] = None,
    word: Annotated[
        str | None,
        typer.Option("--word", help="A word of the description: its first place.", rich_help_panel=PLACE),
    ] = None,
    before: Annotated[
        bool,
        typer.Option("--before", help="With --word: where the model predicts it.", rich_help_panel=PLACE),
    ] = False,
    by: Annotated[Rule, typer.Option("--by", help="What neurons are ordered by.")] = Rule.BAR,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="With --sample: ask the model about all neurons.",
        ),
    ] = False,
    exact: Annotated[
        int | None,
        typer.Option(
            "--exact",
            min=0,
            help=f"With --word: ablate the first so many neurons; {EXACT} with --by effect, else none.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="List no more neurons than this.")] = LIMIT,
    trust: TrustImagesOption = False,
    json: JsonOption = False,
    scanned_model: ScannedModelOptions,
) -> None:
    """Find the neurons that fire at a patch of a picture, or at a word of its description.

    They are ordered by one of these:

    bar: activation over the score of the neuron's last top sample; from 1 on
    it would be a top sample. It finds neurons for what is there best.
    maximum: activation over the neuron's maximum.
    written: how much the neuron adds to the residual stream.
    rare: of how many tokens one has such an activation.
    effect: what the removal of the neuron does to the word's log-odds, to
    first order, of all neurons in one backward pass.

    A scan alone answers bar, maximum and rare for the neurons that have the
    sample among their top samples, and peak there, or one patch away. What
    else is asked for loads the model.
    """
    if (sample is None) == (image is None):
        raise UsageError("Name one picture.", "Write --sample 12, or --image FILE.")
    if (patch is None) == (word is None):
        raise UsageError("Name one place.", "Write --patch ROW,COL, or --word W.")
    if before and word is None:
        raise UsageError("--before is for --word.", "A patch is not predicted.")
    if word is None and (by is Rule.EFFECT or exact):
        what = "--by effect" if by is Rule.EFFECT else "--exact"
        raise UsageError(f"{what} is about a word's log-odds.", "Name one of the description with --word.")
    count = exact if exact is not None else EXACT if by is Rule.EFFECT else 0
    store, notes = opened(scan), Notes()
    store.images_trusted = trust
    asked = _Asked(store, patch, word, before, by, limit, min(count, limit))
    source: Path | tuple[Described, VisualLayout]
    found = None
    if image is not None:
        if not is_file(image):
            raise UsageError(f"There is no picture at {image}.", "Check the path; quote it if it has blanks.")
        source = image
    else:
        own = _sample(store, sample or 0)
        place = asked.place(own.layout, own.tokens)
        if not (everything or by.needs_model or (before and place.text[0] == 0)):
            found = point_in_scan(store, store.stored_labels(), own.index, place, by, limit)
        if (found is None or asked.exact) and own.picture_problem:
            trusted = "If you trust the scan, add --trust-images." if own.picture_problem.startswith(UNCHECKED) else ""
            raise StoreError(f"The model cannot see #{own.index}: {own.picture_problem}.", trusted)
        source = of_sample(own, store.manifest.prompt), own.layout
    if found is None or asked.exact:
        check_trained(store)
        spec = scanned_model.spec(store.manifest, load_config())
        agree_to_download(spec, scanned_model.download, notes)
        found = asyncio.run(asked.ask(source, found, spec, notes))
    _report(found, store, picture_name(str(image), sample), json, notes)


@dataclass(frozen=True)
class _Asked:
    """What was typed. ``exact``: how many neurons are ablated."""

    store: ScanStore
    patch: _Patch | None
    word: str | None
    before: bool
    by: Rule
    limit: int
    exact: int

    def place(self, layout: VisualLayout, tokens: Sequence[str]) -> Place:
        """The patch or the word. Raises UsageError if the sample lacks it."""
        if self.patch is not None:
            return patch_place(layout, self.patch.row, self.patch.column)
        return word_place(tokens, self.word or "", before=self.before)

    async def ask(
        self, source: Path | tuple[Described, VisualLayout], found: Pointed | None, spec: ModelSpec, notes: Notes
    ) -> Pointed:
        """Ask the model about a picture of the user's own, or a sample; ``found`` is what the scan alone gave."""
        bar = RunBar(notes, "asking the model", 1)
        model = ModelProcess(spec, bar.show_model, idle_unload_s=0)
        try:
            with bar.bars:
                picture, layout = source if isinstance(source, tuple) else await describe(model, self.store, source)
                if picture.ref.sample is None:
                    notes.write(f"the model's description: {picture.ref.description}")
                if found is None:
                    place, labels = self.place(layout, picture.tokens), self.store.stored_labels()
                    found = await point(model, self.store, labels, picture, place, self.by, self.limit)
                if self.exact:
                    found = await ablate_first(model, picture, found, self.exact)
                bar.step()
                return found
        finally:
            await model.close()


def _sample(store: ScanStore, index: int) -> Sample:
    """A sample that the scan has processed. Raises UsageError if there is none of this number."""
    if not store.processed(index):
        last = store.manifest.samples - 1
        so_far = "" if store.manifest.progress is None else "; not all are processed"
        raise UsageError(f"The scan has no sample {index}.", f"Samples go from 0 to {last}{so_far}.")
    for skip in store.manifest.skipped:
        if skip.sample == index:
            raise UsageError(f"Sample {index} was skipped: {plain(skip.reason, 200)}", "Name another sample.")
    return store.sample(index)


def _report(found: Pointed, store: ScanStore, picture: str, as_json: bool, notes: Notes) -> None:
    """Data to stdout; how it was found to stderr."""
    if as_json:
        output.write_json([_as_json(one, found, store) for one in found.neurons])
    elif found.neurons:
        output.write_lines(_as_table(found, store))
    where = f"{picture}, {found.place.name}, by {found.rule.value}"
    if found.by_model:
        notes.write(f"{where}: the model was asked about all neurons")
        if found.own:
            notes.write(f"{found.own} of {len(found.neurons)} have this picture among their own top samples")
        if not found.neurons:
            effect = found.rule is Rule.EFFECT
            notes.write("The removal of no neuron lowers the log-odds." if effect else "No neuron fires there.")
    else:
        near = "there" if found.place.text else "there, or one patch away"
        count = "1 neuron has" if found.total == 1 else f"{found.total or 'no'} neurons have"
        notes.write(f"{where}: {count} it as top sample and a peak {near}; --all asks about all")
    if found.words_line:
        notes.write(found.words_line)


def _as_table(found: Pointed, store: ScanStore) -> list[Text]:
    """Aligned columns; those that no neuron has a value for are left out."""
    columns = {
        "neuron": [str(one.neuron) for one in found.neurons],
        found.rule.value: [_value(one, found.rule) for one in found.neurons],
        "exact": ["" if one.exact is None else f"{one.exact:+.2f}" for one in found.neurons],
        "activation": ["" if one.activation is None else f"{one.activation:.3g}" for one in found.neurons],
        "writes": ["" if one.written is None else f"{one.written:.3g}" for one in found.neurons],
        "top sample": ["" if one.rank is None else f"{one.rank}" for one in found.neurons],
    }
    kept = {head: cells for head, cells in columns.items() if any(cells)}
    widths = {head: max(len(head), *map(len, cells)) for head, cells in kept.items()}
    name, *others = kept
    concepts = store.concepts

    def line(cells: Mapping[str, str]) -> tuple[str, str]:
        return f"{cells[name]:<{widths[name]}}  ", "".join(f"  {cells[head]:>{widths[head]}}" for head in others)

    begin, end = line({head: head for head in kept})
    lines = [output.row(f"{begin}{'label':<17}{end}{'' if concepts is None else '  concepts'}")]
    for at_, one in enumerate(found.neurons):
        begin, end = line({head: cells[at_] for head, cells in kept.items()})
        row = output.row(begin)
        output.append_label(row, one.label, one.high_confidence)
        row.append(end if concepts is None else f"{end}  {as_words(concepts.of(one.neuron))}")
        row.rstrip()
        lines.append(row)
    return lines


def _value(one: PointedNeuron, rule: Rule) -> str:
    """What the rule orders by, in a few characters."""
    match rule:
        case Rule.EFFECT:
            return f"{one.value:+.2f}"
        case Rule.RARE:
            return f"1 in {one.value:,.0f}"
        case Rule.WRITTEN:
            return f"{one.value:.3g}"
        case _:
            return f"{one.value:.2f}"


def _as_json(one: PointedNeuron, found: Pointed, store: ScanStore) -> dict[str, object]:
    return {
        "neuron": str(one.neuron),
        "label": one.label.word,
        "high_confidence": one.high_confidence,
        "by": found.rule.value,
        "value": one.value,
        "activation": one.activation,
        "written": one.written,
        "exact": one.exact,
        "top_sample": one.rank,
        **as_entry(None if store.concepts is None else store.concepts.of(one.neuron)),
    }
