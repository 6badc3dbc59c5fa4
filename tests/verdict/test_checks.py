"""Every check on methods made by hand, at and around its threshold."""

import math
import statistics
from dataclasses import replace

import pytest
from hand_made import (
    NAMES,
    direction,
    diverged,
    found,
    layers,
    method,
    precision,
    reading,
    residual,
    run,
)

from faeval.core.reading import Reading
from faeval.verdict.judge import examine, judge
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
        assert finding.margin is None or finding.margin >= 0
        assert finding.evidence in finding.sentence


# --- labels ----------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["permuted", "random"])
def test_a_network_trained_on_other_labels_is_refused_however_well_it_looks(labels):
    control = method(labels=labels)
    finding = found(control, "labels")
    assert (finding.status, finding.severity) == ("flag", "refuse")
    assert labels in finding.evidence
    verdict = judge(examine(control, Thresholds()))
    assert (verdict.verdict, verdict.reasons) == ("refuse", ("labels",))


# --- convergence -----------------------------------------------------------------------


def test_convergence_names_the_seeds_that_diverged():
    finding = found(method(run(1), diverged(2), diverged(7)), "convergence")
    assert (finding.status, finding.severity, finding.value) == ("flag", "refuse", 2)
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
    assert [f.status for f in findings] == ["pass", "flag"] + ["unmeasured"] * 11
    assert all(f.value is None for f in findings[2:])


def test_a_run_without_readings_measures_nothing():
    findings = examine(method(Run(seed=1, accuracy=None)), Thresholds())
    left = [f.status for f in findings if f.check != "rule's own account"]  # none is asked for
    assert left == ["pass", "pass"] + ["unmeasured"] * 10


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


@pytest.mark.parametrize("hidden", [0, 1, 2, 3])
def test_a_state_without_a_norm_leaves_growth_unmeasured(hidden):
    """A ratio that nobody could form may be the one that exceeds the limit."""
    values = [10.0, 10.0, 10.0, 10.0]
    values[hidden] = None
    broken = Run(1, 0.9, norms(*values), 0.5)
    finding = found(method(broken, run(2)), "scale stability")
    assert (finding.status, finding.value) == ("unmeasured", None)


def test_growth_from_first_to_last_is_told():
    finding = found(method(Run(4, 0.9, norms(2, 4, 4, 16), 0.5)), "scale stability")
    assert "8× from first to last" in finding.evidence


def test_a_stem_of_norm_zero_is_no_crash():
    finding = found(method(Run(1, 0.9, norms(0.0, 1.0, 2.0), 0.5)), "scale stability")
    assert (finding.status, finding.value) == ("unmeasured", None)


def test_growth_out_of_nothing_does_not_pass():
    finding = found(method(Run(1, 0.9, norms(1.0, 0.0, 1e6), 0.5)), "scale stability")
    assert (finding.status, finding.value) == ("unmeasured", None)


def test_a_last_state_of_norm_zero_is_no_growth():
    finding = found(method(Run(1, 0.9, norms(1.0, 2.0, 0.0), 0.5)), "scale stability")
    assert (finding.status, finding.value) == ("pass", 2.0)


@pytest.mark.parametrize("values", [(1e-200, 1e200, 1e200), (1.0, 1e-200, 1e200)])
def test_a_growth_beyond_the_float_range_stays_a_finite_record(values):
    finding = found(method(Run(1, 0.9, norms(*values), 0.5), run(2, states=3)), "scale stability")
    assert (finding.status, finding.value, finding.margin) == ("unmeasured", None, None)
    assert "inf" not in finding.evidence.replace("finite", "")


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


@pytest.mark.parametrize(
    ("norm", "status"), [(1e-300, "flag"), (9.9e-8, "flag"), (1e-7, "pass"), (1.0, "pass")]
)
def test_the_published_floor_is_told_and_never_decides(norm, status):
    """Check (b) of arXiv 2606.21126 moves with the batch size."""
    quiet = method(run(1), run(2, at=3, reference_norm_mean_loss=norm))
    findings = examine(quiet, Thresholds())
    floor = findings[NAMES.index("published floor")]
    assert (floor.status, floor.severity, floor.value) == (status, "note", min(norm, 1e-5))
    assert {f.status for f in findings if f is not floor} == {"pass"}
    assert judge(findings).verdict == "trust"
    assert f"{min(norm, 1e-5):.1e} for a batch of 1000" in floor.evidence
    assert "published floor 1e-07" in floor.evidence


def test_the_floor_tells_what_the_clamp_does_where_it_does_most():
    clamped = method(run(1), run(2, at=2, cosine_clamped=0.04), run(3, at=1, cosine_clamped=0.4))
    evidence = found(clamped, "published floor").evidence
    assert "reads +0.040 at h2 (seed 2) where +0.500 is true" in evidence


# --- half precision --------------------------------------------------------------------


def test_half_precision_tells_the_states_it_would_have_changed_and_never_decides():
    bad = precision("float16", cosine=0.1, samples_lost=700, conclusion_changes=True)
    half = method(run(1), run(2, at=3, precisions=(precision(), bad, precision("bfloat16"))))
    findings = examine(half, Thresholds())
    finding = findings[NAMES.index("half precision")]
    assert (finding.status, finding.severity, finding.value) == ("flag", "note", 1)
    for words in ("float16", "at h3", "+0.500 to +0.100", "700 of 1000 samples lost"):
        assert words in finding.evidence
    assert "bfloat16 " not in finding.evidence
    assert judge(findings).verdict == "trust"


def test_half_precision_that_was_not_tried_is_unmeasured_and_no_reason_for_caution():
    findings = examine(method(run(1, precisions=(precision(),))), Thresholds())
    assert findings[NAMES.index("half precision")].status == "unmeasured"
    assert judge(findings).verdict == "trust"


def test_half_precision_of_a_credit_that_is_the_gradient_has_nothing_to_read():
    bad = precision("float16", cosine=0.1, samples_lost=700, conclusion_changes=True)
    for precisions in ((precision(),), (precision(), bad)):
        bp = method(run(1, precisions=precisions), rule="bp", credit_is_gradient=True)
        finding = found(bp, "half precision")
        assert (finding.status, finding.severity) == ("pass", "note")
        assert (finding.value, finding.threshold, finding.margin) == (None, None, None)
        assert "as declared" in finding.evidence


# --- direction drift -------------------------------------------------------------------


@pytest.mark.parametrize(("coherence", "status"), [(0.5, "pass"), (above(0.5), "flag")])
def test_drift_at_the_limit(coherence, status):
    finding = found(method(run(1), run(2, at=2, direction=direction(coherence))), "direction drift")
    assert (finding.status, finding.severity, finding.value) == (status, "caution", coherence)
    assert finding.evidence == (
        "50% of the squared gradient is common to all samples at h2 (seed 2, the largest; "
        "limit 50%); means of 8 batches of 125 have cosine +0.40"
    )


@pytest.mark.parametrize(("limit", "told"), [(0.355, "35.5%"), (0.29, "29%"), (1.0, "100%")])
def test_a_limit_is_told_with_the_digits_it_needs(limit, told):
    evidence = found(method(), "direction drift", Thresholds(drift=limit)).evidence
    assert f"; limit {told});" in evidence


def test_drift_without_batches_is_unmeasured():
    assert found(method(run(1, direction=None)), "direction drift").status == "unmeasured"


@pytest.mark.parametrize("hole", [None, direction(None)])
def test_one_state_without_direction_does_not_pass_unseen(hole):
    """Unmeasured at one state is unmeasured: it may be the one that drifts."""
    finding = found(method(run(1), run(2, at=2, direction=hole)), "direction drift")
    assert finding.status == "unmeasured"


# --- rule active -----------------------------------------------------------------------


@pytest.mark.parametrize(("cosine", "status"), [(1 - 1e-6, "pass"), (1 - 5e-7, "flag")])
def test_a_rule_whose_every_update_is_backpropagation(cosine, status):
    finding = found(method(run(1, update_cosine=cosine)), "rule active")
    assert (finding.status, finding.severity) == (status, "refuse")


def test_one_state_that_differs_is_enough_for_a_rule():
    """FA starts from the true gradient at the last state, by its definition."""
    states = (*layers(update_cosine=1.0)[:3], reading(3, update_cosine=0.2))
    finding = found(method(Run(1, 0.9, states, 0.5)), "rule active")
    assert finding.status == "pass"
    assert "+0.200" in finding.evidence
    assert "h3" in finding.evidence


def test_without_updates_the_credit_tells_whether_a_rule_is_active():
    same = run(1, update_cosine=None, cosine_mean=1.0)
    assert found(method(same), "rule active").status == "flag"
    assert found(method(run(1, update_cosine=None)), "rule active").status == "pass"


def test_a_credit_of_cosine_zero_is_a_rule_at_work():
    orthogonal = method(run(1, update_cosine=None, cosine_mean=0.0))
    assert found(orthogonal, "rule active").status == "pass"


# --- independent credit ----------------------------------------------------------------

BUILT_IN = {"cosine_mean": 1.0, "cosine_quantiles": (1.0,) * 5}


def test_a_credit_that_is_the_reference_is_named_and_left_out():
    """FA from the true gradient at the last state."""
    finding = found(
        method(run(1, at=3, **BUILT_IN), run(2, at=3, **BUILT_IN)), "independent credit"
    )
    assert (finding.status, finding.severity, finding.value) == ("flag", "caution", 1)
    assert "at h3" in finding.evidence
    assert "+0.500" in finding.evidence


def test_built_in_states_do_not_count_as_deep_credit():
    weak = {"cosine_mean": 0.0}
    states = (reading(0), reading(1, **weak), reading(2), reading(3, null=None, **BUILT_IN))
    finding = found(method(Run(1, 0.9, states, 0.5)), "deep credit")
    assert finding.status == "flag"
    assert "h3" not in finding.evidence


@pytest.mark.parametrize("check", ["rule active", "independent credit", "deep credit"])
def test_the_gradient_of_saturated_samples_is_built_in_too(check):
    """Backpropagation passed as a rule once its float32 gradient had become rounding in part."""
    own = replace(precision(), cosine=1 - 1e-15)
    rounded = {"cosine_mean": 0.92, "cosine_quantiles": (0.49, 0.8, 0.98, 1.0, 1.0)}
    disguised = run(1, precisions=(own,), update_cosine=None, update_error=None, **rounded)
    assert found(method(disguised), check).status != "pass"


def test_a_high_cosine_is_not_built_in():
    high = {"cosine_mean": 0.999, "cosine_quantiles": (0.99, 1.0, 1.0, 1.0, 1.0)}
    assert found(method(run(1, at=3, **high)), "independent credit").status == "pass"
    one_seed = method(run(1, at=3, **BUILT_IN), run(2))
    assert found(one_seed, "independent credit").status == "pass"


# --- layer mean ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cosines", "status", "share"),
    [
        ((0.5, 0.5, 0.5, 0.5), "pass", 0.25),
        ((1.0, 0.5, 0.25, 0.25), "pass", 0.5),
        ((0.42, 0.0, 0.01, -0.01), "flag", 0.42 / 0.44),
        ((0.0, 0.1, -0.9, 0.1), "flag", 0.9 / 1.1),
    ],
)
def test_a_mean_that_one_state_carries(cosines, status, share):
    states = tuple(reading(l, cosine_mean=c) for l, c in enumerate(cosines))
    finding = found(method(Run(1, 0.9, states, 0.5)), "layer mean")
    assert (finding.status, finding.severity) == (status, "caution")
    assert finding.value == pytest.approx(share)
    assert f"layer mean {statistics.fmean(cosines):+.3f}" in finding.evidence


def test_a_mean_over_two_states_hides_nothing_and_without_cosine_there_is_none():
    assert found(method(run(1, states=2)), "layer mean").status == "pass"
    assert (
        found(method(run(1), run(2, at=1, cosine_mean=None)), "layer mean").status == "unmeasured"
    )


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
        ((0.019, 0.018, 0.020), "flag", "caution"),
        ((0.011, 0.010, 0.012), "flag", "refuse"),
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
        f"95% over {len(gains)} seeds {100 * low:+.1f} pp to {100 * high:+.1f}" in finding.evidence
    )


@pytest.mark.parametrize(
    ("gains", "severity", "said"),
    [
        ((-0.20, 0.17), "caution", "do not rule one out"),
        ((0.01, 0.012, 0.011), "refuse", "gains nothing worth the name"),
        ((-0.1, -0.11, -0.1), "refuse", "does harm"),
    ],
)
def test_a_gain_that_is_not_shown_is_refused_only_where_its_interval_excludes_one(
    gains, severity, said
):
    finding = found(with_gains(*gains), "depth utility")
    assert (finding.status, finding.severity) == ("flag", severity)
    assert said in finding.consequence


def test_a_gain_between_two_scores_below_a_constant_is_none():
    """R² of −0.06 over −0.10 passed."""
    finding = found(method(run(1, -0.06, -0.10), run(2, -0.05, -0.09)), "depth utility")
    assert (finding.status, finding.severity) == ("flag", "refuse")
    assert "no better than a constant" in finding.consequence


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
    assert "h1 +0.50 h2 +0.01 h3 -0.90" in finding.evidence
    assert "not above fresh feedback at h2, h3" in finding.evidence
    assert "h2, h3" in finding.consequence


@pytest.mark.parametrize("hole", ["cosine_mean", "null_std", "null"])
def test_deep_credit_without_null_or_cosine_is_unmeasured(hole):
    finding = found(method(run(1), run(2, at=2, **{hole: None})), "deep credit")
    assert (finding.status, finding.value) == ("unmeasured", None)


def test_a_null_without_spread_is_unmeasured():
    """`p_value` answers NaN, that is unmeasured, and NaN has no place in a record."""
    flat = run(1, at=2, null_std=0.0), run(2, at=2, null_std=0.0)
    for seeds in (flat[:1], flat):
        finding = found(method(*seeds), "deep credit")
        assert (finding.status, finding.value) == ("unmeasured", None)


def test_a_null_without_spread_is_no_strong_evidence_beside_another():
    """Two seeds, one without spread: their pooled null would be too narrow."""
    finding = found(method(run(1, at=2, null_std=0.0), run(2)), "deep credit")
    assert (finding.status, finding.value) == ("unmeasured", None)


def test_a_credit_that_is_the_gradient_has_nothing_to_test():
    bp = method(run(1, null_std=None, cosine_mean=1.0), rule="bp", credit_is_gradient=True)
    finding = found(bp, "deep credit")
    assert (finding.status, finding.threshold) == ("pass", None)
    assert "as declared" in finding.evidence


def test_a_pooled_null_is_that_of_a_mean_over_seeds():
    """Two seeds at 1.5σ: neither is clear alone, their mean is at 2.1 of its own σ."""
    alone = method(Run(1, 0.9, layers(states=2, cosine_mean=0.03, null_std=0.02), 0.5))
    both = method(*(Run(s, 0.9, alone.runs[0].layers, 0.5) for s in (1, 2)))
    assert found(alone, "deep credit").status == "flag"
    finding = found(both, "deep credit")
    assert finding.status == "pass"
    assert finding.value == pytest.approx(0.5 * math.erfc(1.5), rel=1e-9)


def test_deep_credit_tells_what_one_fresh_draw_reads():
    """The trained feedback has learned its place, a fresh one has not."""

    def layers_with(fresh: float) -> tuple[Reading, ...]:
        p = 0.5 * math.erfc(fresh / 0.02 / math.sqrt(2))
        changed = {"fresh": fresh, "fresh_p": p}
        return tuple(
            replace(r, null=r.null and replace(r.null, **changed)) for r in layers(states=3)
        )

    def evidence(*fresh: float) -> str:
        runs = (Run(s, 0.9, layers_with(c)) for s, c in enumerate(fresh))
        return found(method(*runs), "deep credit").evidence

    assert "one fresh draw does not stand above it (smallest corrected p 0.31)" in evidence(0.01)
    assert "one fresh draw stands above it" in evidence(0.1)
    # Three seeds at one standard deviation: their mean is at 1.7 of its own.
    expected = 0.5 * math.erfc(math.sqrt(3 / 2))
    assert f"(smallest corrected p {expected:.2g})" in evidence(0.02, 0.02, 0.02)
    assert "fresh draw" not in found(method(run(1)), "deep credit").evidence


def test_deep_credit_of_seeds_is_over_the_images_of_the_null():
    """A drawn null is taken on fewer images than the reading: its own mean is what it judges."""
    runs = [run(s) for s in (1, 2)]
    strong = method(*runs)
    few = [
        replace(r, layers=tuple(replace(l, null=replace(l.null, observed=0.0)) for l in r.layers))
        for r in runs
    ]
    assert found(strong, "deep credit").status == "pass"
    finding = found(method(*few), "deep credit")
    assert (finding.status, finding.value) == ("flag", pytest.approx(0.5))


# --- a credit of zero, and an update that is not the rule's ----------------------------


ZERO = {
    "cosine_mean": None, "cosine_quantiles": None, "cosine_std": None, "update_cosine": None,
    "undefined": 1000, "zero": 1000, "zero_credit": 1000, "null": None, "credit_norm": 0.0,
    "update_error": 0.0,
}  # fmt: skip


def test_a_zero_credit_is_told_and_not_blamed_on_the_reference():
    shallow = method(run(1, **ZERO), rule="shallow")
    assert found(shallow, "reference validity").status == "pass"
    active = found(shallow, "rule active")
    assert active.status == "pass"
    assert "the credit is zero at h0, h1, h2, h3" in active.evidence
    for check in ("independent credit", "deep credit", "layer mean"):
        finding = found(shallow, check)
        assert finding.status == "unmeasured"
        assert "no cosine where the credit is zero, at h0, h1, h2, h3" in finding.evidence


def test_a_zero_reference_is_still_to_blame():
    dead = ZERO | {"zero_credit": 0}
    assert found(method(run(1, **dead)), "reference validity").status == "flag"


def test_backpropagation_at_one_state_and_no_credit_elsewhere_is_a_rule():
    states = (reading(0, **ZERO), reading(1, **ZERO), reading(2, update_cosine=1.0))
    finding = found(method(Run(1, 0.9, states)), "rule active")
    assert finding.status == "pass"
    assert "zero at h0, h1, where backpropagation has a gradient" in finding.evidence


def test_an_update_that_is_not_its_closed_form_refutes_the_rule():
    finding = found(method(run(1), run(2, at=2, update_error=2e-3)), "rule active")
    assert (finding.status, finding.severity) == ("flag", "refuse")
    assert (finding.value, finding.threshold) == (2e-3, 1e-3)
    assert "update into h2 is 2.0e-03 from its closed form (limit 0.001)" in finding.evidence
    raised = Thresholds(update_error=1e-2)
    passed = found(method(run(1), run(2, at=2, update_error=2e-3)), "rule active", raised)
    assert passed.status == "pass"
    assert "every update within 2.0e-03 of its closed form (limit 0.01)" in passed.evidence
    unknown = found(method(run(1, at=1, update_error=None)), "rule active")
    assert unknown.status == "unmeasured"


@pytest.mark.parametrize(
    ("granularity", "said"),
    [
        ("block", "each block learns from the credit of its input state by exact transposes"),
        ("layer", "every layer learns from what the rule's own transposes hand to it"),
    ],
)
def test_rule_active_tells_which_signal_trains_what(granularity, said):
    told = method(run(1), granularity=granularity, transports_weights="head", credit_at="input")
    evidence = found(told, "rule active").evidence
    assert said in evidence
    assert "(forward weights that the signal reads: head)" in evidence


def test_scale_stability_tells_the_growth_since_initialisation():
    grown = method(run(1, state_norm_initial=4.0), run(2, at=2, state_norm_initial=0.1))
    evidence = found(grown, "scale stability").evidence
    assert evidence.endswith("at most 100× since initialisation (h2)")
    assert "since" not in found(method(run(1)), "scale stability").evidence


# --- deep credit of a rule that draws nothing ------------------------------------------------


@pytest.mark.parametrize(("low", "status"), [(1e-9, "pass"), (0.0, "flag"), (-0.1, "flag")])
def test_without_feedback_the_interval_over_images_decides(low, status):
    deterministic = method(
        run(1, null=None), run(2, null=None, at=2, cosine_low=low), feedback="none"
    )
    finding = found(deterministic, "deep credit")
    assert finding.status == status
    if status == "flag":
        assert "h2" in finding.consequence
    with_feedback = replace(deterministic, feedback="fixed")
    assert found(with_feedback, "deep credit").status == "unmeasured"


def test_without_feedback_and_interval_the_credit_is_unmeasured():
    blind = method(run(1, null=None, cosine_low=None), feedback="none")
    assert found(blind, "deep credit").status == "unmeasured"


REACHED = {"update_cosine": 1.0, "cosine_mean": 1.0, "cosine_quantiles": (1.0,) * 5, "null": None}


@pytest.mark.parametrize("check", ["rule active", "independent credit", "deep credit"])
def test_equilibrium_propagation_that_reaches_the_gradient_is_no_disguise(check):
    """It was told as backpropagation in disguise where its estimate was good to 1e-6."""
    estimate = method(run(1, **REACHED), feedback="none", transports_weights="all")
    assert found(estimate, check).status == "pass"
    for undeclared in ({"feedback": "fixed"}, {"transports_weights": "nothing"}):
        assert found(replace(estimate, **undeclared), check).status != "pass"


def test_a_null_away_from_zero_is_told_with_its_mean():
    shifted = [replace(r, null=replace(r.null, mean=0.3 + 0.1 * r.state)) for r in layers(states=4)]
    finding = found(method(Run(1, 0.9, tuple(shifted), 0.5)), "deep credit")
    assert "+0.40 to +0.60 ±" in finding.evidence


# --- the rule's own account ------------------------------------------------------------


def account(*values: float | None, limit: float | None = 0.1):
    runs = [replace(run(i), diagnostics=(residual(v, limit),)) for i, v in enumerate(values)]
    return found(method(*runs), "rule's own account")


@pytest.mark.parametrize(("worst", "status"), [(0.1, "pass"), (above(0.1), "flag")])
def test_a_rule_that_did_not_come_to_its_end_is_told_and_never_decides(worst, status):
    finding = account(0.003, worst, 0.02)
    assert (finding.status, finding.value, finding.threshold) == (status, worst, 0.1)
    assert finding.evidence == "residual 0.003 to 0.1 (limit 0.1)"
    assert judge([finding]).verdict == "trust"


def test_an_account_that_is_no_number_is_beyond_its_limit():
    finding = account(0.003, None)
    assert (finding.status, finding.value) == ("flag", None)
    assert finding.evidence == "residual not finite (limit 0.1)"


def test_an_account_without_limit_is_told_and_one_that_was_not_given_says_so():
    assert account(0.5, limit=None).evidence == "residual 0.5"
    assert account(0.5, limit=None).status == "pass"
    silent = found(method(replace(run(1), diagnostics=())), "rule's own account")
    assert (silent.status, silent.severity) == ("pass", "note")
    assert "says nothing" in silent.evidence
    older = method(replace(run(1), diagnostics=()), run(2))
    assert found(older, "rule's own account").evidence == "residual 0.01 (limit 0.1)"


def test_without_updates_no_check_says_what_trained_the_network():
    credit = found(method(run(1, update_cosine=None, update_error=None)), "rule active")
    assert (credit.status, credit.consequence) == ("pass", "The credit is not the gradient.")
    update = found(method(run(1)), "rule active")
    assert (update.status, update.consequence) == ("pass", "The network was trained by its rule.")
