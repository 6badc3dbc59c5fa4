"""What a study has come to: its plan, its records, and its readings in training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from faeval.core.reading import Reading
from faeval.records.schema import TrialRecord
from faeval.study.audit import audit, methods_of
from faeval.study.plan import Plan, PlannedMethod
from faeval.verdict.finding import Finding
from faeval.verdict.headroom import depth_headroom
from faeval.verdict.judge import Judgement
from faeval.verdict.method import Method, Thresholds
from faeval.verdict.onset import Onset, onsets
from faeval.verdict.rates import RateCurve, learning_rate_dependence


@dataclass(frozen=True)
class Results:
    """Records and time courses by trial id; `curves` where learning rates were tuned.

    A course holds (epoch, readings) in rising order, that of the finished network last.
    """

    plan: Plan
    records: Mapping[str, TrialRecord]
    courses: Mapping[str, Sequence[tuple[int, Sequence[Reading]]]] = field(default_factory=dict)
    curves: tuple[RateCurve, ...] = ()

    @property
    def thresholds(self) -> Thresholds:
        return self.plan.config.thresholds

    @cached_property
    def methods(self) -> list[tuple[PlannedMethod, Method]]:
        """Every method that has a run, beside what was planned."""
        return methods_of(self.plan, self.records)

    def judgement(self) -> Judgement:
        """The verdict on every method that has a run."""
        return audit(self.plan, self.records)

    def onsets(self) -> dict[str, list[Onset]]:
        """For each method whose training was read: where each flag first fires, by seed."""
        found = {}
        for planned, method in self.methods:
            courses = {t.seed: self.courses[t.id] for t in planned.trials if t.id in self.courses}
            if courses:
                found[method.name] = onsets(method, courses, self.thresholds)
        return found

    def headroom(self) -> list[Finding]:
        """Where true gradients themselves gain nothing from depth."""
        return depth_headroom([method for _, method in self.methods], self.thresholds)

    def rate_findings(self) -> list[Finding]:
        """For each tuned method: whether what it shows depends on the learning rate."""
        methods = {method.name: method for _, method in self.methods}
        return [
            learning_rate_dependence(curve, methods.get(curve.name), self.thresholds)
            for curve in self.curves
        ]
