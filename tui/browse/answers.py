"""What the model answered in a session, kept for the page, and why other answers are missing."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.manifest import ModelInfo
from vlmscope.core.worker.messages import MapAnswer, PromotedAnswer
from vlmscope.core.worker.promoted_cache import kept_promoted, load_promoted
from vlmscope.tui.views.scene import Scene
from vlmscope.tui.views.state import Ablating, Mode, SetKind

if TYPE_CHECKING:
    from vlmscope.core.causal.ablation import Ablation

KEPT = 256  #: maps, and ablations, that are kept
PROMOTED = 24  #: tokens asked for on either side: many are one word in several spellings
MapKey = tuple[Neuron, int | None, str]  #: a neuron on a sample, or on the user's own picture


@dataclass(frozen=True)
class AblationKey:
    """Which ablation the page shows.

    Attributes:
        neuron: None for a set, which is the same on every neuron's page.
        sample, image: as in ``MapKey``.
    """

    neuron: Neuron | None
    sample: int | None
    image: str
    ablating: Ablating


def needed_ablation(scene: Scene) -> AblationKey | None:
    """The ablation that the page needs; None where it shows none, or its picture is not there yet."""
    state, picture = scene.state, scene.picture
    if state.mode is not Mode.ABLATION or scene.stale or picture is None:
        return None
    if state.own is not None and not state.own.described:
        return None
    neuron = state.neuron if state.ablating.kind is SetKind.NEURON else None
    return AblationKey(neuron, picture.sample, picture.image, state.ablating)


class Answers:
    """Maps, ablations and promoted tokens; the maps and ablations that came last.

    Attributes:
        maps, ablations: the oldest first.
        map_problems, ablation_problems: why there is none.
        promoted_notes: why there are no promoted tokens, or that the model is being asked.
    """

    def __init__(self) -> None:
        self.maps: OrderedDict[MapKey, MapAnswer] = OrderedDict()
        self.map_problems: dict[MapKey, str] = {}
        self.ablations: OrderedDict[AblationKey, Ablation] = OrderedDict()
        self.ablation_problems: dict[AblationKey, str] = {}
        self.promoted: dict[Neuron, PromotedAnswer] = {}
        self.promoted_notes: dict[Neuron, str] = {}
        self._on_disk: frozenset[Neuron] | None = None  # neurons whose promoted tokens are in the cache

    def keep_map(self, key: MapKey, answer: MapAnswer) -> None:
        """Keep a map; the oldest one goes where they are too many."""
        self.maps[key] = answer
        while len(self.maps) > KEPT:
            self.maps.popitem(last=False)

    def keep_ablation(self, key: AblationKey, found: "Ablation | str") -> None:
        """Keep an ablation, or why there is none."""
        if isinstance(found, str):
            self.ablation_problems[key] = found
            return
        self.ablations[key] = found
        while len(self.ablations) > KEPT:
            self.ablations.popitem(last=False)

    def load_promoted(self, model: ModelInfo, neuron: Neuron) -> None:
        """Take a neuron's promoted tokens from the cache on disk, if they are there and not taken yet."""
        if neuron in self.promoted:
            return
        if self._on_disk is None:
            self._on_disk = kept_promoted(model, PROMOTED)
        found = load_promoted(model, neuron, PROMOTED) if neuron.whole in self._on_disk else None
        if found is not None:
            self.promoted[neuron] = found

    def forget_own(self) -> None:
        """Forget the answers on the user's own picture: the same one may come again with another description."""
        for key in [key for key in self.maps if key[1] is None]:
            del self.maps[key]
        for key in [key for key in self.map_problems if key[1] is None]:
            del self.map_problems[key]
        self.forget_ablations(lambda key: key.sample is None)

    def forget_ablations(self, which: Callable[[AblationKey], bool]) -> None:
        """Forget these ablations, and why others of them are missing."""
        for kept in (self.ablations, self.ablation_problems):
            for key in [key for key in kept if which(key)]:
                del kept[key]

    def forget_problems(self) -> bool:
        """Forget why answers are missing, which may be another reason now; False where there is none."""
        had = bool(self.map_problems or self.ablation_problems)
        self.map_problems.clear()
        self.ablation_problems.clear()
        return had
