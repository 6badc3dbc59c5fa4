"""The study on a terminal: a table per method, then the verdicts with their reasons."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from faeval.report.view import MethodRow, StateRow, method_rows, state_rows
from faeval.stats.intervals import Interval
from faeval.verdict.contrast import Contrast
from faeval.verdict.finding import Finding
from faeval.verdict.judge import Judgement

PLAIN_WIDTH = 100
_STYLE = {"trust": "bold green", "caution": "bold yellow", "refuse": "bold red"}
_MARK = {"pass": ("✓", "green"), "flag": ("✗", "red"), "unmeasured": ("?", "yellow")}


def console(*, stderr: bool = False) -> Console:
    """A console of the terminal's width, or of 100 columns where there is no terminal."""
    probe = Console(stderr=stderr)
    return Console(stderr=stderr, width=None if probe.is_terminal else PLAIN_WIDTH, highlight=False)


def show_study(out: Console, heading: str, judgement: Judgement, level: float) -> None:
    """Print tables, summary, verdicts and contrasts of a study."""
    out.print(Text(heading, style="bold"))
    for method in judgement.methods:
        seeds = len(method.completed)
        show_states(
            out, f"{method.name}, {_count(seeds, 'seed')}", state_rows(method, level), level
        )
    _show_methods(out, method_rows(judgement, level), level)
    for verdict in judgement.verdicts:
        out.print()
        out.print(
            Text.assemble(
                (verdict.method, "bold"), ": ", (verdict.verdict, _STYLE[verdict.verdict])
            )
        )
        for finding in judgement.findings_on(verdict.method):
            _show_finding(out, finding)
    _show_contrasts(out, judgement.contrasts)


def show_states(out: Console, title: str, rows: Sequence[StateRow], level: float) -> None:
    """Print one table with a row per state, like the published ones."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, title_style="bold")
    table.add_column("state")
    for heading in ("cosine", f"{level:.0%} seeds", "images", "null", "clamped"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("‖g‖", "‖a‖", "‖h‖", "f32 error", "undef."):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.state,
            _signed(row.cosine.estimate if row.cosine else None),
            _range(row.cosine),
            f"±{row.spread:.2f}" if row.spread is not None else "",
            f"±{row.null:.3f}" if row.null is not None else "",
            _signed(row.clamped),
            _magnitude(row.reference_norm),
            _magnitude(row.credit_norm),
            _magnitude(row.state_norm),
            _magnitude(row.reference_error),
            str(row.undefined) if row.state != "mean" else "",
        )
    out.print()
    out.print(table)


def legend(out: Console, samples: int) -> None:
    """Print how to read the columns of `show_states`."""
    out.print(
        Padding(
            f"cosine: credit with the float64 gradient, mean over {samples} test samples; images: "
            "standard deviation over them (no evidence: they share one feedback); null: standard "
            "deviation under fresh feedback; clamped: F.cosine_similarity on the mean-loss "
            "gradient; ‖g‖ per sample; f32 error: float32 gradient against float64.",
            (1, 0, 0, 0),
        ),
        style="dim",
    )


def _show_methods(out: Console, rows: Sequence[MethodRow], level: float) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("method")
    for heading in ("accuracy", f"{level:.0%} seeds", "frozen blocks", "gain"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict")
    table.add_column("because of")
    for row in rows:
        table.add_row(
            Text(row.name, style="bold"),
            f"{row.accuracy.estimate:.3f}" if row.accuracy else "–",
            _range(row.accuracy, signed=False),
            f"{row.control.estimate:.3f}" if row.control else "–",
            f"{100 * row.gain:+.1f} pp" if row.gain is not None else "–",
            Text(row.verdict, style=_STYLE[row.verdict]),
            ", ".join(row.reasons),
        )
    out.print()
    out.print(table)


def _show_finding(out: Console, finding: Finding) -> None:
    """What passed says why in short; what passed without a number compared is left out."""
    if finding.status == "pass" and finding.value is None:
        return
    mark, style = _MARK[finding.status]
    if finding.severity == "note" and finding.status != "pass":
        mark, style = "·", "dim"
    text = f": {finding.evidence}."
    if finding.status != "pass":
        text += f" {finding.consequence}"
    out.print(Padding(Text.assemble((f"{mark} {finding.check}", style), text), (0, 0, 0, 2)))


def _show_contrasts(out: Console, contrasts: Sequence[Contrast]) -> None:
    for rule, penalty in dict.fromkeys((c.rule, c.penalty) for c in contrasts):
        of_pair = [c for c in contrasts if (c.rule, c.penalty) == (rule, penalty)]
        out.print()
        out.print(Text(f"What the penalty {penalty:g} does to the credit of {rule}", style="bold"))
        for c in of_pair:
            change = f"h{c.state}: {c.without:+.2f} → {c.with_penalty:+.2f}"
            if c.difference.low is None or c.difference.high is None:
                extent = "one seed, no interval"
            else:
                extent = (
                    f"{c.difference.level:.0%} over {c.difference.n} seeds {_range(c.difference)}"
                )
                extent += "" if c.clear else ", not clear of 0"
            out.print(f"  {change}, difference {c.difference.estimate:+.2f} ({extent})")


def _range(interval: Interval | None, *, signed: bool = True) -> str:
    if interval is None or interval.low is None or interval.high is None:
        return ""
    form = "+.2f" if signed else ".3f"
    return f"{interval.low:{form}} to {interval.high:{form}}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


def _magnitude(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if 0.1 <= value < 1000 else f"{value:.1e}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
