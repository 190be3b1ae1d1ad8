"""A scan in progress that a test carries on by hand: the numbers of a finished one, as of so many samples."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.clock import now
from vlmscope.core.method.concepts import find_concepts
from vlmscope.core.method.labels import label_neurons
from vlmscope.core.store.checkpoints import ScanFolder
from vlmscope.core.store.manifest import Manifest, Progress, ShardInfo
from vlmscope.core.store.reader import ScanStore


class Growing:
    """Holds the folder's lock, as a scan does, until it is closed."""

    def __init__(self, source: Path, out: Path, shard: ShardInfo | None = None) -> None:
        """Begin to write into ``out`` what the finished scan ``source`` has, which has 12 samples."""
        self.out = out
        self.source = ScanStore(source)
        self.folder = ScanFolder(out)
        samples = self.source.manifest.samples
        self.mine = [index for index in range(samples) if shard is None or shard.has(index)]
        self._shard = shard
        self._done = 0
        self.folder.begin(samples)
        self.save(0)

    def save(self, done: int, lean: float = 1.0) -> Manifest:
        """Write a checkpoint of ``done`` samples.

        Args:
            lean: what every visual activation is multiplied by: another one gives other labels.
        """
        manifest = self._manifest(done)
        return self.folder.save(manifest, self._arrays(manifest, lean))

    def finish(self, lean: float = 1.0) -> Manifest:
        """Write the whole scan."""
        manifest = self._manifest(len(self.mine)).model_copy(update={"progress": None, "data_sha256": "ab"})
        arrays = self._arrays(manifest, lean)
        words = [self.source.sample(index).description for index in self.mine]
        concepts = find_concepts(arrays["top_sample"], manifest.without_skipped(words), lambda done, of: None)
        manifest = self.folder.finish(manifest, arrays, concepts)
        self.close()
        return manifest

    def close(self) -> None:
        """Stop: nobody scans any more."""
        self.folder.close()

    def _manifest(self, done: int) -> Manifest:
        for index in self.mine[self._done : done]:
            record = self.source.record(index)
            crop = self.source.crop(index)
            self.folder.log.add(
                index, record.image, record.description, record.tokens, crop, "00", record.layout, record.seen
            )
        self._done = done
        progress = Progress(
            done=done,
            of=len(self.mine),
            batch=1,
            shard=self._shard,
            samples_bytes=0,
            crops_bytes=0,
            updated=now(),
        )
        return self.source.manifest.model_copy(update={"scanned": done, "progress": progress, "data_sha256": ""})

    def _arrays(self, manifest: Manifest, lean: float) -> dict[str, NDArray[Any]]:
        arrays = {name: np.array(array) for name, array in self.source.arrays.items()}
        layers, neurons, n = arrays["top_sample"].shape
        valid = manifest.valid
        # The samples met so far, in another order for each neuron.
        processed = np.array(self.mine[: manifest.scanned], dtype=np.int32)
        arrays["top_sample"] = np.full((layers, neurons, n), -1, dtype=np.int32)
        for at in range(layers * neurons if valid else 0):
            arrays["top_sample"][divmod(at, neurons)][:valid] = np.roll(processed, at)[:valid]
        arrays["top_visual"] *= np.float32(lean)
        thresholds = manifest.thresholds.value()
        arrays["votes"] = label_neurons(
            arrays["top_visual"][thresholds.n_v - 1],
            arrays["top_text"][thresholds.n_t - 1],
            arrays["maximum"],
            valid,
            thresholds,
        ).votes
        arrays["sums"] = np.zeros((2, 2, layers, neurons), dtype=np.float64)
        return arrays
