"""The fingerprint of a model folder's weights: it differs after the model was trained on in its place.

A model of the hub needs none: its revision names its weights.
"""

import hashlib
from pathlib import Path

from vlmscope.core.base.demo import DEMO
from vlmscope.core.base.errors import ModelError

#: What transformers reads weights from: safetensors where there are any.
_PATTERNS = ("*.safetensors", "pytorch_model*.bin")
#: The first 64 KiB of each MiB are read: 0.9 GB of a 7B model's 14 GB. Training changes nearly every value. A matrix of
#: a 7B model has rows of 8 to 22 KB, so every column is read many times: an edited column of down_proj is noticed, too.
_READ, _STEP = 1 << 16, 1 << 20
_WHOLE = 1 << 26  #: a file of up to 64 MiB is read whole


def is_model_folder(name: str) -> bool:
    """Whether this name of a model is a folder's; ``demo`` is not, whatever the current folder holds."""
    return name != DEMO and Path(name).is_dir()


def weights_fingerprint(name: str) -> str | None:
    """SHA-256 over the names, sizes and sampled bytes of a model folder's weight files.

    Returns:
        64 hexadecimal digits; None where ``name`` is not a folder, or the folder has no weights.

    Raises:
        ModelError: if a file cannot be read.
    """
    if not is_model_folder(name):
        return None
    folder = Path(name)
    digest = hashlib.sha256()
    try:
        files = next((found for pattern in _PATTERNS if (found := sorted(folder.glob(pattern)))), [])
        for path in files:
            size = path.stat().st_size
            digest.update(f"{path.name} {size}\n".encode("utf-8", "surrogateescape"))
            with path.open("rb") as file:
                for start in range(0, size, _READ if size <= _WHOLE else _STEP):
                    file.seek(start)
                    digest.update(file.read(_READ))
    except OSError as error:
        raise ModelError(f"The weights of {name} cannot be read: {error}.", "Check the folder.") from error
    return digest.hexdigest() if files else None
