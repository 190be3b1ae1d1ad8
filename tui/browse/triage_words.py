"""What the triage says and keeps in words: a change, a filter between sessions, where drafts of notes lie."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmscope.core.base.config import data_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import Label
from vlmscope.tui.views.state import Decided, Filter

if TYPE_CHECKING:
    from vlmscope.core.notebook.values import Change

_SHOWN = 40  # characters of a note that a change quotes


def what_changed(change: "Change") -> str:
    """A change for a person, in one line: what is there now."""
    from vlmscope.core.notebook.values import Kind

    neuron, after = change.neuron, change.after
    match change.kind:
        case Kind.VERDICT:
            return f"{neuron} has no verdict" if after is None else f"{neuron} is {after}"
        case Kind.NOTE:
            return f"the note of {neuron} is {plain(repr(after), _SHOWN)}" if after else f"{neuron} has no note"
        case Kind.TAGS:
            tags = ", ".join(str(tag) for tag in after) if isinstance(after, tuple) else ""
            return f"{neuron} has {f'the tags {plain(tags, _SHOWN)}' if tags else 'no tags'}"
        case Kind.BOOKMARK:
            return f"{neuron} has {'a' if after else 'no'} bookmark"
        case Kind.LEAD:
            return f"another explanation of {neuron} leads"
        case _:
            return f"your explanation of {neuron} is {'there' if after else 'gone'}"


def drafts(scan_id: str, neuron: Neuron) -> Path:
    """Where the draft of a neuron's note is kept while it is being written."""
    name = hashlib.sha256(scan_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return data_folder() / "drafts" / name / f"{neuron.layer}-{neuron.index}.md"


def filter_from(text: str) -> Filter:
    """The filter that an earlier session kept as JSON; what is no longer understood is left out."""
    try:
        found: Any = json.loads(text)
        known = {field.name for field in fields(Filter)}
        values: dict[str, Any] = {name: value for name, value in found.items() if name in known}
        if values.get("label") is not None:
            values["label"] = Label(values["label"])
        if values.get("verdict") is not None:
            values["verdict"] = Decided(values["verdict"])
        if values.get("layers") is not None:
            first, last = values["layers"]
            values["layers"] = (int(first), int(last))
        return Filter(**values)
    except (ValueError, TypeError, AttributeError):
        return Filter()
