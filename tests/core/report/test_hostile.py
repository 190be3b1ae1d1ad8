"""Whatever captions, models and people write, a report has the structure that we gave it, and their words."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.checks import check, picture
from tests.support.markdown_reading import PARSERS, flat, hostile, lines_of, safe, shown
from tests.support.report_parts import KEPT, explanation, open_notebook
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.notebook.check import CausalCheck, CheckSettings
from vlmscope.core.notebook.events import NOTE_LIMIT
from vlmscope.core.notebook.explanation import FailedExplanation, Source
from vlmscope.core.notebook.values import Entry, SavedCheck, SavedExplanation, SavedScore, Verdict
from vlmscope.core.report.collect import collect, report_of
from vlmscope.core.report.markdown import report_markdown
from vlmscope.core.report.schema import Report
from vlmscope.core.report.write import Format, report_json, write_report
from vlmscope.core.store.example import Sample
from vlmscope.core.store.manifest import Skipped
from vlmscope.core.store.reader import ScanStore

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
OWN = Thresholds()
NEVER = {"html_block", "html_inline", "code_block", "fence", "hr", "math_inline", "math_block", "s_open", "em_open"}
PLAIN_NAME = "L0/N3"


class HostileStore(ScanStore):
    """The small scan, every text of which is ``text``."""

    text = ""

    def sample(self, index: int) -> Sample:
        found = super().sample(index)
        return replace(found, image=self.text, description=self.text, tokens=(self.text,) * len(found.tokens))

    def say(self, text: str) -> None:
        self.text = text
        whole = plain(text)  # a manifest is read from UTF-8: no half characters
        model = self.manifest.model.model_copy(update={"name": whole, "revision": whole, "dtype": whole})
        self.manifest = self.manifest.model_copy(
            update={
                "model": model,
                "data": whole,
                "versions": {whole: whole},
                "scan_id": whole,
                "skipped": (Skipped(sample=1, image=whole, reason=whole),),
            }
        )


def entry_of(text: str) -> Entry:
    """A notebook's entry in which everything is ``text``."""
    neuron = KEPT[0]
    named = replace(explanation(text), model=text, prompt_version=text, visual_phrases=(text, text), text_cue=text)
    saved = (
        SavedExplanation(2, neuron, replace(named, created=text), True),
        SavedExplanation(1, neuron, explanation(text, Source.USER), False),
    )
    body = {
        text: {"pooled": None, "reason": text, "interval": [0, 1], "interval_kind": text},
        "x": [text, float("nan")],
    }
    return Entry(
        neuron,
        Verdict.KEEP,
        text,
        (text, "b"),
        True,
        saved,
        FailedExplanation(text, False, text, text),
        (SavedScore(4, neuron, 2, text, text, body), SavedScore(3, neuron, 1, text, text, {text: text})),
        (SavedCheck(6, hostile_check(text)), SavedCheck(5, hostile_check(text, p=None))),
    )


def hostile_check(text: str, **more: Any) -> CausalCheck:
    texts = {"word": text, "token": text, "note": text, "created": text, "interval": text}
    settings = CheckSettings(control=text)
    return check(KEPT[0], pictures=(picture(image=text),), settings=settings, **texts | more)


def hostile_report(store: HostileStore, text: str) -> Report:
    store.say(text)
    part = collect(store, entry_of(text), OWN, 2)
    # What is kept with the scan and in the cache, hostile too.
    update = {
        "concepts": part.concepts,
        "promoted": {"top": [{"token": text, "logit": 1.0}], "bottom": [{"token": text, "logit": None}]},
        "published": {"label": "text", "text": text, "figure": text, "images": [text]},
    }
    concepts = {"words": [{"word": text, "strength": 2.0}], "purity": 1.0, "looked_at": 20, "base_rate": 0.5}
    part = type(part).model_validate(part.model_dump() | update | {"concepts": concepts})
    sets = (SavedCheck(7, hostile_check(text, name=text or "kept")),)
    return report_of(store.manifest, OWN, (part,), "2026-11-22T12:00:00+00:00", sets)


def quotations(tokens: list[Token]) -> list[list[list[str]]]:
    """The words of every quotation, line by line."""
    found, start = [], None
    for at, token in enumerate(tokens):
        if token.type == "blockquote_open":
            assert start is None, "a quotation in a quotation"
            start = at
        elif token.type == "blockquote_close":
            found.append(lines_of(shown(tokens[start:at])))
            start = None
    return found


@pytest.fixture(scope="module")
def store(_small_scan: Path) -> HostileStore:
    return HostileStore(_small_scan)


@pytest.mark.parametrize("parser", PARSERS[1:], ids=["github", "everything"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=hostile)
@example(
    "# heading\n\n- list\n\n```\ncode\n```\n<b>x</b> [a](http://b.c) ![a](b) @me #1 :smile: $x$ | a \x1b[31m\u202e"
)
@example("")
@example("---\n\n===\n| a |\n| - |\n[^1]: x\n    code")
def test_a_report_keeps_its_structure(store: HostileStore, parser: MarkdownIt, text: str) -> None:
    tokens = parser.parse(report_markdown(hostile_report(store, text)))
    every = flat(tokens)
    assert not NEVER & {token.type for token in every}
    headings = [shown([tokens[at + 1]]) for at, token in enumerate(tokens) if token.type == "heading_open"]
    name = plain(text, 120).strip()
    title = f"1 neuron of {name or 'a model without a name'}, on 12 samples{f' of {name}' if name else ''}"
    assert headings[0].split() == title.split()
    assert headings[1:] == ["Summary", PLAIN_NAME, "Sets"]
    assert [token.attrGet("href") for token in every if token.type == "link_open"] == ["#l0n3"]
    pictures = [token.attrGet("src") for token in every if token.type == "image"]
    assert pictures == ["images/L0-N3-1.png", "images/L0-N3-2.png"]
    assert sum(token.type == "table_open" for token in every) == 2
    assert sum(token.type == "td_open" for token in every) == 8 + 10
    assert not {"footnote_ref", "dl_open", "ordered_list_open"} & {token.type for token in every}
    said = [line.split() for line in safe(text) if line.split()]
    # Two explanations, a failure, the paper, the note, two descriptions: all of them, word by word.
    assert quotations(tokens) == ([said] * 7 if said else [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=hostile)
@example("\ud800\udc00 \x00\x1b")
@example("\udcff")
def test_a_json_report_is_read_back_whole(store: HostileStore, text: str) -> None:
    written = report_json(hostile_report(store, text))
    assert written.isascii() and not any(character < " " and character != "\n" for character in written)
    json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    read = Report.model_validate_json(written).neurons[0]
    whole = text.encode("utf-8", "replace").decode()
    assert {read.note, read.explanations[0].text, read.samples[0].image, read.samples[0].description} == {whole}
    assert read.tags == (whole, "b")
    assert {read.checks[0].word, read.checks[0].note, read.checks[1].token, read.checks[0].pictures[0].image} == {whole}
    assert read.explanations[0].scores[0].body["x"] == [whole, None]


def test_no_byte_of_a_report_moves_a_terminal(store: HostileStore) -> None:
    written = report_markdown(hostile_report(store, "a\x1b[2J\x07\x9b31m\u202eb\r\x00c\u2028d\n\te"))
    assert all(plain(line) == line for line in written.split("\n"))


@pytest.mark.slow
def test_four_megabytes_of_note_are_reported(scan: Path, tmp_path: Path) -> None:
    plain_store = ScanStore(scan)
    unit = "# <b>no</b> [a](http://b.c) | @me $x$\n\n    more `text`\n"
    note = (unit * (NOTE_LIMIT // len(unit) + 1))[:NOTE_LIMIT]
    start = time.process_time()
    with open_notebook(plain_store) as notebook:
        notebook.set_note(KEPT[0], note)
        for form in Format:
            write_report(tmp_path / form, plain_store, notebook, KEPT, OWN, form, when=NOON)
    assert time.process_time() - start < 60  # it takes about 10
    read = Report.model_validate_json((tmp_path / "json/report.json").read_bytes())
    assert read.neurons[0].note == note
    text = (tmp_path / "markdown/report.md").read_text(encoding="utf-8")
    quoted = text.split("**Note**\n\n")[1].split("\n\n", maxsplit=1)[0]
    begun = "\n".join(quoted.split("\n")[:3001])  # a parser in Python takes minutes for all of it
    assert lines_of(shown(PARSERS[1].parse(begun))) == lines_of("\n".join(note.split("\n")[:3001]))
    assert quoted.count("\n") == len(note.rstrip().splitlines()) - 1
