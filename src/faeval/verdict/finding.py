"""The outcome of a check, and how one is written down."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from faeval.core import html
from faeval.verdict.method import Method, Thresholds

Status = Literal["pass", "flag", "unmeasured"]
Severity = Literal["note", "caution", "refuse"]
MARK: dict[Status, str] = {"pass": "✓", "flag": "✗", "unmeasured": "?"}
NOTED = "·"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check on one method.

    `severity` is what the finding makes of the verdict unless it passes; a note never decides.
    `value` and `threshold` are the numbers compared, in one unit; `margin` is the room left
    between them, negative where the check flags.
    """

    method: str
    check: str
    status: Status
    severity: Severity
    value: float | None
    threshold: float | None
    margin: float | None
    evidence: str
    consequence: str

    @property
    def sentence(self) -> str:
        """The finding as a sentence to paste."""
        return f"{self.method}, {self.check} ({self.status}): {self.evidence}. {self.consequence}"

    @property
    def mark(self) -> str:
        """The sign before it: that of its status, or of a note."""
        return NOTED if self.severity == "note" and self.status != "pass" else MARK[self.status]

    def _repr_html_(self) -> str:
        """The finding in a notebook, as the terminal prints it."""
        said = f": {self.evidence}. {self.consequence}"
        return html.paragraph(said, bold=f"{self.mark} {self.check}")


ROUNDING = 1e-12  # 0.30 − 0.28 is a hair short of 0.02

Check = Callable[[Method, Thresholds], Finding]


@dataclass(frozen=True)
class Reporter:
    """Writes the finding of one check on one method."""

    method: Method
    check: str
    severity: Severity

    def unmeasured(self, why: str) -> Finding:
        """The check could not be made."""
        return self._finding(
            "unmeasured", None, None, None, why, "Not measured: nothing follows from it."
        )

    def at_most(
        self, value: float, limit: float, evidence: str, good: str, bad: str, *, also: bool = True
    ) -> Finding:
        """Passes where value ≤ limit, `also` permitting."""
        passed = value <= limit and also
        return self._finding(
            "pass" if passed else "flag",
            value,
            limit,
            limit - value,
            evidence,
            good if passed else bad,
        )

    def at_least(
        self, value: float, limit: float, evidence: str, good: str, bad: str, *, also: bool = True
    ) -> Finding:
        """Passes where value ≥ limit to within rounding, `also` permitting."""
        passed = value >= limit - ROUNDING and also
        return self._finding(
            "pass" if passed else "flag",
            value,
            limit,
            value - limit,
            evidence,
            good if passed else bad,
        )

    def settled(self, evidence: str, consequence: str) -> Finding:
        """Passes for a reason that is no number."""
        return self._finding("pass", None, None, None, evidence, consequence)

    def refuted(self, evidence: str, consequence: str) -> Finding:
        """Flags for a reason that is no number."""
        return self._finding("flag", None, None, None, evidence, consequence)

    def _finding(
        self,
        status: Status,
        value: float | None,
        threshold: float | None,
        margin: float | None,
        evidence: str,
        consequence: str,
    ) -> Finding:
        return Finding(
            self.method.name,
            self.check,
            status,
            self.severity,
            value,
            threshold,
            margin,
            evidence,
            # Checks speak of accuracy; that of real targets is R².
            consequence.replace("accuracy", self.method.score),
        )


def percent(fraction: float) -> str:
    """A fraction with the digits it needs: `95%`, `99.5%`."""
    return f"{100 * fraction:.10g}%"


def places(states: list[int]) -> str:
    """States by name: `h1, h3`."""
    return ", ".join(f"h{state}" for state in states)


def times(ratio: float) -> str:
    """A ratio: `3.2×`, `1.5e+06×`."""
    return f"{ratio:.3g}×" if ratio < 1e4 else f"{ratio:.1e}×"
