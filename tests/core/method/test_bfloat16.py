"""Two bytes an activation: torch's bfloat16, by numpy alone."""

import numpy as np
import torch

from vlmscope.core.method.bfloat16 import NO_TOKEN, decoded, encoded


def test_rounding_is_that_of_torch() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 200_000, dtype=np.uint64).astype(np.uint32)
    halves = np.arange(1 << 16, dtype=np.uint32) << 16 | 0x8000  # ties, each between two neighbours
    values = np.concatenate([bits, halves]).view(np.float32)
    values = values[~np.isnan(values)]
    values = np.concatenate([values, np.array([0.0, -0.0, np.inf, -np.inf, 1.0, -1.5], np.float32)])
    found = decoded(encoded(values))
    assert np.array_equal(found, torch.from_numpy(values).to(torch.bfloat16).float().numpy())
    assert not np.signbit(found[found == 0]).any()
    assert encoded(np.array([-np.inf], np.float32))[0] == NO_TOKEN


def test_what_was_rounded_is_kept() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    values = decoded(every)
    same = ~np.isnan(values) & (values != 0)
    assert np.array_equal(encoded(np.where(same, values, 0))[same], every[same])
    assert values.dtype == np.float32 and values.shape == every.shape
