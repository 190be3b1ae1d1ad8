"""This process among those that torchrun started, from its environment. Without torch: a command reads it first."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from vlmscope.core.store.manifest import ShardInfo


@dataclass(frozen=True)
class Ranks:
    """This process among those that torchrun started.

    Attributes:
        number: from 0. of: how many there are, on all machines.
        local: from 0, on this machine.
    """

    number: int
    of: int
    local: int

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """From the variables that torchrun sets; None for a single process."""
        try:
            found = cls(*(int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
        except (KeyError, ValueError):
            return None
        return found if found.of > 1 else None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and merges."""
        return self.number == 0

    @property
    def shard(self) -> ShardInfo:
        """The shard that this process scans."""
        return ShardInfo(number=self.number + 1, of=self.of)

    def __str__(self) -> str:
        return f"rank {self.number}"
