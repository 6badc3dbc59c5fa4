"""Rows of a report against means and intervals by hand."""

import math
import statistics
from dataclasses import replace

import pytest
from scipy.stats import t
from studies import LEVEL, diverged, judged, method, reading, run, with_divergence

from faeval.report.view import method_rows, state_rows
from faeval.report.wording import chance
from faeval.verdict.method import Method

PLAIN = {  # field of a row → field of a reading
    "spread": "cosine_std",
    "null": "null_std",
    "clamped": "cosine_clamped",
    "reference_norm": "reference_norm",
    "credit_norm": "credit_norm",
    "state_norm": "state_norm",
    "reference_error": "reference_relative_error",
}


def by_hand(values: list[float], level: float = LEVEL) -> tuple[float, float, float]:
    centre, n = statistics.fmean(values), len(values)
    half = t.ppf(0.5 + level / 2, n - 1) * statistics.stdev(values) / math.sqrt(n)
    return centre, centre - half, centre + half


def parts(interval) -> tuple[float, float, float]:
    return interval.estimate, interval.low, interval.high


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_state_rows_are_means_over_seeds(level):
    one = method(1, 2, 5)
    rows = state_rows(one, level)
    assert [r.state for r in rows] == ["h0", "h1", "h2", "h3", "h4", "mean"]
    for l, row in enumerate(rows[:-1]):
        at = [reading(l, seed) for seed in (1, 2, 5)]
        assert parts(row.cosine) == pytest.approx(by_hand([r.cosine_mean for r in at], level))
        assert (row.cosine.population, row.cosine.n, row.cosine.level) == ("seeds", 3, level)
        for shown, measured in PLAIN.items():
            expected = statistics.fmean(
                r.null.std if measured == "null_std" else getattr(r, measured) for r in at
            )
            assert getattr(row, shown) == pytest.approx(expected), shown
        assert row.undefined == sum(r.undefined for r in at)


def test_the_last_row_is_the_interval_of_layer_means():
    one = method(1, 2, 5)
    mean = state_rows(one, LEVEL)[-1]
    per_seed = [statistics.fmean(r.cosine_mean for r in one_run.layers) for one_run in one.runs]
    assert parts(mean.cosine) == pytest.approx(by_hand(per_seed))
    assert mean.clamped == pytest.approx(
        statistics.fmean(r.cosine_clamped for one_run in one.runs for r in one_run.layers)
    )
    # Norms of different layers have no mean worth showing.
    assert (mean.spread, mean.null, mean.reference_norm, mean.credit_norm) == (None,) * 4
    assert (mean.state_norm, mean.reference_error) == (None, None)


@pytest.mark.parametrize("shown", PLAIN)
def test_a_number_missing_in_one_seed_leaves_a_blank(shown):
    holed = Method("dfa", 0.0, (run(1), run(2, at=2, **{PLAIN[shown]: None}), run(3)))
    whole = state_rows(method(1, 2, 3), LEVEL)
    for row, full in zip(state_rows(holed, LEVEL), whole, strict=True):
        if row.state == "h2":
            with_it = {"fresh": None} if shown == "null" else {}
            assert row == replace(full, **{shown: None}, **with_it)
        elif row.state == "mean" and shown == "clamped":
            assert row == replace(full, clamped=None)
        else:
            assert row == full


def test_a_null_that_was_not_taken_leaves_a_blank():
    rows = state_rows(Method("dfa", 0.0, (run(1), run(2, at=3, null=None))), LEVEL)
    assert [row.null is None for row in rows] == [False, False, False, True, False, True]


def test_a_cosine_missing_in_one_seed_leaves_no_partial_mean():
    rows = state_rows(Method("dfa", 0.0, (run(1), run(2, at=0, cosine_mean=None))), LEVEL)
    assert (rows[0].cosine, rows[-1].cosine) == (None, None)
    assert all(row.cosine is not None for row in rows[1:-1])


def test_one_seed_has_an_estimate_and_no_interval():
    for row in state_rows(method(42), LEVEL):
        assert (row.cosine.low, row.cosine.high, row.cosine.n) == (None, None, 1)


def test_diverged_seeds_have_no_part_in_the_rows():
    mixed = Method("dfa", 0.0, (diverged(9), run(1), diverged(2), run(3)))
    assert state_rows(mixed, LEVEL) == state_rows(method(1, 3), LEVEL)
    assert state_rows(Method("dfa", 0.0, (diverged(9),)), LEVEL) == []


def test_method_rows_are_accuracies_and_gains_over_seeds():
    judgement = judged(method(1, 2, 5), method(1, 2, 5, penalty=0.01))
    rows = method_rows(judgement, LEVEL)
    assert [r.name for r in rows] == ["dfa", "dfa λ=0.01"]
    for row, one, verdict in zip(rows, judgement.methods, judgement.verdicts, strict=True):
        accuracies, controls = [r.accuracy for r in one.runs], [r.control for r in one.runs]
        assert parts(row.accuracy) == pytest.approx(by_hand(accuracies))
        assert parts(row.control) == pytest.approx(by_hand(controls))
        paired = [a - c for a, c in zip(accuracies, controls, strict=True)]
        assert parts(row.gain) == pytest.approx(by_hand(paired))
        assert (row.verdict, row.reasons) == (verdict.verdict, verdict.reasons)


def test_a_missing_control_leaves_the_gain_blank():
    lost = replace(run(2), control=None)
    (row,) = method_rows(judged(Method("dfa", 0.0, (run(1), lost))), LEVEL)
    assert (row.control, row.gain) == (None, None)
    assert row.accuracy.n == 2


def test_methods_that_diverged_keep_their_row():
    gone, half, _ = method_rows(with_divergence(), LEVEL)
    assert (gone.name, gone.accuracy, gone.control, gone.gain) == ("pepita", None, None, None)
    assert (gone.verdict, gone.reasons) == ("refuse", ("convergence",))
    assert half.accuracy.n == 2


def test_the_gain_of_a_row_is_that_of_its_finding():
    for judgement in (judged(method(1, 2, 5)), with_divergence()):
        for row in method_rows(judgement, LEVEL):
            finding = judgement.findings_on(row.name)[-1]
            assert finding.check == "depth utility"
            gain = row.gain and row.gain.estimate
            assert gain == (None if finding.value is None else pytest.approx(finding.value))


@pytest.mark.parametrize(
    ("mean", "std", "written"),
    [
        (None, None, ""),
        (0.0, 0.02, "±0.020"),
        (0.03, 0.02, "±0.020"),
        (0.93, 0.0003, "+0.93 ±0.000"),
        (-0.5, 0.1, "-0.50 ±0.100"),
        (1e-9, 0.0, "±0.000"),
    ],
)
def test_a_null_away_from_zero_is_written_with_its_mean(mean, std, written):
    assert chance(mean, std) == written
