"""Causal checks made by hand."""

from dataclasses import replace
from typing import Any

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.check import CausalCheck, CheckedPicture, CheckSettings, MatchedNeurons

DATE = "2026-03-01T12:00:00+00:00"


def picture(sample: int | None = 4, change: float = -2.5, **fields: Any) -> CheckedPicture:
    """One picture of a check."""
    return replace(
        CheckedPicture(
            sample=sample,
            image=f"{sample}.jpg" if sample is not None else "mine.png",
            change=change,
            p=0.97,
            p_after=0.61,
            first=True,
            first_after=True,
            others=-0.02,
            kl=0.21,
            baseline=0.01,
        ),
        **fields,
    )


def check(*neurons: Neuron, **fields: Any) -> CausalCheck:
    """A check beyond all of its matched neurons; ``fields`` replace what it says."""
    count = 39
    controls = tuple(
        MatchedNeurons(tuple(replace(one, index=one.index + 100 + at) for one in neurons), 0.01 * (at % 5 - 2), 0.98)
        for at in range(count)
    )
    pictures = tuple(picture(at, change) for at, change in enumerate((-6.6, -3.6, -3.3, -2.5, -2.1, -1.4, -1.2)))
    made = CausalCheck(
        neurons=neurons,
        name="",
        word="shirt",
        token=" shirt",
        settings=CheckSettings(),
        created=DATE,
        pictures=pictures,
        matched=controls,
        effect=-2.957,
        p=0.05,
        low=-4.2,
        high=-1.9,
        interval="t",
        match=0.98,
    )
    return replace(made, **fields)
