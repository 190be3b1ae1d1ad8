"""Which samples have no description, and who writes it."""

from collections.abc import Sequence

from vlmscope.core.base.config import Api
from vlmscope.core.data.samples import Data
from vlmscope.core.llm.access import host
from vlmscope.core.store.manifest import DescribedBy


def undescribed(data: Data, mine: Sequence[int] | None = None) -> list[int]:
    """The indices of the samples in ``mine`` (None: of all) that have no description."""
    return [i for i in (range(len(data.sources)) if mine is None else mine) if data.sources[i].description is None]


def described_by(server: Api | None, data: Data) -> DescribedBy | None:
    """What a manifest keeps of the server; None where there is none, or the data have all descriptions."""
    if server is None or not undescribed(data):
        return None
    return DescribedBy(model=server.model, server=host(server))
