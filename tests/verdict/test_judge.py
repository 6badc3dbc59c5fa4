"""From findings to verdicts: what may change one, and what may not."""

import itertools
from dataclasses import replace

import pytest
from hand_made import NAMES, direction, diverged, found, method, reading, run
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from faeval.verdict.finding import Finding
from faeval.verdict.judge import Judgement, examine, judge, judge_all
from faeval.verdict.method import Method, Run, Thresholds

# Without shrinking: methods are large, and a failure would take minutes to tell.
quick = settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
ORDER = ["trust", "caution", "refuse"]

maybe = st.none() | st.floats(-1, 1)
positive = st.floats(1e-6, 1e6)
readings = st.builds(
    reading,
    state=st.just(0),
    undefined=st.integers(0, 1000),
    cosine_mean=maybe,
    state_norm=st.none() | positive,
    null_std=st.none() | st.floats(1e-3, 1),
    update_cosine=maybe,
    direction=st.none() | st.builds(direction, st.none() | st.floats(-0.1, 1)),
    reference_relative_error=st.none() | st.floats(0, 1),
    reference_norm_mean_loss=st.none() | positive,
)


@st.composite
def methods(draw) -> Method:
    states = draw(st.integers(2, 5))
    runs = []
    for seed in draw(st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True)):
        if draw(st.integers(0, 4)) == 0:
            runs.append(diverged(seed))
            continue
        at = tuple(replace(draw(readings), state=l) for l in range(states))
        scores = draw(st.tuples(*[st.none() | st.floats(0, 1)] * 2))
        runs.append(Run(seed, scores[0], at, scores[1]))
    return Method("dfa", 0.0, tuple(runs), draw(st.booleans()))


def numbers(findings: list[Finding]) -> list:
    """The values of findings, for a comparison up to the order of sums."""
    return [
        None if f.value is None else pytest.approx(f.value, rel=1e-9, abs=1e-12) for f in findings
    ]


@quick
@given(methods(), st.randoms(use_true_random=False))
def test_the_order_of_seeds_changes_nothing(one, random):
    shuffled = list(one.runs)
    random.shuffle(shuffled)
    a, b = (examine(m, Thresholds()) for m in (one, replace(one, runs=tuple(shuffled))))
    assert [(f.check, f.status, f.severity) for f in a] == [
        (f.check, f.status, f.severity) for f in b
    ]
    assert [f.value for f in a] == numbers(b)
    assert judge(a) == judge(b)


@quick
@given(methods(), st.floats(1e-9, 1e9))
def test_the_unit_of_the_states_does_not_matter(one, c):
    def scaled(r):
        return replace(r, state_norm=None if r.state_norm is None else c * r.state_norm)

    other = replace(
        one, runs=tuple(replace(r, layers=tuple(map(scaled, r.layers))) for r in one.runs)
    )
    a, b = (found(m, "scale stability") for m in (one, other))
    assert b.value == (None if a.value is None else pytest.approx(a.value, rel=1e-12))
    # Rounding may carry a ratio over the limit only if it lies on it.
    assert a.status == b.status or a.value == pytest.approx(50, rel=1e-12)


@quick
@given(methods(), st.data())
def test_a_lost_control_leaves_depth_utility_unmeasured(one, data):
    if not one.completed:
        return
    lost = data.draw(st.sampled_from(one.completed))
    runs = tuple(replace(r, control=None) if r is lost else r for r in one.runs)
    findings = examine(replace(one, runs=runs), Thresholds())
    assert found(replace(one, runs=runs), "depth utility").status == "unmeasured"
    assert judge(findings).verdict != "trust"


@quick
@given(methods())
def test_trust_means_that_every_check_was_passed(one):
    findings = examine(one, Thresholds())
    verdict = judge(findings)
    deciding = [f for f in findings if f.severity != "note"]
    assert (verdict.verdict == "trust") == all(f.status == "pass" for f in deciding)
    assert (verdict.reasons == ()) == (verdict.verdict == "trust")
    statuses = {f.check: f.status for f in findings}
    assert all(statuses[check] != "pass" for check in verdict.reasons)
    for finding in findings:
        assert (finding.status == "unmeasured") <= (finding.value is None)
        if finding.margin is not None:
            assert (finding.status == "flag") >= (finding.margin < 0)
            assert abs(finding.margin) == abs(finding.value - finding.threshold)


def made(check: str, status: str, severity: str) -> Finding:
    return Finding("dfa", check, status, severity, None, None, None, "evidence", "Consequence.")


weights = st.tuples(
    st.sampled_from(["pass", "flag", "unmeasured"]), st.sampled_from(["note", "caution", "refuse"])
)
findings_lists = st.lists(weights, min_size=1, max_size=5).map(
    lambda parts: [made(name, *part) for name, part in zip(NAMES, parts, strict=False)]
)


@quick
@given(findings_lists, weights)
def test_the_worst_wins_and_one_more_finding_never_mends(findings, more):
    def weight(status, severity):
        if severity == "note":
            return 0
        return 0 if status == "pass" else 1 if status == "unmeasured" else ORDER.index(severity)

    each = [weight(f.status, f.severity) for f in findings]
    before = judge(findings)
    assert before.verdict == ORDER[max(each)]
    if max(each):
        assert before.reasons == tuple(
            f.check for f, w in zip(findings, each, strict=True) if w == max(each)
        )
    after = judge([*findings, made("another", *more)])
    assert ORDER.index(after.verdict) == max(*each, weight(*more))


def test_an_unmeasured_check_means_caution_whatever_it_would_have_meant():
    for check, severity in itertools.product(NAMES, ("caution", "refuse")):
        verdict = judge([made("x", "pass", "refuse"), made(check, "unmeasured", severity)])
        assert (verdict.verdict, verdict.reasons) == ("caution", (check,))


@pytest.mark.parametrize(
    ("one", "verdict", "reasons"),
    [
        (method(), "trust", ()),
        (method(run(1), diverged(2)), "refuse", ("convergence",)),
        (method(diverged(1)), "refuse", ("convergence",)),
        (method(run(1, 0.51, 0.5), run(2, 0.51, 0.5)), "refuse", ("depth utility",)),
        (method(run(1, control=None)), "caution", ("depth utility",)),
        (
            method(run(1, control=None, at=2, cosine_mean=0.0)),
            "caution",
            ("deep credit", "depth utility"),
        ),
        (
            method(run(1, 0.5, 0.5, at=2, reference_relative_error=1.0)),
            "refuse",
            ("reference validity", "depth utility"),
        ),
        (method(run(1, at=3, state_norm=1e4)), "caution", ("scale stability",)),
    ],
)
def test_verdicts_of_whole_methods(one, verdict, reasons):
    got = judge(examine(one, Thresholds()))
    assert (got.method, got.verdict, got.reasons) == ("dfa", verdict, reasons)


def test_judge_all_keeps_methods_apart_and_in_order():
    several = [
        method(rule="fa"),
        method(run(1, control=None), rule="dfa"),
        method(diverged(1), rule="dfa", penalty=0.01),
    ]
    got = judge_all(several, Thresholds())
    assert isinstance(got, Judgement)
    assert [v.method for v in got.verdicts] == ["fa", "dfa", "dfa λ=0.01"]
    assert [v.verdict for v in got.verdicts] == ["trust", "caution", "refuse"]
    for one in several:
        assert list(got.findings_on(one.name)) == examine(one, Thresholds())
    assert len(got.findings) == 3 * len(NAMES)


def test_thresholds_refuse_what_makes_no_sense():
    from pydantic import ValidationError

    for bad in ({"growth": 0}, {"level": 1}, {"level": 95}, {"undefined": -0.1}, {"grwoth": 1}):
        with pytest.raises(ValidationError):
            Thresholds.model_validate(bad)
