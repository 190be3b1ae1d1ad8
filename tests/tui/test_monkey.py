"""Random keys, mouse, resizes and pastes do not end the program, and leave it in no mode that escape does not leave."""

from pathlib import Path

import pytest

from tests.support.api_server import KEY, api_server
from tests.support.monkey import let_loose
from vlmscope.core.base.config import Api, Config

SEEDS = (1, 2, 3)
COUNT = 300  #: presses of a seed: the three take less than a minute on two cores


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_monkey(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with api_server() as server:
        await let_loose(seed, COUNT, Config(api=Api(base_url=server.url)))
