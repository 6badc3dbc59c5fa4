"""From a plan and its records to a judgement. Pure."""

from collections.abc import Mapping

from faeval.core.trial import Trial
from faeval.records.schema import TrialRecord
from faeval.study.plan import Plan
from faeval.verdict.judge import Judgement, judge_all
from faeval.verdict.method import Method, Run


def audit(plan: Plan, records: Mapping[str, TrialRecord]) -> Judgement:
    """Judge every method of `plan` by its records (by trial id). A trial without a record is
    left out of its method's runs; a method without any run is left out altogether."""
    methods = []
    for planned in plan.methods:
        pairs = zip(planned.trials, planned.controls, strict=True)
        runs = [_run(trial, control, records) for trial, control in pairs if trial.id in records]
        if runs:
            methods.append(Method(planned.rule, planned.penalty, tuple(runs), planned.exact))
    return judge_all(methods, plan.config.thresholds)


def _run(trial: Trial, control: Trial, records: Mapping[str, TrialRecord]) -> Run:
    record = records[trial.id]
    at = record.divergence
    return Run(
        seed=trial.seed,
        accuracy=record.accuracy,
        layers=tuple(record.layers),
        control=records[control.id].accuracy if control.id in records else None,
        divergence=at and f"epoch {at.epoch}, {'loss' if at.layer is None else f'h{at.layer}'}",
    )
