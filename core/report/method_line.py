"""How the numbers of a report or a card came about, in one sentence or two."""

from vlmscope.core.base.neuron import Poles
from vlmscope.core.base.text import plain
from vlmscope.core.report.schema import ScanPart
from vlmscope.core.store.manifest import ThresholdsInfo

PAPER = "arXiv 2502.18485"
NAME = 120  #: characters of a model's name


def method_line(scan: ScanPart, at: ThresholdsInfo) -> str:
    """Model, data, hook point, norm and label rule: plain text, from outside in part."""
    model = scan.model
    valid = min(scan.top_n, scan.scanned)
    both = ", each sign a neuron of its own," if scan.poles is Poles.BOTH else ""
    return (
        f"Activations at the hook point {plain(scan.hook)}{both} of the {model.layers} x {model.neurons:,} FFN neurons "
        f"of {plain(model.name, NAME)}, over {scan.scanned:,} images with descriptions. A norm is 10 x activation / "
        f"the neuron's maximum. Each of a neuron's top {valid} samples votes: visual from {at.n_v} patches above norm "
        f"{at.T_v:g} on, text from {at.n_t} words above {at.T_t:g} on, multimodal if both. The most frequent vote is "
        f"the label, high-confidence above {at.high_confidence:.0%} of the votes ({PAPER})."
    )
