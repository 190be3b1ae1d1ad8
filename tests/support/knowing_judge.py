"""A judge for a loopback server that knows which objects are in the demo's scenes."""

import base64
import json
from collections.abc import Sequence
from hashlib import sha256

from werkzeug import Request, Response

from tests.support.api_server import completion
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.scoring.fuzzing import fuzzing_samples
from vlmscope.core.scoring.intruder import intruder_rounds
from vlmscope.core.scoring.judge_prompt import STRIPES, picture_part
from vlmscope.core.scoring.judge_samples import Question, detection_samples
from vlmscope.core.scoring.simulators.oracle import Oracle, read_scenes
from vlmscope.core.store.reader import ScanStore


class Knows:
    """A judge that looks a picture's objects up; ``blind``: it sees no pictures and guesses."""

    def __init__(self, store: ScanStore, blind: bool = False) -> None:
        self.store, self.blind, scenes = store, blind, read_scenes()
        self.objects = {index: {name for name, _ in scenes[store.sample(index).picture.name]} for index in range(1500)}
        self.known: dict[str, int] = {}
        self.marked: dict[str, set[str]] = {}

    def learn(self, *neurons: Neuron, label: Label) -> None:
        for neuron in neurons:
            for one in detection_samples(self.store, neuron, label, ()):
                self.known[picture_part(self.store, one.sample).sha256] = one.sample

    def learn_rounds(self, neuron: Neuron, label: Label) -> None:
        for one in intruder_rounds(self.store, neuron, label):
            self.known |= {picture_part(self.store, at).sha256: at for at in one.samples}

    def learn_marks(self, neuron: Neuron, questions: Sequence[Question]) -> None:
        """Where the objects are of which marked patches show at least a third."""
        for question in questions:
            sample, mask = question.shown.sample, question.mask
            assert mask is not None
            digest = picture_part(self.store, sample, mask).sha256
            held = next(one for one in fuzzing_samples(self.store, neuron, ()) if one.sample == sample)
            maps = Oracle(read_scenes()).maps_of_all(held)
            assert maps is not None
            names = sorted(Oracle(read_scenes()).names)
            self.marked[digest] = {name for name, one in zip(names, maps, strict=True) if one[mask].mean() >= 10 / 3}

    def __call__(self, request: Request) -> Response:
        parts = json.loads(request.get_data())["messages"][1]["content"]
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        if not texts:
            colours = ["red", "green", "blue"] if self.blind else [name for name, _ in STRIPES]
            return completion(json.dumps({"colours": colours}))(request)
        if len(urls) > 1:
            return completion(json.dumps({"intruder": self._intruder(urls)}))(request)
        digest = sha256(base64.b64decode(urls[0].partition(",")[2])).hexdigest()
        seen = self.marked[digest] if digest in self.marked else self.objects[self.known[digest]]
        there = any(name in texts[0] for name in seen)
        return completion(json.dumps({"rating": 9 if there else 1}))(request)

    def _intruder(self, urls: Sequence[str]) -> int:
        """The picture without an object that all others share; the first one if there is none."""
        digests = [sha256(base64.b64decode(url.partition(",")[2])).hexdigest() for url in urls]
        seen = [self.objects[self.known[digest]] for digest in digests]
        others = [set.intersection(*seen[:at], *seen[at + 1 :]) - seen[at] for at in range(len(seen))]
        return next((at for at, shared in enumerate(others, start=1) if shared), 1)
