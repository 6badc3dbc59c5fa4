"""What is shown, whatever shows it: rows of numbers, and what is said of them. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from faeval.core.reading import Reading
from faeval.core.score import RANGE, Score
from faeval.core.trial import shortest
from faeval.records.schema import TrialRecord
from faeval.report.wording import extent, limit, value
from faeval.stats.intervals import Interval, student_t
from faeval.verdict.checks.account import OWN_ACCOUNT, SILENT
from faeval.verdict.contrast import Contrast
from faeval.verdict.finding import Finding, percent, places
from faeval.verdict.judge import Judgement
from faeval.verdict.method import Method

COSINES = (-1.0, 1.0)


@dataclass(frozen=True)
class StateRow:
    """One state of a method: means over seeds; None where some seed has no number.

    `cosine` is the interval over seeds; `spread` the standard deviation over images and `null`
    that over fresh feedback, about `null_mean`, of one seed each; `fresh` the cosine of one fresh
    draw of feedback beside that null. `update_cosine` compares the update of the stage that ends
    here with the true one, `update_error` with its own closed form (the largest over seeds).
    """

    state: str
    cosine: Interval | None
    spread: float | None
    null: float | None
    clamped: float | None
    reference_norm: float | None
    credit_norm: float | None
    state_norm: float | None
    reference_error: float | None
    undefined: int
    fresh: float | None = None
    update_cosine: float | None = None
    update_error: float | None = None
    null_mean: float | None = None


@dataclass(frozen=True)
class MethodRow:
    """One method in a line: accuracy (or what else `score` says) and that of its frozen-blocks
    control, over seeds; `gain` is their difference, paired by seed."""

    name: str
    accuracy: Interval | None
    control: Interval | None
    gain: Interval | None
    verdict: str
    reasons: tuple[str, ...]
    score: Score = "accuracy"


def state_rows(method: Method, level: float) -> list[StateRow]:
    """One row per state, then the mean over states of the same numbers that a layer mean is
    usually quoted for (cosines only)."""
    if not method.completed:
        return []
    rows = [
        _state_row(f"h{at[0].state}", at, level)
        for at in zip(*(run.layers for run in method.completed), strict=True)
    ]
    means = [_mean(r.cosine_mean for r in run.layers) for run in method.completed]
    clamped = [_mean(r.cosine_clamped for r in run.layers) for run in method.completed]
    mean = over_seeds(means, level, COSINES)
    rows.append(StateRow("mean", mean, None, None, _mean(clamped), None, None, None, None, 0))
    return rows


def method_rows(judgement: Judgement, level: float) -> list[MethodRow]:
    """One row per method, in the order of the study."""
    rows = []
    for method, verdict in zip(judgement.methods, judgement.verdicts, strict=True):
        accuracies = [run.accuracy for run in method.completed]
        controls = [run.control for run in method.completed]
        gains = [
            None if a is None or c is None else a - c
            for a, c in zip(accuracies, controls, strict=True)
        ]
        rows.append(
            MethodRow(
                method.name,
                over_seeds(accuracies, level, RANGE[method.score]),
                over_seeds(controls, level, RANGE[method.score]),
                over_seeds(gains, level),
                verdict.verdict,
                verdict.reasons,
                method.score,
            )
        )
    return rows


def over_seeds(
    values: Iterable[float | None], level: float, possible: tuple[float, float] | None = None
) -> Interval | None:
    """The mean over seeds with its Student-t interval, within the `possible` values; None where
    some seed has no number."""
    numbers = list(values)
    present = [value for value in numbers if value is not None]
    if not present or len(present) < len(numbers):
        return None
    interval = student_t(present, population="seeds", level=level)
    return interval.within(*possible) if possible else interval


def told(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that deserve a sentence: what did not pass, notes last; and what the rule says
    of its own working, whatever it is."""
    silent = ("note", "unmeasured")  # what was not tried and decides nothing
    left = [
        f
        for f in findings
        if (f.status != "pass" or (f.check == OWN_ACCOUNT and f.evidence != SILENT))
        and (f.severity, f.status) != silent
    ]
    return sorted(left, key=lambda f: f.severity == "note")


def passed(findings: Sequence[Finding]) -> list[str]:
    """The checks that passed, each with how far it was from its limit. A check that had nothing
    to compare (BP's credit is the gradient) is not worth a word."""
    return [
        f"{f.check} ({value(f.value)}, limit {limit(f.threshold)})"
        if f.value or f.threshold
        else f.check
        for f in findings
        if f.status == "pass" and f.severity != "note" and f.value is not None
    ]


@dataclass(frozen=True)
class Change:
    """What a penalty changed, in a headline and a line per state."""

    headline: str
    lines: tuple[str, ...]


def changes(contrasts: Sequence[Contrast]) -> list[Change]:
    """The contrasts of a study in words, one entry for each penalised method."""
    pairs = dict.fromkeys((c.rule, c.penalty) for c in contrasts)
    of_pair = {pair: [c for c in contrasts if (c.rule, c.penalty) == pair] for pair in pairs}
    return [
        Change(_headline(*pair, some), tuple(_contrast(c) for c in some))
        for pair, some in of_pair.items()
    ]


def legend(samples: int) -> str:
    """How to read the columns of a table of states."""
    return (
        f"cosine: credit with the float64 gradient, mean over {samples} test samples; images: "
        "standard deviation over them (no evidence: they share one feedback); null: standard "
        "deviation under fresh feedback, and its mean where that is not 0; clamped: "
        "F.cosine_similarity on the mean-loss gradient; ‖g‖ per sample; error: relative, of the "
        "float32 gradient against float64; undef: samples without a cosine."
    )


def as_json(records: Iterable[TrialRecord], judgement: Judgement) -> dict[str, Any]:
    """The whole study as one JSON-able object: trials, findings, verdicts, contrasts."""
    return {
        "trials": [
            {
                "id": record.trial.id,
                "rule": record.trial.rule["name"],
                "penalty": record.trial.penalty,
                "trainable_blocks": record.trial.trainable_blocks,
                "seed": record.trial.seed,
                "trial": record.trial.model_dump(mode="json"),
                "status": record.status,
                "accuracy": record.accuracy,
                "score": record.score,
                "divergence": record.divergence and record.divergence.model_dump(),
                "layers": [asdict(reading) for reading in record.layers],
                "diagnostics": [asdict(diagnostic) for diagnostic in record.diagnostics],
            }
            for record in records
        ],
        "findings": [asdict(finding) for finding in judgement.findings],
        "verdicts": [asdict(verdict) for verdict in judgement.verdicts],
        "contrasts": [asdict(contrast) for contrast in judgement.contrasts],
    }


def _contrast(c: Contrast) -> str:
    change = f"h{c.state}: {c.without:+.2f} → {c.with_penalty:+.2f}"
    if c.difference.low is None or c.difference.high is None:
        over = "one seed, no interval"
    else:
        over = f"{percent(c.difference.level)} over {c.difference.n} seeds {extent(c.difference)}"
        over += "" if c.clear else ", not clear of 0"
    return f"{change}, difference {c.difference.estimate:+.2f} ({over})"


def _headline(rule: str, penalty: float, contrasts: Sequence[Contrast]) -> str:
    """Where the interval over seeds shows a change, and in which direction."""
    if all(c.difference.low is None for c in contrasts):
        return f"{rule}: the penalty {shortest(penalty)} changes the credit in this one seed"
    raised = [c.state for c in contrasts if c.clear and c.difference.estimate > 0]
    lowered = [c.state for c in contrasts if c.clear and c.difference.estimate < 0]
    moves = [
        f"{verb} the credit at {places(states)}"
        for verb, states in (("raises", raised), ("lowers", lowered))
        if states
    ]
    what = " and ".join(moves) if moves else "does not clearly change the credit anywhere"
    return f"{rule}: the penalty {shortest(penalty)} {what}"


def _state_row(name: str, at: Sequence[Reading], level: float) -> StateRow:
    return StateRow(
        name,
        over_seeds([r.cosine_mean for r in at], level, COSINES),
        _mean(r.cosine_std for r in at),
        _mean(r.null and r.null.std for r in at),
        _mean(r.cosine_clamped for r in at),
        _mean(r.reference_norm for r in at),
        _mean(r.credit_norm for r in at),
        _mean(r.state_norm for r in at),
        _mean(r.reference_relative_error for r in at),
        sum(r.undefined for r in at),
        _mean(r.null and r.null.fresh for r in at),
        _mean(r.update_cosine for r in at),
        max((r.update_error for r in at if r.update_error is not None), default=None),
        _mean(r.null and r.null.mean for r in at),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    numbers = list(values)
    if not numbers or any(value is None for value in numbers):
        return None
    return math.fsum(value for value in numbers if value is not None) / len(numbers)
