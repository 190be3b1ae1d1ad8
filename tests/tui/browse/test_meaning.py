"""What a neuron means, on the screen: concepts, search by word, promoted tokens, the paper's neurons."""

from pathlib import Path

import pytest

from tests.support.screen_app import Driver, running
from tests.support.worded import concepts_of
from vlmscope.core.analysis.published import Published
from vlmscope.core.base.errors import WorkerError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.store.concept_files import replace_concepts
from vlmscope.core.store.reader import ScanStore


@pytest.fixture
def has_concepts(scan_copy: Path) -> Path:
    """The small scan with concepts of three neurons."""
    store = ScanStore(scan_copy)
    placed = {
        (0, 3): (("train", 9.0), ("dog", 4.0)),
        (2, 7): (("train", 12.5),),
        (3, 1): (("dog", 7.0), ("train", 2.5)),
    }
    replace_concepts(scan_copy, concepts_of(store, placed), store.manifest)
    return scan_copy


async def go(on: Driver, address: str) -> None:
    await on.type(f":{address}")
    await on.settled()


async def test_concepts_stand_in_the_list_and_on_the_page(has_concepts: Path) -> None:
    async with running(has_concepts) as on:
        assert on.list.line_text(3).endswith("train, dog")
        await go(on, "0.3")
        assert "concepts  train 9.0 · dog 4.0  purity .75 (base .17)" in on.page
        await go(on, "0.4")
        assert "no word stands out" in on.page
        await on.press("e")
        assert "words that co-occur, not an explanation by a model" in on.page


async def test_a_scan_without_concepts_says_how_to_get_them(scan: Path) -> None:
    async with running(scan) as on:
        assert "none in this scan: vlmscope concepts adds them" in on.page
        await on.type("/train")
        await on.until(lambda: "vlmscope concepts SCAN adds them" in on.notes)
        assert on.neuron == Neuron(0, 0)


async def test_at_80_columns_concepts_stand_beside_the_pictures(has_concepts: Path) -> None:
    async with running(has_concepts, size=(80, 24), start=Neuron(0, 3)) as on:
        assert ".75 pure" in on.page
        assert "none yet: E asks" in on.page
        await on.press("tab")
        assert on.list.line_text(3).endswith("train, dog")


async def test_a_word_goes_to_the_strongest_neuron_of_any_layer_and_n_goes_on(has_concepts: Path) -> None:
    async with running(has_concepts) as on:
        await on.type("/Trains")
        await on.until(lambda: on.neuron == Neuron(2, 7))
        await on.until(lambda: "Trains: 1 of 3, strongest first." in on.notes)
        for key, neuron in (("n", Neuron(0, 3)), ("n", Neuron(3, 1)), ("n", Neuron(2, 7)), ("N", Neuron(3, 1))):
            await on.press(key)
            await on.until(lambda neuron=neuron: on.neuron == neuron)  # type: ignore[misc]


async def test_a_word_keeps_to_the_filter_and_takes_labels_beside_it(has_concepts: Path) -> None:
    labels = ScanStore(has_concepts).stored_labels().label
    label = Label(int(labels[0, 3]))
    other = next(one for one in Label if one not in (label, Label(int(labels[2, 7])), Label(int(labels[3, 1]))))
    async with running(has_concepts) as on:
        await on.type(f"/train {label.word}")
        found = [
            neuron
            for neuron in (Neuron(2, 7), Neuron(0, 3), Neuron(3, 1))
            if labels[neuron.layer, neuron.index] == label
        ]
        await on.until(lambda: on.neuron == found[0])
        await on.type(f":label {other.word}")
        here = on.neuron
        await on.type("/train")
        await on.until(lambda: f"No {other.word} neuron has 'train'" in on.notes)
        assert on.neuron == here


async def test_a_word_that_is_not_there_names_similar_ones(has_concepts: Path) -> None:
    async with running(has_concepts) as on:
        await on.type("/traim")
        await on.until(lambda: "Similar words: train" in on.notes)
        await on.type("/zebra[/bold]")
        await on.until(lambda: "No neuron has 'zebra[/bold]'" in on.notes)
        assert on.neuron == Neuron(0, 0)


async def test_damaged_concepts_are_told_and_browsing_goes_on(has_concepts: Path) -> None:
    (has_concepts / "concepts" / "word.npy").write_bytes(b"nothing")
    async with running(has_concepts) as on:
        await on.until(lambda: "word.npy" in on.notes)
        await on.press("j")
        assert on.neuron == Neuron(0, 1)


async def test_what_it_writes_is_asked_for_by_a_key_once_and_kept(scan: Path) -> None:
    async with running(scan) as on:
        assert "w asks the model" in on.page
        assert on.models == []
        await on.press("w")
        await on.until(lambda: "train trains  against dog cake" in on.page)
        # The model is there now: the next neuron's tokens come by themselves.
        await on.press("j")
        await on.settled()
        await on.until(lambda: len(on.models[0].promotions) == 2)
        await on.until(lambda: "train trains  against dog cake" in on.page)
        await on.press("k")
        await on.settled()
        assert "train trains  against dog cake" in on.page
        await on.press("e")
        assert "a first-order reading of its output weights" in on.page
        assert len(on.models[0].promotions) == 2
    async with running(scan) as on:
        assert "train trains  against dog cake" in on.page
        assert on.models == []


async def test_a_model_that_cannot_tell_is_not_asked_again_by_itself(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("w")
        await on.until(lambda: "against dog cake" in on.page)
        model = on.models[0]
        model.fail = WorkerError("No such layer.", "Scan again.")
        await on.press("j")
        await on.settled()
        await on.until(lambda: "No such layer. Scan again." in on.page)
        asked = len(model.promotions)
        await on.press("k", "j")
        await on.settled()
        assert "No such layer." in on.page
        assert len(model.promotions) == asked
        model.fail = None
        await on.press("w")
        await on.until(lambda: "against dog cake" in on.page)


async def test_the_papers_neurons_are_marked_found_and_gone_to(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trains = Published(Neuron(2, 5), Label.VISUAL, "the presence of a train", "8")
    planes = Published(Neuron(3, 9), Label.MULTIMODAL, "words for airplanes", "9", ("000000403170",))
    monkeypatch.setattr(
        "vlmscope.tui.browse.session.published", lambda _: {one.neuron: one for one in (trains, planes)}
    )
    async with running(scan) as on:
        await on.type(":published")
        await on.until(lambda: "L3/N9 M words for airplanes" in on.screen)
        await on.press("b")
        await on.settled()
        assert on.neuron == Neuron(3, 9)
        assert "words for airplanes (the paper, figure 9)" in on.page
        assert on.list.line_text(9).startswith("▸    9 *")
        await on.press("e")
        assert "the paper, figure 9, COCO 000000403170 · multimodal" in on.page
        await on.type("/train")
        await on.until(lambda: on.neuron == Neuron(2, 5))


async def test_other_models_have_no_published_neurons(scan: Path) -> None:
    async with running(scan) as on:
        await on.type(":published")
        await on.until(lambda: "LLaVA-1.5-7B" in on.notes)


async def test_there_is_nothing_to_choose_from(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("c")
        await on.until(lambda: "no two explanations" in on.notes)


async def test_a_long_page_of_meanings_scrolls(scan: Path) -> None:
    async with running(scan, size=(80, 24), start=Neuron(0, 0)) as on:
        await on.press("w", "e")
        await on.until(lambda: "a first-order reading" in on.page)
        top = on.page
        await on.pilot.resize_terminal(80, 9)
        await on.until(lambda: "↓" in on.page)
        await on.press("J", "J")
        assert "↑2" in on.page
        await on.press("K", "K")
        await on.pilot.resize_terminal(80, 24)
        await on.until(lambda: on.page == top)
