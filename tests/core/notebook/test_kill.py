"""A process that is killed at any moment loses nothing that it had been told was saved."""

import multiprocessing
import os
import random
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.support.long import times
from tests.support.notebook_model import SCAN, Model, differences, step_at, take, triage_until_killed
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Verdict

SEED = 20260301
KILLS = 60


def run_and_kill(path: Path, number: int, draw: random.Random) -> list[int]:
    """Start the triage at step ``number``, kill it at a random moment; return the steps that it had acknowledged."""
    reads, said = os.pipe()
    triage = partial(triage_until_killed, path, SEED, number, said)
    process = multiprocessing.get_context("fork").Process(target=triage)
    process.start()
    os.close(said)
    with open(reads, "rb") as answers:  # noqa: PTH123  # a descriptor
        seen = [answers.readline() for _ in range(draw.randrange(20))]
        for _ in range(draw.randrange(30_000)):  # somewhere between two answers: up to about a commit's length
            pass
        process.kill()
        lines = b"".join([*seen, answers.read()]).split(b"\n")
    process.join()
    return [int(line) for line in lines[:-1]]  # the last is empty, or was cut


@pytest.mark.slow
def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    path, model, draw = tmp_path / "notes.sqlite", Model(), random.Random(SEED)
    done = interrupted = unacknowledged = 0
    for _ in range(KILLS):
        acknowledged = run_and_kill(path, done, draw)
        assert acknowledged == list(range(done, done + len(acknowledged)))
        for number in acknowledged:
            take(model, step_at(SEED, number))
        done += len(acknowledged)
        interrupted += path.with_name("notes.sqlite-journal").exists()
        with Notebook.open(path, SCAN) as notebook:
            if differences(notebook, model) or event_count(path) != model.events:
                take(model, step_at(SEED, done))
                done += 1
                unacknowledged += 1
            assert differences(notebook, model) == []
            assert event_count(path) == model.events
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert done > KILLS
    assert interrupted, "no kill fell into a commit: this test shows nothing"
    print(f"{KILLS} kills, {done} steps, {interrupted} within a commit, {unacknowledged} saved but not acknowledged")


def decide_often(path: Path, layer: int, steps: int) -> None:
    """Another program on the same notebook."""
    with Notebook.open(path, SCAN) as notebook:
        for index in range(steps):
            notebook.set_verdict(Neuron(layer, index), Verdict.KEEP)
            notebook.set_tags(Neuron(layer, index), ["seen"])


@pytest.mark.slow
def test_five_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path, steps = tmp_path / "notes.sqlite", times(15, 100)
    with Notebook.open(path, SCAN):
        pass
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=decide_often, args=(path, layer, steps)) for layer in range(5)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 5
    with Notebook.open(path, SCAN) as notebook:
        marks = notebook.marks()
        assert len(marks) == 5 * steps
        assert all(mark.verdict is Verdict.KEEP and mark.has_tags for mark in marks.values())
    assert event_count(path) == 2 * 5 * steps


def event_count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM events").fetchone()[0])
