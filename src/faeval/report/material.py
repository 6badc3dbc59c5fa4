"""What a report is made of: a judgement, and the records and facts that it speaks of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faeval.records.schema import TrialRecord
from faeval.report.notebook import study_html
from faeval.verdict.finding import Finding
from faeval.verdict.judge import Judgement, Verdict
from faeval.verdict.method import Method, Thresholds
from faeval.verdict.onset import Course, Onset
from faeval.verdict.rates import RateCurve

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingImports]


@dataclass(frozen=True)
class RuleFacts:
    """What a rule says of itself, in words."""

    formula: str
    granularity: str
    feedback: str
    transports: str


def slug(name: str) -> str:
    """`dfa λ=0.01` as part of a file name or an anchor: `dfa-0.01`."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "-" for c in name)
    return "-".join(part for part in plain.split("-") if part)


@dataclass(frozen=True)
class Member:
    """A method, its verdict and its records: one per seed, in the order of its runs.

    `plain` is the rule with its own options alone; `controls` are the frozen-blocks trials that
    its gain is over; `partial` holds the records of the same method with fewer trainable blocks,
    by their number.
    """

    method: Method
    verdict: Verdict
    plain: str
    records: tuple[TrialRecord, ...]
    controls: tuple[TrialRecord, ...]
    partial: Mapping[int, tuple[TrialRecord, ...]]

    @property
    def name(self) -> str:
        """The name of the method."""
        return self.method.name

    @property
    def slug(self) -> str:
        """The name as part of a file name or an anchor."""
        return slug(self.name)


@dataclass(frozen=True, repr=False)
class Material:
    """A judged study.

    title     what was trained, in a line
    members   the methods in the order of the study
    tuning    records on held-out data, which chose learning rates
    courses   readings in training by trial id, where they were taken
    rules     facts by the registered name of a rule
    missing   ids of planned trials that left no record
    recipe    a study file that trains these trials again; None where one file cannot
    conclusions  what the study as a whole says: on depth, penalty, learning rate, feedback
    curves    accuracy over the learning rate behind each tuned method
    onsets    by method, where each check first flags in training, seed by seed
    commands  that trained it, each with its time; empty where they were not kept
    """

    title: str
    judgement: Judgement
    thresholds: Thresholds
    members: tuple[Member, ...]
    tuning: tuple[TrialRecord, ...]
    courses: Mapping[str, Course]
    rules: Mapping[str, RuleFacts]
    missing: tuple[str, ...]
    recipe: str | None
    conclusions: tuple[Finding, ...] = ()
    curves: tuple[RateCurve, ...] = ()
    onsets: Mapping[str, Sequence[Onset]] = field(default_factory=dict)
    commands: tuple[str, ...] = ()

    @property
    def gap(self) -> str | None:
        """What the study lacks, in a sentence; None where every planned trial left a record."""
        if not (n := len(self.missing)):
            return None
        names = ", ".join(self.missing[:3]) + (", …" if n > 3 else "")
        return (
            f"{n} planned trial{'s' * (n > 1)} left no record and {'are' if n > 1 else 'is'} in no "
            f"average: {names}"
        )

    @property
    def records(self) -> list[TrialRecord]:
        """Every record but those that chose learning rates, once: methods before what has fewer
        trainable blocks."""
        all_ = [r for m in self.members for r in m.records]
        all_ += [r for m in self.members for r in m.controls]
        all_ += [r for m in self.members for some in m.partial.values() for r in some]
        return list({record.trial.id: record for record in all_}.values())

    def to_frame(self) -> "DataFrame":
        """Every reading as a pandas frame; see `Judgement.to_frame`."""
        return self.judgement.to_frame()

    def __repr__(self) -> str:
        """The verdicts in a line; a study has thousands of numbers."""
        verdicts = ", ".join(f"{m.name} {m.verdict.verdict}" for m in self.members)
        return f"<{self.title}: {verdicts}>"

    def _repr_html_(self) -> str:
        """The study in a notebook, as `faeval audit` prints it."""
        return study_html(self.title, self.judgement, self.thresholds.level, self.conclusions)
