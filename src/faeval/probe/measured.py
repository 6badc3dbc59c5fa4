"""What a measurement returns: readings, findings and a verdict that print themselves."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from faeval.core import frames
from faeval.core.errors import InputError
from faeval.core.reading import Reading
from faeval.probe.remedies import Seed, mendable
from faeval.probe.truth import Source, Truth
from faeval.report.notebook import Page
from faeval.report.terminal import PLAIN_WIDTH, show_findings
from faeval.report.wording import chance
from faeval.verdict.checks import (
    CHECKS,
    convergence,
    depth_utility,
    reference_validity,
    true_labels,
)
from faeval.verdict.finding import Finding
from faeval.verdict.judge import Verdict, judge
from faeval.verdict.method import Method, Run, Thresholds

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingImports]


@dataclass(frozen=True)
class Measured:
    """The measurement of one module: `print` it, or take it apart.

    name        of the module or its rule
    states      names of the submodules; state l of a reading is the output of `states[l]`
    readings    one per state, h_0 … h_L
    reference   what the gradients were computed by, in float64
    reference_errors  per state: relative error of these gradients against the losses
    findings    outcome of every check
    verdict     what can be made of the numbers, and the checks that decided
    """

    name: str
    states: tuple[str, ...]
    readings: tuple[Reading, ...]
    reference: Source
    reference_errors: tuple[float | None, ...]
    findings: tuple[Finding, ...]
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and finite numbers; None where undefined."""
        return json.loads(json.dumps(asdict(self), allow_nan=False))

    def __str__(self) -> str:
        text = io.StringIO()
        self._show(Console(file=text, width=PLAIN_WIDTH, color_system=None, highlight=False))
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def _repr_html_(self) -> str:
        """The measurement in a notebook: what `print` shows, as tables and paragraphs."""
        page = Page()
        self._show(page)
        return page.html

    def to_frame(self) -> "DataFrame":
        """The readings as a pandas frame, one row per state, with the fields of `Reading` as
        columns (see `core.frames.flat`). InputError where pandas is not installed."""
        return frames.frame(
            {"name": self.name, "submodule": name, **frames.flat(reading)}
            for name, reading in zip(self.states, self.readings, strict=True)
        )

    def _show(self, screen: Console) -> None:
        samples = self.readings[0].samples
        title = f"{self.name}: {samples} sample{'' if samples == 1 else 's'}"
        screen.print(f"{title}, reference by {self.reference} in float64", markup=False)
        screen.print()
        screen.print(_table(self.states, self.readings))
        screen.print()
        because = f" ({', '.join(self.verdict.reasons)})" if self.verdict.reasons else ""
        screen.print(f"verdict: {self.verdict.verdict}{because}", markup=False)
        show_findings(screen, self.findings)


def seeds(
    accuracy: float | Sequence[float] | None, control: float | Sequence[float] | None
) -> list[Seed]:
    """Accuracy and control of every seed, at least one; None where not given.

    Raises InputError for accuracies outside [0, 1], or not one control for each.
    """
    ours, theirs = _accuracies("accuracy", accuracy), _accuracies("control", control)
    if ours and theirs and len(ours) != len(theirs):
        raise InputError(
            "one control for each accuracy, seed by seed",
            f"{len(theirs)} and {len(ours)}",
            "give both in the order of the seeds",
        )
    count = max(1, len(ours), len(theirs))
    return list(zip(ours or [None] * count, theirs or [None] * count, strict=True))


def judged(
    name: str,
    states: Sequence[str],
    readings: Sequence[Reading],
    truth: Truth,
    runs: Sequence[Seed],
    thresholds: Thresholds,
    divergence: str | None,
) -> Measured:
    """Every check on the readings, and depth utility on the accuracies of all seeds.

    A module tells neither the labels it was trained on nor whether other seeds diverged: these
    checks are left out, unless the module itself is not finite.
    """
    # The module is one seed: the others have an accuracy, but were not read.
    accuracy, control = runs[0]
    read = Method(name, 0.0, (Run(0, accuracy, tuple(readings), control, divergence),))
    trained = Method(name, 0.0, tuple(Run(i, a, (), c) for i, (a, c) in enumerate(runs)))
    findings: list[Finding] = []
    for check in CHECKS:
        if check is true_labels or (check is convergence and divergence is None):
            continue
        found = check(trained if check is depth_utility else read, thresholds)
        findings.append(mendable(found, states, readings, runs))
        if check is reference_validity:
            findings.append(truth.finding(read, states))
    return Measured(
        name=name,
        states=tuple(states),
        readings=tuple(readings),
        reference=truth.source,
        reference_errors=tuple(truth.errors),
        findings=tuple(findings),
        verdict=judge(findings),
    )


def _accuracies(what: str, value: float | Sequence[float] | None) -> list[float]:
    if value is None:
        return []
    try:
        values = [float(v) for v in (value if isinstance(value, Sequence) else [value])]
    except (TypeError, ValueError):
        raise InputError(
            f"{what} as a number from 0 to 1, or one per seed",
            type(value).__name__,
            "train and score that network first, and give its accuracy",
        ) from None
    if not values or not all(0 <= v <= 1 for v in values):
        raise InputError(
            f"{what} as fractions from 0 to 1, one per seed", repr(value), "divide percent by 100"
        )
    return values


def _table(states: Sequence[str], readings: Sequence[Reading]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("state", no_wrap=True, overflow="ellipsis")
    for heading in ("cosine", "95% images", "null", "p", "clamped", "‖g‖", "‖a‖", "‖h‖", "undef."):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, r in zip(states, readings, strict=True):
        null = r.null
        table.add_row(
            Text(f"h{r.state} {name}"),
            _signed(r.cosine_mean),
            "" if None in (r.cosine_low, r.cosine_high)
            else f"{r.cosine_low:+.2f} to {r.cosine_high:+.2f}",
            "" if null is None else chance(null.mean, null.std),
            "" if null is None or null.p is None else f"{null.p:.2g}",
            _signed(r.cosine_clamped),
            *("–" if v is None else f"{v:.1e}" for v in (r.reference_norm, r.credit_norm)),
            "–" if r.state_norm is None else f"{r.state_norm:.1e}",
            str(r.undefined),
        )  # fmt: skip
    return table


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"
