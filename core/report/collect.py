"""What a report says of a neuron, gathered from the scan, the notebook and the cache of promoted tokens."""

from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.published import Published, published
from vlmscope.core.base.config import APP
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.concepts import ConceptList
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.notebook.values import Entry, SavedExplanation, SavedScore
from vlmscope.core.report.schema import (
    ConceptPart,
    ConceptsPart,
    ExplanationPart,
    FailurePart,
    LabelWord,
    ModelPart,
    NeuronPart,
    NotedPart,
    PromotedPart,
    PublishedPart,
    Report,
    SamplePart,
    ScanPart,
    Shares,
    SkippedPart,
    TokenPart,
    Votes,
    WordPart,
    known,
)
from vlmscope.core.report.scores import score_part
from vlmscope.core.store.example import Example
from vlmscope.core.store.manifest import Manifest, ThresholdsInfo
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import PromotedAnswer
from vlmscope.core.worker.promoted_cache import load_promoted

PROMOTED = 24  #: tokens of either side; with this count the screen asks for them and keeps the answer
WORDS = 8  #: of a description, that are named
IMAGES = "images"  #: the folder of a report's pictures

_WORD: Mapping[Label, LabelWord] = {
    Label.VISUAL: "visual",
    Label.TEXT: "text",
    Label.MULTIMODAL: "multimodal",
    Label.UNKNOWN: "unknown",
}


def report_of(manifest: Manifest, thresholds: Thresholds, neurons: tuple[NeuronPart, ...], created: str) -> Report:
    """The whole document."""
    return Report(
        created=created,
        vlmscope=version(APP),
        scan=_scan(manifest),
        thresholds=ThresholdsInfo.of(thresholds),
        neurons=neurons,
    )


def _scan(manifest: Manifest) -> ScanPart:
    model = manifest.model
    return ScanPart(
        scan_id=manifest.scan_id,
        created=manifest.created,
        model=ModelPart(
            name=model.name,
            revision=model.revision,
            architecture=model.architecture,
            dtype=model.dtype,
            layers=model.layers,
            neurons=model.neurons,
        ),
        hook=manifest.hook.value,
        question=manifest.question,
        data=manifest.data,
        data_sha256=manifest.data_sha256,
        samples=manifest.samples,
        scanned=manifest.scanned,
        skipped=tuple(SkippedPart(**skip.model_dump()) for skip in manifest.skipped),
        top_n=manifest.top_n,
        maps=manifest.maps,
        thresholds=manifest.thresholds,
        versions=manifest.versions,
    )


def noted(entry: Entry) -> NotedPart:
    """What the notebook holds on a neuron."""
    neuron, failure = entry.neuron, entry.failure
    return NotedPart(
        neuron=str(neuron),
        layer=neuron.layer,
        index=neuron.index,
        verdict=entry.verdict,
        bookmark=entry.bookmark,
        tags=entry.tags,
        note=entry.note,
        explanations=tuple(_explanation(saved, entry.scores) for saved in entry.explanations),
        failure=None
        if failure is None
        else FailurePart(
            reason=failure.reason,
            refused=failure.refused,
            model=failure.model,
            created=failure.created,
        ),
    )


def collect(store: ScanStore, entry: Entry, thresholds: Thresholds, samples: int) -> NeuronPart:
    """All that is reported of ``entry``'s neuron, with its best ``samples`` samples.

    Raises:
        UsageError: if the neuron is none of this scan.
        StoreError: if the scan is damaged.
    """
    neuron = entry.neuron.check_within(store.layers, store.neurons)
    labels = store.labels_of(neuron, thresholds)
    valid = store.manifest.valid
    votes = {_WORD[which]: int(labels.votes[0, which]) for which in Label}
    concepts = store.concepts
    promoted = load_promoted(store.manifest.model, neuron, PROMOTED)
    said = published(store.manifest).get(neuron)
    return NeuronPart(
        **dict(noted(entry)),
        label=_WORD[Label(int(labels.label[0]))],
        high_confidence=bool(labels.high_confidence[0]),
        fractions=Shares(**{word: count / valid if valid else None for word, count in votes.items()}),
        votes=Votes(**votes),
        top_samples=valid,
        maximum=known(float(store.maximum[neuron.layer, neuron.index])),
        concepts=None if concepts is None else _concepts(concepts.of(neuron)),
        promoted=None if promoted is None else _promoted(promoted),
        published=None if said is None else published_part(said),
        samples=tuple(
            _sample(neuron, store.example(neuron, rank, thresholds), thresholds) for rank in range(min(samples, valid))
        ),
    )


def _explanation(saved: SavedExplanation, scores: tuple[SavedScore, ...]) -> ExplanationPart:
    said = saved.explanation
    return ExplanationPart(
        id=saved.id,
        leads=saved.leads,
        text=said.text,
        pattern_found=said.pattern_found,
        source=said.source,
        model=said.model,
        prompt_version=said.prompt_version,
        confidence=said.confidence,
        visual_phrases=said.visual_phrases,
        text_cue=said.text_cue,
        samples=said.samples,
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
        cost_usd=said.cost_usd,
        created=said.created,
        scores=tuple(score_part(score) for score in scores if score.explanation_id == saved.id),
    )


def _concepts(found: ConceptList) -> ConceptsPart:
    return ConceptsPart(
        words=tuple(ConceptPart(word=one.word, strength=known(one.strength)) for one in found.words),
        purity=known(found.purity),
        looked_at=found.looked_at,
        base_rate=known(found.base_rate),
    )


def _promoted(answer: PromotedAnswer) -> PromotedPart:
    return PromotedPart(top=_tokens(answer.top, answer.top_logits), bottom=_tokens(answer.bottom, answer.bottom_logits))


def _tokens(words: tuple[str, ...], logits: NDArray[np.float32]) -> tuple[TokenPart, ...]:
    return tuple(TokenPart(token=word, logit=known(logit)) for word, logit in zip(words, logits.tolist(), strict=True))


def published_part(said: Published) -> PublishedPart:
    """What the paper says of a neuron."""
    return PublishedPart(label=_WORD[said.label], text=said.text, figure=said.figure, images=said.images)


def _sample(neuron: Neuron, example: Example, thresholds: Thresholds) -> SamplePart:
    sample, norms = example.sample, example.text_norms
    picture = f"{IMAGES}/L{neuron.layer}-N{neuron.index}-{example.rank + 1}.png"
    return SamplePart(
        rank=example.rank + 1,
        sample=sample.index,
        image=sample.image,
        description=sample.description,
        score=known(example.activation),
        vote=_WORD[example.vote],
        words=() if norms is None else _words(sample.tokens, norms, thresholds),
        picture=None if example.visual_map is None else picture,
    )


def _words(tokens: tuple[str, ...], norms: NDArray[np.float32], thresholds: Thresholds) -> tuple[WordPart, ...]:
    order = np.argsort(-norms, kind="stable")[:WORDS].tolist()
    return tuple(
        WordPart(token=tokens[at], norm=round(float(norms[at]), 2)) for at in order if norms[at] > thresholds.T_t
    )
