"""What a report shows, whatever draws it: rows of numbers with their intervals. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from faeval.core.reading import Reading
from faeval.records.schema import TrialRecord
from faeval.stats.intervals import Interval, student_t
from faeval.verdict.judge import Judgement
from faeval.verdict.method import Method


@dataclass(frozen=True)
class StateRow:
    """One state of a method: means over seeds; None where some seed has no number.

    `cosine` is the interval over seeds; `spread` the standard deviation over images and
    `null` that over fresh feedback, of one seed each.
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


@dataclass(frozen=True)
class MethodRow:
    """One method in a line: accuracy and that of its frozen-blocks control, over seeds."""

    name: str
    accuracy: Interval | None
    control: Interval | None
    gain: float | None
    verdict: str
    reasons: tuple[str, ...]


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
    rows.append(
        StateRow(
            "mean", _interval(means, level), None, None, _mean(clamped), None, None, None, None, 0
        )
    )
    return rows


def method_rows(judgement: Judgement, level: float) -> list[MethodRow]:
    """One row per method, in the order of the study."""
    rows = []
    for method, verdict in zip(judgement.methods, judgement.verdicts, strict=True):
        accuracies = [run.accuracy for run in method.completed]
        controls = [run.control for run in method.completed]
        gains = [
            a - c
            for a, c in zip(accuracies, controls, strict=True)
            if a is not None and c is not None
        ]
        rows.append(
            MethodRow(
                method.name,
                _interval(accuracies, level),
                _interval(controls, level),
                sum(gains) / len(gains) if gains and len(gains) == len(accuracies) else None,
                verdict.verdict,
                verdict.reasons,
            )
        )
    return rows


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
                "divergence": record.divergence and record.divergence.model_dump(),
                "layers": [asdict(reading) for reading in record.layers],
            }
            for record in records
        ],
        "findings": [asdict(finding) for finding in judgement.findings],
        "verdicts": [asdict(verdict) for verdict in judgement.verdicts],
        "contrasts": [asdict(contrast) for contrast in judgement.contrasts],
    }


def _state_row(name: str, at: Sequence[Reading], level: float) -> StateRow:
    return StateRow(
        name,
        _interval([r.cosine_mean for r in at], level),
        _mean(r.cosine_std for r in at),
        _mean(r.null and r.null.std for r in at),
        _mean(r.cosine_clamped for r in at),
        _mean(r.reference_norm for r in at),
        _mean(r.credit_norm for r in at),
        _mean(r.state_norm for r in at),
        _mean(r.reference_relative_error for r in at),
        sum(r.undefined for r in at),
    )


def _interval(values: Sequence[float | None], level: float) -> Interval | None:
    present = [value for value in values if value is not None]
    if not present or len(present) < len(values):
        return None
    return student_t(present, population="seeds", level=level)


def _mean(values: Iterable[float | None]) -> float | None:
    numbers = list(values)
    if not numbers or any(value is None for value in numbers):
        return None
    return math.fsum(value for value in numbers if value is not None) / len(numbers)
