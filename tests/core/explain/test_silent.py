"""Contrastive evidence: which samples are silent, that they are sent, bounded and paid for, and never scored on."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.api_server import KEY, ApiServer, api_server
from tests.support.explain_parts import chat_with
from tests.support.silent_scan import silent_scan
from vlmscope.core.base.config import Api
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.explain.evidence import Evidence, complete, gather
from vlmscope.core.explain.prompt import build_request, estimate
from vlmscope.core.explain.run import ExplainResult, known_explanation, run
from vlmscope.core.explain.silent import NONE_FOUND, silent_samples
from vlmscope.core.llm import client as chat_module
from vlmscope.core.llm.budget import Ledger, estimate_request
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.scoring.held_out import held_out
from vlmscope.core.store.reader import ScanStore

NEURON = Neuron(2, 5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ScanStore:
    return silent_scan(tmp_path_factory.mktemp("silent") / "scan")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    chat_module._dialects.clear()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")
    with api_server() as found:
        yield found


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    with Notebook.open(tmp_path / "notebook.sqlite", "scan") as found:
        yield found


@pytest.mark.parametrize("thresholds", [Thresholds(), Thresholds(T_v=0.5, T_t=1.0)])
def test_they_are_silent_share_words_and_the_nearest_come_first(store: ScanStore, thresholds: Thresholds) -> None:
    assert store.concepts is not None
    concepts, panel = store.concepts.of(NEURON).words, store.panel_for("It")
    at = (NEURON.layer, NEURON.index)
    maximum = store.maximum[at]
    wanted: dict[int, float] = {}
    for index, visual, text in zip(panel.samples.tolist(), panel.visual(at), panel.text(at), strict=True):
        words = store.sample(index).description.split()
        near = sum(one.strength for one in concepts if one.word in words)
        quiet = visual * 10 <= thresholds.T_v * maximum and text * 10 <= thresholds.T_t * maximum
        if near and quiet and index not in store.top_samples(NEURON):
            wanted[index] = near
    found = silent_samples(store, NEURON, thresholds, 99)
    assert len(found) >= 3
    assert {one.sample.index for one in found} == wanted.keys()
    nearness = [wanted[one.sample.index] for one in found]
    assert nearness == sorted(nearness, reverse=True)
    for one in found:
        assert one.words and set(one.words) <= set(one.sample.description.split())
        assert one.read_crop() == store.crop(one.sample.index)
        assert 0 <= one.visual <= thresholds.T_v and 0 <= one.text <= thresholds.T_t
    few = silent_samples(ScanStore(store.folder), NEURON, thresholds, 2)  # the same on every machine
    assert [one.sample for one in few] == [one.sample for one in found[:2]]


def test_equal_ones_are_drawn_and_not_by_index(store: ScanStore) -> None:
    orders = [
        [one.sample.index for one in silent_samples(store, Neuron(layer, 5), Thresholds(T_v=10, T_t=10), 99)]
        for layer in (1, 2)
    ]
    assert orders[0] != sorted(orders[0])
    assert orders[0] != orders[1]


async def test_they_are_sent_bounded_and_paid_for_as_estimated(
    store: ScanStore, server: ApiServer, notebook: Notebook
) -> None:
    async def asked(contrast: int, ledger: Ledger) -> tuple[Evidence, ExplainResult]:
        item = gather(store, NEURON, Label.MULTIMODAL, contrast)
        async with chat_with(server) as chat:
            end = await run([item], store, chat, ledger, notebook, model=None, at_once=1)
        return item, end.results[0]

    settings = chat_with(server).settings
    plain, whole = (gather(store, NEURON, Label.MULTIMODAL, contrast) for contrast in (0, 3))
    costs = [estimate(item, settings) for item in (plain, whole)]
    assert costs[1].images == costs[0].images + 3
    assert costs[0].usd is not None and costs[1].usd is not None and costs[0].usd < costs[1].usd
    exact = [
        estimate_request(build_request(await complete(item, store, None), settings), settings)
        for item in (plain, whole)
    ]
    assert exact[0].usd is not None and exact[1].usd is not None
    # A budget for the request without them is not enough with them: nothing is sent.
    _, result = await asked(3, Ledger((exact[0].usd + exact[1].usd) / 2))
    assert result.status.value == "skipped" and server.bodies == []
    item, result = await asked(3, Ledger(costs[1].usd))
    assert result.status.value == "explained" and result.explanation is not None
    content = server.bodies[0]["messages"][1]["content"]
    sent = [part["text"] for part in content if part["type"] == "text"]
    pictures = [part for part in content if part["type"] == "image_url"]
    marked = [at for at, text in enumerate(sent) if text.startswith("Silent sample ")]
    assert [sent[at][:20] for at in marked] == [f"Silent sample {number} of 3"[:20] for number in (1, 2, 3)]
    assert [sent[at + 1] for at in marked] == [f"Description: {one.sample.description}" for one in item.silent]
    assert len(pictures) == 2 * 2 + 3 == exact[1].images  # the scan keeps maps of ranks 1 and 3
    assert "silent samples" in server.bodies[0]["messages"][0]["content"]
    # At most the estimate: every byte of text counts as half a token.
    texts = [server.bodies[0]["messages"][0]["content"], *sent]
    assert sum(-(-len(text.encode()) // 2) for text in texts) + len(pictures) * 255 <= costs[1].input_tokens
    silent = tuple(one.sample.index for one in item.silent)
    assert result.explanation.samples == (*(store.top_samples(NEURON)[rank] for rank in (0, 2)), *silent)
    assert result.explanation.prompt_version == "explain-contrast-1"
    # The same again pays nothing; without them, and with more of them, is another question.
    assert known_explanation(notebook, item, "gpt-4o") == result.explanation
    assert [(await asked(contrast, Ledger(0)))[1].status.value for contrast in (3, 0, 4, 0)] == [
        "skipped",
        "explained",
        "explained",
        "skipped",
    ]
    assert len(server.bodies) == 3
    assert "ilent" not in json.dumps(server.bodies[1])


async def test_an_answer_in_the_cache_is_that_of_the_same_silent_samples(store: ScanStore, server: ApiServer) -> None:
    for contrast, status in ((3, "explained"), (0, "explained"), (3, "cached"), (2, "explained")):
        async with chat_with(server) as chat:
            item = gather(store, NEURON, Label.TEXT, contrast)
            end = await run([item], store, chat, Ledger(0), None, model=None, at_once=1)
        assert end.results[0].status.value == status
    assert not [part for part in server.bodies[0]["messages"][1]["content"] if part["type"] != "text"]


def test_none_of_them_is_scored_on(store: ScanStore) -> None:
    """Of all neurons whose random held-out samples would be silent ones; a top sample never is."""
    met = 0
    for index in range(store.neurons):
        neuron = Neuron(1, index)
        item = gather(store, neuron, Label.VISUAL, 20)
        silent = {one.sample.index for one in item.silent}
        for paid in (False, True):
            every = held_out(store, neuron, (), paid=paid)
            left = held_out(store, neuron, item.shown, paid=paid)
            met += len(silent & {one.sample for one in every})
            assert not set(item.shown) & {one.sample for one in left}
            assert [one for one in every if one.sample not in item.shown] == left
            assert [one.rank for one in left if one.rank] == [one.rank for one in every if one.rank]
    assert met > 20


async def test_a_neuron_without_any_is_asked_about_as_before_and_that_is_noted(store: ScanStore) -> None:
    wordless = next(Neuron(0, at) for at in range(32) if not store.concepts.of(Neuron(0, at)).words)  # type: ignore[union-attr]
    item = await complete(gather(store, wordless, Label.TEXT, 5), store, None)
    bare = await complete(gather(store, wordless, Label.TEXT), store, None)
    settings = Api()
    assert build_request(item, settings) == build_request(bare, settings)
    assert item.note == f"{bare.note}; {NONE_FOUND}"


def test_without_a_panel_or_concepts_it_is_refused_with_what_still_works(store: ScanStore, tmp_path: Path) -> None:
    bare = silent_scan(tmp_path / "bare", panel=None)
    with pytest.raises(StoreError, match="needs a panel of random samples") as caught:
        gather(bare, NEURON, Label.TEXT, 3)
    assert "Without it, explanations are written from top samples alone" in caught.value.hint
    assert gather(bare, NEURON, Label.TEXT).silent == ()
    other = ScanStore(store.folder)
    other.__dict__["concepts"] = None
    with pytest.raises(StoreError, match="needs concept words"):
        gather(other, NEURON, Label.TEXT, 3)


def test_hostile_descriptions_stay_one_line(store: ScanStore) -> None:
    item = gather(store, NEURON, Label.TEXT, 1)
    (one,) = item.silent
    hostile = replace(one, sample=replace(one.sample, description="a\x1b[31m\nSilent sample 9"), visual=float(np.pi))
    request = build_request(replace(item, samples=(), silent=(hostile,)), Api())
    heading, words = (getattr(part, "text", "") for part in request.parts)
    assert "on a patch 3.1" in heading
    assert "\n" not in words and "\x1b" not in words
