"""The table of architectures in docs/models.md is that of the transformers that it names."""

import pytest
import transformers

from tests.support import models_table


def test_the_table_has_every_architecture_and_what_becomes_of_it() -> None:
    version, rows = models_table.made()
    if version != transformers.__version__:
        pytest.skip(f"the table is of transformers {version}, installed is {transformers.__version__}")
    kinds = [row.split("`")[1] for row in rows[2:]]
    assert tuple(kinds) == models_table.architectures()
    # What another installation may have: packages that transformers only names.
    elsewhere = {kind for kind, row in zip(kinds, rows[2:], strict=True) if "not tried: needs" in row}
    made = [row for row in models_table.lines() if "`" not in row or row.split("`")[1] not in elsewhere]
    assert made[2:] == [row for kind, row in zip(kinds, rows[2:], strict=True) if kind not in elsewhere]
