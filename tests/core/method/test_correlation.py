"""Scores: against arithmetic with fractions, and the properties that must hold."""

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from vlmscope.core.base.errors import NotebookError
from vlmscope.core.method.correlation import (
    Correlation,
    IntervalKind,
    Pooled,
    ScoredGroup,
    ScoredSample,
    TokenKind,
    correlation,
    pool,
)
from vlmscope.core.method.t_quantile import t_quantile
from vlmscope.core.scoring.report import Failure, SampleScore, ScoreReport, score_words

norms = st.floats(0, 10, width=32, allow_subnormal=True)
PLANNED = {ScoredGroup.TOP: 4, ScoredGroup.TOP_AND_RANDOM: 8}


def slow(x: NDArray[np.float32], y: NDArray[np.float32]) -> float | None:
    """Pearson's correlation in exact fractions, but for the last square root."""
    a, b = ([Fraction(float(v)) for v in values.ravel()] for values in (x, y))
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    cross = sum((p - mean_a) * (q - mean_b) for p, q in zip(a, b, strict=True))
    squares = sum((p - mean_a) ** 2 for p in a) * sum((q - mean_b) ** 2 for q in b)
    if squares == 0:
        return None
    return math.copysign(math.sqrt(Fraction(cross * cross) / squares), cross)


def pairs(size: int = 12) -> st.SearchStrategy[NDArray[np.float32]]:
    return hnp.arrays(np.float32, st.tuples(st.just(2), st.integers(1, size)), elements=norms)


def scored(seed: int, samples: int = 8, tokens: int = 9) -> list[ScoredSample]:
    """Half of them top samples; the prediction follows the truth a little."""
    rng = np.random.default_rng(seed)
    found = []
    for at in range(samples):
        truth = rng.uniform(0, 10, tokens).astype(np.float32)
        prediction = (truth * rng.uniform(0, 1) + rng.uniform(0, 10, tokens)).astype(np.float32)
        found.append(ScoredSample(at + 100, 2 * at + 2 if at < samples // 2 else None, truth, prediction))
    return found


@given(pairs())
def test_the_correlation_is_that_of_exact_fractions(both: NDArray[np.float32]) -> None:
    expected = slow(both[0], both[1])
    found = correlation(both[0], both[1])
    if expected is None:
        assert found.value is None
        assert found.reason
    else:
        assert found.value == pytest.approx(expected, abs=1e-9)
        assert found.reason == ""


@given(pairs(), st.integers(-3, 3), st.integers(-8, 8))
def test_positive_affine_changes_of_the_prediction_leave_it(both: NDArray[np.float32], power: int, shift: int) -> None:
    changed = both[1].astype(np.float64) * 3.0**power + shift
    assume(len(np.unique(changed)) == len(np.unique(both[1])))  # the change itself must not round values together
    spread = np.ptp(both[1])
    assume(spread == 0 or spread > 1e-3)
    before, after = correlation(both[0], both[1]).value, correlation(both[0], changed).value
    assert (before is None) == (after is None)
    if before is not None and after is not None:
        assert after == pytest.approx(before, abs=1e-6)
        turned = correlation(both[0], -changed).value
        assert turned == pytest.approx(-before, abs=1e-6)


@given(st.floats(-(2.0**100), 2.0**100, width=32), pairs(200))
def test_a_constant_has_no_score_and_a_reason(value: float, both: NDArray[np.float32]) -> None:
    varied = both[0]
    assume(varied.min() != varied.max())
    # The mean of many equal values is rounded: deviations from it need not be 0.
    constant = np.full(varied.shape, value, dtype=np.float32)
    assert correlation(varied, constant).value is None
    assert "predicted activation is" in correlation(varied, constant).reason
    assert "true activation is" in correlation(constant, varied).reason


def test_a_rounded_mean_does_not_hide_a_constant() -> None:
    constant = np.full(1000, 0.1)
    assert np.ptp(constant - constant.mean()) == 0 and (constant - constant.mean())[0] != 0  # would mislead
    assert correlation(constant, np.arange(1000.0)).value is None
    least = np.full(1000, 1.0)
    least[7] = np.nextafter(1.0, 2.0)  # the smallest difference that float64 has
    peak = np.zeros(1000)
    peak[7] = 1
    assert correlation(least, peak).value == pytest.approx(1)


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e300])
def test_no_square_overflows_or_vanishes(factor: float) -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0])
    y = np.array([0.0, 1.0, 4.0, 2.0])
    expected = np.corrcoef(x, y)[0, 1]
    assert correlation(x * factor, y).value == pytest.approx(expected)
    assert correlation(x, y * factor).value == pytest.approx(expected)


def test_no_tokens_and_invalid_values_have_reasons() -> None:
    empty = np.empty(0, dtype=np.float32)
    assert correlation(empty, empty) == Correlation(None, "there are no tokens")
    bad = np.array([1.0, np.nan, 2.0])
    assert correlation(bad, np.arange(3.0)) == Correlation(None, "a value is not finite")
    with pytest.raises(ValueError, match="3 true values, 2 predicted"):
        correlation(np.arange(3.0), np.arange(2.0))


@given(st.integers(0, 1000), st.randoms(use_true_random=False))
def test_the_order_of_samples_is_irrelevant(seed: int, random: object) -> None:
    samples = scored(seed, 40)
    shuffled = list(samples)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    planned = {ScoredGroup.TOP: 20, ScoredGroup.TOP_AND_RANDOM: 40}
    for group in ScoredGroup:
        assert pool(samples, group, planned) == pool(shuffled, group, planned)


@given(st.integers(0, 1000))
def test_the_pooled_score_is_that_of_all_tokens_together(seed: int) -> None:
    samples = scored(seed)
    top = samples[:4]
    for group, used in ((ScoredGroup.TOP, top), (ScoredGroup.TOP_AND_RANDOM, samples)):
        found = pool(samples, group, PLANNED)
        truth, prediction = (np.concatenate([getattr(s, name) for s in used]) for name in ("truth", "prediction"))
        assert found.score == pytest.approx(slow(truth, prediction))
        assert (found.tokens, found.counted, found.planned) == (truth.size, len(used), len(used))


def test_it_is_not_the_mean_of_the_parts() -> None:
    # Within each sample they rise together; over both they do not.
    low = ScoredSample(0, 2, np.array([0.0, 1.0]), np.array([9.0, 10.0]))
    high = ScoredSample(1, 4, np.array([9.0, 10.0]), np.array([0.0, 1.0]))
    found = pool([low, high], ScoredGroup.TOP, {ScoredGroup.TOP: 2, ScoredGroup.TOP_AND_RANDOM: 2})
    assert found.score is not None
    assert found.score < -0.9
    assert found.interval is not None
    assert list(found.interval) == pytest.approx([1, 1])
    assert found.interval_kind is IntervalKind.RANGE


def test_samples_with_the_concept_are_scored_apart() -> None:
    """Those of both groups; there must be five."""
    samples = [replace(one, holds=at % 2 == 0) for at, one in enumerate(scored(4, 40))]
    held = samples[::2]
    planned = {ScoredGroup.TOP: 20, ScoredGroup.TOP_AND_RANDOM: 40, ScoredGroup.CONCEPT: 20}
    found = pool(samples, ScoredGroup.CONCEPT, planned)
    truth, prediction = (np.concatenate([getattr(s, name) for s in held]) for name in ("truth", "prediction"))
    assert found.score == pytest.approx(slow(truth, prediction))
    assert (found.planned, found.counted, found.interval_kind) == (20, 20, IntervalKind.JACKKNIFE)
    reasons = {}
    for wanted, kept in ((0, 0), (4, 4), (20, 11), (20, 12)):
        plan = {**planned, ScoredGroup.CONCEPT: wanted}
        reasons[wanted, kept] = pool(held[:kept], ScoredGroup.CONCEPT, plan).reason
    assert reasons == {
        (0, 0): "there are no held-out samples with the concept to score on",
        (4, 4): "4 held-out samples hold the concept, fewer than 5",
        (20, 11): "11 of 20 held-out samples with the concept could be scored, less than 60%",
        (20, 12): "",
    }


def test_a_group_takes_its_own_samples() -> None:
    samples = scored(1)
    top = pool(samples, ScoredGroup.TOP, PLANNED)
    assert top == pool(samples[:4], ScoredGroup.TOP, PLANNED)
    assert top.score != pool(samples, ScoredGroup.TOP_AND_RANDOM, PLANNED).score


def test_missing_samples_are_left_out_and_counted() -> None:
    samples = scored(2, 10)  # 5 top, 5 random
    planned = {ScoredGroup.TOP: 5, ScoredGroup.TOP_AND_RANDOM: 10}
    kept = [samples[0], samples[2], samples[4], *samples[5:8]]
    found = pool(kept, ScoredGroup.TOP_AND_RANDOM, planned)
    truth, prediction = (np.concatenate([getattr(s, name) for s in kept]) for name in ("truth", "prediction"))
    assert found.score == pytest.approx(slow(truth, prediction))
    assert (found.counted, found.planned) == (6, 10)
    few = pool(kept[1:], ScoredGroup.TOP_AND_RANDOM, planned)  # 2 of 5 top samples are too few for a score
    assert few.score is None
    assert few.interval is None
    assert few.reason == "2 of 5 top samples could be scored, less than 60%"
    few = pool(kept[:-1], ScoredGroup.TOP_AND_RANDOM, planned)
    assert few.reason == "2 of 5 random samples could be scored, less than 60%"
    assert pool(kept[:-1], ScoredGroup.TOP, planned).score is not None  # the top ones alone still are
    assert pool([], ScoredGroup.TOP, {ScoredGroup.TOP: 0, ScoredGroup.TOP_AND_RANDOM: 0}).reason.startswith(
        "there are no top samples"
    )


def test_an_interval_of_twenty_samples_is_a_jackknife_over_samples() -> None:
    """Against the same formula, computed from the tokens that are left."""
    planned = {ScoredGroup.TOP: 20, ScoredGroup.TOP_AND_RANDOM: 40}
    samples = scored(5, 40)

    def z(left: list[ScoredSample]) -> float:
        truth, prediction = (np.concatenate([getattr(one, name) for one in left]) for name in ("truth", "prediction"))
        return math.atanh(float(np.corrcoef(truth, prediction)[0, 1]))

    for group, count, freedom in ((ScoredGroup.TOP, 20, 19.0), (ScoredGroup.TOP_AND_RANDOM, 40, None)):
        used = samples[:count]
        without = np.array([z(used[:at] + used[at + 1 :]) for at in range(count)]).reshape(-1, 20)
        parts = 19 / 20 * ((without - without.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        half = t_quantile(0.95, freedom or 19 * parts.sum() ** 2 / (parts**2).sum()) * math.sqrt(parts.sum())
        found = pool(samples, group, planned)
        assert found.interval_kind is IntervalKind.JACKKNIFE
        assert found.interval == pytest.approx((math.tanh(z(used) - half), math.tanh(z(used) + half)))
    nineteen = pool(samples[:19], ScoredGroup.TOP, planned)
    assert nineteen.interval_kind is IntervalKind.RANGE
    values = [correlation(one.truth, one.prediction).value for one in samples[:19]]
    assert nineteen.interval == (min(v for v in values if v is not None), max(v for v in values if v is not None))


#: Tables of Student's distribution: 95 % between -t and t.
@pytest.mark.parametrize(
    ("freedom", "expected"),
    [
        (1, 12.7062047),
        (2, 4.3026527),
        (3, 3.1824463),
        (5, 2.5705818),
        (10, 2.2281389),
        (19, 2.0930241),
        (38, 2.0243942),
    ],
)
def test_the_t_quantile_is_that_of_the_tables(freedom: float, expected: float) -> None:
    assert t_quantile(0.95, freedom) == pytest.approx(expected, rel=1e-5)
    assert expected > t_quantile(0.95, freedom + 0.5) > t_quantile(0.95, freedom + 1)
    with pytest.raises(ValueError, match="degrees of freedom"):
        t_quantile(0.95, 0.9)


def drawn(rng: np.random.Generator, count: int, *, top: bool) -> list[ScoredSample]:
    """Scenes as of the demo: an object is in most top ones and few random ones, and the neuron also follows others."""
    there = rng.random(count) < (0.8 if top else 0.15)
    boxes = (rng.random((count, 16)) < 0.2) * there[:, None] * 10.0
    gain = rng.gamma(2, 0.3, (count, 1)) * rng.uniform(0.3, 1, (count, 16))
    other = (rng.random((count, 16)) < 0.1) * rng.gamma(1, 2, (count, 1)) * (rng.random((count, 1)) < 0.5)
    truth = np.clip(gain * boxes + other + rng.normal(0, 0.3, (count, 16)), 0, 10)
    return [ScoredSample(at, at + 1 if top else None, truth[at], boxes[at]) for at in range(count)]


@pytest.mark.parametrize("each", [20, 10])
def test_the_interval_covers_about_as_often_as_it_names(each: int) -> None:
    """400 draws of scenes: 95 % have a standard error of 1.1 points. A bootstrap of 10 + 10 scenes covers 85 %."""
    rng = np.random.default_rng(0)
    many = [*drawn(rng, 40_000, top=True), *drawn(rng, 40_000, top=False)]
    true = correlation(
        *(np.concatenate([getattr(one, name) for one in many]) for name in ("truth", "prediction"))
    ).value
    assert true is not None
    planned = {ScoredGroup.TOP: each, ScoredGroup.TOP_AND_RANDOM: 2 * each}
    hits = 0
    for _ in range(400):
        found = pool([*drawn(rng, each, top=True), *drawn(rng, each, top=False)], ScoredGroup.TOP_AND_RANDOM, planned)
        assert found.interval_kind is IntervalKind.JACKKNIFE and found.interval is not None
        hits += found.interval[0] <= true <= found.interval[1]
    assert 0.92 <= hits / 400 <= 0.98


def test_few_random_samples_widen_the_interval() -> None:
    samples = scored(5, 40)
    few = [*samples[:20], *samples[20:23]]
    planned = {ScoredGroup.TOP: 20, ScoredGroup.TOP_AND_RANDOM: 23}
    widths = []
    for used, wanted in ((samples, 40), (few, 23), (few[:21], 21)):  # one random sample is counted with the others
        found = pool(used, ScoredGroup.TOP_AND_RANDOM, {**planned, ScoredGroup.TOP_AND_RANDOM: wanted}).interval
        assert found is not None
        widths.append(found[1] - found[0])
    assert widths[1] > 1.2 * widths[0]
    assert all(0 < width < 1 for width in widths)


def test_a_perfect_prediction_has_an_interval_of_no_width() -> None:
    samples = [ScoredSample(at, at + 1, np.arange(3.0), np.arange(3.0)) for at in range(20)]
    found = pool(samples, ScoredGroup.TOP, {ScoredGroup.TOP: 20, ScoredGroup.TOP_AND_RANDOM: 20})
    assert found.interval == pytest.approx((1, 1))


def test_tokens_of_a_sample_move_together() -> None:
    """Samples that repeat one token a hundred times give no more evidence than samples of one token."""
    rng = np.random.default_rng(0)
    pairs = rng.uniform(0, 10, (20, 2))
    planned = {ScoredGroup.TOP: 20, ScoredGroup.TOP_AND_RANDOM: 20}
    once, often = (
        pool(
            [ScoredSample(at, at + 1, np.full(n, x), np.full(n, y)) for at, (x, y) in enumerate(pairs)],
            ScoredGroup.TOP,
            planned,
        )
        for n in (1, 100)
    )
    assert once.interval == pytest.approx(often.interval)


def test_one_sample_that_varies_gives_no_interval() -> None:
    quiet = [ScoredSample(at, at + 1, np.zeros(3), np.ones(3)) for at in range(19)]
    loud = ScoredSample(19, 20, np.arange(3.0), np.arange(3.0))
    found = pool([*quiet, loud], ScoredGroup.TOP, {ScoredGroup.TOP: 20, ScoredGroup.TOP_AND_RANDOM: 20})
    assert found.score is not None
    assert found.interval is None  # without the one that varies there is no correlation
    assert found.interval_kind is None


def report() -> ScoreReport:
    samples = scored(3)
    pooled = {group: replace(pool(samples, group, PLANNED), baseline=0.125, baselines=3) for group in ScoredGroup}
    missing = Pooled(None, "why", None, None, 4, 0, 0)
    return ScoreReport(
        backend="lens",
        independent=False,
        explanation="trains",
        phrases=("train",),
        pooled={TokenKind.VISUAL: pooled, TokenKind.TEXT: dict.fromkeys(ScoredGroup, missing)},
        samples=(
            SampleScore(3, 2, {TokenKind.VISUAL: Correlation(0.5), TokenKind.TEXT: Correlation(None, "none")}),
            SampleScore(9, None, {TokenKind.VISUAL: Correlation(-1.0)}),
        ),
        failures=(Failure(4, 4, None, "gone"), Failure(9, None, TokenKind.TEXT, "no text")),
        note="n",
    )


def test_a_report_survives_json() -> None:
    one = report()
    body = json.loads(json.dumps(one.to_json(), allow_nan=False))
    assert ScoreReport.from_json(body) == one
    visual = body["scores"]["visual"]["top+random"]
    assert {"pooled", "interval", "interval_kind", "baseline"} <= visual.keys()
    assert body["scores"]["text"]["top"]["pooled"] is None
    assert body["failures"][0] == {"sample": 4, "rank": 4, "kind": None, "reason": "gone"}
    assert body["samples"][1]["rank"] is None
    assert body["counts"] == {"scored": 2, "failed": 2}


def test_the_headline_has_random_samples_where_there_are_any() -> None:
    one = report()
    assert one.headline(TokenKind.VISUAL) == one.pooled[TokenKind.VISUAL][ScoredGroup.TOP_AND_RANDOM]
    top = one.pooled[TokenKind.TEXT][ScoredGroup.TOP]
    assert one.headline(TokenKind.TEXT) == top
    assert replace(one, pooled={}).headline(TokenKind.TEXT) is None


@pytest.mark.parametrize("key", ["backend", "scores", "samples", "failures", "format"])
def test_a_body_of_something_else_is_refused(key: str) -> None:
    body = report().to_json()
    for broken in ({k: v for k, v in body.items() if k != key}, body | {key: 7 if key != "backend" else None}):
        if key == "backend" and key in broken:
            continue
        with pytest.raises(NotebookError, match="cannot be read"):
            ScoreReport.from_json(broken)


def test_words_name_the_interval_also_of_scores_stored_before() -> None:
    one = Pooled(0.5, "", (0.25, 0.75), IntervalKind.JACKKNIFE, 20, 20, 9)
    assert score_words(one) == "0.50 (95% 0.25 to 0.75)"
    assert score_words(replace(one, interval_kind=IntervalKind.BOOTSTRAP)) == "0.50 (95% bootstrap 0.25 to 0.75)"
    assert score_words(replace(one, interval_kind=IntervalKind.RANGE)) == "0.50 (single samples 0.25 to 0.75)"
    assert score_words(replace(one, interval_kind=None)) == "0.50 (interval 0.25 to 0.75)"
    assert score_words(one, samples=True) == "0.50 over 20 samples (95% 0.25 to 0.75)"
    assert score_words(replace(one, interval=None), samples=True) == "0.50 over 20 samples"
