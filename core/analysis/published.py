"""Neurons of LLaVA-1.5-7B that the paper shows, with its own words, to compare a scan with.

Source: arXiv 2502.18485, figures 3, 8, 9, 15 to 17; hook point ``gate``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.store.manifest import Manifest


@dataclass(frozen=True)
class Published:
    """A neuron as the paper shows it.

    Attributes:
        text: the paper's explanation, or what the figure shows.
        figure: number of the paper's figure.
        images: file names, without suffix, of the COCO train2017 images that the figure shows.
    """

    neuron: Neuron
    label: Label
    text: str
    figure: str
    images: tuple[str, ...] = ()


_TABLE = (
    Published(Neuron(27, 3900), Label.VISUAL, "airplanes, motorcycles", "3a", ("000000403170",)),
    Published(Neuron(2, 4450), Label.TEXT, "teddy bears, stuffed animals", "3b", ("000000065793",)),
    Published(Neuron(29, 600), Label.MULTIMODAL, "kitchen", "3c", ("000000156852",)),
    Published(Neuron(31, 1800), Label.MULTIMODAL, "doughnuts", "3d", ("000000323964",)),
    Published(
        Neuron(21, 6100),
        Label.MULTIMODAL,
        "zebras; fire hydrant and pigeons",
        "3e, 3f",
        ("000000276332", "000000060034"),
    ),
    Published(Neuron(0, 6098), Label.VISUAL, "the presence of a train or train-related elements", "8"),
    Published(Neuron(7, 1410), Label.MULTIMODAL, "words related to airplanes and airports", "9"),
    Published(Neuron(2, 8997), Label.VISUAL, "scenes depicting groups of people gathered together", "15a"),
    Published(Neuron(16, 4347), Label.VISUAL, "words related to roads, pathways, or walkways", "15b"),
    Published(Neuron(3, 8142), Label.VISUAL, "references to food, particularly cakes and desserts", "15c"),
    Published(Neuron(29, 7693), Label.TEXT, "the beginning of sentences or paragraphs", "16a"),
    Published(Neuron(20, 2063), Label.TEXT, "resting or breaks during sports activities", "16b"),
    Published(Neuron(6, 5298), Label.TEXT, "the position or location of objects within an image", "16c"),
    Published(Neuron(24, 8912), Label.MULTIMODAL, "references to rivers and water bodies", "17a"),
    Published(Neuron(23, 6568), Label.MULTIMODAL, "animals, particularly birds and large mammals", "17b"),
    Published(Neuron(23, 844), Label.MULTIMODAL, "trains and train-related settings", "17c"),
)
_ALL: Mapping[Neuron, Published] = MappingProxyType({found.neuron: found for found in _TABLE})

#: llava-hf/llava-1.5-7b-hf, liuhaotian/llava-v1.5-7b, and copies of them in folders of that name.
_NAME = re.compile(r"(^|[/\\])llava-v?1\.5-7b(-hf)?[/\\]?$", re.IGNORECASE)


def published(manifest: Manifest) -> Mapping[Neuron, Published]:
    """The paper's neurons, if this is a scan of the paper's model at its hook point; else none.

    The model is recognised by name and size alone. A fine-tuned copy of that name passes, though its neurons differ.
    """
    model = manifest.model
    same = _NAME.search(model.name) and (model.layers, model.neurons) == (32, 11008)
    return _ALL if same and manifest.hook is HookPoint.GATE else {}
