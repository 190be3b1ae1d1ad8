"""Neurons as a folder that Neuronpedia's importer reads.

    OUT/<model>/<layer>-<set>/
      release.jsonl model.jsonl sourceset.jsonl source.jsonl     a line each
      features/batch-0.jsonl.gz                                  a line for each neuron
      activations/batch-0.jsonl.gz                               a line for each sample of which the scan keeps a map
      explanations/batch-0.jsonl.gz                              a line for each explanation

Source of the fields: ``apps/webapp/prisma/schema.prisma``, ``apps/webapp/lib/db/import.ts`` and
``utils/neuronpedia-utils`` of github.com/hijohnnylin/neuronpedia, as of August 2026. What its importer demands:

- It takes the columns of a file from the first line, so every line has the same keys.
- It cannot read an empty file, so none is written.
- It replaces a NUL by a blank in the JSON text itself, which can break a string that spells one out.
- Names of explanation types and models must be in its tables. Ours are not, so both are null, and ``notes`` has them.
- Its pages hide a sample whose tokens are those of another one of the same neuron.

Ids are made of the scan and the neuron: an export that is imported twice adds nothing.
"""

import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

import numpy as np

from vlmscope.core.base.callbacks import OnCount
from vlmscope.core.base.config import APP
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.distribution import BINS, EDGES
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Entry
from vlmscope.core.report.collect import collect
from vlmscope.core.report.folder import export_folder
from vlmscope.core.report.schema import ExplanationPart, NeuronPart
from vlmscope.core.report.scores import leading_figures
from vlmscope.core.report.site_tokens import site_text, site_tokens
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.store.reader import ScanStore

Line = dict[str, object]

#: The account that a Neuronpedia database has from its beginning (its ``DEFAULT_CREATOR_USER_ID``).
CREATOR = "clkht01d40000jv08hvalcvly"
BATCH = 256  #: neurons of a file
DESCRIPTION = 512  #: characters of an explanation, at most
ID = 25  #: characters of an id
TOP_GROUP = -1  #: ``binMin`` and ``binContains`` of the top samples
_EMPTY = (
    *("topkCosSimIndices", "topkCosSimValues"),
    *(f"neuron_alignment_{what}" for what in ("indices", "values", "l1")),
    *(f"correlated_neurons_{what}" for what in ("indices", "pearson", "l1")),
    *(f"correlated_features_{what}" for what in ("indices", "pearson", "l1")),
    *("logits_hist_data_bar_heights", "logits_hist_data_bar_values", "decoder_weights_dist"),
)  #: lists of a feature that a scan has no numbers for


class Export:
    """The lines of one scan's export."""

    def __init__(self, store: ScanStore, when: datetime, vectors: Mapping[Neuron, Sequence[float]]) -> None:
        manifest = store.manifest
        self.vectors = vectors
        self.store = store
        self.created = when.astimezone(UTC).isoformat(timespec="seconds")
        self.model = model_id(manifest)
        self.set_name = f"{APP}-{_slug(manifest.hook.value)}-{_slug(manifest.scan_id)[:8]}"
        self.release = f"{APP}-{self.model}-{_slug(manifest.scan_id)[:8]}"[:128]

    def source(self, layer: int) -> str:
        """The id of a layer's source."""
        return f"{layer}-{self.set_name}"

    def metadata(self, layer: int) -> Mapping[str, Line]:
        """The four files of one line each, by name."""
        manifest, about = self.store.manifest, site_text(self.about)
        owner: Line = {"creatorId": CREATOR, "createdAt": self.created, "visibility": "PUBLIC"}
        named: Line = {"creatorName": APP, "creatorEmail": None, "urls": []}
        name = site_text(manifest.model.name)
        return {
            "release": {"name": self.release, "description": about, "descriptionShort": f"FFN neurons of {name}"}
            | {"creatorNameShort": APP, "isNewUi": False, "featured": False, "defaultSourceSetName": None}
            | {"defaultSourceId": None, "defaultUmapSourceIds": [], **named, **owner},
            "model": {"id": self.model, "instruct": True, "displayNameShort": name, "displayName": name}
            | {
                "tlensId": None,
                "dimension": next(map(len, self.vectors.values()), None),
                "layers": self.store.layers,
                "neuronsPerLayer": self.store.neurons,
            }
            | {"inferenceEnabled": False, "defaultSourceSetName": None, "defaultSourceId": None, "owner": APP}
            | {"updatedAt": self.created, "website": None, **owner},
            "sourceset": {"modelId": self.model, "name": self.set_name, "hasDashboards": True, "description": about}
            | {"type": "neurons", "releaseName": self.release, "defaultOfModelId": None, "defaultRange": 1}
            | {"defaultShowBreaks": True, "showDfa": False, "showCorrelated": False, "showHeadAttribution": False}
            | {"showUmap": False, **named, **owner},
            "source": {"id": self.source(layer), "modelId": self.model, "setName": self.set_name}
            | {"hasDashboards": True, "inferenceEnabled": False, "saelensConfig": None, "hfRepoId": None}
            | {"hfFolderId": None, "num_prompts": manifest.scanned, "num_tokens_in_prompt": None}
            | {"dataset": site_text(manifest.data), "notes": about, **owner},
        }

    @property
    def about(self) -> str:
        """What the numbers are, in a sentence or two."""
        manifest = self.store.manifest
        return (
            f"FFN neurons of {manifest.model.name} by vlmscope {version(APP)}: activations at the hook point"
            f" {manifest.read_at}, {manifest.scanned:,} samples of {manifest.data}, scan {manifest.scan_id}. A token"
            " <image row,column> is a patch of the picture; dataIndex names the picture. Activations are read off maps"
            " of 8 bits; negative ones are 0."
            f"{' Index 2i is the positive pole of unit i, 2i + 1 its negative one.' * self.store.numbering.poled}"
        )

    def feature(self, neuron: Neuron, part: NeuronPart) -> Line:
        """A neuron."""
        kinds = [self.store.distribution(neuron, kind) for kind in (Label.VISUAL, Label.TEXT)]
        tokens = sum(kind.count for kind in kinds)
        active = sum(kind.share_active * kind.count for kind in kinds if kind.count)
        visual, text = (kind.histogram.astype(np.int64) for kind in kinds)
        heights = (visual + text)[1:]  # of activations above 0
        bars = np.flatnonzero(heights)
        shown = slice(bars[0], bars[-1] + 1) if len(bars) else slice(0, 0)
        middles = np.append((EDGES[:-1] + EDGES[1:]) / 2, EDGES[-1])
        assert len(middles) == BINS - 1
        promoted = part.promoted
        sides = {"pos": promoted.top, "neg": promoted.bottom} if promoted is not None else {"pos": (), "neg": ()}
        logits: Line = {}
        for side, found in sides.items():
            logits[f"{side}_str"] = [site_text(one.token) for one in found]
            logits[f"{side}_values"] = [one.logit or 0.0 for one in found]
        return {
            **self._where(neuron),
            "creatorId": CREATOR,
            "createdAt": self.created,
            "maxActApprox": max(part.maximum or 0.0, 0.0),
            "hasVector": neuron in self.vectors,
            "vector": list(self.vectors.get(neuron, ())),
            "vectorLabel": None,
            "vectorDefaultSteerStrength": None,
            "hookName": None,
            **{name: [] for name in _EMPTY},
            **logits,
            "frac_nonzero": active / tokens if tokens else 0.0,
            "freq_hist_data_bar_heights": heights[shown].tolist(),
            "freq_hist_data_bar_values": middles[shown].tolist(),
            "sourceSetName": self.set_name,
        }

    def activations(self, neuron: Neuron, samples: int | None) -> Iterator[Line]:
        """The top samples of which the scan keeps maps, best first; ``samples`` at most."""
        manifest = self.store.manifest
        largest: float | None = None
        for rank in range(min(manifest.maps, manifest.valid if samples is None else min(samples, manifest.valid))):
            example = self.store.example(neuron, rank)
            found = site_tokens(example)
            if found is None:
                continue
            values = [round(value, 6) for value in found.values.tolist()]
            at = int(found.values.argmax())
            largest = values[at] if largest is None else largest
            yield {
                "id": self._id("activation", neuron, example.sample.index),
                "tokens": list(found.tokens),
                **self._where(neuron),
                "maxValue": values[at],
                "maxValueTokenIndex": at,
                "minValue": min(values),
                "values": values,
                "creatorId": CREATOR,
                "dataSource": site_text(manifest.data),
                "dataIndex": site_text(example.sample.image),
                "dfaValues": [],
                "dfaTargetIndex": None,
                "dfaMaxValue": None,
                "createdAt": self.created,
                "lossValues": [],
                "logitContributions": None,
                "binMin": TOP_GROUP,
                "binMax": largest,
                "binContains": TOP_GROUP,
                "qualifyingTokenIndex": at,
                "zIndices": None,
                "zValues": [],
            }

    def explanations(self, neuron: Neuron, part: NeuronPart) -> Iterator[Line]:
        """What explains the neuron itself, the leading one first: not words that are there to be scored alone."""
        for said in part.explanations:
            text = site_text(said.text if said.pattern_found else f"no pattern found: {said.text}").strip()
            if not text or not said.source.of_the_neuron:
                continue
            yield {
                "id": self._id("explanation", neuron, said.id, text),
                **self._where(neuron),
                "description": text if len(text) <= DESCRIPTION else f"{text[: DESCRIPTION - 1]}…",
                "authorId": CREATOR,
                "embedding": None,
                "triggeredById": None,
                "typeName": None,
                "explanationModelName": None,
                "notes": site_text(_explained_by(said, part)),
                "createdAt": site_text(said.created),
            }

    def _where(self, neuron: Neuron) -> Line:
        return {"modelId": self.model, "layer": self.source(neuron.layer), "index": str(neuron.index)}

    def _id(self, kind: str, neuron: Neuron, *more: object) -> str:
        """An id in the form of a cuid, always the same for the same thing."""
        identity = json.dumps([kind, self.store.manifest.scan_id, str(neuron), *map(str, more)])
        number = int(hashlib.sha256(identity.encode()).hexdigest(), 16)
        digits = ""
        for _ in range(ID - 1):
            number, digit = divmod(number, 36)
            digits += "0123456789abcdefghijklmnopqrstuvwxyz"[digit]
        return f"c{digits}"


def write_neuronpedia(
    out: Path,
    store: ScanStore,
    notebook: Notebook | None,
    neurons: Sequence[Neuron],
    thresholds: Thresholds,
    *,
    when: datetime,
    samples: int | None = None,
    vectors: Mapping[Neuron, Sequence[float]] = MappingProxyType({}),
    progress: OnCount = lambda _done, _total: None,
) -> dict[str, int]:
    """Write ``neurons`` for Neuronpedia's importer; or nothing at all.

    Args:
        out: a folder that does not exist, or is empty.
        notebook: None where there is none yet.
        thresholds: of the labels, which the notes of explanations name.
        when: with a time zone; the only thing that differs between two exports of the same.
        samples: of each neuron at most; None for all of which the scan keeps maps.
        vectors: what each neuron adds to the residual stream, of those that have one.

    Returns:
        how many lines of ``features``, ``activations`` and ``explanations``, and how many ``sources``.

    Raises:
        ReportError: if ``out`` is taken or cannot be written.
        UsageError: if a neuron is none of this scan.
        StoreError, NotebookError: if the scan or the notebook cannot be read.
    """
    wanted = sorted(set(neurons))
    export = Export(store, when, vectors)
    counts = {"sources": 0, "features": 0, "activations": 0, "explanations": 0}
    done = 0
    with export_folder(out) as folder:
        for layer, group in groupby(wanted, key=lambda neuron: neuron.layer):
            source = folder / export.model / export.source(layer)
            source.mkdir(parents=True)
            counts["sources"] += 1
            for name, line in export.metadata(layer).items():
                (source / f"{name}.jsonl").write_bytes(_jsonl([line]))
            of_layer = list(group)
            for number, start in enumerate(range(0, len(of_layer), BATCH)):
                lines: dict[str, list[Line]] = {"features": [], "activations": [], "explanations": []}
                for neuron in of_layer[start : start + BATCH]:
                    progress(done, len(wanted))
                    entry = Entry(neuron) if notebook is None else notebook.entry(neuron)
                    part = collect(store, entry, thresholds, 0)
                    lines["features"].append(export.feature(neuron, part))
                    lines["activations"] += export.activations(neuron, samples)
                    lines["explanations"] += export.explanations(neuron, part)
                    done += 1
                for name, found in lines.items():
                    counts[name] += len(found)
                    if found:  # an empty file ends the import
                        _write_batch(source / name / f"batch-{number}.jsonl.gz", found)
    progress(len(wanted), len(wanted))
    return counts


def model_id(manifest: Manifest) -> str:
    """The model's id: letters, digits and dashes of its name's last part; ``vlmscope-demo`` for the demo."""
    last = _slug(manifest.model.name.rstrip("/").rsplit("/", 1)[-1])
    return f"{APP}-{last}" if last in ("", "demo") else last[:128]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _write_batch(path: Path, lines: Iterable[Line]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(_jsonl(lines), compresslevel=6, mtime=0))


def _jsonl(lines: Iterable[Line]) -> bytes:
    """ASCII, a line each."""
    return b"".join(json.dumps(line, allow_nan=False).encode("ascii") + b"\n" for line in lines)


def _explained_by(said: ExplanationPart, part: NeuronPart) -> str:
    """Where an explanation is from, the neuron's label, and the scores that are shown first."""
    parts = [f"by {said.model}" if said.model else f"source: {said.source}"]
    parts += [f"prompt {said.prompt_version}"] if said.prompt_version else []
    parts.append(f"label {part.label}{' (high-confidence)' if part.high_confidence else ''}")
    for score, figure in leading_figures(said.scores):
        value = "n/a" if figure.pooled is None else f"{figure.pooled:.2f}"
        parts.append(f"score {figure.name or 'of all'} {value} by {score.backend}")
    return "; ".join(parts)
