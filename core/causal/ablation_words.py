"""What a reader of an ablation should know, in words: one place for the command and the screen."""

from vlmscope.core.base.intervention import InterventionKind
from vlmscope.core.causal.ablation import NOTHING_TO_REMOVE, AblatedPicture, Ablation
from vlmscope.core.notebook.check_words import CLAMP

STILL = 0.05  #: a change of log-odds, and a KL in nats, below which nothing is said to change


def notes_on(ablation: Ablation, picture: AblatedPicture) -> tuple[str, ...]:
    """Sentences on one picture: that there is nothing to remove, that nothing changes, that a clamp is far outside."""
    kind, amount = ablation.intervention.kind, ablation.intervention.amount
    found = []
    still = picture.kl < STILL and all(abs(one.change) < STILL for one in picture.tokens)
    if ablation.silent:
        found.append(f"{NOTHING_TO_REMOVE[0].upper()}{NOTHING_TO_REMOVE[1:]}.")
    elif still and kind in (InterventionKind.ZERO, InterventionKind.MEAN):
        it = "them" if ablation.name else "it"
        matters = "they may still matter" if ablation.name else "it may still matter"
        found.append(f"Nothing changes without {it}: others may make up for {it}, so {matters}.")
    if kind is InterventionKind.CLAMP and abs(amount) > 1:
        found.append(CLAMP)
    return tuple(found)
