"""Explanations and scores in the layout of EleutherAI's delphi, as its ``results/<name>``.

    OUT/
      run_config.json                                  the fields of its RunConfig that a scan has, and ``vlmscope``
      explanations/layers.3.mlp_latent17.txt           a JSON string: the explanation that leads
      scores/simulation/layers.3.mlp_latent17.txt      a JSON list of its ScoredSimulation
      scores/detection/layers.3.mlp_latent17.txt       a JSON list of its ClassifierOutput, an entry for each sample
      scores/fuzz/layers.3.mlp_latent17.txt            the same of fuzzing, an entry for each picture that was marked

Source: ``delphi/__main__.py``, ``delphi/scorers/simulator/simulation/types.py`` and
``delphi/scorers/classifier/sample.py`` of github.com/EleutherAI/delphi, as of November 2025. A tenth of a judge's
rating of 0 to 10 is the probability, above 5 it is a yes. Three things differ. ``kind`` beside ``distance`` names the
tokens, ``visual`` or ``text``, which delphi does not have. A notebook keeps correlations and no predictions, so
``expected_activations`` is empty. True activations are norms, 0 to 10, of the samples of which the scan keeps maps;
elsewhere the list is empty. There is no cache of activations: delphi's holds no pictures.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np

from vlmscope.core.base.callbacks import OnCount
from vlmscope.core.base.config import APP
from vlmscope.core.base.errors import ReportError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.method.norm import norm
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Entry
from vlmscope.core.report.collect import collect
from vlmscope.core.report.folder import export_folder
from vlmscope.core.report.schema import ExplanationPart, ScorePart
from vlmscope.core.report.scores import leading_figures
from vlmscope.core.report.site_tokens import site_tokens
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.store.reader import ScanStore

Json = Mapping[str, object]

JUDGED = {"detection": "detection", "fuzzing": "fuzz"}  #: its folder by a judge's method
YES = 5  #: a judge's rating above it is a yes
DISTANCES = {"top+random": 0, "top": 1}  #: by group: delphi has 0 for activating and other samples together
MODULE = "layers.{layer}.mlp"


def write_delphi(
    out: Path,
    store: ScanStore,
    notebook: Notebook | None,
    neurons: Sequence[Neuron],
    thresholds: Thresholds,
    *,
    progress: OnCount = lambda _done, _total: None,
) -> dict[str, int]:
    """Write the explanations of ``neurons`` and their scores; or nothing at all.

    Args:
        out: a folder that does not exist, or is empty.
        notebook: None where there is none yet.

    Returns:
        how many ``explanations`` and ``scores``: neurons without an explanation have no file.

    Raises:
        ReportError: if ``out`` is taken or cannot be written, or no neuron has an explanation.
        UsageError: if a neuron is none of this scan.
        StoreError, NotebookError: if the scan or the notebook cannot be read.
    """
    wanted = sorted(set(neurons))
    counts = {"explanations": 0, "scores": 0}
    models: dict[str, None] = {}
    with export_folder(out) as folder:
        explanations, simulation = folder / "explanations", folder / "scores" / "simulation"
        explanations.mkdir()
        simulation.mkdir(parents=True)
        scorers = {"simulation": None}
        for done, neuron in enumerate(wanted):
            progress(done, len(wanted))
            entry = Entry(neuron) if notebook is None else notebook.entry(neuron)
            said = collect(store, entry, thresholds, 0).explanations
            lead = next((one for one in said if one.source.of_the_neuron), None)
            if lead is None:
                continue
            name = f"{MODULE.format(layer=neuron.layer)}_latent{neuron.index}.txt"
            _write(explanations / name, lead.text if lead.pattern_found else f"no pattern found: {lead.text}")
            counts["explanations"] += 1
            models[lead.model or lead.source.value] = None
            if found := list(_simulations(store, neuron, lead)):
                _write(simulation / name, found)
                counts["scores"] += 1
            for scorer, judged in _judged(store, neuron, lead).items():
                (folder / "scores" / scorer).mkdir(exist_ok=True)
                _write(folder / "scores" / scorer / name, judged)
                scorers[scorer] = None
                counts["scores"] += 1
        if not counts["explanations"]:
            raise ReportError(
                f"None of these {len(wanted):,} neurons has an explanation: there is nothing to export for delphi.",
                "vlmscope explain asks for one; concept words and borrowed words count as none.",
            )
        layers = sorted({neuron.layer for neuron in wanted})
        config = {**_config(store.manifest, layers, list(models), out.name), "scorers": list(scorers)}
        (folder / "run_config.json").write_text(json.dumps(config, indent=4, allow_nan=False), encoding="ascii")
    progress(len(wanted), len(wanted))
    return counts


def _config(manifest: Manifest, layers: list[int], explainers: list[str], name: str) -> Json:
    return {
        "model": manifest.model.name,
        "sparse_model": "",  # FFN neurons as they are
        "hookpoints": [MODULE.format(layer=layer) for layer in layers],
        "explainer_model": ", ".join(explainers),
        "name": name,
        "constructor_cfg": {"min_examples": manifest.valid},
        "cache_cfg": {"dataset_repo": manifest.data},
        "vlmscope": {"version": version(APP), "scan": manifest.scan_id, "hook": manifest.read_at}
        | {"samples": manifest.scanned},
    }


def _simulations(store: ScanStore, neuron: Neuron, said: ExplanationPart) -> Iterator[Json]:
    """The score that is shown first for each kind of tokens: of top samples alone, and with random ones."""
    for score, leading in leading_figures(said.scores):
        kind = leading.name.split(", ")[0]
        for figure in score.figures:
            its_kind, _, group = figure.name.partition(", ")
            if its_kind != kind or group not in DISTANCES:
                continue
            yield {
                "distance": DISTANCES[group],
                "kind": kind,
                "backend": score.backend,
                "scored_sequence_simulations": list(_sequences(store, neuron, score, kind, group)),
                "ev_correlation_score": "nan" if figure.pooled is None else figure.pooled,
                "rsquared_score": 0,
                "absolute_dev_explained_score": 0,
            }


def _judged(store: ScanStore, neuron: Neuron, said: ExplanationPart) -> dict[str, list[Json]]:
    """By scorer, the answers of the newest judge of each method."""
    ranks = {sample: rank for rank, sample in enumerate(store.top_samples(neuron)[: store.manifest.maps])}
    found: dict[str, list[Json]] = {}
    for score in said.scores:
        scorer, samples = JUDGED.get(str(score.body.get("method"))), score.body.get("samples")
        if scorer is None or scorer in found or not isinstance(samples, list):
            continue
        found[scorer] = [
            _answer(store, neuron, sample, ranks)
            for sample in samples
            if isinstance(sample, dict) and _is_judged(sample)
        ]
    return found


def _is_judged(sample: Json) -> bool:
    return all(
        isinstance(sample.get(name), kind) for name, kind in (("sample", int), ("rating", int), ("activates", bool))
    )


def _answer(store: ScanStore, neuron: Neuron, sample: Json, ranks: Mapping[int, int]) -> Json:
    index, rating, activating = (cast(int, sample[name]) for name in ("sample", "rating", "activates"))
    tokens, activations = _tokens(store, neuron, ranks.get(index), None)
    yes = rating > YES
    return {
        "str_tokens": tokens,
        "activations": activations,
        "distance": 1 if activating else -1,
        "activating": bool(activating),
        "prediction": yes,
        "probability": rating / 10,
        "correct": yes == bool(activating),
        "sample": index,
    }


def _sequences(store: ScanStore, neuron: Neuron, score: ScorePart, kind: str, group: str) -> Iterator[Json]:
    """Each scored sample; one that the notebook describes in another way than today's is left out."""
    ranks = {sample: rank for rank, sample in enumerate(store.top_samples(neuron)[: store.manifest.maps])}
    samples = score.body.get("samples")
    for sample in samples if isinstance(samples, list) else []:
        own = sample.get(kind) if isinstance(sample, dict) else None
        index = sample.get("sample") if isinstance(sample, dict) else None
        if not isinstance(own, dict) or not isinstance(index, int):
            continue
        is_top = cast(dict[str, object], sample).get("rank") is not None
        if group == "top" and not is_top:
            continue
        tokens, truth = _tokens(store, neuron, ranks.get(index), kind)
        value = own.get("score")
        yield {
            "distance": 1 if is_top else -1,
            "simulation": {"tokens": tokens, "expected_activations": [], "activation_scale": None}
            | {"distribution_values": [], "distribution_probabilities": [], "uncalibrated_simulation": None},
            "true_activations": truth,
            "ev_correlation_score": value if isinstance(value, int | float) else "nan",
            "rsquared_score": 0,
            "absolute_dev_explained_score": 0,
        }


def _tokens(store: ScanStore, neuron: Neuron, rank: int | None, kind: str | None) -> tuple[list[str], list[int]]:
    """Tokens of a kind, None: of both, and their norms in whole numbers; both empty where the scan keeps no map."""
    found = None if rank is None else site_tokens(store.example(neuron, rank))
    if found is None:
        return [], []
    part = {"visual": slice(0, found.patches), None: slice(None)}.get(kind, slice(found.patches, None))
    norms = norm(found.values[part], float(store.maximum[neuron.layer, neuron.index]))
    return list(found.tokens[part]), np.rint(norms).astype(int).tolist()


def _write(path: Path, value: object) -> None:
    path.write_bytes(json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8"))
