"""Two studies side by side: differences judged by scipy, verdicts that turned, what is missing."""

import pytest
from hand_made import DEFAULTS, method, run
from scipy import stats

from faeval.verdict.comparison import compare
from faeval.verdict.judge import judge_all

FIRST = {1: 0.61, 2: 0.64, 3: 0.60, 4: 0.66}
SECOND = {1: 0.66, 2: 0.65, 3: 0.67, 4: 0.69}


def judged(*methods):
    return judge_all(methods, DEFAULTS)


def of(accuracies: dict[int, float], **options):
    return judged(method(*[run(s, a, 0.5) for s, a in accuracies.items()], **options))


def difference(comparison, quantity="accuracy"):
    (found,) = [d for d in comparison.differences if d.quantity == quantity]
    return found


def test_common_seeds_are_paired():
    found = difference(compare(of(FIRST), of(SECOND), 0.95))
    twin = stats.ttest_rel(list(SECOND.values()), list(FIRST.values()))
    interval = twin.confidence_interval(0.95)
    assert found.paired
    assert found.p == pytest.approx(twin.pvalue)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(interval))
    assert found.second - found.first == pytest.approx(found.difference.estimate)


def test_seeds_that_are_not_common_are_compared_by_their_means():
    other = {seed + 10: a for seed, a in SECOND.items()} | {1: 0.7}
    found = difference(compare(of(FIRST), of(other), 0.95))
    twin = stats.ttest_ind(list(other.values()), list(FIRST.values()), equal_var=False)
    interval = twin.confidence_interval(0.95)
    assert not found.paired
    assert found.p == pytest.approx(twin.pvalue)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(interval))


def test_a_second_study_with_further_seeds_keeps_its_pairs():
    found = difference(compare(of(FIRST), of(SECOND | {9: 0.1}), 0.95))
    assert found.paired
    assert found.difference.n == 4


def test_one_seed_gives_no_interval_and_no_p_value():
    found = difference(compare(of({1: 0.6}), of({1: 0.7}), 0.95))
    assert (found.difference.low, found.p, found.q) == (None, None, None)


def test_p_values_are_corrected_over_all_differences():
    comparison = compare(of(FIRST), of(SECOND), 0.95)
    tested = [d for d in comparison.differences if d.p is not None]
    assert [d.q for d in tested] == pytest.approx(
        list(stats.false_discovery_control([d.p for d in tested]))
    )
    assert {d.quantity for d in tested} == {
        "accuracy", "gain", "cosine h1", "cosine h2", "cosine h3",
    }  # fmt: skip


def test_the_same_study_differs_in_nothing():
    comparison = compare(of(FIRST), of(FIRST), 0.95)
    assert {d.difference.estimate for d in comparison.differences} == {0.0}
    assert {d.p for d in comparison.differences} == {1.0}
    assert comparison.turns == ()


def test_a_verdict_that_turned_tells_its_checks():
    poor = dict.fromkeys(FIRST, 0.5)
    (turn,) = compare(of(FIRST), of(poor), 0.95).turns
    assert (turn.method, turn.first, turn.second) == ("dfa", "trust", "refuse")
    ((before, after),) = turn.findings
    assert (before.check, before.status, after.status) == ("depth utility", "pass", "flag")


def test_methods_without_a_counterpart_are_named():
    more = judged(method(), method(penalty=0.1))
    assert compare(more, of(FIRST), 0.95).only_first == ("dfa λ=0.1",)
    assert compare(of(FIRST), more, 0.95).only_second == ("dfa λ=0.1",)
    apart = compare(of(FIRST, rule="fa"), of(FIRST), 0.95)
    assert (apart.differences, apart.turns) == ((), ())
