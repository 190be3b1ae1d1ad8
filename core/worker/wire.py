"""How messages travel between the screen and the model process: one JSON line, then raw array bytes.

Notable:
- No pickle: nothing that is read can run code. Both sides bound what they read before they allocate for it.
- Messages are frozen dataclasses. Their fields become JSON; arrays and bytes follow the line in their own form, and
  the line gives each one's dtype and shape.
- JSON is written in ASCII, so that a file name that is no UTF-8 (lone surrogates in Python) survives.
"""

import json
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import IO, TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import WorkerError

if TYPE_CHECKING:
    from asyncio import StreamReader  # the worker has no event loop

MAX_LINE = 1 << 20  #: bytes of a header line
MAX_PAYLOAD = 64 << 20  #: bytes of all arrays of one frame
DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "uint8": np.dtype("u1")}

Array = NDArray[np.float32] | NDArray[np.uint8]
Message = TypeVar("Message")


class FrameError(WorkerError):
    """The other side sent what is no frame, or too large a one."""


@dataclass(frozen=True)
class Frame:
    """One message as it travels.

    Attributes:
        kind: the message's class.
        number: the request it belongs to; 0 is loading.
        body: its fields.
        arrays: what the fields refer to by index; read-only when read.
    """

    kind: str
    number: int
    body: Mapping[str, Any]  # JSON: checked field by field in unpack
    arrays: tuple[Array, ...] = ()


@dataclass(frozen=True)
class Header:
    """A header line, read: the frame but for its arrays."""

    frame: Frame
    layout: tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]

    @property
    def payload(self) -> int:
        """How many bytes follow the line."""
        return sum(dtype.itemsize * math.prod(shape) for dtype, shape in self.layout)

    def with_payload(self, data: bytes) -> Frame:
        """The whole frame."""
        arrays = []
        at = 0
        for dtype, shape in self.layout:
            count = math.prod(shape)
            try:
                arrays.append(np.frombuffer(data, dtype, count, at).reshape(shape))
            except ValueError as error:
                raise FrameError(f"A frame's array cannot be read: {error}.") from error
            at += count * dtype.itemsize
        return Frame(self.frame.kind, self.frame.number, self.frame.body, tuple(arrays))


def write(frame: Frame) -> bytes:
    """The frame's bytes.

    Raises:
        FrameError: if it is too large, or an array's dtype cannot travel.
    """
    for array in frame.arrays:
        if array.dtype.name not in DTYPES:
            raise FrameError(f"Arrays of {array.dtype} cannot be sent.")
    layout = [{"dtype": array.dtype.name, "shape": array.shape} for array in frame.arrays]
    head = {"kind": frame.kind, "number": frame.number, "body": frame.body, "arrays": layout}
    line = json.dumps(head, allow_nan=False).encode("ascii")
    if len(line) >= MAX_LINE or sum(array.nbytes for array in frame.arrays) > MAX_PAYLOAD:
        raise FrameError("A message to or from the model process is too large.")
    raw = (array.astype(DTYPES[array.dtype.name], copy=False).tobytes() for array in frame.arrays)
    return b"".join((line, b"\n", *raw))


def read_header(line: bytes) -> Header:
    """Understand a header line (its newline may be there or not).

    Raises:
        FrameError: if it is none, or announces more than ``MAX_PAYLOAD`` bytes.
    """
    try:
        head = json.loads(line)
        frame = Frame(head["kind"], head["number"], head["body"])
        layout = tuple((DTYPES[spec["dtype"]], tuple(spec["shape"])) for spec in head["arrays"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FrameError(f"Not a frame: {line[:80]!r}.") from error
    typed = isinstance(frame.kind, str) and type(frame.number) is int and isinstance(frame.body, dict)
    if not typed or any(type(size) is not int or size < 0 for _, shape in layout for size in shape):
        raise FrameError(f"Not a frame: {line[:80]!r}.")
    header = Header(frame, layout)
    if header.payload > MAX_PAYLOAD:
        raise FrameError(f"A frame announces {header.payload:,} bytes, too many.")
    return header


def read(stream: IO[bytes]) -> Frame | None:
    """The next frame from a blocking stream, or None at its end.

    Raises:
        FrameError: if it is malformed, oversized, or cut short by the stream's end.
    """
    line = stream.readline(MAX_LINE)
    if not line:
        return None
    if not line.endswith(b"\n"):
        raise FrameError("A frame's line is cut short or too long.")
    header = read_header(line)
    data = stream.read(header.payload)
    if len(data) < header.payload:
        raise FrameError(f"A frame is cut short: {len(data):,} of {header.payload:,} bytes.")
    return header.with_payload(data)


async def read_async(reader: "StreamReader") -> Frame | None:
    """As ``read``, from a stream whose limit is ``MAX_LINE``.

    Raises:
        FrameError: if it is malformed, oversized, or cut short by the stream's end.
    """
    try:
        line = await reader.readline()
        if not line:
            return None
        if not line.endswith(b"\n"):
            raise FrameError("A frame's line is cut short.")
        header = read_header(line)
        return header.with_payload(await reader.readexactly(header.payload))
    except ValueError as error:
        # StreamReader.readline: longer than its limit.
        raise FrameError("A frame's line is too long.") from error
    except EOFError as error:
        # asyncio.IncompleteReadError
        raise FrameError("A frame is cut short.") from error


def pack(message: object, number: int = 0) -> Frame:
    """A frozen dataclass as a frame."""
    arrays: list[Array] = []
    return Frame(type(message).__name__, number, _lower(message, arrays), tuple(arrays))


def unpack(frame: Frame, kind: type[Message]) -> Message:
    """The dataclass that was packed.

    Raises:
        FrameError: if a field is missing, unknown or of another type.
    """
    if frame.kind != kind.__name__:
        raise FrameError(f"{frame.kind[:80]!r} came in place of {kind.__name__}.")
    value: Message = _lift(dict(frame.body), kind, frame.arrays)
    return value


def _lower(value: Any, arrays: list[Array]) -> Any:
    if is_dataclass(value):
        return {field.name: _lower(getattr(value, field.name), arrays) for field in fields(value)}
    if isinstance(value, bytes):
        value = np.frombuffer(value, np.uint8)
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return len(arrays) - 1
    if isinstance(value, tuple):
        return [_lower(item, arrays) for item in value]
    return value  # StrEnum is a str


def _lift(value: Any, kind: Any, arrays: tuple[Array, ...]) -> Any:
    """``value`` as the type ``kind``: what the messages use, and no more."""
    if get_origin(kind) in (types.UnionType, Union):
        if value is None and types.NoneType in get_args(kind):
            return None
        [kind] = [one for one in get_args(kind) if one is not types.NoneType]
    origin = get_origin(kind)
    lifted: Any = None
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        if isinstance(value, dict) and value.keys() == hints.keys():
            lifted = kind(**{name: _lift(value[name], hints[name], arrays) for name in hints})
    elif origin is tuple:
        item_kind = get_args(kind)[0]  # tuple[item_kind, ...]
        lifted = tuple(_lift(item, item_kind, arrays) for item in value) if isinstance(value, list) else None
    elif origin is np.ndarray or kind is bytes:
        if type(value) is int and 0 <= value < len(arrays):
            dtype = np.dtype(np.uint8 if kind is bytes else get_args(get_args(kind)[1])[0])
            if arrays[value].dtype == dtype:
                lifted = arrays[value].tobytes() if kind is bytes else arrays[value]
    elif kind is float:
        lifted = float(value) if type(value) in (int, float) else None
    elif issubclass(kind, Enum):
        lifted = next((member for member in kind if member.value == value), None)
    elif type(value) is kind:
        lifted = value
    if lifted is None:
        raise FrameError(f"{str(value)[:80]!r} is no {getattr(kind, '__name__', kind)}.")
    return lifted
