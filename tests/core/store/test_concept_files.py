"""Concepts of whole scans: a scan has them when it is finished, and the demo's are no chance."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.tiny import make_images, make_model
from vlmscope.core.base.demo import DEMO, samples_file, scan_folder
from vlmscope.core.data.samples import read_data
from vlmscope.core.method.concepts import Concepts, find_concepts
from vlmscope.core.model.load import load
from vlmscope.core.scan.scan import scan
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec


def of_store(store: ScanStore, descriptions: list[str]) -> Concepts:
    return find_concepts(store.arrays["top_sample"], store.manifest.without_skipped(descriptions), lambda *_: None)


def test_a_finished_scan_has_its_concepts(tmp_path: Path) -> None:
    path = make_images(tmp_path / "data", 24)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for i, line in enumerate(lines):
        line["description"] = ["a dog", "red boats", "the boat and a cat"][i % 3]
    lines[4]["image"] = "missing.png"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    told: list[tuple[str, int, int]] = []
    data = read_data(str(path))
    vlm = load(ModelSpec(str(make_model(tmp_path / "model"))))
    scan(vlm, data, tmp_path / "scan", ScanOptions(top_n=5), lambda *at: told.append(at))
    store = ScanStore(tmp_path / "scan")
    found = store.concepts
    assert found is not None
    assert found.words == ("cat", "dog", "red"), "boat is in more than half of them"
    assert (found.descriptions, found.frequency.tolist()) == (23, [8, 8, 7])
    expected = of_store(store, [source.description or "" for source in data.sources])
    assert np.array_equal(found.word, expected.word) and (found.strength > 0).any()
    assert told[-1] == ("finding concepts", 3 * 48, 3 * 48)


@pytest.fixture(scope="module")
def store() -> ScanStore:
    return ScanStore(scan_folder(DEMO))


def pure_of_objects(concepts: Concepts) -> int:
    """Neurons of purity 0.8 and more whose leading word names one of the demo's objects, not a background or size."""
    lines = samples_file().read_text(encoding="utf-8").splitlines()
    objects = {thing["name"] for line in lines for thing in json.loads(line)["objects"]}
    places = np.argwhere(concepts.purity() >= 0.8).tolist()
    return sum(concepts.leading(layer, index) in objects for layer, index in places)


def test_pure_neurons_are_no_chance(store: ScanStore) -> None:
    """The same top samples, their descriptions dealt out anew: then no word but the commonest is in most of them."""
    descriptions = [store.sample(i).description for i in range(store.manifest.samples)]
    order = np.random.default_rng(0).permutation(len(descriptions)).tolist()
    control, trained = of_store(store, [descriptions[i] for i in order]), store.concepts
    assert trained is not None
    assert pure_of_objects(trained) > 50
    assert pure_of_objects(control) == 0

    def rare_and_pure(concepts: Concepts) -> int:
        rare = concepts.frequency < 0.1 * concepts.descriptions
        leading = concepts.word[concepts.purity() >= 0.8][:, 0]
        return int(rare[leading].sum())

    assert rare_and_pure(trained) > 500
    assert rare_and_pure(control) == 0
    assert np.median(control.strength[..., 0]) * 3 < np.median(trained.strength[..., 0])
