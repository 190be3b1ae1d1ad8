"""A worker as ``vlmscope.core.model.server`` with an engine that does as it is told: run as a script by the tests.

It is told by the ``prompt`` of a map, intervention or caption request, a describe request's ``question`` or a segment
request's first phrase:
``soft`` (waits until stopped), ``late`` (as soft, but answers then), ``hang`` (holds the interpreter's lock), ``deaf``
(waits and never asks whether it is stopped), ``abort``, ``noise``, ``error``, ``refuse``, ``memory``, ``nonsense``
(sends no frame), ``wrong`` (sends another's answer); at anything else it answers. ``spec.name`` may be ``slow`` (never
loads), ``broken`` or ``crash`` (do not load).
"""

import ctypes
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from vlmscope.core.base.callbacks import OnLoading, Stopped
from vlmscope.core.base.errors import Cancelled, ModelError, SamplesError
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.model.engine import Handler
from vlmscope.core.model.server import main
from vlmscope.core.worker import wire
from vlmscope.core.worker.interventions import (
    AttributionAnswer,
    AttributionRequest,
    CaptionAnswer,
    CaptionRequest,
    FiringAnswer,
    FiringRequest,
    InterventionAnswer,
    InterventionRequest,
    PeakAnswer,
    PeakRequest,
    WrittenAnswer,
    WrittenRequest,
)
from vlmscope.core.worker.messages import (
    DescribeAnswer,
    DescribeRequest,
    Failed,
    LensAnswer,
    LensRequest,
    MapAnswer,
    MapRequest,
    ModelSpec,
    PromotedAnswer,
    PromotedRequest,
    Request,
    SegmentAnswer,
    SegmentRequest,
)

FOREVER = threading.Event()
STRAY = 100  # a copy of the protocol's descriptor, for nonsense


class FakeEngine:
    """Sleeps, crashes, prints."""

    def __init__(self) -> None:
        sys.path.append(str(Path(__file__).parents[2]))  # late: as a script it knows only what is installed
        from tests.support import interventions

        self.answers = interventions
        self.handlers: dict[type[Request[Any]], Handler] = {
            MapRequest: self.map,
            DescribeRequest: self.describe,
            PromotedRequest: self.promoted,
            LensRequest: self.lens,
            SegmentRequest: self.segment,
            InterventionRequest: self.intervene,
            CaptionRequest: self.caption,
            WrittenRequest: self.written,
            PeakRequest: self.peak,
            AttributionRequest: self.attribute,
            FiringRequest: self.firing,
        }

    def map(self, request: MapRequest, stopped: Stopped) -> MapAnswer:
        self._obey(request.prompt, stopped)
        visual = np.full(6, request.neuron.layer, np.float32)
        text = np.arange(len(request.description.split()), dtype=np.float32)
        return MapAnswer.of(request, visual, VisualLayout.plain(2, 3), text)

    def describe(self, request: DescribeRequest, stopped: Stopped) -> DescribeAnswer:
        self._obey(request.question, stopped)
        prompt = f"<image> {request.question}"
        return DescribeAnswer(request.image, request.question, prompt, "A cat.", ("A ", "cat."), b"\xff\0")

    def promoted(self, request: PromotedRequest, stopped: Stopped) -> PromotedAnswer:
        up = np.arange(request.count, 0, -1, dtype=np.float32)
        words = tuple(f"word{at}" for at in range(request.count))
        return PromotedAnswer(request.neuron, words, up, words[::-1], -up)

    def lens(self, request: LensRequest, stopped: Stopped) -> LensAnswer:
        self._obey(request.prompt, stopped)
        words, tokens = len(request.words), len(request.description.split())
        visual = np.full((words, 2, 3), 1 / words, np.float32)
        text = np.full((words, tokens), 1 / words, np.float32)
        return LensAnswer(request.image, request.sample, tuple(range(words)), visual, text)

    def segment(self, request: SegmentRequest, stopped: Stopped) -> SegmentAnswer:
        self._obey(request.phrases[0], stopped)
        boxes, scores = np.array([[0, 0, 8, 16]], np.float32), np.array([0.5], np.float32)
        weights = np.array([[0.5, 0, 0], [0, 0, 0]], np.float32)
        return SegmentAnswer(request.image, request.sample, weights, boxes, scores, request.phrases[:1])

    def intervene(self, request: InterventionRequest, stopped: Stopped) -> InterventionAnswer:
        self._obey(request.sample.prompt, stopped)
        return self.answers.intervened(request)

    def caption(self, request: CaptionRequest, stopped: Stopped) -> CaptionAnswer:
        self._obey(request.prompt, stopped)
        return self.answers.captioned(request)

    def written(self, request: WrittenRequest, stopped: Stopped) -> WrittenAnswer:
        self._obey(request.sample.prompt, stopped)
        return self.answers.written()

    def peak(self, request: PeakRequest, stopped: Stopped) -> PeakAnswer:
        self._obey(request.sample.prompt, stopped)
        return self.answers.peak(request)

    def attribute(self, request: AttributionRequest, stopped: Stopped) -> AttributionAnswer:
        self._obey(request.sample.prompt, stopped)
        return self.answers.attributed()

    def firing(self, request: FiringRequest, stopped: Stopped) -> FiringAnswer:
        self._obey(request.sample.prompt, stopped)
        return self.answers.firing()

    def free(self) -> None:
        print("freed")

    def _obey(self, order: str, stopped: Stopped) -> None:
        print("obeys", order)  # busy means asked; this means begun
        match order:
            case "soft":
                while not stopped():
                    FOREVER.wait(0.005)
                raise Cancelled("stopped as asked")
            case "late":
                while not stopped():
                    FOREVER.wait(0.005)
            case "hang":
                ctypes.PyDLL(None).sleep(600)  # PyDLL keeps the lock: no other thread runs
            case "deaf":
                FOREVER.wait(600)
            case "abort":
                os.abort()
            case "noise":
                print("noise from Python")
                os.write(1, b"noise on 1\n")
                os.write(2, b"noise on 2\n")
                ctypes.CDLL(None).puts(b"noise from C")
                ctypes.CDLL(None).fflush(None)
            case "error":
                raise RuntimeError("a tensor is on the wrong device")
            case "refuse":
                raise SamplesError("cat.png is no picture", "Use another.")
            case "memory":
                raise MemoryError
            case "nonsense":
                os.write(STRAY, b"Traceback (most recent call last):\n")
            case "wrong":
                os.write(STRAY, wire.pack(Failed("Wrong", "another's answer", ""), 99))


def load(spec: ModelSpec, report: OnLoading) -> FakeEngine:
    """``spec.name`` decides."""
    report("reading weights", 0.5)
    match spec.name:
        case "slow":
            print("loading for ever")
            FOREVER.wait(600)
        case "broken":
            raise ModelError("broken has no weights.", "Name another.")
        case "crash":
            os._exit(7)
    return FakeEngine()


if __name__ == "__main__":
    os.dup2(1, STRAY, inheritable=False)
    sys.exit(main(load))
