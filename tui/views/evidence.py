"""What one neuron does on one picture, gathered for the page: from the scan, from the model, or from both.

Numbers of a stored sample's vote are exact (order statistics); norms of its stored maps are read from 8 bits and count
as approximate; the model's answers are exact.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmscope.core.analysis.panel import RangeSample, across_range
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import RGB, open_crop
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT, Label, Thresholds, sample_votes
from vlmscope.core.method.layout import Box, VisualLayout
from vlmscope.core.method.norm import norm
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import MapAnswer
from vlmscope.tui.views.facts import Facts
from vlmscope.tui.views.state import OwnPicture, State

FRAME: RGB = (255, 0, 170)  #: around the crop in the user's own picture: no colour map has it


@dataclass(frozen=True, eq=False)
class PictureView:
    """One neuron on one picture.

    Attributes:
        rank: among the neuron's top samples, from 0; None for a panel sample and the user's own picture.
        sample: index in the data; None for the user's own picture.
        image: the picture's file, as the scan or the user names it.
        activation: the largest over visual and text tokens, or None while not known.
        crop: what the model saw, or None if it cannot be decoded or is not there yet; ``crop_problem`` is the reason.
        visual: norms, float32 (V,), or None while there is no map; ``map_problem`` is the reason.
        layout: where these look in the crop; None where there is no map.
        own_layout: where the sample's visual tokens look, also those of a map that is pooled; None while not known.
        words: norms of the tokens, float32 (tokens,), or None as well.
        small: whether they are read from a small map: on few cells, in 16 levels.
        exact: whether ``visual`` and ``words`` are exact, not read from 8 bits.
        answer: the activations behind them where they are exact: negative ones have the norm 0.
        vote: its own vote, or None while not known.
        visual_norm, text_norm: norm of the n_v-th patch and the n_t-th word; None where there are fewer.
        visual_tokens: how many the sample has, or None while not known. V is another number where maps are pooled.
        peak_patch, peak_token: where the largest activations are.
        whole: the user's own picture, with a frame around the crop; None for all others. question: asked about it.
        across: the panel sample across the neuron's range that it is; None for all others.
        below: the activation of the neuron's last top sample, on a sample that is none of them; None for all others.
    """

    neuron: Neuron
    thresholds: Thresholds
    rank: int | None
    sample: int | None
    image: str
    tokens: tuple[str, ...] = ()
    activation: float | None = None
    crop: Image.Image | None = None
    crop_problem: str = ""
    visual: NDArray[np.float32] | None = None
    layout: VisualLayout | None = None
    own_layout: VisualLayout | None = None
    words: NDArray[np.float32] | None = None
    map_problem: str = ""
    small: bool = False
    exact: bool = False
    answer: MapAnswer | None = None
    vote: Label | None = None
    visual_norm: float | None = None
    text_norm: float | None = None
    visual_tokens: int | None = None
    peak_patch: int | None = None
    peak_token: int | None = None
    whole: Image.Image | None = None
    question: str = ""
    across: RangeSample | None = None
    below: float | None = None

    @property
    def key(self) -> tuple[Neuron, int | None, str]:
        """Which neuron on which picture: an answer with another key is not for this."""
        return self.neuron, self.sample, self.image

    @property
    def name(self) -> str:
        """The picture's file name."""
        return PurePath(self.image).name

    @property
    def covers(self) -> int:
        """How many times the visual tokens cover the crop; 1 while there is no map."""
        return 1 if self.layout is None else self.layout.covers

    def cover(self, chosen: int | None) -> int | None:
        """The cover to show: the chosen one, or None for all where this picture lacks it or has one alone."""
        return chosen if chosen is not None and self.covers > 1 and chosen < self.covers else None

    def cells(self, chosen: int | None = None) -> NDArray[np.float32] | None:
        """The map of one cover or of all, on its own grid: float32 (rows, columns), or None while there is no map."""
        if self.visual is None or self.layout is None:
            return None
        cover = self.cover(chosen)
        grid = self.layout.grid if cover is None else self.layout.grid_of(cover)
        return self.layout.cells(self.visual, *grid, cover)


@lru_cache(maxsize=64)
def _decode(data: bytes) -> Image.Image:
    return open_crop(data)


def _crop(read: Callable[[], bytes]) -> tuple[Image.Image | None, str]:
    try:
        return _decode(read()), ""
    except StoreError as error:
        return None, error.message


def _norm(activation: float, maximum: float) -> float | None:
    """The norm of one activation; None for -inf, which stands for a missing token."""
    if activation == -np.inf:
        return None
    return float(norm(np.array([activation], dtype=np.float32), maximum)[0])


def gather(
    store: ScanStore,
    state: State,
    answers: Mapping[tuple[Neuron, int | None, str], MapAnswer],
    problems: Mapping[tuple[Neuron, int | None, str], str],
) -> tuple[PictureView | None, str]:
    """The state's picture, or why there is none.

    Args:
        answers: the model's, by ``PictureView.key``. problems: why the model has no answer, by the same.
    """
    if state.own is None and not store.valid:
        return None, ""
    try:
        if state.own is not None:
            picture = own_evidence(state.neuron, state.own, state.thresholds)
        elif state.pinned is not None:
            picture = sample_evidence(store, state.neuron, state.pinned.sample, state.thresholds)
        elif state.rank >= store.valid:
            picture = range_evidence(store, state.neuron, state.rank - store.valid, state.thresholds)
        else:
            picture = stored_evidence(store, state.neuron, state.rank, state.thresholds)
    except StoreError as error:
        return None, str(error)
    return _answered(store, picture, answers, problems), ""


def gather_pinned(
    store: ScanStore,
    state: State,
    answers: Mapping[tuple[Neuron, int | None, str], MapAnswer],
    problems: Mapping[tuple[Neuron, int | None, str], str],
) -> PictureView | None:
    """The pinned neuron on its sample, as ``gather``; None where none is pinned, or the sample is damaged."""
    pinned = state.pinned
    if pinned is None or state.own is not None:
        return None
    try:
        picture = sample_evidence(store, pinned.neuron, pinned.sample, state.thresholds)
    except StoreError:  # the page's own picture is of the same sample, and names what is wrong
        return None
    return _answered(store, picture, answers, problems)


def _answered(
    store: ScanStore,
    picture: PictureView,
    answers: Mapping[tuple[Neuron, int | None, str], MapAnswer],
    problems: Mapping[tuple[Neuron, int | None, str], str],
) -> PictureView:
    """The picture with the model's answer, or why it has none."""
    answer, problem = answers.get(picture.key), problems.get(picture.key, "")
    if answer is not None:
        return with_map(picture, answer, float(store.maximum[picture.neuron.layer, picture.neuron.index]))
    return replace(picture, map_problem=problem) if problem and picture.visual is None else picture


def gather_facts(store: ScanStore, neuron: Neuron) -> Facts:
    """The facts of a neuron; no peaks if a sample's line is damaged, which its picture reports."""
    try:
        peaks = tuple(store.peak_tokens(neuron))
    except StoreError:  # a damaged line, or a peak outside its description
        peaks = ()
    return Facts(
        neuron=neuron,
        peaks=peaks,
        distributions=tuple(
            (name, store.distribution(neuron, kind), kind)
            for name, kind in (("patches", Label.VISUAL), ("words", Label.TEXT))
        ),
        content_maximum=float(store.arrays["content_maximum"][neuron.layer, neuron.index]),
    )


def stored_evidence(store: ScanStore, neuron: Neuron, rank: int, thresholds: Thresholds) -> PictureView:
    """The neuron on its ``rank``-th top sample, from the scan alone.

    Raises:
        StoreError: if the sample's line is damaged.
    """
    example = store.example(neuron, rank, thresholds)
    crop, problem = _crop(example.read_crop)
    own_layout = store.layout(example.sample.index)
    return PictureView(
        neuron=neuron,
        thresholds=thresholds,
        rank=rank,
        sample=example.sample.index,
        image=example.sample.image,
        tokens=example.sample.tokens,
        activation=example.activation,
        crop=crop,
        crop_problem=problem,
        visual=None if example.visual_values is None else norm(example.visual_values, example.maximum),
        layout=None if example.visual_values is None else example.map_layout,
        own_layout=own_layout,
        words=None if example.text_map is None else norm(example.text_map, example.maximum),
        small=example.small,
        vote=example.vote,
        visual_norm=_norm(float(example.visual[thresholds.n_v - 1]), example.maximum),
        text_norm=_norm(float(example.text[thresholds.n_t - 1]), example.maximum),
        visual_tokens=len(own_layout),
        peak_patch=example.peak_patch,
        peak_token=example.peak_token,
    )


def range_samples(store: ScanStore, neuron: Neuron) -> tuple[RangeSample, ...]:
    """The panel samples that the page shows after the top samples; none without a panel. Raises StoreError."""
    return () if store.panel is None else across_range(store, store.panel, neuron)


def range_evidence(store: ScanStore, neuron: Neuron, place: int, thresholds: Thresholds) -> PictureView:
    """The neuron on one of ``range_samples``, from the scan alone: its map and its vote need the model.

    Raises:
        StoreError: if the sample's line, or the panel, is damaged.
    """
    return panel_evidence(store, neuron, range_samples(store, neuron)[place], thresholds)


def panel_evidence(store: ScanStore, neuron: Neuron, one: RangeSample, thresholds: Thresholds) -> PictureView:
    """The same of one of them that is there already. Raises StoreError if the sample's line is damaged."""
    sample, own_layout = store.sample(one.sample), store.layout(one.sample)
    crop, problem = _crop(partial(store.crop, one.sample))
    return PictureView(
        neuron=neuron,
        thresholds=thresholds,
        rank=None,
        sample=one.sample,
        image=sample.image,
        tokens=sample.tokens,
        activation=one.activation,
        crop=crop,
        crop_problem=problem,
        own_layout=own_layout,
        visual_tokens=len(own_layout),
        across=one,
    )


def sample_evidence(store: ScanStore, neuron: Neuron, index: int, thresholds: Thresholds) -> PictureView:
    """The neuron on any sample, from the scan alone: one of its top samples, of the panel, or another.

    Of a sample that is not a top sample its map and its vote need the model, and its activation a panel that has it.

    Raises:
        StoreError: if the sample's line, or the panel, is damaged.
    """
    top = store.top_samples(neuron)
    if index in top:
        return stored_evidence(store, neuron, top.index(index), thresholds)
    sample, own_layout = store.sample(index), store.layout(index)
    crop, problem = _crop(partial(store.crop, index))
    activation = None
    if store.panel is not None and index in store.panel.samples:
        column = int(np.searchsorted(store.panel.samples, index))
        activation = float(store.panel.largest((neuron.layer, neuron.index))[column])
    return PictureView(
        neuron=neuron,
        thresholds=thresholds,
        rank=None,
        sample=index,
        image=sample.image,
        tokens=sample.tokens,
        activation=activation,
        crop=crop,
        crop_problem=problem,
        own_layout=own_layout,
        visual_tokens=len(own_layout),
        below=float(store.scores(neuron)[-1]) if top else None,
    )


def own_evidence(neuron: Neuron, own: OwnPicture, thresholds: Thresholds) -> PictureView:
    """The neuron on the user's own picture, before its map is there."""
    crop, problem, whole = None, "the model has not seen it yet" if own.whole else "it is being read", None
    if own.whole:
        with contextlib.suppress(StoreError):  # then the crop alone is shown
            whole = _framed(own.whole, own.seen)
    if own.crop:
        try:
            crop, problem = _decode(own.crop), ""
        except StoreError as error:
            problem = error.message
    return PictureView(
        neuron=neuron,
        thresholds=thresholds,
        rank=None,
        sample=None,
        image=own.image,
        tokens=own.tokens,
        crop=crop,
        crop_problem=problem,
        whole=whole,
        question=own.question,
    )


@lru_cache(maxsize=4)
def _framed(data: bytes, seen: Box) -> Image.Image:
    from vlmscope.core.data.images import outlined

    return outlined(_decode(data), seen, FRAME)


def with_map(evidence: PictureView, answer: MapAnswer, maximum: float) -> PictureView:
    """``evidence`` with the model's own numbers; for the user's picture they give activation and vote as well."""
    words = answer.text[: len(evidence.tokens)]
    shown = replace(
        evidence,
        visual=norm(answer.visual, maximum),
        layout=answer.layout,
        own_layout=answer.layout,
        visual_tokens=answer.visual.size,
        words=norm(words, maximum),
        small=False,
        exact=True,
        answer=answer,
        map_problem="",
    )
    if evidence.rank is not None:
        return shown
    thresholds = evidence.thresholds
    visual = _largest(answer.visual, VISUAL_KEPT)
    text = _largest(words, TEXT_KEPT)
    nth_v, nth_t = visual[thresholds.n_v - 1], text[thresholds.n_t - 1]
    vote = sample_votes(nth_v[None], nth_t[None], np.asarray(maximum, dtype=np.float32), thresholds)[0]
    return replace(
        shown,
        activation=float(max(visual[0], text[0])),
        vote=Label(int(vote)),
        visual_norm=_norm(float(nth_v), maximum),
        text_norm=_norm(float(nth_t), maximum),
        peak_patch=int(np.argmax(answer.visual)) if answer.visual.size else None,
        peak_token=int(np.argmax(words)) if words.size else None,
    )


def _largest(activations: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The ``count`` largest, in order; -inf where there are fewer."""
    filled = np.full(count, -np.inf, dtype=np.float32)
    flat = np.sort(activations.ravel())[::-1][:count]
    filled[: len(flat)] = flat
    return filled
