"""A neuron's part of a report, gathered from the scan, the notebook and the cache of promoted tokens."""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.firmness import neuron_firmness
from vlmscope.core.analysis.published import Published, published
from vlmscope.core.base.config import APP
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.notebook.values import Entry, SavedCheck, SavedExplanation, SavedScore
from vlmscope.core.report.checks import check_part
from vlmscope.core.report.schema import (
    ConceptsPart,
    ExplanationPart,
    FailurePart,
    FirmnessPart,
    NeuronPart,
    NotedPart,
    PromotedPart,
    PublishedPart,
    Report,
    ReviewPart,
    SamplePart,
    ScanPart,
    Shares,
    TokenPart,
    Votes,
    WordPart,
)
from vlmscope.core.report.scores import score_part
from vlmscope.core.store.example import Example, Sample
from vlmscope.core.store.manifest import Manifest, ThresholdsInfo
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import PromotedAnswer
from vlmscope.core.worker.promoted_cache import load_promoted

PROMOTED = 24  #: tokens of either side; with this count the screen asks for them and keeps the answer
WORDS = 8  #: of a description, that are named
IMAGES = "images"  #: the folder of a report's pictures


def report_of(
    manifest: Manifest,
    thresholds: Thresholds,
    neurons: tuple[NeuronPart, ...],
    created: str,
    sets: Sequence[SavedCheck] = (),
) -> Report:
    """The whole document.

    Args:
        sets: checks of sets, of which those that share a neuron with ``neurons`` are reported.
    """
    reported = {Neuron.parse(one.neuron) for one in neurons}
    return Report(
        created=created,
        vlmscope=version(APP),
        scan=ScanPart.model_validate(manifest),
        thresholds=ThresholdsInfo.of(thresholds),
        neurons=neurons,
        sets=tuple(check_part(saved) for saved in sets if not reported.isdisjoint(saved.check.neurons)),
    )


def noted(entry: Entry) -> NotedPart:
    """What the notebook holds on a neuron."""
    neuron = entry.neuron
    return NotedPart(
        neuron=str(neuron),
        layer=neuron.layer,
        index=neuron.unit,
        verdict=entry.verdict,
        bookmark=entry.bookmark,
        tags=entry.tags,
        note=entry.note,
        explanations=tuple(_explanation(saved, entry.scores) for saved in entry.explanations),
        failure=None if entry.failure is None else FailurePart.model_validate(entry.failure),
        reviews=tuple(map(ReviewPart.model_validate, entry.reviews)),
        checks=tuple(check_part(saved) for saved in entry.checks),
        own_scores=tuple(map(score_part, entry.own_scores)),
    )


def collect(store: ScanStore, entry: Entry, thresholds: Thresholds, samples: int) -> NeuronPart:
    """All that is reported of ``entry``'s neuron, with its best ``samples`` samples.

    Raises:
        UsageError: if the neuron is none of this scan.
        StoreError: if the scan is damaged.
    """
    neuron = store.numbering.checked(entry.neuron)
    labels = store.labels_of(neuron, thresholds)
    valid = store.manifest.valid
    votes = {which.word: int(labels.votes[0, which]) for which in Label}
    concepts = store.concepts
    promoted = load_promoted(store.manifest.model, neuron, PROMOTED)
    said = published(store.manifest).get(neuron)
    return NeuronPart(
        **dict(noted(entry)),
        label=Label(int(labels.label[0])).word,
        high_confidence=bool(labels.high_confidence[0]),
        fractions=Shares(**{word: count / valid if valid else None for word, count in votes.items()}),
        votes=Votes(**votes),
        firmness=FirmnessPart.model_validate(neuron_firmness(store, neuron, thresholds)),
        top_samples=valid,
        maximum=float(store.maximum[neuron.layer, neuron.index]),
        concepts=None if concepts is None else ConceptsPart.model_validate(concepts.of(neuron)),
        promoted=None if promoted is None else _promoted(promoted),
        published=None if said is None else published_part(said),
        samples=tuple(
            _sample(neuron, store.example(neuron, rank, thresholds), thresholds) for rank in range(min(samples, valid))
        ),
    )


def _explanation(saved: SavedExplanation, scores: tuple[SavedScore, ...]) -> ExplanationPart:
    own = tuple(score_part(score) for score in scores if score.explanation_id == saved.id)
    return ExplanationPart(**vars(saved.explanation), id=saved.id, leads=saved.leads, scores=own)


def _promoted(answer: PromotedAnswer) -> PromotedPart:
    return PromotedPart(top=_tokens(answer.top, answer.top_logits), bottom=_tokens(answer.bottom, answer.bottom_logits))


def _tokens(words: tuple[str, ...], logits: NDArray[np.float32]) -> tuple[TokenPart, ...]:
    return tuple(TokenPart(token=word, logit=logit) for word, logit in zip(words, logits.tolist(), strict=True))


def published_part(said: Published) -> PublishedPart:
    """What the paper says of a neuron."""
    return PublishedPart(label=said.label.word, text=said.text, figure=said.figure, images=said.images)


def _sample(neuron: Neuron, example: Example, thresholds: Thresholds) -> SamplePart:
    sample, norms = example.sample, example.text_norms
    picture = f"{IMAGES}/L{neuron.layer}-N{neuron.name}-{example.rank + 1}.png"
    return SamplePart(
        rank=example.rank + 1,
        sample=sample.index,
        image=sample.image,
        description=sample.description,
        score=example.activation,
        vote=example.vote.word,
        words=() if norms is None else _words(sample.tokens, norms, thresholds),
        above=() if norms is None else _above(sample, norms, thresholds),
        picture=None if example.visual_map is None else picture,
    )


def _words(tokens: tuple[str, ...], norms: NDArray[np.float32], thresholds: Thresholds) -> tuple[WordPart, ...]:
    order = np.argsort(-norms, kind="stable")[:WORDS].tolist()
    return tuple(
        WordPart(token=tokens[at], norm=round(float(norms[at]), 2)) for at in order if norms[at] > thresholds.T_t
    )


def _above(sample: Sample, norms: NDArray[np.float32], thresholds: Thresholds) -> tuple[tuple[int, int], ...]:
    """Where in the description the tokens above Tt are, without blanks around them; none where tokens spell another."""
    joined, description = "".join(sample.tokens), sample.description
    if joined.strip() != description.strip():
        return ()
    found = []
    at = len(description.rstrip()) - len(joined.rstrip())  # tokens may have a blank before the first word
    for token, norm in zip(sample.tokens, norms.tolist(), strict=True):
        begin = at + len(token) - len(token.lstrip())
        if norm > thresholds.T_t and token.strip():
            found.append((begin, begin + len(token.strip())))
        at += len(token)
    return tuple(found)
