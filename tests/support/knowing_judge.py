"""A judge for a loopback server that knows which objects are in the demo's scenes."""

import base64
import json
from hashlib import sha256

from werkzeug import Request, Response

from tests.support.api_server import completion
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.scoring.judge_prompt import STRIPES, picture_part
from vlmscope.core.scoring.judge_samples import detection_samples
from vlmscope.core.scoring.simulators.oracle import read_scenes
from vlmscope.core.store.reader import ScanStore


class Knows:
    """A judge that looks a picture's objects up; ``blind``: it sees no pictures and guesses."""

    def __init__(self, store: ScanStore, blind: bool = False) -> None:
        self.store, self.blind, scenes = store, blind, read_scenes()
        self.objects = {index: {name for name, _ in scenes[store.sample(index).picture.name]} for index in range(1500)}
        self.known: dict[str, int] = {}

    def learn(self, *neurons: Neuron, label: Label) -> None:
        for neuron in neurons:
            for one in detection_samples(self.store, neuron, label, ()):
                self.known[picture_part(self.store, one.sample).sha256] = one.sample

    def __call__(self, request: Request) -> Response:
        parts = json.loads(request.get_data())["messages"][1]["content"]
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        if not texts:
            colours = ["red", "green", "blue"] if self.blind else [name for name, _ in STRIPES]
            return completion(json.dumps({"colours": colours}))(request)
        digest = sha256(base64.b64decode(urls[0].partition(",")[2])).hexdigest()
        there = any(name in texts[0] for name in self.objects[self.known[digest]])
        return completion(json.dumps({"rating": 9 if there else 1}))(request)
