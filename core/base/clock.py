"""Timestamps, as files and the notebook store them."""

from datetime import UTC, datetime


def now() -> str:
    """The current time: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
