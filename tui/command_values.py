"""What was typed after ``:``, as plain values."""

from dataclasses import dataclass

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Thresholds
from vlmscope.tui.views.drawing import Blocks
from vlmscope.tui.views.filters import Filter
from vlmscope.tui.views.state import Ablating, AfterVerdict, Order


@dataclass(frozen=True)
class GoTo:
    """Go to a neuron."""

    neuron: Neuron


@dataclass(frozen=True)
class SetThresholds:
    """Label all neurons again, at these thresholds."""

    thresholds: Thresholds


@dataclass(frozen=True)
class SetFilter:
    """Keep other neurons in the list."""

    filter: Filter


@dataclass(frozen=True)
class SetOrder:
    """Sort the list by another value."""

    order: Order


@dataclass(frozen=True)
class ShowImage:
    """Put the user's own picture under the neuron."""

    path: str
    question: str | None


@dataclass(frozen=True)
class SetTheme:
    """Change the theme."""

    name: str


@dataclass(frozen=True)
class SetPictures:
    """Draw pictures with other characters."""

    blocks: Blocks


@dataclass(frozen=True)
class OwnWords:
    """Score the user's own words."""

    text: str


@dataclass(frozen=True)
class ShowShares:
    """Show the label shares, and those of other scans beside."""

    scans: tuple[str, ...]


@dataclass(frozen=True)
class ShowView:
    """Show a saved view."""

    name: str


@dataclass(frozen=True)
class SaveView:
    """Save filter, order and thresholds."""

    name: str


@dataclass(frozen=True)
class DeleteView:
    """Forget a saved view."""

    name: str


@dataclass(frozen=True)
class Do:
    """Run an action that has no values of its own."""

    action: str


@dataclass(frozen=True)
class SetAblating:
    """Show the page of ablation with these choices; None leaves it."""

    ablating: Ablating | None


@dataclass(frozen=True)
class Check:
    """Check the neuron's effect on a word; empty: its leading concept."""

    word: str


@dataclass(frozen=True)
class ShowEffects:
    """List the neurons that a word of the description rests on."""

    word: str


@dataclass(frozen=True)
class CompareGroups:
    """List the neurons that two groups of samples activate most differently; as typed.

    Attributes:
        drop_shared: whether samples of both groups are left out.
    """

    a: str
    b: str
    drop_shared: bool = False


@dataclass(frozen=True)
class SetAfter:
    """What follows a verdict."""

    after: AfterVerdict


Setting = SetTheme | SetAfter | SetPictures
Intervening = SetAblating | Check | ShowEffects
Looking = ShowShares | CompareGroups
Viewing = ShowView | SaveView | DeleteView
Listing = GoTo | SetThresholds | SetFilter | SetOrder
Command = Listing | ShowImage | Setting | OwnWords | Looking | Viewing | Intervening | Do
