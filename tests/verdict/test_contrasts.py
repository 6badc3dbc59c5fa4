"""What the penalty changed, against differences by hand."""

import math
import statistics

import pytest
from hand_made import diverged, layers, method, reading
from scipy.stats import t

from faeval.verdict.contrast import penalty_contrasts
from faeval.verdict.method import Run

WITHOUT = {1: (0.9, 0.1, 0.2), 2: (0.8, 0.0, 0.1), 3: (0.7, 0.3, 0.3)}
WITH = {1: (0.1, 0.4, 0.2), 2: (0.2, 0.35, 0.0), 3: (0.3, 0.61, 0.5)}


def of(cosines: dict, penalty: float, rule: str = "dfa", **options):
    runs = [
        Run(
            seed,
            0.9,
            tuple(reading(l, cosine_mean=c) for l, c in enumerate(row)),
            0.5,
        )
        for seed, row in cosines.items()
    ]
    return method(*runs, rule=rule, penalty=penalty, **options)


def by_hand(seeds, state, level=0.95):
    gains = [WITH[s][state] - WITHOUT[s][state] for s in seeds]
    centre = statistics.fmean(gains)
    half = t.ppf(0.5 + level / 2, len(gains) - 1) * statistics.stdev(gains) / math.sqrt(len(gains))
    return centre, centre - half, centre + half


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_contrasts_are_paired_differences_behind_each_block(level):
    got = penalty_contrasts([of(WITHOUT, 0.0), of(WITH, 0.01)], level)
    assert [(c.rule, c.penalty, c.state) for c in got] == [("dfa", 0.01, 1), ("dfa", 0.01, 2)]
    for contrast in got:
        centre, low, high = by_hand([1, 2, 3], contrast.state, level)
        d = contrast.difference
        assert (d.estimate, d.low, d.high) == pytest.approx((centre, low, high))
        assert (d.population, d.n, d.level) == ("seeds", 3, level)
        assert contrast.without == pytest.approx(
            statistics.fmean(row[contrast.state] for row in WITHOUT.values())
        )
        assert contrast.with_penalty == pytest.approx(
            statistics.fmean(row[contrast.state] for row in WITH.values())
        )
        assert contrast.clear == (low > 0 or high < 0)
    assert [c.clear for c in got] == [True, False]


def test_seeds_are_paired_by_name_and_not_by_place():
    backwards = dict(reversed(WITH.items()))
    straight = penalty_contrasts([of(WITHOUT, 0.0), of(WITH, 0.01)], 0.95)
    turned = penalty_contrasts([of(backwards, 0.01), of(WITHOUT, 0.0)], 0.95)
    for a, b in zip(straight, turned, strict=True):
        assert (a.difference.low, a.difference.high) == pytest.approx(
            (b.difference.low, b.difference.high)
        )


def test_only_seeds_that_both_completed_count():
    some = method(*of(WITHOUT, 0.0).runs[:2], diverged(3))
    got = penalty_contrasts([some, of(WITH, 0.01)], 0.95)
    centre, low, high = by_hand([1, 2], 1)
    assert got[0].difference.n == 2
    assert (got[0].difference.low, got[0].difference.high) == pytest.approx((low, high))
    assert got[0].with_penalty - got[0].without == pytest.approx(centre)
    nothing = method(diverged(1), diverged(2), penalty=0.01)
    assert penalty_contrasts([of(WITHOUT, 0.0), nothing], 0.95) == ()


def test_one_seed_has_a_difference_but_no_interval():
    one = {1: WITHOUT[1]}, {1: WITH[1]}
    got = penalty_contrasts([of(one[0], 0.0), of(one[1], 0.01)], 0.95)
    assert got[0].difference.estimate == pytest.approx(0.3)
    assert (got[0].difference.low, got[0].difference.high) == (None, None)
    assert not got[0].clear


def test_each_rule_is_compared_with_itself_and_gradients_not_at_all():
    got = penalty_contrasts(
        [
            of(WITH, 0.1),
            of(WITHOUT, 0.0),
            of(WITH, 0.01),
            of(WITH, 0.01, rule="fa"),  # never ran without penalty
            of(WITHOUT, 0.0, rule="bp", credit_is_gradient=True),
            of(WITH, 0.01, rule="bp", credit_is_gradient=True),
        ],
        0.95,
    )
    assert [(c.rule, c.penalty) for c in got] == [("dfa", 0.1)] * 2 + [("dfa", 0.01)] * 2


def test_a_state_without_cosine_is_left_out():
    blind = method(Run(1, 0.9, layers(states=3, at=1, cosine_mean=None), 0.5), penalty=0.01)
    got = penalty_contrasts([of({1: WITHOUT[1]}, 0.0), blind], 0.95)
    assert [c.state for c in got] == [2]
