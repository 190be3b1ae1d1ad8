"""A neuron's card: what is drawn is what the scan and the notebook have, in every format, and no square is blank."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from tests.support.report_parts import KEPT, triage
from vlmscope.core.method.heatmap import open_crop, overlay
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.report.card import SAMPLES, Card, card_bytes, draw_card
from vlmscope.core.report.collect import collect
from vlmscope.core.report.drawing import FigureFormat, text_width, wrapped
from vlmscope.core.store.reader import ScanStore

NEURON = KEPT[0]
AT = Thresholds()


@pytest.fixture(scope="module")
def card(_small_scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Card:
    """Of a neuron that has everything in the notebook."""
    store = ScanStore(_small_scan)
    with Notebook.open(tmp_path_factory.mktemp("notes") / "notes.sqlite", store.manifest.scan_id) as notebook:
        triage(notebook, "trains $x_1$ \x1b[31m")
        part = collect(store, notebook.entry(NEURON), AT, 0)
    return Card(store.manifest, NEURON, part, tuple(store.example(NEURON, rank, AT) for rank in range(6)), AT)


def silent(card: Card) -> Card:
    """The same as a text neuron: no patch is above Tv."""
    examples = (
        replace(one, visual_values=None if one.visual_values is None else one.visual_values * 0)
        for one in card.examples
    )
    return replace(card, examples=tuple(examples))


def test_pictures_are_the_crops_and_their_maps(card: Card) -> None:
    (axes,) = draw_card(card).axes
    drawn = [np.asarray(image.get_array()) for image in axes.images]
    kept = [one for one in card.examples[:SAMPLES] if one.visual_norms is not None]
    assert len(kept) == card.manifest.maps > 0
    for one in card.examples[:SAMPLES]:
        crop = open_crop(one.read_crop())
        large = crop.resize([side * round(336 / max(crop.size)) for side in crop.size], Image.Resampling.NEAREST)
        assert any(np.array_equal(np.asarray(large), pixels) for pixels in drawn)
        if one.visual_norms is not None:
            shown = np.asarray(overlay(large, one.visual_norms, card.colour_map))
            assert any(np.array_equal(shown, pixels) for pixels in drawn)
    assert len(drawn) == SAMPLES + len(kept) + 2  # and two scales
    outlines = [one for one in axes.collections if isinstance(one, LineCollection)]
    assert len(outlines) == 2 * len(kept)  # ink on white
    texts = [text.get_text() for text in axes.texts]
    assert texts[0] == str(NEURON) and "1   activation" in " ".join(texts)
    assert ("the scan keeps no map of it" in texts) == (len(kept) < SAMPLES)


def test_of_a_text_neuron_the_words_are_the_picture(card: Card) -> None:
    (axes,) = draw_card(silent(card)).axes
    assert len(axes.images) == SAMPLES + 1 and not axes.collections  # the crops, and the scale of the words
    shown = [text.get_text() for text in axes.texts]
    for one in card.examples[:SAMPLES]:
        if one.text_norms is not None and (one.text_norms > AT.T_t).any():
            strong = [token for token, norm in zip(one.sample.tokens, one.text_norms, strict=True) if norm > AT.T_t]
            bold = [text.get_text().strip() for text in axes.texts if text.get_fontweight() == "bold"]
            assert {token.strip() for token in strong} <= set(bold)
            assert str(one.rank + 1) in shown


def test_what_the_notebook_has_is_on_it_as_text(card: Card) -> None:
    svg = card_bytes(card, FigureFormat.SVG).decode()
    assert ">explanation<" in svg and "trains $x_1$" in svg and "\x1b" not in svg
    assert ">visual, top+random: Pearson n/a by lens<" in svg
    assert "Activations at the hook point gate of the 4 x 32 FFN neurons" in svg


def test_a_png_is_two_columns_wide_and_carries_what_it_shows(card: Card) -> None:
    data = card_bytes(card, FigureFormat.PNG)
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert picture.width == 1440  # 7.2 inches at 200 dots
        assert picture.info["Neuron"] == str(NEURON) and picture.info["Title"].startswith(f"{NEURON}: ")
        assert picture.info["Scale"].startswith("norm 0 to 10")


def test_a_neuron_of_which_little_is_known_has_a_card(card: Card) -> None:
    part = card.part.model_copy(update={"explanations": (), "concepts": None, "maximum": None})
    bare = replace(card, part=part, examples=(replace(card.examples[0], visual_values=None, text_map=None),))
    (axes,) = draw_card(bare).axes
    assert len(axes.images) == 1


def test_lines_are_wrapped_by_their_width() -> None:
    lines = wrapped("elephant " * 40, 200, 8, 3)
    assert len(lines) == 3 and lines[-1].endswith("…") and all(text_width(line, 8) <= 200 for line in lines)
    assert wrapped("x" * 500, 100, 8, 2)[0].endswith("…")
    assert text_width("a ", 8) > text_width("a", 8)
