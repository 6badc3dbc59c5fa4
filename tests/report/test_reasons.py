"""What would change a verdict, and what common practice says, on findings with a known answer."""

import pytest
from materials import material, record, sweep
from studies import LEVEL

from faeval.report.reasons import READER, common_practice, gist, lesson, what_would_change
from faeval.report.view import MethodRow, method_rows, state_rows
from faeval.stats.intervals import student_t
from faeval.verdict.finding import Finding
from faeval.verdict.judge import judge


def finding(check: str, status="pass", severity="caution", value=1.0, threshold=2.0) -> Finding:
    margin = None if value is None else threshold - value
    return Finding("m", check, status, severity, value, threshold, margin, "e", f"So {check}.")


def test_what_would_change_is_what_the_judge_would_say():
    findings = [
        finding("scale stability", "flag", "caution", 54.0, 50.0),
        finding("depth utility", "flag", "refuse", 0.01, 0.02),
        finding("layer mean"),
    ]
    verdict = judge(findings)
    lines = what_would_change(verdict, findings)
    assert lines[0].startswith("depth utility: passes where the gain over frozen blocks reaches")
    assert "(now 0.01)" in lines[0]
    assert lines[-1] == "With this: caution (then because of scale stability)."
    assert gist(verdict, findings) == "So depth utility."


def test_trust_names_the_check_nearest_to_its_limit():
    findings = [
        finding("scale stability", value=10.0, threshold=50.0),
        finding("layer mean", value=0.45, threshold=0.5),
        finding("published floor", severity="note", value=1.99, threshold=2.0),
        finding("deep credit", value=None, threshold=None),
    ]
    (line,) = what_would_change(judge(findings), findings)
    assert line == (
        "Closest to its limit is layer mean: 0.45, limit 0.5 (10% of the limit left). "
        "Beyond it the verdict would be caution."
    )


def test_what_is_unmeasured_asks_to_be_measured():
    findings = [finding("depth utility", "unmeasured", "refuse", None, None)]
    first, last = what_would_change(judge(findings), findings)
    assert first.startswith("depth utility: measure it (e)")
    assert last == "With this: trust."


def row(name: str, accuracy: float | None) -> MethodRow:
    mean = None if accuracy is None else student_t([accuracy], population="seeds")
    return MethodRow(name, mean, None, None, "trust", ())


@pytest.mark.parametrize(
    ("clamped", "accepts"), [(READER + 0.01, True), (0.0, False), (-READER - 0.01, False)]
)
def test_common_practice_follows_the_mean_clamped_cosine(clamped, accepts):
    rows = [row("a", 0.5), row("b", 0.9)]
    mean = state_rows(material([record(1)]).members[0].method, LEVEL)[-1]
    states = [mean.__class__(**{**mean.__dict__, "clamped": clamped})]
    alone, with_cosine = common_practice(rows[0], rows, states, False)
    assert alone.accepts
    assert "2nd of 2" in alone.sentence
    assert with_cosine.accepts is accepts
    assert f"{clamped:+.3f}" in with_cosine.sentence


def test_a_diverged_method_is_accepted_by_nobody():
    (practice,) = common_practice(row("a", None), [row("a", None)], [], False)
    assert not practice.accepts


def test_lessons_are_false_alarms_and_misses():
    study = material(sweep())
    rows = method_rows(study.judgement, LEVEL)
    for one, member in zip(rows, study.members, strict=True):
        states = state_rows(member.method, LEVEL)
        practices = common_practice(one, rows, states, member.method.credit_is_gradient)
        told = lesson(member.verdict, practices)
        wrong = [p for p in practices if p.accepts != (member.verdict.verdict == "trust")]
        assert ("agree" in told) == (not wrong)
        for check in member.verdict.reasons if wrong else ():
            assert check in told
