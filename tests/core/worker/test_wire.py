"""Frames survive the way, and what is not a frame is refused before anything is allocated for it."""

import asyncio
import io
import json
import os
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.worker import wire
from vlmscope.core.worker.messages import (
    DescribeAnswer,
    Failed,
    Loading,
    MapAnswer,
    MapRequest,
    Message,
    ModelSpec,
)
from vlmscope.core.worker.wire import LENGTHS, Frame, FrameError

few = settings(max_examples=30)
shapes = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
floats = hnp.arrays(np.float32, shapes)
# File names may hold bytes that are not UTF-8.
names = st.one_of(st.text(), st.binary(max_size=8).map(os.fsdecode))


class Both(Message, frozen=True):
    """Arrays of both types, one after the other."""

    bits: NDArray[np.uint8]
    edges: NDArray[np.uint16]
    values: NDArray[np.float32]
    more: tuple[NDArray[np.uint8], ...]


BOXES = VisualLayout.plain(1, 1).edges, VisualLayout.plain(1, 1).cover


messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(ModelSpec, name=names, revision=st.none() | st.text(), hook=st.sampled_from(HookPoint)),
    st.builds(
        MapRequest,
        neuron=st.builds(Neuron, st.integers(0, 99), st.integers(0, 99999)),
        image=names,
        prompt=st.text(),
        description=st.text(),
        sample=st.none() | st.integers(0, 1 << 40),
    ),
    st.builds(
        DescribeAnswer,
        image=names,
        question=st.text(),
        prompt=st.text(),
        description=st.text(),
        tokens=st.lists(st.text()).map(tuple),
        crop=st.binary(),
    ),
    st.builds(Loading, st.text(), st.none() | st.floats(0, 1)),
    st.builds(Failed, names, st.text(), st.text(), st.booleans()),
    st.builds(
        Both,
        hnp.arrays(np.uint8, shapes),
        hnp.arrays(np.uint16, shapes),
        floats,
        st.lists(hnp.arrays(np.uint8, shapes), max_size=2).map(tuple),
    ),
)


def stream(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


def read_all(data: bytes) -> list[Frame | None]:
    """All frames, by both readers, which agree; the end is a None."""
    blocking, frames = io.BytesIO(data), list[Frame | None]()
    while not frames or frames[-1] is not None:
        frames.append(wire.read(blocking))

    async def read() -> list[Frame | None]:
        reader = stream(data)
        return [await wire.read_async(reader) for _ in frames]

    assert asyncio.run(read()) == frames
    return frames


def refuse(data: bytes) -> None:
    with pytest.raises(FrameError):
        wire.read(io.BytesIO(data))

    async def read() -> None:
        await wire.read_async(stream(data))

    with pytest.raises(FrameError):
        asyncio.run(read())


def bits(message: Message) -> list[object]:
    """Fields to compare: NaN equals itself, arrays by dtype, shape and bytes."""

    def comparable(value: Any) -> object:
        if isinstance(value, tuple):
            return [comparable(item) for item in value]
        return (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value

    return [type(message), *(comparable(getattr(message, name)) for name in message.__struct_fields__)]


@few
@given(st.lists(st.tuples(messages, st.integers(0, 1 << 40)), max_size=3))
def test_messages_survive_both_readers(sent: list[tuple[Message, int]]) -> None:
    *frames, end = read_all(b"".join(wire.pack(message, number) for message, number in sent))
    assert end is None
    for frame, (message, number) in zip(frames, sent, strict=True):
        assert frame is not None
        assert frame.number == number
        assert bits(wire.unpack(frame, Loading, type(message))) == bits(message)


@few
@given(floats, floats)
def test_arrays_cannot_be_written_to(visual: NDArray[np.float32], text: NDArray[np.float32]) -> None:
    frame = read_all(wire.pack(MapAnswer(Neuron(3, 217), "cat.png", 312, visual, text, *BOXES)))[0]
    assert frame is not None
    got = wire.unpack(frame, MapAnswer)
    assert isinstance(got.neuron, Neuron)
    for array, sent in ((got.visual, visual), (got.text, text), (got.edges, BOXES[0]), (got.cover, BOXES[1])):
        assert array.dtype == sent.dtype and array.shape == sent.shape
        assert not array.flags.writeable


@few
@given(messages, st.data())
def test_a_frame_cut_anywhere_is_refused(message: Message, data: st.DataObject) -> None:
    whole = wire.pack(message, 1)
    refuse(whole[: data.draw(st.integers(1, len(whole) - 1))])


@few
@given(st.binary(min_size=1, max_size=40))
def test_random_bytes_are_refused(data: bytes) -> None:
    refuse(data)  # no frame is that short: the lengths, and at least '["x",0,{}]'


@few
@given(messages, st.data())
def test_a_damaged_frame_is_refused_or_is_another_value(message: Message, data: st.DataObject) -> None:
    whole = bytearray(wire.pack(message, 1))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        frame = wire.read(io.BytesIO(bytes(whole)))
        assert frame is not None
        assert type(wire.unpack(frame, type(message))) is type(message)
    except FrameError:
        return


def framed(head: object, payload: bytes = b"") -> bytes:
    data = head if isinstance(head, bytes) else json.dumps(head).encode()
    return LENGTHS.pack(len(data), len(payload)) + data + payload


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"Traceback (most recent call last):\n",
        b"\xff\xfe\n",
        LENGTHS.pack(wire.MAX_HEAD + 1, 0),
        LENGTHS.pack(2, wire.MAX_PAYLOAD + 1),
        LENGTHS.pack((1 << 32) - 1, (1 << 32) - 1),
        LENGTHS.pack(0, 0),
        LENGTHS.pack(8, 0),
        framed(b"\xff\xfe"),
        framed(b"[" * 100_000),
        framed(b"1" * 5000),
        framed({}),
        framed(3),
        framed("xyz"),
        framed(["x", "1", {}]),
        framed(["x", True, {}]),
        framed(["x", 1.5, {}]),
        framed(["x", -1, {}]),
        framed(["x", 1, []]),
        framed([None, 1, {}]),
        framed(["x", 1]),
        framed(["x", 1, {}, 2]),
    ],
)
def test_what_is_not_a_frame_is_refused(data: bytes) -> None:
    refuse(data)


def test_a_length_beyond_the_bound_is_refused_before_reading() -> None:
    class Prefix(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size == LENGTHS.size, "more was read than the lengths"
            return super().read(size)

    for lengths in ((wire.MAX_HEAD + 1, 0), (0, wire.MAX_PAYLOAD + 1)):
        with pytest.raises(FrameError):
            wire.read(Prefix(LENGTHS.pack(*lengths) + b"x" * 100))


def test_what_is_too_large_or_of_another_dtype_is_not_sent() -> None:
    nothing = np.zeros(0, np.float32)
    for name, array, reason in (
        ("a" * wire.MAX_HEAD, nothing, "too large"),
        ("a", np.zeros(wire.MAX_PAYLOAD // 4 + 1, np.float32), "too large"),
        ("a", np.zeros(2, np.int64), "int64"),
        ("a", np.zeros(2, object), "object"),
        ("a", object(), "object"),
    ):
        with pytest.raises(FrameError, match=reason):
            wire.pack(MapAnswer(Neuron(0, 0), name, None, array, nothing, *BOXES))  # type: ignore[arg-type]  # the point


class Other(Message, frozen=True):
    detail: str


def frame_of(message: Message) -> Frame:
    frame = wire.read(io.BytesIO(wire.pack(message)))
    assert frame is not None
    return frame


LOADING = Frame("Loading", 0, {"detail": "x", "progress": 0.5}, b"")
REQUEST = frame_of(MapRequest(Neuron(0, 0), "a", "b", "c", None))
ANSWER = frame_of(MapAnswer(Neuron(0, 0), "a", None, np.zeros((1, 1), np.float32), np.zeros(1, np.float32), *BOXES))
SPEC = frame_of(ModelSpec("demo"))


def changed(frame: Frame, **fields: object) -> Frame:
    return msgspec.structs.replace(frame, body={**frame.body, **fields})


@pytest.mark.parametrize(
    ("kind", "frame"),
    [
        (Loading, Frame("Loading", 0, {"detail": "x"}, b"")),
        (Loading, changed(LOADING, more=1)),
        (Loading, changed(LOADING, progress="0.5")),
        (Loading, changed(LOADING, progress=True)),
        (Loading, changed(LOADING, detail=None)),
        (Loading, frame_of(Other("x"))),
        (MapRequest, changed(REQUEST, neuron={"layer": 0})),
        (MapRequest, changed(REQUEST, neuron=3)),
        (MapRequest, changed(REQUEST, sample=True)),
        (MapRequest, changed(REQUEST, sample="1")),
        (ModelSpec, changed(SPEC, hook="down")),
        (MapAnswer, changed(ANSWER, crop="no base64")),
        (MapAnswer, changed(ANSWER, visual=7)),
        (MapAnswer, changed(ANSWER, visual=None)),
        (MapAnswer, changed(ANSWER, visual=["float32", [1, 1]])),
        (MapAnswer, changed(ANSWER, visual=["uint8", [1, 1], 0])),
        (MapAnswer, changed(ANSWER, visual=["object", [1], 0])),
        (MapAnswer, changed(ANSWER, visual=[["float32"], [1], 0])),
        (MapAnswer, changed(ANSWER, visual=["float32", [-1], 0])),
        (MapAnswer, changed(ANSWER, visual=["float32", [1.5], 0])),
        (MapAnswer, changed(ANSWER, visual=["float32", "1", 0])),
        (MapAnswer, changed(ANSWER, visual=["float32", [5], 0])),
        (MapAnswer, changed(ANSWER, visual=["float32", [1], 14])),
        (MapAnswer, changed(ANSWER, edges=["float32", [1, 1], 0])),
        (MapAnswer, changed(ANSWER, edges=["uint16", [5, 4], 0])),
        (MapAnswer, changed(ANSWER, cover=["uint16", [1], 0])),
        (MapAnswer, changed(ANSWER, visual=["float32", [1], -4])),
        (MapAnswer, changed(ANSWER, visual=["float32", [1], None])),
        (MapAnswer, changed(ANSWER, visual=["float32", [1], 1 << 70])),
        (MapAnswer, changed(ANSWER, visual=["float32", [1 << 40, 1 << 40], 0])),
        (MapAnswer, changed(ANSWER, visual=["float32", [0, 1 << 62, 1 << 62], 0])),
        (MapAnswer, changed(ANSWER, visual=["float32", [1] * 100, 0])),
    ],
)
def test_fields_of_another_type_are_refused(kind: type[Message], frame: Frame) -> None:
    with pytest.raises(FrameError):
        wire.unpack(frame, kind)
