"""From a plan and its records to a judgement. Pure."""

from collections.abc import Mapping

from faeval.records.schema import TrialRecord
from faeval.study.grouping import method_with_claims, run_of
from faeval.study.plan import Plan, PlannedMethod
from faeval.verdict.judge import Judgement, judge_all
from faeval.verdict.method import Method


def audit(plan: Plan, records: Mapping[str, TrialRecord]) -> Judgement:
    """Judge every method of `plan` by its records (by trial id). A trial without a record is
    left out of its method's runs; a method without any run is left out altogether."""
    methods = [method for _, method in methods_of(plan, records)]
    return judge_all(methods, plan.config.thresholds)


def methods_of(
    plan: Plan, records: Mapping[str, TrialRecord]
) -> list[tuple[PlannedMethod, Method]]:
    """The planned methods of which some run has a record, each with those runs."""
    both = ((planned, _method_of(planned, records)) for planned in plan.methods)
    return [(planned, method) for planned, method in both if method]


def _method_of(planned: PlannedMethod, records: Mapping[str, TrialRecord]) -> Method | None:
    found = [
        (records[trial.id], records.get(control.id))
        for trial, control in zip(planned.trials, planned.controls, strict=True)
        if trial.id in records
    ]
    if not found:
        return None
    runs = tuple(run_of(record, control) for record, control in found)
    first, _ = found[0]
    return method_with_claims(planned.rule, runs, first.trial, first.score)
