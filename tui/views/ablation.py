"""What an intervention does to one picture, as the page shows it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmscope.core.causal.ablation import AblatedPicture, Ablation


@dataclass(frozen=True, eq=False)
class AblationView:
    """One picture of an ablation.

    Attributes:
        ablation: None while it is not there; ``problem`` says why, ``doing`` what is being done about it.
        at: which of its pictures.
        check_key: the key that compares it with matched neurons, as the user has mapped it.
    """

    ablation: "Ablation | None" = None
    at: int = 0
    problem: str = ""
    doing: str = ""
    check_key: str = "C"

    @property
    def picture(self) -> "AblatedPicture | None":
        """The picture; None without any."""
        pictures = () if self.ablation is None else self.ablation.pictures
        return pictures[min(max(self.at, 0), len(pictures) - 1)] if pictures else None
