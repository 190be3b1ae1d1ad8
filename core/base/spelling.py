"""Words that are spelled alike, for the hints of messages."""

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """``Did you mean purity? `` after the known word that is spelled most like ``word``; empty where none is."""
    found = difflib.get_close_matches(word.strip().lower(), list(known), n=1)
    return f"Did you mean {found[0]}? " if found else ""
