"""Frames survive the way, and what is no frame is refused before anything is allocated for it."""

import asyncio
import io
import json
import os
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.worker import wire
from vlmscope.core.worker.messages import DescribeAnswer, MapAnswer, MapRequest, ModelSpec
from vlmscope.core.worker.wire import Frame, FrameError
from vlmscope.core.worker.worker_messages import Failed, Loading

shapes = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
arrays = st.one_of(hnp.arrays(np.float32, shapes), hnp.arrays(np.uint8, shapes))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
frames = st.builds(
    Frame,
    kind=st.text(min_size=1),
    number=st.integers(0, 1 << 40),
    body=st.dictionaries(st.text(), json_values, max_size=3),
    arrays=st.lists(arrays, max_size=3).map(tuple),
)
# File names may hold bytes that are no UTF-8.
names = st.one_of(st.text(), st.binary(max_size=8).map(os.fsdecode))


def same(one: Frame | None, other: Frame) -> bool:
    assert one is not None
    return (one.kind, one.number, one.body) == (other.kind, other.number, other.body) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(one.arrays, other.arrays, strict=True)
    )


def stream(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=wire.MAX_LINE)
    reader.feed_data(data)
    reader.feed_eof()
    return reader


@given(st.lists(frames, max_size=3))
def test_frames_survive_both_readers(sent: list[Frame]) -> None:
    data = b"".join(wire.write(frame) for frame in sent)
    blocking = io.BytesIO(data)

    async def read_all() -> list[Frame | None]:
        reader = stream(data)
        return [await wire.read_async(reader) for _ in range(len(sent) + 1)]

    for got in ([wire.read(blocking) for _ in range(len(sent) + 1)], asyncio.run(read_all())):
        assert got[-1] is None
        assert all(same(one, other) for one, other in zip(got[:-1], sent, strict=True))


@given(frames, st.data())
def test_a_frame_cut_anywhere_is_refused(frame: Frame, data: st.DataObject) -> None:
    whole = wire.write(frame)
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    with pytest.raises(FrameError):
        wire.read(io.BytesIO(cut))
    with pytest.raises(FrameError):
        asyncio.run(_read_once(cut))


async def _read_once(data: bytes) -> Frame | None:
    return await wire.read_async(stream(data))


def line(**changes: object) -> bytes:
    head = {"kind": "x", "number": 1, "body": {}, "arrays": []}
    return json.dumps(head | changes).encode() + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"Traceback (most recent call last):\n",
        b"\xff\xfe\n",
        b"[]\n",
        b"[" * 100_000 + b"\n",
        b"x" * (wire.MAX_LINE + 2) + b"\n",
        line(number="1"),
        line(number=True),
        line(body=[]),
        line(kind=None),
        line(arrays=3),
        line(arrays=[{"dtype": "object", "shape": [1]}]),
        line(arrays=[{"dtype": ["float32"], "shape": [1]}]),
        line(arrays=[{"dtype": "float32", "shape": [-1]}]),
        line(arrays=[{"dtype": "float32", "shape": [1.5]}]),
        line(arrays=[{"dtype": "float32", "shape": [1 << 40, 1 << 40]}]),
        line(arrays=[{"dtype": "uint8", "shape": [wire.MAX_PAYLOAD, 2]}]),
        line(arrays=[{"dtype": "uint8", "shape": [0, 1 << 62, 1 << 62]}]),
        line(arrays=[{"dtype": "uint8", "shape": [1] * 100}]) + b"x",
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        wire.read(io.BytesIO(data))
    with pytest.raises(FrameError):
        asyncio.run(_read_once(data))


def test_what_is_too_large_or_of_another_dtype_is_not_sent() -> None:
    with pytest.raises(FrameError, match="too large"):
        wire.write(Frame("x", 1, {"text": "a" * wire.MAX_LINE}))
    with pytest.raises(FrameError, match="too large"):
        wire.write(Frame("x", 1, {}, (np.zeros(wire.MAX_PAYLOAD + 1, np.uint8),)))
    with pytest.raises(FrameError, match="int64"):
        wire.write(Frame("x", 1, {}, (np.zeros(2, np.int64),)))  # type: ignore[arg-type]  # the point


messages = st.one_of(
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
    st.builds(Failed, st.text(), st.text(), st.text(), st.booleans()),
)


@given(messages, st.integers(0, 1 << 40))
def test_messages_survive(message: object, number: int) -> None:
    frame = wire.read(io.BytesIO(wire.write(wire.pack(message, number))))
    assert frame is not None
    assert frame.number == number
    assert wire.unpack(frame, type(message)) == message


@given(hnp.arrays(np.float32, shapes), hnp.arrays(np.float32, shapes))
def test_arrays_of_messages_survive(visual: np.ndarray, text: np.ndarray) -> None:
    sent = MapAnswer(Neuron(3, 217), "cat.png", 312, visual, text)
    frame = wire.read(io.BytesIO(wire.write(wire.pack(sent))))
    assert frame is not None
    got = wire.unpack(frame, MapAnswer)
    assert (got.neuron, got.image, got.sample) == (sent.neuron, sent.image, sent.sample)
    np.testing.assert_array_equal(got.visual, visual)
    np.testing.assert_array_equal(got.text, text)
    assert isinstance(got.neuron, Neuron)


@dataclass(frozen=True)
class Other:
    detail: str


LOADING = {"detail": "x", "progress": 0.5}
REQUEST = wire.pack(MapRequest(Neuron(0, 0), "a", "b", "c", None)).body
ANSWER = wire.pack(MapAnswer(Neuron(0, 0), "a", None, np.zeros((1, 1), np.float32), np.zeros(1, np.float32)))


@pytest.mark.parametrize(
    ("kind", "frame"),
    [
        (Loading, Frame("Loading", 0, {"detail": "x"})),
        (Loading, Frame("Loading", 0, LOADING | {"more": 1})),
        (Loading, Frame("Loading", 0, LOADING | {"progress": "0.5"})),
        (Loading, Frame("Loading", 0, LOADING | {"detail": None})),
        (Loading, wire.pack(Other("x"))),
        (MapRequest, Frame("MapRequest", 0, {**REQUEST, "neuron": {"layer": 0}})),
        (MapRequest, Frame("MapRequest", 0, {**REQUEST, "neuron": 3})),
        (MapRequest, Frame("MapRequest", 0, {**REQUEST, "sample": True})),
        (MapAnswer, Frame("MapAnswer", 0, {**ANSWER.body, "visual": 7}, ANSWER.arrays)),
        (MapAnswer, Frame("MapAnswer", 0, {**ANSWER.body, "visual": -1}, ANSWER.arrays)),
        (MapAnswer, Frame("MapAnswer", 0, ANSWER.body, (np.zeros(1, np.uint8),) * 2)),
        (ModelSpec, Frame("ModelSpec", 0, {**wire.pack(ModelSpec("demo")).body, "hook": "down"})),
    ],
)
def test_fields_of_another_type_are_refused(kind: type[object], frame: Frame) -> None:
    with pytest.raises(FrameError):
        wire.unpack(frame, kind)
