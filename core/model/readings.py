"""What a model predicts at some positions, with and without edits: log-odds, probability, first choice, divergence."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_NUMBERS = 1 << 26  #: logits that are in memory at a time: 256 MB in float32, some copies of which are made


@dataclass(frozen=True, eq=False)
class Readings:
    """Of rows of a batch at K positions. R: rows.

    Attributes:
        log_odds: float32 (R, K), the target's logit less the ``logsumexp`` of all others: unlike the log of a
            probability it is exact near 1.
        p: float32 (R, K), the target's probability.
        first: bool (R, K), whether no other token has a larger logit than the target.
        kl: float32 (R, K), in nats, ``sum_v p_v log(p_v / p'_v)``; p is of row 0, p' of each row.
    """

    log_odds: Tensor
    p: Tensor
    first: Tensor
    kl: Tensor


def read(logits: Callable[[Tensor], Tensor], hidden: Tensor, targets: Tensor) -> Readings:
    """Read the predictions at K positions, a part of them at a time.

    Args:
        logits: from (N, H) to float32 (N, V). hidden: (R, K, H), after the final norm; row 0 is without edits.
        targets: int64 (K,), the token that each position predicts.

    Returns:
        on the host.
    """
    rows, places = hidden.shape[:2]
    size = logits(hidden[:1, 0]).shape[-1]
    parts = []
    step = max(1, _NUMBERS // (rows * size))
    for start in range(0, places, step):
        part = hidden[:, start : start + step]
        of_all = logits(part.flatten(end_dim=1)).view(rows, part.shape[1], -1)
        parts.append(_read(of_all, targets[start : start + step].to(of_all.device)))
    return Readings(*(torch.cat(columns, dim=1).cpu() for columns in zip(*parts, strict=True)))


def _read(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``logits``: float32 (R, k, V), overwritten. ``targets``: int64 (k,)."""
    where = targets[None, :, None].expand(len(logits), -1, 1)
    own = logits.gather(2, where)
    logits.scatter_(2, where, -torch.inf)
    most = logits.amax(dim=2, keepdim=True)
    others = logits.logsumexp(dim=2, keepdim=True)
    total = torch.logaddexp(own, others)
    logits.scatter_(2, where, own)
    p = (logits[0] - total[0]).exp_()  # (k, V)
    if not bool(logits[0].isfinite().all()):
        logits.masked_fill_(p == 0, 0)  # a token that is never said has the logit -inf
    kl = ((logits[:1] - logits) * p).sum(dim=2) + (total - total[:1])[..., 0]
    kl[0] = 0
    log_odds = (own - others)[..., 0]
    return log_odds, log_odds.sigmoid(), (own >= most)[..., 0], kl.clamp_(min=0)
