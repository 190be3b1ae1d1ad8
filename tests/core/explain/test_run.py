"""Many neurons: several requests at once, results kept as they come, and a second run that pays nothing twice."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from werkzeug import Request, Response

from tests.support.api_server import GOOD, KEY, ApiServer, Gate, api_server, completion, error
from tests.support.explain_parts import FakeMaps, chat_with, with_pictures
from vlmscope.core.analysis.clearness import clearness
from vlmscope.core.analysis.pick import clearest_of_label, clearest_of_layers
from vlmscope.core.base.batch import BatchEnd
from vlmscope.core.base.config import cache_folder
from vlmscope.core.base.errors import Cancelled, StopRun
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.explain.evidence import gather
from vlmscope.core.explain.run import ExplainResult, known_explanation, run
from vlmscope.core.llm import client as chat_module
from vlmscope.core.llm.budget import Ledger
from vlmscope.core.llm.client import Chat
from vlmscope.core.llm.messages import ChatAnswer, ChatRequest
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Source
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Lane
from vlmscope.core.worker.messages import MapRequest


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


async def explain_first(
    server: ApiServer,
    store: ScanStore,
    notebook: Notebook | None,
    count: int = 6,
    *,
    at_once: int = 3,
    model: FakeMaps | None = None,
    ledger: Ledger | None = None,
    again: bool = False,
    label: Label = Label.TEXT,
    on_result: Callable[[ExplainResult], None] = lambda _: None,
) -> BatchEnd[ExplainResult]:
    evidence = [gather(store, Neuron(2, index), label) for index in range(count)]
    async with chat_with(server) as chat:
        return await run(
            evidence,
            store,
            chat,
            ledger or Ledger(0),
            notebook,
            model=model,
            at_once=at_once,
            again=again,
            on_result=on_result,
        )


def statuses(end: BatchEnd[ExplainResult]) -> list[str]:
    return [result.status.value for result in end.results]


async def test_all_are_explained_and_kept_in_the_order_asked_for(
    server: ApiServer, scan: Path, notebook: Notebook
) -> None:
    seen: list[ExplainResult] = []
    end = await explain_first(server, ScanStore(scan), notebook, on_result=seen.append)
    assert statuses(end) == ["explained"] * 6
    assert [result.neuron.index for result in end.results] == list(range(6))
    assert sorted(result.neuron for result in seen) == [result.neuron for result in end.results]
    assert end.stopped is None
    for result in end.results:
        (saved,) = notebook.explanations(result.neuron)
        assert saved.explanation == result.explanation
        assert result.note.startswith("2 of 4 samples")
        assert result.input_tokens == 2000


async def test_requests_at_once_are_bounded_and_used(server: ApiServer, scan: Path) -> None:
    together = threading.Barrier(3, timeout=60)

    def wait_for_two_others(request: Request) -> Response:
        together.wait()
        return completion()(request)

    server.otherwise = wait_for_two_others
    end = await explain_first(server, ScanStore(scan), None, 6, at_once=3)
    assert statuses(end) == ["explained"] * 6
    assert server.most_at_once == 3


async def test_a_second_run_sends_nothing(server: ApiServer, scan: Path, notebook: Notebook) -> None:
    store = ScanStore(scan)
    await explain_first(server, store, notebook, 3)
    assert len(server.bodies) == 3
    again = await explain_first(server, store, notebook, 5)
    assert statuses(again) == ["skipped"] * 3 + ["explained"] * 2
    assert again.results[0].explanation is not None
    assert (again.results[0].input_tokens, again.results[0].cost_usd) == (0, 0)
    assert len(server.bodies) == 5
    assert len(notebook.explanations(Neuron(2, 0))) == 1


async def test_a_lost_notebook_is_filled_from_the_cache(server: ApiServer, scan: Path, notebook: Notebook) -> None:
    store, ledger = ScanStore(scan), Ledger(5)
    await explain_first(server, store, None, 3)
    end = await explain_first(server, store, notebook, 3, ledger=ledger)
    assert statuses(end) == ["cached"] * 3
    assert len(server.bodies) == 3
    assert ledger.spent_usd == 0
    assert notebook.explanations(Neuron(2, 0))[0].explanation.text == GOOD["explanation"]


async def test_again_pays_again(server: ApiServer, scan: Path, notebook: Notebook) -> None:
    store = ScanStore(scan)
    await explain_first(server, store, notebook, 2)
    assert statuses(await explain_first(server, store, notebook, 2, again=True)) == ["explained"] * 2
    assert len(server.bodies) == 4
    assert len(notebook.explanations(Neuron(2, 0))) == 2


async def test_quota_ends_the_run_and_what_is_finished_is_kept(
    server: ApiServer, scan: Path, notebook: Notebook
) -> None:
    server.script.extend([completion(), completion()])
    server.otherwise = error(429, "no more", code="insufficient_quota")
    end = await explain_first(server, ScanStore(scan), notebook, 6, at_once=1)
    assert statuses(end) == ["explained"] * 2 + ["skipped"] * 4
    assert end.results[2].reason == "the run was stopped"
    assert end.stopped is not None
    assert "quota" in end.stopped.message
    assert len(server.bodies) == 3
    assert len(notebook.explanations(Neuron(2, 1))) == 1
    assert notebook.failures(Neuron(2, 2)) == ()


async def test_requests_in_the_air_finish_when_the_run_is_stopped(
    server: ApiServer, scan: Path, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()
    ask = Chat.ask

    async def noting(self: Chat, request: ChatRequest) -> ChatAnswer:
        try:
            return await ask(self, request)
        except StopRun:
            asyncio.get_running_loop().call_soon(stopped.set)  # when the run knows
            raise

    def after(request: Request) -> Response:
        assert stopped.wait(60)
        return completion()(request)

    monkeypatch.setattr(Chat, "ask", noting)
    server.script.extend([after, error(401, "wrong key")])
    end = await explain_first(server, ScanStore(scan), notebook, 6, at_once=2)
    assert sorted(statuses(end)) == ["explained"] + ["skipped"] * 5
    assert end.stopped is not None
    assert len(server.bodies) == 2
    assert sum(len(notebook.explanations(result.neuron)) for result in end.results) == 1


async def test_the_budget_ends_the_run(server: ApiServer, scan: Path) -> None:
    store = ScanStore(scan)
    first = await explain_first(server, store, None, 1)
    assert first.results[0].cost_usd == pytest.approx(0.006)
    ledger = Ledger(0.03)  # one request is estimated at 0.014
    end = await explain_first(server, store, None, 8, at_once=1, ledger=ledger, again=True)
    assert end.stopped is not None
    assert "budget of $0.0300" in end.stopped.message
    assert 1 <= statuses(end).count("explained") < 8
    assert ledger.spent_usd <= 0.03
    assert len(server.bodies) == 1 + statuses(end).count("explained")


async def test_failures_and_refusals_are_kept_as_such_and_the_run_goes_on(
    server: ApiServer, scan: Path, notebook: Notebook
) -> None:
    server.script.extend([error(404, "no such model"), completion("", refusal="I cannot."), completion()])
    end = await explain_first(server, ScanStore(scan), notebook, 3, at_once=1)
    assert statuses(end) == ["failed", "refused", "explained"]
    assert "no such model" in end.results[0].reason
    assert [found.refused for found in notebook.failures(Neuron(2, 0))] == [False]
    assert [found.refused for found in notebook.failures(Neuron(2, 1))] == [True]
    assert notebook.explanations(Neuron(2, 1)) == ()


async def test_a_neuron_without_evidence_fails_alone(server: ApiServer, scan_copy: Path, notebook: Notebook) -> None:
    store = ScanStore(scan_copy)
    store.manifest = store.manifest.model_copy(update={"maps": 0})
    end = await explain_first(server, store, notebook, 2)
    assert statuses(end) == ["failed"] * 2
    assert server.bodies == []
    assert notebook.failures(Neuron(2, 0)) == ()


async def test_maps_wait_in_the_background_lane(server: ApiServer, scan: Path, tmp_path: Path) -> None:
    store = with_pictures(tmp_path, scan)
    maps = FakeMaps(store)
    end = await explain_first(server, store, None, 4, at_once=4, model=maps)
    assert statuses(end) == ["explained"] * 4
    assert end.results[0].note == ""
    assert maps.lanes == [Lane.BACKGROUND] * 16


async def test_a_stopped_model_ends_the_run(server: ApiServer, scan: Path, tmp_path: Path) -> None:
    store = with_pictures(tmp_path, scan)

    async def stop(_: MapRequest) -> None:
        raise Cancelled("stopped")

    end = await explain_first(server, store, None, 2, model=FakeMaps(store, stop))
    assert isinstance(end.stopped, Cancelled)
    assert statuses(end) == ["skipped"] * 2


async def test_cancelling_keeps_what_is_finished_and_nothing_else(
    server: ApiServer, scan: Path, notebook: Notebook
) -> None:
    gate = Gate(completion())
    server.script.append(completion())
    server.otherwise = gate
    store = ScanStore(scan)
    try:
        task = asyncio.create_task(explain_first(server, store, notebook, 4, at_once=1))
        assert await asyncio.to_thread(gate.entered.wait, 60)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=30)
        assert done == {task}
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
    finally:
        gate.opened.set()
    assert [len(notebook.explanations(Neuron(2, index))) for index in range(4)] == [1, 0, 0, 0]
    assert notebook.failures(Neuron(2, 1)) == ()
    assert len(list((cache_folder() / "explain").glob("*"))) == 1
    server.otherwise = completion()
    sent = len(server.bodies)
    assert statuses(await explain_first(server, store, notebook, 4)) == ["skipped"] + ["explained"] * 3
    assert len(server.bodies) == sent + 3


async def test_what_counts_as_explained_already(server: ApiServer, scan: Path, notebook: Notebook) -> None:
    store = ScanStore(scan)
    neuron = gather(store, Neuron(2, 0), Label.TEXT)
    end = await explain_first(server, store, notebook, 1)
    found = end.results[0].explanation
    assert found is not None
    assert known_explanation(notebook, neuron, "gpt-4o") == found
    assert known_explanation(notebook, neuron, "gpt-4o-2024-08-06") == found
    assert known_explanation(notebook, neuron, "gpt-4o-mini") is None
    other = gather(store, Neuron(2, 9), Label.TEXT)
    for wrong in ({"prompt_version": "explain-0"}, {"source": Source.USER}, {"model": "gpt-4"}):
        notebook.add_explanation(other.neuron, type(found)(**{**vars(found), **wrong}))
    assert known_explanation(notebook, other, "gpt-4o") is None


def test_the_clearest_come_first(scan: Path) -> None:
    store = ScanStore(scan)
    labels = store.stored_labels()
    clear = clearness(store, labels)
    picked = clearest_of_layers(store, labels, 2)
    for layer in range(store.layers):
        best = sorted(range(store.neurons), key=lambda index: (-float(clear[layer, index]), index))
        best = [index for index in best if labels.label[layer, index] != Label.UNKNOWN][:2]
        assert [neuron.index for neuron in picked if neuron.layer == layer] == best
    text = clearest_of_label(store, labels, Label.TEXT, 500)
    assert len(text) == int((labels.label == Label.TEXT).sum()) > 5
    values = [float(clear[neuron.layer, neuron.index]) for neuron in text]
    assert values == sorted(values, reverse=True)
    assert clearest_of_label(store, labels, Label.TEXT, 3) == text[:3]
