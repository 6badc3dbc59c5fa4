"""Every check on methods made by hand, at and around its threshold."""

import math
import statistics
from dataclasses import replace

import pytest
from hand_made import NAMES, diverged, found, layers, method, reading, run

from faeval.verdict.judge import examine
from faeval.verdict.method import Run, Thresholds


def above(x: float) -> float:
    return math.nextafter(x, math.inf)


def norms(*values: float | None) -> tuple:
    return tuple(reading(l, state_norm=v) for l, v in enumerate(values))


def test_a_healthy_method_passes_every_check_in_order():
    findings = examine(method(), Thresholds())
    assert tuple(f.check for f in findings) == NAMES
    assert {f.status for f in findings} == {"pass"}
    assert {f.method for f in findings} == {"dfa"}
    for finding in findings:
        assert finding.evidence
        assert finding.consequence.endswith(".")


# --- convergence -----------------------------------------------------------------------


def test_convergence_names_the_seeds_that_diverged():
    finding = found(method(run(1), diverged(2), diverged(7)), "convergence")
    assert (finding.status, finding.severity, finding.value) == ("flag", "refuse", 2.0)
    assert "seed 2 (epoch 3, h2)" in finding.evidence
    assert "seed 7 (epoch 3, h2)" in finding.evidence
    assert "seed 1 " not in finding.evidence


def test_other_checks_use_what_remains_of_the_seeds():
    whole, rest = method(run(1), run(3)), method(run(1), diverged(2), run(3))
    for a, b in zip(examine(whole, Thresholds()), examine(rest, Thresholds()), strict=True):
        if a.check != "convergence":
            assert a == b


def test_when_all_seeds_diverged_nothing_else_is_measured():
    findings = examine(method(diverged(1), diverged(2)), Thresholds())
    assert [f.status for f in findings] == ["flag"] + ["unmeasured"] * 4
    assert all(f.value is None for f in findings[1:])


def test_a_run_without_readings_measures_nothing():
    findings = examine(method(Run(seed=1, accuracy=None)), Thresholds())
    assert [f.status for f in findings] == ["pass"] + ["unmeasured"] * 4


# --- scale stability -------------------------------------------------------------------


def test_growth_is_the_largest_ratio_over_blocks_and_seeds():
    a, b = norms(1, 2, 12, 6), norms(2, 2, 2, 22)
    finding = found(method(Run(4, 0.9, a, 0.5), Run(5, 0.9, b, 0.5)), "scale stability")
    assert (finding.status, finding.value, finding.threshold) == ("pass", 11.0, 50.0)
    assert "11×" in finding.evidence
    assert "h3, seed 5" in finding.evidence


@pytest.mark.parametrize(("last", "status"), [(50.0, "pass"), (above(50.0), "flag")])
def test_growth_at_the_limit(last, status):
    finding = found(method(Run(1, 0.9, norms(1.0, 1.0, last), 0.5)), "scale stability")
    assert (finding.status, finding.severity, finding.value) == (status, "caution", last)


@pytest.mark.parametrize("hidden", [1, 2, 3])
def test_a_state_without_a_norm_leaves_growth_unmeasured(hidden):
    """A ratio that nobody could form may be the one that exceeds the limit."""
    values = [10.0, 10.0, 10.0, 10.0]
    values[hidden] = None
    broken = Run(1, 0.9, norms(*values), 0.5)
    assert found(method(broken, run(2)), "scale stability").status != "pass"


def test_growth_out_of_nothing_does_not_pass():
    finding = found(method(Run(1, 0.9, norms(1.0, 0.0, 1e6), 0.5)), "scale stability")
    assert finding.status != "pass"


def test_a_growth_beyond_the_float_range_stays_a_finite_record():
    finding = found(method(Run(1, 0.9, norms(1e-200, 1e200), 0.5)), "scale stability")
    assert finding.status == "flag"
    assert finding.value is None or math.isfinite(finding.value)


# --- reference validity ----------------------------------------------------------------


@pytest.mark.parametrize(("error", "status"), [(1e-3, "pass"), (above(1e-3), "flag")])
def test_reference_error_at_the_limit(error, status):
    worst = run(9, at=2, reference_relative_error=error)
    finding = found(method(run(1), worst), "reference validity")
    assert (finding.status, finding.value, finding.threshold) == (status, error, 1e-3)
    assert finding.severity == "refuse"
    assert "worst at h2, seed 9" in finding.evidence


@pytest.mark.parametrize(("undefined", "status"), [(10, "pass"), (11, "flag")])
def test_undefined_samples_at_the_limit(undefined, status):
    finding = found(method(run(1), run(2, at=3, undefined=undefined)), "reference validity")
    assert finding.status == status
    assert f"{undefined / 1000:.1%} of samples undefined" in finding.evidence


def test_one_state_without_reference_is_unmeasured():
    blind = run(2, at=1, reference_relative_error=None)
    finding = found(method(run(1), blind, run(3)), "reference validity")
    assert (finding.status, finding.value) == ("unmeasured", None)


@pytest.mark.parametrize("norm", [1e-300, 9.9e-8, 1.1e-7, 1.0])
def test_the_published_floor_is_told_and_never_decides(norm):
    """Check (b) of arXiv 2606.21126 moves with the batch size."""
    quiet = method(run(1), run(2, at=3, reference_norm_mean_loss=norm))
    findings = examine(quiet, Thresholds())
    assert {f.status for f in findings} == {"pass"}
    evidence = findings[NAMES.index("reference validity")].evidence
    assert ("below" if norm < 1e-7 else "above") + " the published floor 1e-07" in evidence
    assert f"{min(norm, 1e-5):.1e}" in evidence
    assert "1000 samples" in evidence


# --- depth utility ---------------------------------------------------------------------


def paired_by_hand(gains: list[float], level: float = 0.95) -> tuple[float, float]:
    from scipy.stats import t

    n = len(gains)
    half = t.ppf(0.5 + level / 2, n - 1) * statistics.stdev(gains) / math.sqrt(n)
    return statistics.fmean(gains) - half, statistics.fmean(gains) + half


def with_gains(*gains: float):
    # The accuracies vary far more than the gains: only a paired interval sees these.
    return method(*(run(s, 0.2 + 0.2 * s + g, 0.2 + 0.2 * s) for s, g in enumerate(gains)))


@pytest.mark.parametrize(
    ("gains", "status", "severity"),
    [
        ((0.10, 0.11, 0.12), "pass", "refuse"),
        ((0.01, 0.10, 0.16), "flag", "caution"),
        ((0.019, 0.018, 0.020), "flag", "refuse"),
        ((-0.1, -0.2, -0.1), "flag", "refuse"),
        ((0.0, 0.0), "flag", "refuse"),
    ],
)
def test_depth_utility_by_a_paired_interval(gains, status, severity):
    finding = found(with_gains(*gains), "depth utility")
    low, high = paired_by_hand(list(gains))
    assert finding.status == status
    assert status == "pass" or finding.severity == severity
    assert finding.value == pytest.approx(statistics.fmean(gains))
    assert f"{100 * statistics.fmean(gains):+.1f} pp over frozen blocks" in finding.evidence
    assert (
        f"95% over {len(gains)} seeds: {100 * low:+.1f} pp to {100 * high:+.1f}" in finding.evidence
    )


def test_the_level_moves_the_interval_and_with_it_the_outcome():
    gains = [0.05, 0.09, 0.13]
    low, _ = paired_by_hand(gains, 0.95)
    assert low < 0.02 < paired_by_hand(gains, 0.8)[0]
    assert found(with_gains(*gains), "depth utility").status == "flag"
    assert found(with_gains(*gains), "depth utility", Thresholds(level=0.8)).status == "pass"


@pytest.mark.parametrize(
    ("accuracy", "control", "status"),
    [(0.52, 0.50, "pass"), (0.5199, 0.50, "flag"), (0.30, 0.28, "pass"), (0.63, 0.61, "pass")],
)
def test_one_seed_at_the_limit_of_two_points(accuracy, control, status):
    """Exactly two points are enough, whatever the rounding of a difference of floats."""
    finding = found(method(run(1, accuracy, control)), "depth utility")
    assert finding.status == status
    assert "one seed, no interval" in finding.evidence


@pytest.mark.parametrize("missing", [{"control": None}, {"accuracy": None}])
def test_without_its_pair_depth_utility_is_unmeasured(missing):
    finding = found(method(run(1), run(2, **missing), run(3)), "depth utility")
    assert (finding.status, finding.value) == ("unmeasured", None)


def test_the_seed_that_diverged_needs_no_control():
    lost = replace(diverged(2), control=None)
    assert found(method(run(1), lost, run(3)), "depth utility").status == "pass"


# --- deep credit -----------------------------------------------------------------------


def test_the_stem_does_not_count_as_deep():
    aligned_stem = method(run(1, at=0, cosine_mean=-1.0, null_std=None))
    assert found(aligned_stem, "deep credit").status == "pass"


def test_deep_credit_names_the_weak_states():
    weak = (reading(0), reading(1), reading(2, cosine_mean=0.01), reading(3, cosine_mean=-0.9))
    finding = found(method(Run(1, 0.9, weak, 0.5)), "deep credit")
    assert (finding.status, finding.severity) == ("flag", "caution")
    assert "+0.50 +0.01 -0.90" in finding.evidence
    assert "not above fresh feedback at h2, h3" in finding.evidence
    assert "h2, h3" in finding.consequence


@pytest.mark.parametrize("hole", ["cosine_mean", "null_std"])
def test_deep_credit_without_null_or_cosine_is_unmeasured(hole):
    finding = found(method(run(1), run(2, at=2, **{hole: None})), "deep credit")
    assert (finding.status, finding.value) == ("unmeasured", None)


def test_a_null_without_spread_is_unmeasured():
    """`p_value` answers NaN, that is unmeasured, and NaN has no place in a record."""
    finding = found(method(run(1, at=2, null_std=0.0)), "deep credit")
    assert (finding.status, finding.value) == ("unmeasured", None)


def test_a_credit_that_is_the_gradient_has_nothing_to_test():
    bp = method(run(1, null_std=None, cosine_mean=1.0), rule="bp", credit_is_gradient=True)
    finding = found(bp, "deep credit")
    assert (finding.status, finding.threshold) == ("pass", None)
    assert "by construction" in finding.evidence


def test_a_pooled_null_is_that_of_a_mean_over_seeds():
    """Two seeds at 1.5σ: neither is clear alone, their mean is at 2.1 of its own σ."""
    alone = method(Run(1, 0.9, layers(states=2, cosine_mean=0.03, null_std=0.02), 0.5))
    both = method(*(Run(s, 0.9, alone.runs[0].layers, 0.5) for s in (1, 2)))
    assert found(alone, "deep credit").status == "flag"
    finding = found(both, "deep credit")
    assert finding.status == "pass"
    assert finding.value == pytest.approx(0.5 * math.erfc(1.5), rel=1e-9)
