"""Asking the model which neurons fire at a place: the requests that are made, and the order of the answers."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.explain_parts import FakeMaps, with_pictures
from tests.support.interventions import change
from vlmscope.core.analysis.pointing import Pointed, Rule
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.causal.pictures import of_sample
from vlmscope.core.causal.pointing import ablate_first, describe, point
from vlmscope.core.causal.trained import check_trained
from vlmscope.core.method.place import Place, patch_place, token_place
from vlmscope.core.store.manifest import ControlInfo
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.interventions import AttributionRequest, FiringRequest, InterventionRequest
from vlmscope.core.worker.messages import DescribeAnswer, DescribeRequest, MapAnswer, MapRequest

SAMPLE = 5
WORD = token_place((3, 4), "word")


class Model(FakeMaps):
    """Describes pictures, too."""

    async def describe(self, request: DescribeRequest) -> DescribeAnswer:
        return DescribeAnswer(request.image, request.question, "<image> ?", "A cat.", ("A", " cat", "."), b"")

    async def map(self, request: MapRequest) -> MapAnswer:
        return await super().map(replace_sample(request))


def replace_sample(request: MapRequest) -> MapRequest:
    """A user's own picture looks as sample 0 does."""
    return MapRequest(request.neuron, request.image, request.prompt, request.description, request.sample or 0)


@pytest.fixture
def store(tmp_path: Path, scan: Path) -> ScanStore:
    return with_pictures(tmp_path, scan)


@pytest.fixture
def model(store: ScanStore) -> Model:
    return Model(store)


def pointed(store: ScanStore, model: Model, place: Place, rule: Rule, limit: int = 200) -> Pointed:
    picture = of_sample(store.sample(SAMPLE), store.manifest.prompt)
    return asyncio.run(point(model, store, store.stored_labels(), picture, place, rule, limit))


def test_a_patch_is_asked_for_by_its_visual_tokens(store: ScanStore, model: Model) -> None:
    place = patch_place(store.sample(SAMPLE).layout, 1, 2)
    found = pointed(store, model, place, Rule.WRITTEN)
    (request,) = model.interventions
    assert isinstance(request, FiringRequest)
    assert (request.visual, request.text, request.before) == ((6,), (), False)
    assert (request.sample.sample, request.sample.description) == (SAMPLE, store.sample(SAMPLE).description)
    assert found.by_model and found.total == 4 * sum(index % 5 > 0 for index in range(32))
    assert [one.neuron.index for one in found.neurons[:7]] == [4, 9, 14, 19, 24, 29, 4]
    first = found.neurons[0]
    assert (first.value, first.written, first.activation) == (4, 4, 1 * (4 % 7))


@pytest.mark.parametrize(("before", "text"), [(False, (3, 4)), (True, (3,))])
def test_a_word_is_asked_for_by_its_tokens_and_before_it_by_the_first(
    store: ScanStore, model: Model, before: bool, text: tuple[int, ...]
) -> None:
    found = pointed(store, model, replace(WORD, before=before), Rule.MAXIMUM)
    (request,) = model.interventions
    assert isinstance(request, FiringRequest)
    assert (request.visual, request.text, request.before) == ((), text, before)
    one = found.neurons[0]
    assert one.activation == (one.neuron.layer + 1) * (one.neuron.index % 7)
    assert one.value == pytest.approx(one.activation / store.maximum[one.neuron.layer, one.neuron.index])


def test_effects_are_on_the_words_first_token_and_the_first_are_ablated(store: ScanStore, model: Model) -> None:
    found = pointed(store, model, WORD, Rule.EFFECT)
    assert all(one.value == change(one.neuron.index) for one in found.neurons)
    assert found.neurons[0].value == -2 and found.total == len(found.neurons)
    picture = of_sample(store.sample(SAMPLE), store.manifest.prompt)
    swapped = replace(found, neurons=(found.neurons[-1], *found.neurons[1:]))  # its effect was thought to be larger
    exact = asyncio.run(ablate_first(model, picture, swapped, 3))
    attribution, ablations = model.interventions
    assert isinstance(attribution, AttributionRequest) and attribution.token == 3
    assert isinstance(ablations, InterventionRequest)
    assert ablations.rows == tuple((Edit(one.neuron),) for one in swapped.neurons[:3])
    assert (ablations.at, ablations.tokens) == (Positions.ALL, (3,))
    assert [one.exact for one in exact.neurons[:4]] == [-2, -2, -0.5, None]
    assert [one.neuron for one in exact.neurons[:3]] == [
        found.neurons[1].neuron,
        found.neurons[2].neuron,
        found.neurons[-1].neuron,
    ]
    assert exact.neurons[3:] == swapped.neurons[3:]


def test_by_another_rule_ablations_leave_the_order(store: ScanStore, model: Model) -> None:
    found = pointed(store, model, WORD, Rule.BAR, limit=9)
    picture = of_sample(store.sample(SAMPLE), store.manifest.prompt)
    exact = asyncio.run(ablate_first(model, picture, found, 20))
    assert [one.neuron for one in exact.neurons] == [one.neuron for one in found.neurons]
    assert [one.exact for one in exact.neurons] == [change(one.neuron.index) for one in found.neurons]
    assert asyncio.run(ablate_first(model, picture, replace(found, neurons=()), 20)).neurons == ()


def test_a_patch_has_no_effect_on_a_word(store: ScanStore, model: Model) -> None:
    place = patch_place(store.sample(SAMPLE).layout, 1, 2)
    with pytest.raises(UsageError, match="--by effect is about a word's log-odds, and patch 1,2 is not a word"):
        pointed(store, model, place, Rule.EFFECT)
    found = pointed(store, model, place, Rule.BAR)
    with pytest.raises(UsageError, match="--exact is about a word's log-odds"):
        asyncio.run(ablate_first(model, of_sample(store.sample(SAMPLE), ""), found, 3))


def test_an_own_picture_is_described_and_its_layout_read(store: ScanStore, model: Model) -> None:
    found, layout = asyncio.run(describe(model, store, Path("cat.png")))
    assert (found.ref.image, found.ref.prompt, found.ref.sample) == ("cat.png", "<image> ?", None)
    assert found.tokens == ("A", " cat", ".")
    assert layout == store.layout(0)
    (asked,) = model.requests
    assert (asked.image, asked.description) == ("cat.png", "A cat.")


def test_no_model_is_asked_about_a_control(store: ScanStore) -> None:
    check_trained(store)
    store.manifest = store.manifest.model_copy(update={"control": ControlInfo(scan_id="x", seed=0)})
    with pytest.raises(UsageError, match="its random weights are not kept"):
        check_trained(store)
