"""Saved views: a filter, an order and thresholds under a name, for the screen and the commands, of any scan.

They are in ``views.json`` in the user's data folder. The file is written whole, so two programs never mix theirs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from vlmscope.core.base.config import data_folder
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.files import read_json, write_whole
from vlmscope.core.base.spelling import nearest
from vlmscope.core.base.validation import Frozen, first_problem
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.store.manifest import ThresholdsInfo
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.views.filters import read_filter
from vlmscope.tui.views.state import Listed, Order

NAME_LIMIT = 40  #: characters
LIMIT_BYTES, LIMIT_VALUES = 1024 * 1024, 20_000
AGAIN = "Move the file away, or correct it."


class _View(Frozen):
    filter: str
    order: str
    thresholds: ThresholdsInfo | None = None  #: None: the scan's own


class _Views(Frozen):
    """``views.json``."""

    format: Literal["vlmscope-views"] = "vlmscope-views"
    schema_version: Literal[1] = 1
    views: dict[str, _View] = Field(default={})


@dataclass(frozen=True)
class SavedView:
    """What a list holds, in which order, and at which thresholds its neurons are labelled; None: at the scan's own."""

    listed: Listed
    thresholds: Thresholds | None

    def at(self, store: ScanStore) -> Thresholds:
        """The thresholds for this scan."""
        return self.thresholds or store.manifest.thresholds.value()


def views_file() -> Path:
    """Where they are, whether there are any or not."""
    return data_folder() / "views.json"


def saved_views() -> dict[str, SavedView]:
    """All of them, by name.

    Raises:
        UsageError: if the file cannot be read.
    """
    return {name: _value(name, view) for name, view in sorted(_read().views.items())}


def saved_view(name: str) -> SavedView:
    """The one of this name.

    Raises:
        UsageError: if there is none, or the file cannot be read.
    """
    found = saved_views()
    if name not in found:
        known = f"Views: {', '.join(found)}." if found else ":save-view NAME on the screen makes one."
        raise UsageError(f"{name!r} is not a saved view.", f"{nearest(name, found)}{known}")
    return found[name]


def save_view(name: str, view: SavedView) -> bool:
    """Keep a view; returns whether it replaces another of the same name.

    Raises:
        UsageError: if the name is too long, has blanks or cannot be shown, or the file cannot be written.
    """
    if not name.isprintable() or name.split() != [name] or len(name) > NAME_LIMIT or name.startswith("-"):
        raise UsageError(
            f"{name!r} cannot name a view.", f"Write one word of at most {NAME_LIMIT} characters, such as clear-text."
        )
    views = _read().views
    thresholds = None if view.thresholds is None else ThresholdsInfo.of(view.thresholds)
    made = _View(filter=view.listed.filter.line, order=str(view.listed.order), thresholds=thresholds)
    _write(_Views(views={**views, name: made}))
    return name in views


def delete_view(name: str) -> None:
    """Forget a view.

    Raises:
        UsageError: if there is none of this name, or the file cannot be written.
    """
    saved_view(name)
    _write(_Views(views={kept: view for kept, view in _read().views.items() if kept != name}))


def _value(name: str, view: _View) -> SavedView:
    path = views_file()
    try:
        listed = Listed(read_filter(view.filter), Order(view.order))
        return SavedView(listed, None if view.thresholds is None else view.thresholds.value())
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: the view {name!r}: {error}.", AGAIN) from None
    except UsageError as error:
        raise UsageError(f"{path} cannot be read: the view {name!r}: {error.message}", AGAIN) from None


def _read() -> _Views:
    path = views_file()
    try:
        return _Views.model_validate_json(read_json(path, LIMIT_BYTES, LIMIT_VALUES))
    except FileNotFoundError:
        return _Views()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", AGAIN) from error
    except ValidationError as error:
        raise UsageError(f"{path} cannot be read: {first_problem(error, 'the file')}.", AGAIN) from error


def _write(views: _Views) -> None:
    path = views_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, views.model_dump_json(indent=1, exclude_none=True).encode() + b"\n")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", "Free some space, or allow writing."
        ) from error
