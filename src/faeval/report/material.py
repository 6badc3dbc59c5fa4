"""What a report is made of: a judgement, and the records and facts that it speaks of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faeval.records.schema import TrialRecord
from faeval.report.notebook import study_html
from faeval.verdict.judge import Judgement, Verdict
from faeval.verdict.method import Method, Thresholds
from faeval.verdict.onset import Course

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingImports]


@dataclass(frozen=True)
class RuleFacts:
    """What a rule says of itself, in words."""

    formula: str
    granularity: str
    feedback: str
    transports: str


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
        plain = "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "-" for c in self.name)
        return "-".join(part for part in plain.split("-") if part)


@dataclass(frozen=True)
class Material:
    """A judged study.

    title     what was trained, in a line
    members   the methods in the order of the study
    tuning    records on held-out data, which chose learning rates
    courses   readings in training by trial id, where they were taken
    rules     facts by the registered name of a rule
    missing   ids of planned trials that left no record
    recipe    a study file that trains these trials again; None where one file cannot
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

    @property
    def records(self) -> list[TrialRecord]:
        """Every record once, methods before what has fewer trainable blocks."""
        all_ = [r for m in self.members for r in m.records]
        all_ += [r for m in self.members for r in m.controls]
        all_ += [r for m in self.members for some in m.partial.values() for r in some]
        all_ += [r for m in self.members for r in m.controls]
        all_ += [r for m in self.members for r in m.controls]
        return list({record.trial.id: record for record in all_}.values())

    def to_frame(self) -> "DataFrame":
        """Every reading as a pandas frame; see `Judgement.to_frame`."""
        return self.judgement.to_frame()

    def _repr_html_(self) -> str:
        """The study in a notebook, as `faeval audit` prints it."""
        return study_html(self.title, self.judgement, self.thresholds.level)
