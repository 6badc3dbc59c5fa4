"""Studies by their folders' records: judged as they are, and what stands between them. Pure."""

from collections.abc import Iterator, Sequence

from faeval.core.trial import Trial
from faeval.records.schema import TrialRecord
from faeval.study.grouping import Group, grouped
from faeval.verdict.judge import Judgement, judge_all
from faeval.verdict.method import Thresholds


def finals(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Those that met the test data, without the trials that chose a learning rate."""
    return [record for record in records if not record.trial.recipe.validation]


def judged(groups: Sequence[Group], thresholds: Thresholds) -> Judgement:
    """The verdict on every method that the records hold."""
    return judge_all([group.method for group in groups], thresholds)


def obstacles(first: Sequence[TrialRecord], second: Sequence[TrialRecord]) -> list[str]:
    """Why a difference between two studies may be none between their methods: one line each for
    data, model, recipe, labels, feedback, device and versions that are not the same."""
    return [
        f"{what}: {one} against {other}"
        for what, one, other in _conditions(first, second)
        if one != other
    ]


def _conditions(
    first: Sequence[TrialRecord], second: Sequence[TrialRecord]
) -> Iterator[tuple[str, str, str]]:
    def told(records: Sequence[TrialRecord], field: str) -> str:
        return " or ".join(sorted({str(getattr(r, field)) for r in records}))

    def of_trials(records: Sequence[TrialRecord], field: str) -> str:
        return " or ".join(sorted({_plain(r.trial, field) for r in records}))

    for field in ("data", "model", "labels", "reading_feedback"):
        yield field.replace("_", " "), of_trials(first, field), of_trials(second, field)
    mine, theirs = ({r.data_fingerprint for r in records} for records in (first, second))
    yield "data fingerprint", " or ".join(sorted(mine)), " or ".join(sorted(theirs))
    for key in type(first[0].trial.recipe).model_fields:
        mine, theirs = (
            {str(getattr(r.trial.recipe, key)) for r in records} for records in (first, second)
        )
        yield f"recipe {key}", " or ".join(sorted(mine)), " or ".join(sorted(theirs))
    yield "score", told(first, "score"), told(second, "score")
    yield "device", told(first, "device"), told(second, "device")
    for package in sorted({name for r in (*first, *second) for name in r.versions}):
        mine, theirs = (
            {r.versions.get(package, "absent") for r in records} for records in (first, second)
        )
        yield f"version of {package}", " or ".join(sorted(mine)), " or ".join(sorted(theirs))


def _plain(trial: Trial, field: str) -> str:
    value = getattr(trial, field)
    if isinstance(value, dict):
        return " ".join(f"{k}={v}" if k != "name" else str(v) for k, v in value.items())
    return str(value)


__all__ = ["finals", "grouped", "judged", "obstacles"]
