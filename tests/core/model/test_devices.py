"""Which dtype a device gets, and how much memory the host has to give."""

import contextlib
from pathlib import Path

import pytest
import torch

from vlmscope.core.base.errors import ModelError
from vlmscope.core.model.devices import free_memory, resolve_dtype


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A machine with 64 GiB free, on which this process is in a job's step."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 99999999 kB\nMemAvailable: 67108864 kB\n")
    (tmp_path / "proc" / "self" / "cgroup").write_text("0::/job/step\n")
    (tmp_path / "groups" / "job" / "step").mkdir(parents=True)
    return tmp_path


def limit(host: Path, group: str, most: str, used: str) -> None:
    (host / "groups" / group / "memory.max").write_text(most + "\n")
    (host / "groups" / group / "memory.current").write_text(used + "\n")


def free(host: Path) -> int | None:
    return free_memory(host / "proc", host / "groups")


def test_without_limits_it_is_what_the_system_has(host: Path) -> None:
    assert free(host) == 64 * 2**30
    limit(host, "job/step", "max", "5")
    assert free(host) == 64 * 2**30


def test_the_tightest_limit_counts_wherever_it_is_set(host: Path) -> None:
    limit(host, "job/step", str(20 * 2**30), str(2**30))
    assert free(host) == 19 * 2**30
    limit(host, "job", str(10 * 2**30), str(2**30))
    assert free(host) == 9 * 2**30
    limit(host, "job", "7", "8")
    assert free(host) == 0


def test_files_in_memory_make_room(host: Path) -> None:
    limit(host, "job", str(32 * 2**30), str(30 * 2**30))
    stat = host / "groups" / "job" / "memory.stat"
    stat.write_text(f"anon 5\nactive_file {2**30}\ninactive_file {27 * 2**30}\n")
    assert free(host) == 30 * 2**30
    stat.write_text("anon 5\n")
    assert free(host) == 2 * 2**30


@pytest.mark.parametrize("broken", ["meminfo", "self/cgroup"])
def test_a_system_that_says_nothing_is_asked_no_more(host: Path, broken: str) -> None:
    (host / "proc" / broken).write_text("")
    assert free(host) == (None if broken == "meminfo" else 64 * 2**30)
    (host / "proc" / broken).write_bytes(b"0::/j\xff")
    assert free(host) == (None if broken == "meminfo" else 64 * 2**30)
    (host / "proc" / broken).unlink()
    assert free(host) == (None if broken == "meminfo" else 64 * 2**30)


@pytest.mark.parametrize(("has", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_gets_bfloat16_where_it_is_more_than_emulated(
    has: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return has or including_emulation

    monkeypatch.setattr("torch.cuda.is_bf16_supported", supported)
    monkeypatch.setattr("torch.cuda.device", lambda _: contextlib.nullcontext())
    assert resolve_dtype("auto", torch.device("cuda:0")) is dtype
    assert resolve_dtype("float32", torch.device("cuda:0")) is torch.float32
    assert resolve_dtype("auto", torch.device("cpu")) is torch.float32
    assert resolve_dtype("auto", torch.device("mps")) is torch.float16
    with pytest.raises(ModelError, match="float12"):
        resolve_dtype("float12", torch.device("cpu"))
