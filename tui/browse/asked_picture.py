"""The page's picture as the model process takes it."""

from pathlib import PurePath
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import UsageError
from vlmscope.core.store.original import UNCHECKED
from vlmscope.tui.browse.session import Session

if TYPE_CHECKING:
    from vlmscope.core.causal.pictures import Described


def asked_picture(session: Session, sample: int | None, allow_key: str) -> "Described":
    """A sample of the scan, or the user's own picture, which is described.

    Args:
        sample: its index; None for the user's own picture.
        allow_key: lets the user agree that pictures without digests are read.

    Raises:
        StoreError: if the scan is damaged.
        UsageError: if its picture is not at hand.
    """
    from vlmscope.core.causal.pictures import Described, of_sample
    from vlmscope.core.worker.interventions import SampleRef

    own, store = session.state.own, session.store
    if sample is None:
        if own is None or not own.described:
            raise UsageError("The picture is not described yet.", "The model has to see it first.")
        ref = SampleRef(own.image, own.prompt, own.description, None)
        return Described(ref, own.tokens, PurePath(own.image).name)
    found = store.sample(sample)
    if problem := found.picture_problem:
        how = f"{allow_key} allows it." if problem.startswith(UNCHECKED) else "The model needs the picture itself."
        raise UsageError(f"{problem}.", how)
    return of_sample(found, store.manifest.prompt)
