"""What ``vlmscope doctor`` finds."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """OK; a LIMIT on what works; BROKEN: vlmscope cannot be used before it is corrected."""

    OK = "ok"
    LIMIT = "limit"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``hint`` is empty where nothing is to be done."""

    name: str
    value: str
    hint: str = ""
    is_broken: bool = False
    area: str = ""

    @property
    def state(self) -> Severity:
        return Severity.BROKEN if self.is_broken else Severity.LIMIT if self.hint else Severity.OK
