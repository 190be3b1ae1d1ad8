"""When something was made, as files and the notebook have it."""

from datetime import UTC, datetime


def now() -> str:
    """ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
