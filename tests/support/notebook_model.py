"""A notebook in plain Python to compare with, random triage for both, and a program that triages until it is killed."""

import os
import random
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from tests.support.checks import check
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.check import CausalCheck
from vlmscope.core.notebook.explanation import Confidence, Explanation, FailedExplanation, Source
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import (
    Decision,
    Entry,
    Mark,
    Review,
    SavedCheck,
    SavedExplanation,
    SavedScore,
    Verdict,
)

SCAN = "5ca9" * 16
DATE = "2026-03-01T12:00:00+00:00"
NEURONS = (Neuron(0, 0), Neuron(0, 3), Neuron(27, 3900))
SIZE = (32, 4096)  #: layers and neurons of the model that has them
VERDICTS = (None, Verdict.KEEP, Verdict.REJECT, Verdict.UNSURE)
NOTES = ("", "a red car", "[bold]\x1b[31m\x00\ud83d\ude00", "n" * 9000)
TAGS = ((), ("car",), ("Car", "tree"), ("tree", "Ärger", "ärger", " "))
NAMES = (
    *("verdict", "note", "tags", "bookmark", "choose", "own", "api", "failure", "score", "check", "colleague"),
    *("undo", "redo", "own score", "decide", "add_tags", "withdraw"),
)
WEIGHTS = (6, 4, 4, 4, 3, 2, 1, 1, 1, 1, 2, 6, 4, 1, 2, 1, 1)  # the last one is two steps
PEOPLE = ("Ana", "Bo")

Step = tuple[str, Neuron, int]  # what to do, to which neuron, and a number that decides the rest


class Book(Protocol):
    """What a notebook and its model have in common."""

    def set_verdict(self, neuron: Neuron, verdict: Verdict | None) -> object: ...
    def set_note(self, neuron: Neuron, note: str) -> object: ...
    def set_tags(self, neuron: Neuron, tags: Collection[str]) -> object: ...
    def set_bookmark(self, neuron: Neuron, bookmark: bool) -> object: ...
    def choose_explanation(self, neuron: Neuron, explanation_id: int | None) -> object: ...
    def add_explanation(self, neuron: Neuron, explanation: Explanation) -> int: ...
    def add_failure(self, neuron: Neuron, failure: FailedExplanation) -> None: ...
    def add_score(self, explanation_id: int, backend: str, body: Mapping[str, object], created: str) -> int: ...
    def add_own_score(self, neuron: Neuron, backend: str, body: Mapping[str, object], created: str) -> int: ...
    def add_check(self, check: CausalCheck) -> int: ...
    def take_in(self, person: str, reviews: Mapping[Neuron, Review], source: str) -> object: ...
    def explanations(self, neuron: Neuron) -> tuple[SavedExplanation, ...]: ...
    def decide(self, neurons: Collection[Neuron], verdict: Verdict | None) -> Decision: ...
    def withdraw(self, decision: Decision) -> object: ...
    def add_tags(self, neurons: Collection[Neuron], tags: Collection[str]) -> object: ...
    def undo(self) -> object: ...
    def redo(self) -> object: ...


def own(number: int) -> Explanation:
    return Explanation(f"mine {number}", Source.USER, DATE)


def by_api(number: int) -> Explanation:
    return Explanation(
        f"cars {number}",
        Source.API,
        DATE,
        pattern_found=number % 2 == 0,
        visual_phrases=("car", "wheel"),
        text_cue="car\ud800",
        confidence=Confidence.MEDIUM,
        model="gpt",
        prompt_version="explain-1",
        samples=(number, 2, 3),
        input_tokens=900,
        output_tokens=40,
        cost_usd=0.0125,
    )


def failed(number: int) -> FailedExplanation:
    return FailedExplanation(f"refused {number}", True, "gpt", DATE, 900, 1, None)


def take(book: Book, step: Step) -> None:
    """One step of triage."""
    name, neuron, number = step
    said = book.explanations(neuron) if name in ("choose", "score") else ()
    match name:
        case "verdict":
            book.set_verdict(neuron, VERDICTS[number % len(VERDICTS)])
        case "note":
            book.set_note(neuron, NOTES[number % len(NOTES)])
        case "tags":
            book.set_tags(neuron, TAGS[number % len(TAGS)])
        case "bookmark":
            book.set_bookmark(neuron, number % 2 == 0)
        case "choose":
            book.choose_explanation(neuron, said[number % len(said)].id if said and number % 4 else None)
        case "own":
            book.add_explanation(neuron, own(number))
        case "api":
            book.add_explanation(neuron, by_api(number))
        case "failure":
            book.add_failure(neuron, failed(number))
        case "score" if said:
            book.add_score(said[number % len(said)].id, "clip", {"r": None, "n": number, "by": [0.5]}, DATE)
        case "own score":
            book.add_own_score(neuron, "intruder/gpt", {"r": None, "n": number}, DATE)
        case "check":
            book.add_check(check(neuron, word=f"car {number}", name="car\ud800" if number % 3 == 0 else ""))
        case "colleague":
            one = Review(
                "", VERDICTS[number % len(VERDICTS)], NOTES[number % 3], ("car",)[: number % 2], bool(number % 2)
            )
            reviews = {neuron: one} | ({NEURONS[0]: one} if number % 3 else {})
            book.take_in(PEOPLE[number % len(PEOPLE)], reviews, f"{number}.sqlite")
        case "undo":
            book.undo()
        case "redo":
            book.redo()
        case "decide":
            book.decide(NEURONS[: number % 4], VERDICTS[number % len(VERDICTS)])
        case "withdraw":
            decision = book.decide(NEURONS[: number % 4], VERDICTS[number % len(VERDICTS)])
            if number % 5 == 0:
                book.set_bookmark(neuron, number % 2 == 0)
            book.withdraw(decision)
        case "add_tags":
            book.add_tags(NEURONS[: number % 4], TAGS[number % len(TAGS)])


def _clean(tags: Collection[str]) -> tuple[str, ...]:
    clean = {tag.casefold(): tag for tag in sorted(tags, reverse=True) if tag.strip()}
    return tuple(clean[key] for key in sorted(clean))


class Model:
    """The same in dictionaries; undo is a list of earlier states."""

    def __init__(self) -> None:
        self.now: dict[tuple[str, object], object] = {}
        self.past: list[dict[tuple[str, object], object]] = []
        self.future: list[dict[tuple[str, object], object]] = []
        self.said: list[tuple[int, Neuron, Explanation]] = []
        self.failed: list[tuple[int, Neuron, FailedExplanation]] = []
        self.scored: list[SavedScore] = []
        self.own_scored: list[SavedScore] = []
        self.checked: list[SavedCheck] = []
        self.events = 0

    def _set(self, name: str, of: object, value: object, default: object) -> None:
        if self.now.get((name, of), default) != value:
            self.past.append(self.now)
            self.future.clear()
            self.now = {**self.now, (name, of): value}
            self.events += 1

    def set_verdict(self, neuron: Neuron, verdict: Verdict | None) -> None:
        self._set("verdict", neuron, verdict, None)

    def decide(self, neurons: Collection[Neuron], verdict: Verdict | None) -> Decision:
        before = (self.now, list(self.past), list(self.future))
        self._set_all("verdict", dict.fromkeys(neurons, verdict), None)
        self._decided = self.now, before
        return Decision(())

    def withdraw(self, decision: Decision) -> None:
        now, before = self._decided
        if self.now is now and now is not before[0]:
            self.now, self.past, self.future = before

    def add_tags(self, neurons: Collection[Neuron], tags: Collection[str]) -> None:
        self._set_all(
            "tags",
            {neuron: _clean((*self.now.get(("tags", neuron), ()), *tags)) for neuron in neurons},  # type: ignore[misc]
            (),
        )

    def _set_all(self, name: str, values: Mapping[Neuron, object], default: object) -> None:
        """Together: one step of undo."""
        before, past = self.now, list(self.past)
        for neuron, value in values.items():
            self._set(name, neuron, value, default)
        if self.now is not before:
            self.past = [*past, before]

    def set_note(self, neuron: Neuron, note: str) -> None:
        self._set("note", neuron, note, "")

    def set_tags(self, neuron: Neuron, tags: Collection[str]) -> None:
        self._set("tags", neuron, _clean(tags), ())

    def set_bookmark(self, neuron: Neuron, bookmark: bool) -> None:
        self._set("bookmark", neuron, bookmark, False)

    def choose_explanation(self, neuron: Neuron, explanation_id: int | None) -> None:
        self._set("lead", neuron, explanation_id, None)

    def add_explanation(self, neuron: Neuron, explanation: Explanation) -> int:
        event = self.events + 1
        if explanation.source is Source.USER:
            self._set("own", event, True, False)
        self.events = event
        self.said.append((event, neuron, explanation))
        return event

    def add_failure(self, neuron: Neuron, failure: FailedExplanation) -> None:
        self.events += 1
        self.failed.append((self.events, neuron, failure))

    def add_score(self, explanation_id: int, backend: str, body: Mapping[str, object], created: str) -> int:
        self.events += 1
        neuron = next(neuron for event, neuron, _ in self.said if event == explanation_id)
        self.scored.append(SavedScore(self.events, neuron, explanation_id, backend, created, body))
        return self.events

    def add_own_score(self, neuron: Neuron, backend: str, body: Mapping[str, object], created: str) -> int:
        self.events += 1
        self.own_scored.append(SavedScore(self.events, neuron, None, backend, created, body))
        return self.events

    def add_check(self, check: CausalCheck) -> int:
        self.events += 1
        self.checked.append(SavedCheck(self.events, check))
        return self.events

    def take_in(self, person: str, reviews: Mapping[Neuron, Review], source: str) -> None:
        self._set("reviews", person, {neuron: replace(one, person=person) for neuron, one in reviews.items()}, {})

    def reviews(self, person: str) -> dict[Neuron, Review]:
        found = self.now.get(("reviews", person), {})
        assert isinstance(found, dict)
        return found

    def checks(self, neuron: Neuron | None) -> tuple[SavedCheck, ...]:
        of = () if neuron is None else (neuron,)
        return tuple(
            saved for saved in reversed(self.checked) if (() if saved.check.of_set else saved.check.neurons) == of
        )

    def undo(self) -> None:
        if self.past:
            self.future.append(self.now)
            self.now = self.past.pop()

    def redo(self) -> None:
        if self.future:
            self.past.append(self.now)
            self.now = self.future.pop()

    def explanations(self, neuron: Neuron) -> tuple[SavedExplanation, ...]:
        shown = [
            (event, one)
            for event, of, one in reversed(self.said)
            if of == neuron and (one.source is not Source.USER or self.now.get(("own", event)))
        ]
        lead = self.now.get(("lead", neuron)) or (shown[0][0] if shown else None)
        first = [SavedExplanation(event, neuron, one, True) for event, one in shown if event == lead]
        return (*first, *(SavedExplanation(event, neuron, one, False) for event, one in shown if event != lead))

    def entry(self, neuron: Neuron) -> Entry:
        said = self.explanations(neuron)
        ids = [one.id for one in said]
        later = [failure for event, of, failure in self.failed if of == neuron and event > max(ids, default=0)]
        verdict, note, tags = (self.now.get((name, neuron)) for name in ("verdict", "note", "tags"))
        return Entry(
            neuron,
            verdict if isinstance(verdict, Verdict) else None,
            str(note or ""),
            tags if isinstance(tags, tuple) else (),
            bool(self.now.get(("bookmark", neuron))),
            said,
            later[-1] if later else None,
            tuple(score for score in reversed(self.scored) if score.explanation_id in ids),
            self.checks(neuron),
            tuple(found[neuron] for found in map(self.reviews, PEOPLE) if neuron in found),
            tuple(score for score in reversed(self.own_scored) if score.neuron == neuron),
        )

    def marks(self) -> dict[Neuron, Mark]:
        marks = {}
        for neuron in NEURONS:
            entry = self.entry(neuron)
            failed = any(of == neuron for _, of, _ in self.failed)
            has = (bool(entry.note), bool(entry.tags), bool(entry.explanations), bool(entry.scores), failed)
            if any((entry.verdict, entry.bookmark, *has)):
                marks[neuron] = Mark(entry.verdict, entry.bookmark, *has)
        return marks


def differences(notebook: Notebook, model: Model) -> list[str]:
    """What a notebook holds that its model does not, or the other way round."""
    pairs: list[tuple[str, object, object]] = [
        (f"{neuron}", notebook.entry(neuron), model.entry(neuron)) for neuron in NEURONS
    ]
    marks = model.marks()
    pairs.append(("marks", notebook.marks(), marks))
    pairs += [(person, notebook.reviews(person), model.reviews(person)) for person in PEOPLE]
    reviewed = {neuron for person in PEOPLE for neuron in model.reviews(person)}
    pairs.append(("reviewed", notebook.reviewed_neurons(), reviewed))
    pairs.append(("checks of sets", notebook.set_checks(), model.checks(None)))
    pairs.append(("checked", notebook.checked_neurons(), [one for one in NEURONS if model.checks(one)]))
    pairs.append(("scored", notebook.scored(), sorted(neuron for neuron, mark in marks.items() if mark.scored)))
    found = notebook.mark_bits(*SIZE)
    bits = {Neuron(*divmod(at, SIZE[1])): int(found[at]) for at in np.flatnonzero(found).tolist()}
    pairs.append(("bits", bits, {neuron: mark.bits for neuron, mark in marks.items()}))
    return [f"{name}: {found} instead of {expected}" for name, found, expected in pairs if found != expected]


def step_at(seed: int, number: int) -> Step:
    """A step of the scripted triage: the same in every process."""
    draw = random.Random(seed * 1_000_003 + number)
    return draw.choices(NAMES[:-1], WEIGHTS[:-1])[0], draw.choice(NEURONS), draw.randrange(1000)


def triage_until_killed(path: Path, seed: int, number: int, said: int) -> None:
    """Take step after step, and write the number of each to the descriptor ``said`` when it has returned."""
    with Notebook.open(path, SCAN) as notebook:
        while True:
            take(notebook, step_at(seed, number))
            os.write(said, f"{number}\n".encode())
            number += 1
