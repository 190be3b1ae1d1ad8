"""The rule by which one of several scores is shown first."""

from itertools import permutations

import pytest

from vlmscope.core.method.correlation import Pooled, ScoredGroup, TokenKind
from vlmscope.core.method.judged import Judged
from vlmscope.core.notebook.score_order import PAPER_BACKENDS, is_chosen, lead_with, score_order
from vlmscope.core.scoring.judge_report import AnyReport, JudgeMethod, JudgeReport, Metric
from vlmscope.core.scoring.preferred import first_of_each_kind, list_score, ordered
from vlmscope.core.scoring.report import ScoreReport
from vlmscope.core.scoring.simulators.api_text import ApiText
from vlmscope.core.scoring.simulators.grounded_sam2 import GroundedSam2
from vlmscope.core.scoring.simulators.registry import BACKENDS

VISUAL, TEXT = TokenKind.VISUAL, TokenKind.TEXT
SAM, API, ORACLE, LENS = GroundedSam2.name, ApiText.name, "oracle", "lens"


def report(backend: str, **scores: float | None) -> ScoreReport:
    pooled = {
        TokenKind(kind): dict.fromkeys(
            ScoredGroup, Pooled(score, "" if score is not None else "constant", None, None, 20, 20, 9)
        )
        for kind, score in scores.items()
    }
    return ScoreReport(backend, backend != LENS, "trains", ("train",), pooled, (), (), "")


def shown(*newest_first: ScoreReport) -> list[tuple[str, TokenKind, float | None]]:
    return [(one.report.backend, one.kind, one.pooled.score) for one in first_of_each_kind(newest_first)]


def test_the_newest_hides_no_better_kind() -> None:
    oracle, lens = report(ORACLE, visual=0.69), report(LENS, visual=0.14, text=0.3)
    for reports in ((lens, oracle), (oracle, lens)):
        assert shown(*reports) == [(ORACLE, VISUAL, 0.69), (LENS, TEXT, 0.3)]
        found = list_score(reports)
        assert found is not None and (found.report.backend, found.value) == (ORACLE, 0.69)
        assert [one.backend for one in ordered(reports)] == [ORACLE, LENS]


def test_an_independent_score_comes_first_even_where_it_is_less() -> None:
    reports = report(LENS, visual=0.9, text=0.9), report(API, text=-0.1)
    assert shown(*reports) == [(API, TEXT, -0.1), (LENS, VISUAL, 0.9)]
    found = list_score(reports)
    assert found is not None and found.value == -0.1


def test_the_protocol_of_the_paper_comes_before_others_whenever_it_was_used() -> None:
    sam, oracle, own = report(SAM, visual=0.2), report(ORACLE, visual=0.8), report("another", visual=0.5)
    for reports in permutations((sam, oracle, own)):
        assert shown(*reports) == [(SAM, VISUAL, 0.2)]
        assert ordered(reports)[0] is sam
        # Of two others the newest comes first.
        assert list(ordered(reports)[1:]) == [one for one in reports if one is not sam]


def test_the_newest_of_one_simulator_counts() -> None:
    assert shown(report(ORACLE, visual=0.1), report(ORACLE, visual=0.7)) == [(ORACLE, VISUAL, 0.1)]
    assert shown(report(ORACLE, visual=None), report(ORACLE, visual=0.7)) == [(ORACLE, VISUAL, None)]


def test_a_score_that_exists_comes_before_one_that_does_not() -> None:
    reports = report(SAM, visual=None), report(LENS, visual=0.3)
    assert shown(*reports) == [(LENS, VISUAL, 0.3)]
    assert [one.backend for one in ordered(reports)] == [LENS, SAM]
    assert list_score([report(SAM, visual=None)]) is None
    assert list_score([]) is None


def judged(value: float | None, *, independent: bool = True) -> JudgeReport:
    """A judge's report with a balanced accuracy."""
    interval = None if value is None else (0.5, 1.0)
    figure = Judged(value, "" if value is not None else "too few", interval, 0.5, 0.0, 100, 20, 20)
    figures = {Metric.BALANCED_ACCURACY: figure, Metric.AUC: figure}
    return JudgeReport(JudgeMethod.DETECTION, "gpt", independent, "trains", "1", figures, (), (), "")


def test_a_judges_score_that_leads_sorts_the_list_on_the_scale_of_a_correlation() -> None:
    found = list_score([judged(0.9), report(LENS, visual=0.95)])
    assert found is not None and found.value == pytest.approx(0.8) and found.independent
    assert (found.report.backend, found.kind) == ("detection/gpt", Metric.BALANCED_ACCURACY)
    # The paper's simulators lead before judges, and what exists before what does not.
    both: list[list[AnyReport]] = [[judged(0.9), report(SAM, visual=0.2)], [judged(None), report(LENS, visual=0.2)]]
    for reports in both:
        found = list_score(reports)
        assert found is not None and found.value == 0.2
    found = list_score([judged(0.4, independent=False), report(ORACLE, visual=-0.3)])
    assert found is not None and found.value == -0.3
    chance = list_score([judged(0.5)])
    assert chance is not None and chance.value == 0


def test_of_two_independent_kinds_the_larger_sorts_the_list() -> None:
    found = list_score([report(API, text=0.7), report(SAM, visual=0.1), report(LENS, visual=0.9)])
    assert found is not None and (found.kind, found.value) == (TEXT, 0.7)


@pytest.mark.parametrize(
    ("backend", "simulator", "kind"), [(PAPER_BACKENDS[0], GroundedSam2, VISUAL), (PAPER_BACKENDS[1], ApiText, TEXT)]
)
def test_the_simulators_of_the_paper_exist_and_are_independent(
    backend: str, simulator: type[GroundedSam2] | type[ApiText], kind: TokenKind
) -> None:
    assert backend in BACKENDS
    assert simulator.name == backend
    assert simulator.independent
    assert set(simulator.kinds) == {kind}


def test_what_the_user_has_chosen_leads_where_it_exists() -> None:
    oracle, lens, none = report(ORACLE, visual=0.69), report(LENS, visual=0.14), report(LENS, visual=None)
    lead_with(LENS)
    try:
        for reports in ((lens, oracle), (oracle, lens)):
            assert shown(*reports) == [(LENS, VISUAL, 0.14)]
            found = list_score(reports)
            assert found is not None and found.value == 0.14
            assert [one.backend for one in ordered(reports)] == [LENS, ORACLE]
        assert ordered((none, oracle))[0] is oracle, "one that is n/a leads nowhere"
        lead_with("detection")
        assert is_chosen("detection/gpt-4o") and not is_chosen("fuzzing/gpt-4o")
        judge, sam = (score_order(name, independent=True, known=True) for name in ("detection/gpt-4o", SAM))
        assert judge < sam
    finally:
        lead_with("")
    assert shown(lens, oracle) == [(ORACLE, VISUAL, 0.69)]
