"""What a verdict rests on, what would change it, and what common practice would have said. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from faeval.report.view import MethodRow, StateRow
from faeval.report.wording import limit, signed, value
from faeval.verdict.finding import Finding
from faeval.verdict.judge import Verdict, judge

READER = 0.05  # a layer mean above this is usually read as alignment (our guess at readers)

_PASSES = {
    "convergence": "every seed ends with finite numbers",
    "scale stability": "no block makes ‖h‖ more than {limit} times as large",
    "reference validity": "the gradient is within {limit} of float64 and every sample has a cosine",
    "direction drift": "at most {limit} of the squared gradient is common to all samples",
    "rule active": "some update has a cosine below {limit} with that of backpropagation",
    "independent credit": "no state's credit is the reference by construction",
    "deep credit": "the cosine beats fresh feedback at every state behind a block (p ≤ {limit})",
    "layer mean": "no state holds more than {limit} of the layer mean",
    "depth utility": "the gain over frozen blocks reaches {limit}, with its whole interval",
}


@dataclass(frozen=True)
class Practice:
    """What one habit of reading would have concluded from the same run."""

    habit: str
    accepts: bool
    sentence: str


def gist(verdict: Verdict, findings: Sequence[Finding]) -> str:
    """The verdict in a sentence or two: what its deciding findings mean."""
    by_check = {f.check: f for f in findings}
    if verdict.verdict != "trust":
        told = [by_check[check] for check in verdict.reasons]
        return " ".join(f.consequence for f in told)
    strongest = [by_check.get(check) for check in ("deep credit", "depth utility")]
    good = [f.consequence for f in strongest if f and f.status == "pass" and f.value is not None]
    return " ".join(good) or "Every check passed."


def what_would_change(verdict: Verdict, findings: Sequence[Finding]) -> list[str]:
    """The way to a better verdict; for `trust`, what comes closest to losing it."""
    if verdict.verdict == "trust":
        return _nearest(findings)
    deciding = [f for f in findings if f.check in verdict.reasons]
    others = [replace(f, status="pass") if f.check in verdict.reasons else f for f in findings]
    after = judge(others)
    because = f" (then because of {', '.join(after.reasons)})" if after.reasons else ""
    lines = [_remedy(f) for f in deciding]
    return [*lines, f"With {'all of ' if len(lines) > 1 else ''}this: {after.verdict}{because}."]


def common_practice(
    row: MethodRow, rows: Sequence[MethodRow], states: Sequence[StateRow], exact: bool
) -> list[Practice]:
    """Accuracy (or R²) alone, and with a mean clamped cosine, as papers are read."""
    if row.accuracy is None:
        gone = f"No seed ended with finite numbers, and no {row.score} is quoted."
        return [Practice(f"{row.score} alone", False, gone)]
    alike = [r for r in rows if r.accuracy and r.score == row.score]
    ranked = sorted(alike, key=lambda r: -(r.accuracy.estimate if r.accuracy else 0))
    place = f"{_ordinal(ranked.index(row) + 1)} of {len(ranked)}"
    # Only R² can be below 0, that of a constant prediction.
    useful = row.accuracy.estimate >= 0
    told = "nothing in the number speaks against it" if useful else "worse than a constant"
    alone = Practice(
        f"{row.score} alone",
        useful,
        f"{row.accuracy.estimate:.3f}, {place} methods; {told}.",
    )
    habit = f"{row.score} with a mean clamped cosine"
    mean = states[-1].clamped if states else None
    if exact:
        return [alone, Practice(habit, True, "The method is backpropagation itself.")]
    if mean is None:
        return [alone, Practice(habit, False, "Some state has no clamped cosine to average.")]
    aligned = mean > READER
    reading = (
        "read as alignment in every layer"
        if aligned
        else "read as no alignment, or as noise in the gradient"
        if mean >= -READER
        else "read as pointing against the gradient"
    )
    return [alone, Practice(habit, aligned, f"{signed(mean)} over all states, {reading}.")]


def lesson(verdict: Verdict, practices: Sequence[Practice]) -> str:
    """What the difference between these readings and the verdict is."""
    trusted = verdict.verdict == "trust"
    wrong = [p.habit for p in practices if p.accepts != trusted]
    if not wrong:
        return "Both agree with the verdict here." if len(practices) > 1 else "It agrees here."
    if trusted:
        return f"A false alarm by {' and by '.join(wrong)}."
    missed = ", ".join(verdict.reasons)
    return f"Missed by {' and by '.join(wrong)}: {missed}."


def _remedy(finding: Finding) -> str:
    passes = _PASSES.get(finding.check, "its value is on the other side of {limit}")
    wanted = passes.format(limit=limit(finding.threshold))
    if finding.status == "unmeasured":
        return f"{finding.check}: measure it ({finding.evidence}); it passes where {wanted}."
    now = "" if finding.value is None or not finding.threshold else f" (now {value(finding.value)})"
    return f"{finding.check}: passes where {wanted}{now}."


def _nearest(findings: Sequence[Finding]) -> list[str]:
    room = [
        (f.margin / abs(f.threshold), f)
        for f in findings
        if f.status == "pass" and f.severity != "note" and f.margin is not None and f.threshold
    ]
    if not room:
        return ["No check that passed has a number: nothing to compare."]
    share, closest = min(room, key=lambda pair: pair[0])
    return [
        f"Closest to its limit is {closest.check}: {value(closest.value)}, limit "
        f"{limit(closest.threshold)} ({share:.0%} of the limit left). Beyond it the verdict would "
        f"be {closest.severity}."
    ]


def _ordinal(n: int) -> str:
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{n}{'th' if n % 100 in (11, 12, 13) else ends.get(n % 10, 'th')}"
