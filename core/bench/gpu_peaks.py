"""The peak TFLOP/s of known GPUs, to compare a model's speed with.

Source: NVIDIA's data sheets and architecture papers, dense (a data sheet's figure "with sparsity" halved), at boost
clock. Only chips with a published figure are listed; for others no share of the peak is shown.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """Dense TFLOP/s.

    Attributes:
        words: what its name must contain, as ``torch.cuda.get_device_name`` gives it; the first match counts.
        half: bfloat16 and float16 on the tensor cores, summed in float32.
        single: float32, without TF32, which torch leaves off.
        has_bfloat16: false for older chips, which have float16 only.
    """

    words: tuple[str, ...]
    half: float
    single: float
    has_bfloat16: bool = True


CHIPS = (
    Chip(("H200", "NVL"), 835.5, 60.0),
    Chip(("H200",), 989.4, 66.9),
    Chip(("H100", "NVL"), 835.5, 60.0),
    Chip(("H100", "PCIe"), 756.0, 51.2),
    Chip(("H100", "HBM3"), 989.4, 66.9),  # SXM: "NVIDIA H100 80GB HBM3"
    Chip(("GH200",), 989.4, 66.9),
    Chip(("A100",), 312.0, 19.5),  # SXM and PCIe alike
    Chip(("A40",), 149.7, 37.4),
    Chip(("A30",), 165.0, 10.3),
    Chip(("A10",), 125.0, 31.2),  # not the A10G, which is another chip
    Chip(("L40S",), 362.0, 91.6),
    Chip(("L40",), 181.0, 90.5),
    Chip(("L4",), 121.0, 30.3),
    Chip(("RTX", "A6000"), 154.8, 38.7),
    Chip(("RTX", "4090"), 165.2, 82.6),
    Chip(("RTX", "3090"), 71.0, 35.6),
    Chip(("V100", "SXM2"), 125.0, 15.7, has_bfloat16=False),
    Chip(("V100", "PCIE"), 112.0, 14.0, has_bfloat16=False),
    Chip(("T4",), 65.0, 8.1, has_bfloat16=False),
)
#: Words in the names of parts of a chip, and of other chips with a similar name.
_OTHER_CHIPS = frozenset({"mig", "laptop", "mobile", "max", "ti", "d", "super"})


def peak_tflops(device: str, dtype: str) -> float | None:
    """Peak TFLOP/s of the GPU of that name for a model in ``dtype`` (float32, bfloat16, float16); None if unknown."""
    words = set(re.split(r"[^a-z0-9]+", device.lower()))
    if words & _OTHER_CHIPS:
        return None
    for chip in CHIPS:
        if {word.lower() for word in chip.words} <= words:
            if dtype == "float32":
                return chip.single
            return chip.half if dtype == "float16" or (dtype == "bfloat16" and chip.has_bfloat16) else None
    return None
