"""The user's own picture as a file: found, named for what it is where it is none, and read to be shown."""

import difflib
from pathlib import Path

from vlmscope.core.base.errors import SamplesError, VlmscopeError
from vlmscope.core.base.files import user_path
from vlmscope.core.data.images import crop_jpeg, is_file, load_image

SIDE = 512  #: pixels of the longer side of what is shown


class PictureError(VlmscopeError):
    title = "Your picture cannot be shown"


def picture_file(typed: str) -> Path:
    """The file that the user names.

    Raises:
        PictureError: if it is not a file. The message is what it is instead; the hint names one that is spelled alike.
    """
    file = user_path(typed)
    if is_file(file):
        return file
    if "://" in typed:
        raise PictureError(f"{typed} is an address on the net, not a file.", "Download the picture first.")
    try:
        if file.is_dir():
            raise PictureError(f"{file} is a folder, not a picture.", "Name a picture in it; tab completes names.")
        names = [one.name for one in file.parent.iterdir()] if file.parent.is_dir() else None
    except PermissionError:
        raise PictureError(f"The folder {file.parent} may not be read.", "Check who may read it.") from None
    except OSError as error:
        raise PictureError(f"There is no picture at {file}: {error.strerror}.", "Check the path.") from None
    if names is None:
        raise PictureError(f"There is no picture at {file}: there is no folder {file.parent}.", "Check the path.")
    near = difflib.get_close_matches(file.name, names, n=1)
    hint = f"Did you mean {file.parent / near[0]}?" if near else "Check the path; tab completes names."
    raise PictureError(f"There is no picture at {file}.", hint)


def small_jpeg(file: Path) -> bytes:
    """The picture as it is shown: a JPEG, its longer side at most ``SIDE`` pixels.

    Raises:
        PictureError: if it cannot be read, or is not a picture.
    """
    try:
        return crop_jpeg(load_image(file), SIDE)
    except SamplesError as error:
        raise PictureError(error.message, error.hint) from error
