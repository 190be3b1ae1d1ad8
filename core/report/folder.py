"""The folder that an export becomes: whole or not there at all."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from vlmscope.core.base.errors import ReportError, StoreError
from vlmscope.core.base.files import whole_folder
from vlmscope.core.store.writer import check_out


def check_report_folder(out: Path) -> None:
    """Find out before any work whether something can be exported to ``out``.

    Raises:
        ReportError: if something is there already, or no folder can be made there.
    """
    try:
        check_out(out)
    except StoreError as error:
        raise ReportError(error.message, error.hint) from error
    except OSError as error:
        raise ReportError(f"{out} cannot be used: {error.strerror}.", "Name another folder.") from error


@contextlib.contextmanager
def export_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside ``out`` to fill; it becomes ``out`` where the context ends without an exception.

    Nothing is left otherwise, nor are folders above ``out`` that were made for it.

    Raises:
        ReportError: if ``out`` is taken or cannot be written.
    """
    check_report_folder(out)
    target = out.resolve()  # an empty folder may be a link
    made = [parent for parent in target.parents if not parent.exists()]
    try:
        with whole_folder(target) as folder:
            yield folder
    except OSError as error:
        raise ReportError(
            f"{out} could not be written: {error.strerror}.", "Free some space, or name another folder."
        ) from error
    finally:
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()  # only where it is empty
