"""The screen's side of the scan's notebook: in a thread of its own, so that no key waits for a disk."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from vlmscope.core.notebook.notebook import Notebook

_Read = TypeVar("_Read")


class NotebookLink:
    """One notebook; its calls run one after the other. It is opened, and made, when it is first needed."""

    def __init__(self, scan_id: str, scan_folder: Path, setting: str, *, poled: bool = False) -> None:
        """Nothing is opened yet; ``setting`` is the user's ``notebooks``, ``poled`` as ``Notebook.open``."""
        self._scan_id = scan_id
        self._poled = poled
        self._scan_folder = scan_folder
        self._setting = setting
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="notebook")
        self._notebook: Notebook | None = None
        self.note_on_path = ""  #: of the open notebook, as ``vlmscope.core.notebook.notebook.note_on_path``

    async def read(self, call: "Callable[[Notebook], _Read]", empty: _Read) -> _Read:
        """What ``call`` reads, or ``empty`` if there is no notebook yet: reading makes no files.

        Raises:
            NotebookError: if the notebook cannot be used.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, call, empty)

    async def write(self, call: "Callable[[Notebook], _Read]") -> _Read:
        """What ``call`` returns after it has changed the notebook; it is on the disk then.

        Raises:
            NotebookError: if the notebook cannot be used or made; nothing is changed then.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._write, call)

    def second(self) -> "Notebook":
        """Another connection to the same notebook, for long reading in another thread; close it afterwards.

        Raises:
            NotebookError: if it cannot be opened.
        """
        from vlmscope.core.notebook.notebook import Notebook

        return Notebook.open(self._path(), self._scan_id, poled=self._poled)

    def _path(self) -> Path:
        from vlmscope.core.notebook.notebook import notebook_path

        return notebook_path(self._scan_id, self._scan_folder, self._setting)

    async def close(self) -> None:
        """Finish what was asked for, and close."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _read(self, call: "Callable[[Notebook], _Read]", empty: _Read) -> _Read:
        if self._notebook is None and not self._path().exists():
            return empty
        return self._write(call)

    def _write(self, call: "Callable[[Notebook], _Read]") -> _Read:
        if self._notebook is None:
            from vlmscope.core.notebook.notebook import note_on_path

            self._notebook = self.second()
            self.note_on_path = note_on_path(self._scan_id, self._scan_folder, self._setting)
        return call(self._notebook)

    def _close(self) -> None:
        if self._notebook is not None:
            self._notebook.close()
            self._notebook = None
