"""What is being typed, kept in files until it is saved: nothing is lost when the program or its terminal ends."""

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from vlmscope.core.base.config import data_folder
from vlmscope.core.base.files import write_whole
from vlmscope.core.base.neuron import Neuron


@dataclass(frozen=True)
class Drafts:
    """The drafts of one scan."""

    scan_id: str

    @property
    def folder(self) -> Path:
        """Where they are."""
        name = hashlib.sha256(self.scan_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return data_folder() / "drafts" / name

    def note(self, neuron: Neuron) -> Path:
        """The file of a neuron's note."""
        return self.folder / f"{neuron.layer}-{neuron.index}.md"

    def line(self, prompt: str, neuron: Neuron) -> Path:
        """The file of a line at a prompt; tags are a neuron's own."""
        return self.folder / (f"{neuron.layer}-{neuron.index}.tags" if prompt == "tags" else f"{prompt}.line")


def keep(draft: Path, text: str) -> None:
    """Write a draft; where it cannot be written, typing continues without."""
    with contextlib.suppress(OSError):
        draft.parent.mkdir(parents=True, exist_ok=True)
        write_whole(draft, text.encode("utf-8", "surrogatepass"))


def kept(draft: Path) -> str | None:
    """What a draft holds; None if there is none."""
    try:
        return draft.read_text(encoding="utf-8", errors="surrogatepass")
    except (OSError, ValueError):  # ValueError: not UTF-8, so it is not a draft
        return None


def drop(draft: Path) -> None:
    """Remove a draft, if there is one."""
    with contextlib.suppress(OSError):
        draft.unlink(missing_ok=True)
