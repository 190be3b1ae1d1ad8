"""How messages travel between the screen and the model process.

A frame is two lengths (big-endian, 4 bytes each), then JSON of the first length, then raw array bytes of the second.

Notable:
- No pickle: nothing that is read can run code. Both lengths are checked before anything is read or allocated for them.
- Text that is read as a length exceeds the bound, so what a library prints by mistake is refused at once.
- The JSON is ASCII, so that a file name that is not UTF-8 (lone surrogates in Python) survives. msgpack refuses it.
"""

import json
import struct
from typing import IO, TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import WorkerError

if TYPE_CHECKING:
    from asyncio import StreamReader  # the worker has no event loop

MAX_HEAD = 16 << 20  #: bytes of a frame's JSON; a lossless crop is part of it
MAX_PAYLOAD = 64 << 20  #: bytes of all arrays of one frame
LENGTHS = struct.Struct(">II")
DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "uint16": np.dtype("<u2"), "uint8": np.dtype("u1")}

Natural = Annotated[int, msgspec.Meta(ge=0)]
Message = TypeVar("Message", bound=msgspec.Struct)


class FrameError(WorkerError):
    """The other side sent something that is not a frame, or a frame that is too large."""


class Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One message as it travels."""

    kind: str  #: the message's class
    number: Natural  #: the request that it belongs to; 0 is loading
    body: dict[str, Any]  #: its fields, as JSON; ``unpack`` checks their types
    payload: bytes  #: the bytes of its arrays


def pack(message: msgspec.Struct, number: int = 0) -> bytes:
    """The bytes of a message's frame.

    Raises:
        FrameError: if it is too large, or holds an array whose dtype cannot travel.
    """
    parts: list[bytes] = []

    def lower(value: Any) -> tuple[str, tuple[int, ...], int]:  # dtype, shape, start in the payload
        if not isinstance(value, np.ndarray) or value.dtype.name not in DTYPES:
            raise FrameError(f"{getattr(value, 'dtype', type(value))} cannot be sent.")
        start = sum(map(len, parts))
        parts.append(value.astype(DTYPES[value.dtype.name], copy=False).tobytes())
        return value.dtype.name, value.shape, start

    body = msgspec.to_builtins(message, enc_hook=lower)
    head = json.dumps([type(message).__name__, number, body], allow_nan=False).encode("ascii")
    payload = b"".join(parts)
    if len(head) > MAX_HEAD or len(payload) > MAX_PAYLOAD:
        raise FrameError("A message to or from the model process is too large.")
    return b"".join((LENGTHS.pack(len(head), len(payload)), head, payload))


def unpack(frame: Frame, *kinds: type[Message]) -> Message:
    """The message, which is of one of these kinds; its arrays are read-only.

    Raises:
        FrameError: if it is of another kind, or a field is missing, unknown or of another type.
    """
    kind = next((kind for kind in kinds if kind.__name__ == frame.kind), None)
    if kind is None:
        raise FrameError(f"{frame.kind[:80]!r} came in place of {' or '.join(kind.__name__ for kind in kinds)}.")

    def lift(kind: Any, value: Any) -> NDArray[Any]:
        name, shape, start = msgspec.convert(value, tuple[str, tuple[Natural, ...], Natural])
        if name != np.dtype(get_args(get_args(kind)[1])[0]).name:  # kind: NDArray[np.float32] or another of DTYPES
            raise ValueError(f"an array of {name!r}")
        return np.ndarray(shape, DTYPES[name], frame.payload, start)

    try:
        return msgspec.convert(frame.body, kind, dec_hook=lift)
    except (msgspec.ValidationError, OverflowError) as error:
        raise FrameError(f"Not a {frame.kind}: {str(error)[:200]}.") from error


def read(stream: IO[bytes]) -> Frame | None:
    """The next frame from a blocking stream, or None at its end.

    Raises:
        FrameError: if it is malformed, oversized, or cut short by the stream's end.
    """
    prefix = stream.read(LENGTHS.size)
    if not prefix:
        return None
    head, payload = _lengths(prefix)
    return _frame(stream.read(head + payload), head, payload)


async def read_async(reader: "StreamReader") -> Frame | None:
    """The next frame from an asyncio stream. Returns and raises as ``read``."""
    prefix = await _up_to(reader, LENGTHS.size)
    if not prefix:
        return None
    head, payload = _lengths(prefix)
    return _frame(await _up_to(reader, head + payload), head, payload)


async def _up_to(reader: "StreamReader", count: int) -> bytes:
    """``count`` bytes, or fewer where the stream ends."""
    from asyncio import IncompleteReadError

    try:
        return await reader.readexactly(count)
    except IncompleteReadError as error:
        return error.partial


def _lengths(prefix: bytes) -> tuple[int, int]:
    if len(prefix) < LENGTHS.size:
        raise FrameError("A frame is cut short.")
    head, payload = LENGTHS.unpack(prefix)
    if head > MAX_HEAD or payload > MAX_PAYLOAD:
        raise FrameError(f"Not a frame: {prefix!r}.")
    return head, payload


def _frame(data: bytes, head: int, payload: int) -> Frame:
    if len(data) < head + payload:
        raise FrameError("A frame is cut short.")
    try:
        kind, number, body = json.loads(data[:head])
        return msgspec.convert((kind, number, body, data[head:]), Frame)
    except (ValueError, TypeError, RecursionError) as error:  # ValueError: msgspec's ValidationError, too
        raise FrameError(f"Not a frame: {data[:80]!r}.") from error
