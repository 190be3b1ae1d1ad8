"""What ``vlmscope explain`` writes: answers on stdout; failures and costs on stderr; requests that are not sent."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.text import Text

from vlmscope.core.base.batch import BatchEnd
from vlmscope.core.base.config import Api
from vlmscope.core.base.errors import ApiError, UsageError, VlmscopeError
from vlmscope.core.base.text import counted
from vlmscope.core.explain.evidence import Evidence
from vlmscope.core.explain.prompt import build_request
from vlmscope.core.explain.run import ExplainResult, ExplainStatus
from vlmscope.core.llm.budget import CostOffer, Estimate, dollars, estimate_request, total
from vlmscope.core.llm.messages import ChatRequest, Json, wire_body
from vlmscope.core.method.labels import COLOURS
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.neuron_run import counts_text
from vlmscope.tui.commands.shared.notes import Notes

REQUEST, ESTIMATE = "request.json", "estimate.json"


def report(end: BatchEnd[ExplainResult], as_json: bool, notes: Notes) -> None:
    """Write a run's results.

    Raises:
        VlmscopeError: what ended the run early; ApiError if nothing was explained at all.
    """
    if as_json:
        output.write_json([result_json(result) for result in end.results])
    else:
        output.write_lines([_line(one, one.explanation) for one in end.results if one.explanation is not None])
    _write_notes(end.results, notes)
    if end.stopped is not None:
        raise end.stopped
    failed = [result for result in end.results if result.explanation is None]
    if failed and len(failed) == len(end.results):
        raise ApiError("No neuron was explained.", "The reasons are listed above.")


def result_json(result: ExplainResult) -> Json:
    """One entry of ``--json``."""
    found = result.explanation
    return {
        "neuron": str(result.neuron),
        "label": result.label.word,
        "status": result.status.value,
        "explanation": None if found is None else asdict(found),
        "reason": result.reason,
        "note": result.note,
        "input_tokens": result.input_tokens,
        "output_tokens": result.output_tokens,
        "cost_usd": result.cost_usd,
    }


def _line(result: ExplainResult, found: Explanation) -> Text:
    line = output.row(f"{result.neuron!s:<12}")
    line.append(f"{result.label.word:<11}", style=COLOURS[result.label])
    line.append(found.text if found.pattern_found else f"no pattern: {found.text}")
    more = [found.confidence.value] if found.confidence else []
    more += [f"looks for: {', '.join(found.visual_phrases)}"] if found.visual_phrases else []
    more += [f"words: {found.text_cue}"] if found.text_cue else []
    line.append(f"  ({'; '.join(more)})" if more else "", style="dim")
    return line


def _write_notes(results: Sequence[ExplainResult], notes: Notes) -> None:
    for line in dict.fromkeys(result.note for result in results if result.note):
        notes.write(line)
    for result in results:
        if result.status in (ExplainStatus.FAILED, ExplainStatus.REFUSED):
            notes.write(f"{result.neuron} {result.status.value}: {result.reason}")
    known = [result.cost_usd for result in results if result.cost_usd is not None]
    bill = dollars(sum(known)) + ("" if len(known) == len(results) else " and requests of unknown price")
    tokens_in, tokens_out = sum(one.input_tokens for one in results), sum(one.output_tokens for one in results)
    counts = counts_text((result.status for result in results), ExplainStatus)
    notes.write(f"{counts}; billed: {tokens_in:,} tokens in, {tokens_out:,} out, {bill}")


class DryRun:
    """The requests that would be sent: one folder a neuron under ``out``, or JSON on stdout."""

    def __init__(self, settings: Api, out: Path | None) -> None:
        self._settings = settings
        self._out = out
        self._entries: list[Json] = []
        self._estimates: list[Estimate] = []
        self._notes: list[str] = []

    def add(self, evidence: Evidence) -> None:
        """Write one request.

        Raises:
            StoreError: if a crop of the scan cannot be decoded.
            UsageError: if ``out`` cannot be written.
        """
        request = build_request(evidence, self._settings)
        cost = estimate_request(request, self._settings)
        self._estimates.append(cost)
        self._notes += [evidence.note] if evidence.note else []
        entry: Json = {
            "neuron": str(evidence.neuron),
            "label": evidence.label.word,
            "samples": [one.sample.index for one in evidence.samples],
            **({"silent": [one.sample.index for one in evidence.silent]} if evidence.silent else {}),
            "note": evidence.note,
            "estimate": asdict(cost),
        }
        if self._out is None:
            entry["images"] = [
                {"name": image.name, "width": image.width, "height": image.height, "sha256": image.sha256}
                for image in request.images
            ]
            entry["request"] = body_with_names(request)
        else:
            folder = self._out / str(evidence.neuron).replace("/", "_")
            _write(folder, request, entry)
            entry = {**entry, "folder": str(folder)}
        self._entries.append(entry)

    def fail(self, evidence: Evidence, error: VlmscopeError) -> None:
        """Note that a neuron has no request."""
        self._notes.append(f"{evidence.neuron} failed: {error}")

    def finish(self, notes: Notes) -> None:
        """Write the rest.

        Raises:
            ApiError: if there is no request at all.
        """
        output.write_json(self._entries)
        for note in dict.fromkeys(self._notes):
            notes.write(note)
        if not self._entries:
            raise ApiError("There is no request to write.", "The reasons are listed above.")
        offer = CostOffer(total(self._estimates), self._settings)
        cost = offer.cost
        sent = f"{counted(cost.requests, 'request')}, {counted(cost.images, 'picture')}"
        notes.write(f"{sent}: {offer.short}; nothing was sent")


def body_with_names(request: ChatRequest) -> Json:
    """The body as it would be sent, each picture's data replaced by its name."""
    body = wire_body(request)
    names = iter(image.name for image in request.images)
    for part in body["messages"][1]["content"]:
        if part["type"] == "image_url":
            part["image_url"]["url"] = next(names)
    return body


def _write(folder: Path, request: ChatRequest, entry: Json) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for image in request.images:
            (folder / image.name).write_bytes(image.png)
        for name, value in ((REQUEST, body_with_names(request)), (ESTIMATE, entry)):
            (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}.", "Name another folder with --out.") from error
