"""The data of a scan as one number: over the samples' names, images and descriptions."""

import hashlib
import json


class DataDigest:
    """SHA-256 over the samples, which are added in the order of their index."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, image: str, sha256: str | None, description: str | None) -> None:
        """Add a sample.

        Args:
            sha256: of the image file; None if it was not read.
            description: None counts as empty: a scan does not keep the difference.
        """
        self._digest.update(json.dumps([image, sha256, description or ""]).encode() + b"\n")

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
