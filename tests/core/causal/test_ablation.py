"""Ablating neurons on pictures: which are picked, what becomes of words, tokens and captions."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.core.causal.conftest import NEURON
from tests.support.linear_model import LinearModel
from vlmscope.core.base.errors import UsageError, WorkerError
from vlmscope.core.base.intervention import Edit, Intervention, Positions
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.causal.ablation import Ablation, ablate
from vlmscope.core.causal.captions import caption_change
from vlmscope.core.causal.edits import edit, peak_z
from vlmscope.core.causal.pictures import Described, of_answer, of_sample, pick
from vlmscope.core.causal.words import check_present, default_word, one_word, other_words, place_of
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import WORDS
from vlmscope.core.worker.client import Lane
from vlmscope.core.worker.interventions import InterventionRequest, PeakRequest, WrittenRequest
from vlmscope.core.worker.messages import DescribeAnswer

TOKENS = ("Two", " ap", "ples", ",", " a", " dog", "’s", " train", " and", " an", " apple", ".")


def ablated(store: ScanStore, model: LinearModel, pictures: Sequence[Described], **more: Any) -> Ablation:
    return asyncio.run(ablate(store, model, more.pop("neurons", [NEURON]), pictures, **more))


def samples_with(store: ScanStore, word: str) -> list[int]:
    """NEURON's top samples whose description has ``word``."""
    return [index for index in store.top_samples(NEURON) if place_of(store.sample(index).tokens, word) is not None]


def test_a_word_is_found_at_its_first_token_with_plurals_folded() -> None:
    place = place_of(TOKENS, "apple")
    assert place is not None
    assert (place.token, place.tokens, place.spelled) == (1, 2, " ap")
    dog = place_of(TOKENS, "dogs")
    assert dog is not None
    assert (dog.token, dog.tokens) == (5, 2)  # with its genitive
    assert place_of(TOKENS, "pear") is None
    assert place_of(TOKENS, "app") is None
    accents = ("Ein Ba\u0308r", " und \u0130zmir", " Zug")  # letters whose number changes when they are folded
    assert [getattr(place_of(accents, word), "token", None) for word in ("b\u00e4r", "zug")] == [0, 2]


def test_other_words_are_known_ones_at_their_first_occurrence() -> None:
    found = other_words(TOKENS, frozenset({"apple", "dog", "train", "cat"}), "dog")
    assert [(word, at.token) for word, at in found.items()] == [("apple", 1), ("train", 7)]
    assert other_words(TOKENS, frozenset(), "dog") == {}


def test_a_typed_word_is_spelled_as_concepts_spell_it(store: ScanStore) -> None:
    assert one_word(" Trains ", store.concepts) == "train"
    assert one_word("Zebras", store.concepts) == "zebras"
    assert one_word("dogs", None) == "dogs"
    for wrong in ("", "the", "red train", "7"):
        with pytest.raises(UsageError, match="is not a word to check"):
            one_word(wrong, store.concepts)


def test_the_default_word_leads_most_members(store: ScanStore) -> None:
    assert default_word(store.concepts, [NEURON]) == "train"
    assert default_word(store.concepts, [Neuron(1, 4), NEURON, Neuron(2, 0)]) == "train"
    assert default_word(store.concepts, [Neuron(1, 4), NEURON]) == "dog"  # one each: the first
    assert default_word(store.concepts, [Neuron(0, 0)]) == default_word(None, [NEURON]) == ""


def test_a_missing_word_is_refused_with_those_that_are_there() -> None:
    check_present("dog", [("A", " cat"), ("A", " dog")])
    with pytest.raises(UsageError, match="shirt is not in this description; it has: two, apples, dog, train, apple"):
        check_present("shirt", [TOKENS])
    with pytest.raises(UsageError, match=r"shirt is not in these descriptions; they have: cat, dog\."):
        check_present("shirt", [("A", " cat"), ("A", " dog")])


def test_the_first_top_samples_with_the_word_are_picked(store: ScanStore) -> None:
    top = store.top_samples(NEURON)
    word, having = next((word, some) for word in WORDS if 0 < len(some := samples_with(store, word)) < len(top))
    assert [one.ref.sample for one in pick(store, [NEURON], word, 99).pictures] == having
    assert [one.ref.sample for one in pick(store, [NEURON], "", 3).pictures] == top[:3]
    first = pick(store, [NEURON], "", 1).pictures[0]
    sample = store.sample(top[0])
    assert first == Described(replace(first.ref, image=str(sample.picture)), sample.tokens, sample.image)
    assert (first.ref.prompt, first.ref.description) == (store.manifest.prompt, sample.description)


def test_of_a_set_the_samples_of_most_members_come_first(store: ScanStore) -> None:
    members = [NEURON, Neuron(1, 4), Neuron(2, 0)]
    lists = [store.top_samples(member) for member in members]
    found = [one.ref.sample for one in pick(store, members, "", 99).pictures]
    counts = [sum(index in top for top in lists) for index in found]
    assert counts == sorted(counts, reverse=True)
    assert sorted(found) == sorted({index for top in lists for index in top})  # type: ignore[type-var]


def test_a_sample_without_its_picture_is_left_out(store: ScanStore) -> None:
    top = store.top_samples(NEURON)
    store.sample(top[0]).picture.unlink()
    picked = pick(store, [NEURON], "", 2)
    assert [one.ref.sample for one in picked.pictures] == top[1:3]
    assert len(picked.problems) == 1 and "the picture is not at" in picked.problems[0]


def test_every_token_is_read_without_and_with_the_ablation(store: ScanStore) -> None:
    model = LinearModel(store)
    model.weight[1, 3] = 4
    pictures = pick(store, [NEURON], "train", 2).pictures
    steps: list[tuple[int, int]] = []
    found = ablated(store, model, pictures, word="train", on_step=lambda *step: steps.append(step))
    assert steps == [(0, 2), (1, 2), (2, 2)]
    assert (found.subject, found.word, str(found.intervention), found.silent) == ("L1/N3", "train", "zero", False)
    assert len(found.pictures) == 2
    for picture, one in zip(pictures, found.pictures, strict=True):
        assert [token.token for token in one.tokens] == list(picture.tokens)
        expected = [-4 * model.z[1, 3] / (1 + at) for at in range(len(picture.tokens))]
        assert [token.change for token in one.tokens] == pytest.approx(expected, rel=1e-5)
        assert one.kl == pytest.approx(sum(change**2 for change in expected), rel=1e-5)
        place = place_of(picture.tokens, "train")
        assert place is not None and one.word == one.tokens[place.token]
        dog = place_of(picture.tokens, "dog")
        assert [other.word for other in one.others] == (["dog"] if dog else [])
        assert one.others_change == (one.tokens[dog.token].change if dog else None)
        assert one.caption is None
    assert set(model.lanes) == {Lane.BACKGROUND}
    assert [type(request) for request in model.requests] == [InterventionRequest] * 2


def test_the_users_own_picture_may_lack_the_word(store: ScanStore) -> None:
    own = of_answer(DescribeAnswer("/tmp/cats/cat.png", "What?", "<image> What?", "A cat.", ("A", " cat", "."), b""))
    model = LinearModel(store)
    model.tokens = 3
    found = ablated(store, model, [own], word="train", lane=Lane.SCREEN).pictures[0]
    assert (found.sample, found.image, found.word, found.word_tokens) == (None, "cat.png", None, 0)
    assert found.others_change is None
    assert model.lanes == [Lane.SCREEN]


def test_a_caption_is_written_without_and_with_it(store: ScanStore) -> None:
    found = ablated(store, LinearModel(store), pick(store, [NEURON], "", 1).pictures, word="dog", caption=True)
    caption = found.pictures[0].caption
    assert caption is not None
    assert (caption.before, caption.after, caption.unchanged) == ("A dog on a train.", "A cat on a train.", False)
    assert (caption.had_word, caption.has_word, caption.others, caption.lost) == (True, False, ("train",), ())
    assert [(word.text, word.differs) for word in caption.words] == [
        ("A", False),
        ("cat", True),
        ("on", False),
        ("a", False),
        ("train.", False),
    ]
    lost = caption_change("A dog and a train.", "A dog.", {"dog", "train"}, "")
    assert (lost.had_word, lost.others, lost.lost) == (False, ("dog", "train"), ("train",))


def test_a_silent_neuron_is_told_from_one_without_effect(store: ScanStore) -> None:
    pictures = pick(store, [NEURON], "", 2).pictures
    model = LinearModel(store)
    model.weight[1, 3] = 0
    assert ablated(store, model, pictures).silent is False  # it writes, but nothing depends on it
    model.z[1, 3] = 0
    found = ablated(store, model, pictures)
    assert found.silent is True
    assert all(token.change == 0 for picture in found.pictures for token in picture.tokens)
    assert sum(isinstance(request, WrittenRequest) for request in model.requests) == 3


def test_another_models_tokens_are_refused(store: ScanStore) -> None:
    picture = pick(store, [NEURON], "", 1).pictures[0]
    with pytest.raises(WorkerError, match="do not fit this scan"):
        ablated(store, LinearModel(store), [replace(picture, tokens=picture.tokens[1:])])


def test_interventions_become_edits(store: ScanStore) -> None:
    moments = store.arrays["moments"]
    visual, text = float(moments[0, 0, 1, 3]), float(moments[1, 0, 1, 3])
    made = {text: edit(store, Intervention.parse(text), NEURON, 0.5) for text in ("zero", "x3", "mean", "clamp -4")}
    assert made == {
        "zero": Edit(NEURON),
        "x3": Edit(NEURON, factor=3.0),
        "mean": Edit(NEURON, visual=visual, text=text, times_up=True),
        "clamp -4": Edit(NEURON, visual=-2.0, text=-2.0),
    }
    store.manifest = store.manifest.model_copy(update={"hook": HookPoint.GATE_UP})
    assert edit(store, Intervention.parse("mean"), NEURON) == Edit(NEURON, visual=visual, text=text)


def test_a_clamp_asks_where_the_first_three_top_samples_peak(store: ScanStore) -> None:
    model = LinearModel(store)
    z = asyncio.run(peak_z(store, model, NEURON, Lane.SCREEN))
    assert z == pytest.approx(3 * model.z[1, 3])
    assert len(model.requests) == 3
    for rank, request in enumerate(model.requests):
        assert isinstance(request, PeakRequest)
        example = store.example(NEURON, rank)
        assert request.sample == of_sample(example.sample, store.manifest.prompt).ref
        peak = (example.peak_patch, None) if example.visual[0] >= example.text[0] else (None, example.peak_token)
        assert (request.visual, request.text) == peak
    model.weight[1, 3] = 1
    steps: list[tuple[int, int]] = []
    found = ablated(
        store,
        model,
        pick(store, [NEURON], "", 1).pictures,
        intervention=Intervention.parse("clamp2"),
        at=Positions.ANSWER,
        on_step=lambda *step: steps.append(step),
    )
    assert steps == [(0, 2), (1, 2), (2, 2)]  # its peak, and the picture
    assert found.pictures[0].tokens[0].change == pytest.approx(5 * model.z[1, 3], rel=1e-5)  # from z to 6 z
    assert np.isfinite(found.pictures[0].kl)
