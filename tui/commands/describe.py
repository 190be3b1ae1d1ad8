"""``vlmscope describe``: let a model, here or on a server, describe pictures; the listing that a scan reads."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from vlmscope.core.base.config import GivenServer
from vlmscope.core.base.errors import ReportError, SamplesError, UsageError
from vlmscope.core.base.files import write_whole
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.data.description_cache import DescriptionCache
from vlmscope.core.data.samples import Data, read_data
from vlmscope.core.store.settings import QUESTION
from vlmscope.tui.commands.describe_options import ServerOptions
from vlmscope.tui.commands.scan_options import ImageOptions, ModelOptions
from vlmscope.tui.commands.scanned import NAMED
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.model_work import spec_of, stoppable
from vlmscope.tui.commands.shared.notes import Notes
from vlmscope.tui.commands.shared.options import BatchOption

CONTINUES = "The same command continues from there."


def describe(
    *,
    model: ModelOptions,
    images: ImageOptions,
    out: Annotated[Path | None, typer.Option("--out", help="The file to write; default: stdout.")] = None,
    batch: BatchOption = None,
    question: Annotated[
        str | None, typer.Option("--question", help=f"What is asked about each image; default: {QUESTION}")
    ] = None,
    server: ServerOptions,
) -> None:
    """Describe pictures, one JSON line each: the listing that a scan reads.

    Pictures that have a description keep it. What the model writes is kept as
    in a scan: a scan of the same pictures with the same model, question and
    server writes none of them again.
    """
    served = server.server(model.name)
    if not images.images or not (model.name or served):
        raise UsageError("Describing needs --images, and --model or --describe-with.", "Name them.")
    if out is not None and out.exists():
        raise UsageError(f"{out} exists.", "Name another file with --out, or remove it.")
    data, notes = read_data(images.images, images.limit, images.image_root, images.captions), Notes()
    for line in data.notes:
        notes.write(line)
    asked = QUESTION if question is None else question
    if served is None:
        described = _by_model(model, data, asked, batch, notes)
    else:
        server.agree(served, data, asked, notes)
        described = _by_server(served, data, asked, notes)
    _write(described, out, notes)


def _by_model(model: ModelOptions, data: Data, question: str, batch: int | None, notes: Notes) -> Data:
    from vlmscope.core.model.load import load
    from vlmscope.core.scan.batches import usual_batch
    from vlmscope.core.scan.descriptions import describe_missing  # late: these import torch

    notes.write(f"loading {model.name}")
    vlm, cache = load(spec_of(model, HookPoint.GATE)), DescriptionCache()
    prompt = vlm.prompt(question, model.prompt_template)
    with stoppable(notes, cache, CONTINUES) as (report, stopped):
        return describe_missing(vlm, data, prompt, batch or usual_batch(vlm), report, stopped, cache)


def _by_server(server: GivenServer, data: Data, question: str, notes: Notes) -> Data:
    from vlmscope.core.scan.served import describe_by_server  # late: it imports torch

    cache = DescriptionCache()
    with stoppable(notes, cache, CONTINUES) as (report, stopped):
        made = describe_by_server(server, data, question, report, stopped, cache)
    if made.cut:
        notes.write(f"The server cut {made.cut} of the descriptions before their longest length")
    return made.data


def _write(data: Data, out: Path | None, notes: Notes) -> None:
    """Write the described samples, and name those without a description.

    Raises:
        ReportError: if ``out`` cannot be written.
        SamplesError: if no sample has a description.
    """
    lines, missing = [], []
    for source in data.sources:
        if source.description is None:
            missing.append(source)
        else:
            record = {"image": source.image, "description": source.description, **source.fields}
            lines.append(json.dumps(record) + "\n")
    for source in missing[:NAMED]:
        reason = source.trouble or "it cannot be read, or the model cannot take it"
        notes.write(f"not described: {source.image}: {reason}")
    if len(missing) > NAMED:
        notes.write(f"{len(missing) - NAMED} more were not described")
    if not lines:
        raise SamplesError(f"No picture of {data.name} was described.", "The reasons are above.")
    if out is None:
        output.write("".join(lines).rstrip("\n"))
        return
    try:
        write_whole(out, "".join(lines).encode("ascii"))
    except OSError as error:
        raise ReportError(f"{out} cannot be written: {error.strerror or error}.", "Name another file.") from error
    notes.write(f"{len(lines)} of {len(data.sources)} pictures are described in {out}")
    if out.resolve().parent != data.root:
        notes.write(f"Its paths are relative to {data.root}: scan it with --image-root {shlex.quote(str(data.root))}")
