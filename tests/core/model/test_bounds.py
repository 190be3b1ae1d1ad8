"""Lookups are checked before they are made: on a GPU one outside a table would end the process's use of it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vlmscope.core.model.bounds import within_tables

TABLE = torch.arange(12.0).reshape(4, 3)

LOOKUPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "embedding": lambda table, at: functional.embedding(at, table),
    "rows": lambda table, at: table[at],
    "columns": lambda table, at: table.T[:, at],
    "both": lambda table, at: table[at, torch.zeros_like(at)],
    "with a mask": lambda table, at: table[at[:, None], torch.tensor([True, False, True])],
    "index_select": lambda table, at: table.index_select(0, at),
    "gather": lambda table, at: table.gather(0, at[:, None]),
    "scatter": lambda table, at: table.scatter(0, at[:, None], 1.0),
    "set": lambda table, at: table.clone().index_put_((at,), torch.ones(())),
    "add": lambda table, at: table.index_add(0, at, torch.ones(len(at), 3)),
}


@pytest.mark.parametrize("name", LOOKUPS)
@pytest.mark.parametrize("grad", [False, True])
def test_indices_within_a_table_change_nothing_and_others_are_named(name: str, grad: bool) -> None:
    look_up, table = LOOKUPS[name], TABLE.clone().requires_grad_(grad)
    inside, outside = torch.tensor([0, 3]), torch.tensor([0, 4])
    plain = look_up(table, inside)
    with within_tables():
        assert torch.equal(look_up(table, inside), plain)
        assert len(look_up(table, inside[:0])) in (0, 3, 4)
        with pytest.raises(IndexError, match="index 4 is outside a table of 4"):
            look_up(table, outside)


def test_negative_indices_count_from_the_end_in_brackets_alone() -> None:
    with within_tables():
        assert torch.equal(TABLE[torch.tensor([-4])], TABLE[:1])
        with pytest.raises(IndexError, match="index -5 is outside"):
            TABLE[torch.tensor([-5])]
        with pytest.raises(IndexError, match="index -1 is outside"):
            functional.embedding(torch.tensor([-1]), TABLE)


def test_shapes_alone_are_not_checked() -> None:
    with within_tables(), torch.device("meta"):
        assert functional.embedding(torch.zeros(2, dtype=torch.int64), torch.zeros(4, 3)).shape == (2, 3)
