"""From findings to a verdict: the worst finding wins, unmeasured never passes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from faeval.core import frames, html
from faeval.verdict.checks import CHECKS
from faeval.verdict.contrast import Contrast, penalty_contrasts
from faeval.verdict.finding import Finding
from faeval.verdict.method import Method, Thresholds

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingImports]

Level = Literal["trust", "caution", "refuse"]


@dataclass(frozen=True)
class Verdict:
    """What can be made of a method's numbers, and the checks that decided it."""

    method: str
    verdict: Level
    reasons: tuple[str, ...]

    def _repr_html_(self) -> str:
        """The verdict in a notebook."""
        because = f" ({', '.join(self.reasons)})" if self.reasons else ""
        return html.paragraph(f": {self.verdict}{because}", bold=self.method)


@dataclass(frozen=True)
class Judgement:
    """All that can be said of the methods of a study, in their order."""

    methods: tuple[Method, ...]
    findings: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]
    contrasts: tuple[Contrast, ...]

    def findings_on(self, method: str) -> tuple[Finding, ...]:
        """The findings on one method, in the order of the checks."""
        return tuple(f for f in self.findings if f.method == method)

    def to_frame(self) -> "DataFrame":
        """Every reading as a pandas frame: one row per method, seed and state, with the fields
        of `Reading` as columns (see `core.frames.flat`). A run that diverged has one row without
        a state. InputError where pandas is not installed."""
        rows = []
        for method in self.methods:
            for run in method.runs:
                of_run = {
                    "method": method.name,
                    "seed": run.seed,
                    "accuracy": run.accuracy,
                    "score": method.score,
                    "control": run.control,
                    "divergence": run.divergence,
                }
                rows += [of_run | frames.flat(reading) for reading in run.layers] or [of_run]
        return frames.frame(rows)

    def _repr_html_(self) -> str:
        """The judgement in a notebook: the verdicts, and behind each its findings."""
        headings = ("method", "verdict", "because of")
        rows = [(v.method, v.verdict, ", ".join(v.reasons)) for v in self.verdicts]
        parts = [html.table(headings, rows, numeric=(False, False, False))]
        for v in self.verdicts:
            found = "".join(f._repr_html_() for f in self.findings_on(v.method))
            parts.append(html.folded(f"{v.method}: {v.verdict}", found))
        return "\n".join(["<div>", *parts, "</div>"])


def judge_all(methods: Sequence[Method], thresholds: Thresholds) -> Judgement:
    """Every check on every method, a verdict on each, and what the penalties changed."""
    findings = [examine(method, thresholds) for method in methods]
    return Judgement(
        tuple(methods),
        tuple(f for of_method in findings for f in of_method),
        tuple(judge(of_method) for of_method in findings),
        penalty_contrasts(methods, thresholds.level),
    )


def examine(method: Method, thresholds: Thresholds) -> list[Finding]:
    """Every check on one method."""
    return [check(method, thresholds) for check in CHECKS]


def judge(findings: Sequence[Finding]) -> Verdict:
    """The verdict on one method from all of its findings.

    A flag counts with its severity; an unmeasured check counts as caution, whatever it would
    have meant; a note never counts. `reasons` names the checks behind the verdict, none for
    `trust`.
    """
    weights = {f.check: _weight(f) for f in findings}
    worst = _ORDER[max(_ORDER.index(weight) for weight in weights.values())]
    reasons = tuple(
        check for check, weight in weights.items() if weight == worst and worst != "trust"
    )
    return Verdict(findings[0].method, worst, reasons)


_ORDER: tuple[Level, ...] = ("trust", "caution", "refuse")


def _weight(finding: Finding) -> Level:
    if finding.status == "pass" or finding.severity == "note":
        return "trust"
    return "caution" if finding.status == "unmeasured" else finding.severity
