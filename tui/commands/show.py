"""``vlmscope show``: one neuron as text, as JSON, or as a picture."""

from pathlib import Path
from typing import Annotated

import typer

from vlmscope.core.analysis.panel import RangeSample
from vlmscope.core.base.errors import UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.distribution import Distribution
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.values import Entry
from vlmscope.core.report.collect import noted, published_part
from vlmscope.core.report.drawing import FigureFormat
from vlmscope.core.store.example import Example, Sample
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.concepts import as_entry
from vlmscope.tui.commands.labels import firmness_json
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.open_arg import kept_notebook, opened, progress_json
from vlmscope.tui.commands.shared.options import AddressArgument, JsonOption, LabelThresholds, ScanArgument, number
from vlmscope.tui.commands.show_page import ShownNeuron
from vlmscope.tui.commands.show_png import neuron_card, neuron_png
from vlmscope.tui.commands.show_text import as_lines


def show(
    *,
    scan: ScanArgument,
    address: AddressArgument,
    rank: Annotated[
        int | None,
        typer.Option(
            "--sample",
            parser=number("--sample", "1", int),
            metavar="RANK",
            help="The top sample to show, from 1 (the best).",
        ),
    ] = None,
    cover: Annotated[
        int | None,
        typer.Option(
            "--cover",
            parser=number("--cover", "1", int),
            metavar="N",
            help="The map of one cover of the picture alone, from 1, where the visual tokens cover it more than once.",
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=0, help="Top samples that the text lists.")] = 10,
    across: Annotated[
        bool,
        typer.Option("--range", help="List panel samples across the range too, at quantiles and at random."),
    ] = False,
    json: JsonOption = False,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png",
            metavar="FILE",
            help="Write the neuron's card as a PNG; with --sample or --cover that sample's picture and map in pixels.",
        ),
    ] = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write its card as an SVG.")] = None,
    pdf: Annotated[Path | None, typer.Option("--pdf", metavar="FILE", help="Write its card as a PDF.")] = None,
    colour_map: Annotated[ColourMap, typer.Option("--colour-map", help="How the heatmap is drawn.")] = ColourMap.FADE,
    thresholds: LabelThresholds,
) -> None:
    """Show one neuron: its label, its top samples, where it activates.

    A card is a figure for papers and slides: label and votes, the best four
    samples with their maps, the scale, the words, concepts, explanation and
    score. It is two columns wide and readable in grey; of a text neuron the
    words are the picture.
    """
    neuron = Neuron.parse(address)
    store = opened(scan)
    store.numbering.checked(neuron)
    if across and not json:
        store.panel_for("--range")
    page = ShownNeuron.of(store, neuron, thresholds.of(store), _entry(store, neuron))
    picked = _pick(page, rank)
    if picked is not None and cover is not None:
        picked = _one_cover(picked, cover)
    one_sample = rank is not None or cover is not None
    if one_sample and (svg is not None or pdf is not None):
        raise UsageError(
            "A card has the best samples: --sample and --cover do not go with --svg and --pdf.",
            "Leave them out, or write that sample's picture: --png FILE",
        )
    cards = {FigureFormat.PNG: None if one_sample else png, FigureFormat.SVG: svg, FigureFormat.PDF: pdf}
    for form, file in cards.items():
        if file is not None:
            output.write_picture(file, neuron_card(page, colour_map, form))
    if one_sample and png is not None:
        output.write_picture(png, neuron_png(page, picked, colour_map))
    if json:
        output.write_json(as_json(page, picked if one_sample else None))
    elif png is svg is pdf is None:
        target = output.console()
        output.write_lines(as_lines(page, picked, top, colour_map, target, across=across), target)


def _entry(store: ScanStore, neuron: Neuron) -> Entry:
    """What the notebook holds; without it where that cannot be read."""
    try:
        with kept_notebook(store) as notebook:
            return Entry(neuron) if notebook is None else notebook.entry(neuron)
    except VlmscopeError as error:
        note(f"without the notebook: {error.message}")
        return Entry(neuron)


def as_json(page: ShownNeuron, picked: Example | None) -> dict[str, object]:
    """The whole page; with ``picked`` that sample's tokens and maps too."""
    store, manifest = page.store, page.store.manifest
    result: dict[str, object] = {
        "neuron": str(page.neuron),
        "layer": page.neuron.layer,
        "index": page.neuron.unit,
        "label": page.label.word,
        "high_confidence": page.high_confidence,
        "p": page.fractions,
        "firmness": firmness_json(page.firmness),
        "maximum": page.maximum,
        "thresholds": vars(page.thresholds),
        "scan": {
            "model": manifest.model.name,
            "hook": manifest.hook.value,
            "samples": manifest.scanned,
            "progress": progress_json(manifest.progress),
        },
        **as_entry(page.concepts),
        "published": None if page.published is None else published_part(page.published).model_dump(mode="json"),
        "notebook": noted(page.entry).model_dump(mode="json"),
        "peaks": [{"word": word, "count": count} for word, count in store.peak_tokens(page.neuron)],
        "statistics": {
            which.word: _statistics(store.distribution(page.neuron, which)) for which in (Label.VISUAL, Label.TEXT)
        },
        "samples": [_sample_json(one) for one in page.samples],
    }
    if page.across is not None:
        result["range"] = [_range_json(one, store) for one in page.across]
    if picked is not None:
        visual, text = picked.visual_map, picked.text_map
        result["sample"] = {
            **_sample_json(picked),
            "layout": _layout_json(picked),
            "small_maps": picked.small,
            "tokens": picked.sample.tokens,
            "visual_map": None if visual is None else visual.tolist(),
            "text_map": None if text is None else text.tolist(),
        }
    return result


def _sample_json(example: Example) -> dict[str, object]:
    sample, place = example.sample, example.peak_place
    return {
        "rank": example.rank + 1,
        "sample": sample.index,
        "image": sample.image,
        "description": sample.description,
        "score": example.activation,
        "vote": example.vote.word,
        "visual": example.visual.tolist(),
        "text": example.text.tolist(),
        "peak_patch": None if place is None else list(place),
        "peak_token": example.peak_token,
        **fields_json(sample),
    }


def _range_json(one: RangeSample, store: ScanStore) -> dict[str, object]:
    """A panel sample: ``place`` is the share of the panel that activates the neuron less."""
    sample = store.sample(one.sample)
    return {
        "sample": sample.index,
        "image": sample.image,
        "description": sample.description,
        "score": one.activation,
        "visual": one.visual,
        "text": one.text,
        "place": one.place,
        "drawn": one.drawn.value,
        "quantile": one.quantile,
        **fields_json(sample),
    }


def fields_json(sample: Sample) -> dict[str, object]:
    """What the listing has on a sample; no key where it has nothing, as in scans of earlier versions."""
    return {"fields": dict(sample.fields)} if sample.fields else {}


def _layout_json(example: Example) -> dict[str, object]:
    """How many visual tokens the sample has, how often they cover its picture, and rows and columns of its map."""
    layout = example.sample.layout
    return {"tokens": len(layout), "covers": layout.covers, "grid": list(example.grid)}


def _statistics(found: Distribution) -> dict[str, object]:
    return {**vars(found), "histogram": found.histogram.tolist()}


def _pick(page: ShownNeuron, rank: int | None) -> Example | None:
    """The sample of this rank, counted from 1; the first one if none is named, None if there are no samples at all."""
    if rank is None:
        return page.samples[0] if page.samples else None
    if not 1 <= rank <= len(page.samples):
        raise UsageError(
            f"--sample {rank} is out of range: {page.neuron} has {len(page.samples)} top samples.",
            f"Ranks go from 1, the best, to {len(page.samples)}.",
        )
    return page.samples[rank - 1]


def _one_cover(example: Example, cover: int) -> Example:
    """The sample with the map of one cover, counted from 1."""
    covers = example.sample.layout.covers
    if not 1 <= cover <= covers:
        times = "once" if covers == 1 else f"{covers} times"
        raise UsageError(
            f"--cover {cover} is out of range: the visual tokens cover sample {example.rank + 1} {times}.",
            "Leave --cover out: the map is of all visual tokens." if covers == 1 else f"Covers go from 1 to {covers}.",
        )
    if example.small:
        kept = f"The scan keeps a small map of sample {example.rank + 1}, without covers."
        raise UsageError(kept, "Leave --cover out for the map of all.")
    if example.map_layout.covers != covers:
        raise UsageError("This scan keeps pooled maps, without covers.", "Leave --cover out for the map of all.")
    return example.of_cover(cover - 1)
