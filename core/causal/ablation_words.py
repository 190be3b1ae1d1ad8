"""What a reader of an ablation should know, in words: one place for the command and the screen."""

from collections.abc import Sequence

from vlmscope.core.base.intervention import InterventionKind
from vlmscope.core.causal.ablation import NOTHING_TO_REMOVE, AblatedPicture, Ablation
from vlmscope.core.notebook.check_words import CLAMPED, WHOLE_UNIT

STILL = 0.05  #: a change of log-odds, and a KL in nats, below which nothing is said to change


def notes_on(ablation: Ablation, pictures: Sequence[AblatedPicture]) -> tuple[str, ...]:
    """Sentences on some of its pictures.

    That there is nothing to remove, that nothing changes, what a clamp is, what is changed of a pole.
    """
    kind, amount = ablation.intervention.kind, ablation.intervention.amount
    found = []
    still = all(one.kl < STILL and all(abs(token.change) < STILL for token in one.tokens) for one in pictures)
    if ablation.silent:
        found.append(f"{NOTHING_TO_REMOVE[0].upper()}{NOTHING_TO_REMOVE[1:]}.")
    elif still and kind in (InterventionKind.ZERO, InterventionKind.MEAN):
        it = "them" if ablation.name else "it"
        matters = "they may still matter" if ablation.name else "it may still matter"
        found.append(f"Nothing changes without {it}: others may make up for {it}, so {matters}.")
    if kind is InterventionKind.CLAMP and abs(amount) > 1:
        found.append(CLAMPED)
    if any(one.poled for one in ablation.neurons):
        found.append(WHOLE_UNIT)
    return tuple(found)
