"""Whether the model that a scan names is the one that was scanned."""

from vlmscope.core.base.errors import UsageError
from vlmscope.core.store.reader import ScanStore


def check_trained(store: ScanStore) -> None:
    """Raise UsageError for a control: its random weights are not kept, and the model of its name has others."""
    if store.manifest.control is not None:
        raise UsageError(
            "This scan is a control: its random weights are not kept, so no model can be asked about it.",
            "Name the scan itself.",
        )
