"""The study on a terminal: a table per method, then the verdicts with their reasons."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from faeval.core.reading import Reading
from faeval.core.trial import shortest
from faeval.report.view import MethodRow, StateRow, method_rows, state_rows
from faeval.stats.intervals import Interval
from faeval.verdict.contrast import Contrast
from faeval.verdict.finding import Finding, percent, places
from faeval.verdict.judge import Judgement
from faeval.verdict.method import Method

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
        show_states(out, f"{method.name}, {_seeds(method)}", state_rows(method, level), level)
    _show_methods(out, method_rows(judgement, level), level)
    for verdict in judgement.verdicts:
        out.print()
        out.print(
            Text.assemble(
                (verdict.method, "bold"), ": ", (verdict.verdict, _STYLE[verdict.verdict])
            )
        )
        show_findings(out, judgement.findings_on(verdict.method))
    _show_contrasts(out, judgement.contrasts)


def show_states(out: Console, title: str, rows: Sequence[StateRow], level: float) -> None:
    """Print one table with a row per state, like the published ones."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, title_style="bold")
    table.add_column("state")
    cosines = ("cosine", f"{percent(level)} seeds", "images", "null", "clamped")
    for heading in (*cosines, "‖g‖", "‖a‖", "‖h‖", "error", "undef"):
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


def show_probes(out: Console, readings: Sequence[Reading]) -> None:
    """Print what the credit does to the loss and to the parameters, for one trial."""
    probed = [(r, r.probes) for r in readings if r.probes is not None]
    if not probed:
        return
    table = Table(
        title="What the credit does", title_justify="left", box=None, pad_edge=False,
        title_style="bold",
    )  # fmt: skip
    table.add_column("state")
    for heading in (
        "ρ", "ρ step", "gradient", "random", "nudge", "of best", "update", "‖a‖/‖g‖", "‖g‖‖h‖",
        "drift",
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for r, p in probed:
        share = p.nudge / p.nudge_gradient if p.nudge is not None and p.nudge_gradient else None
        table.add_row(
            f"h{r.state}",
            _signed(p.rho),
            _signed(p.rho_finite),
            _signed(p.rho_gradient),
            _signed(p.rho_random),
            "–" if p.nudge is None else f"{p.nudge:+.1e}",
            "–" if share is None else f"{share:.0%}",
            _signed(r.update_cosine),
            _magnitude(r.credit_ratio),
            _magnitude(r.sensitivity),
            _signed(r.direction.coherence if r.direction else None),
        )
    p = probed[0][1]
    out.print()
    out.print(table)
    out.print(
        Padding(
            f"ρ: correlation of ⟨a, v⟩ with the change of the loss along {p.directions} random v "
            f"for each of {p.images} samples, exact; step: the same for a step of {p.step:g}·‖h‖, "
            "beside its two controls; nudge: change of the loss for such a step along −a, and its "
            "share of what −g achieves; update: cosine of the parameter update of the stage before "
            "with the true one; drift: coherence of the gradients.",
            (1, 0, 0, 0),
        ),
        style="dim",
    )


def legend(out: Console, samples: int) -> None:
    """Print how to read the columns of `show_states`."""
    out.print(
        Padding(
            f"cosine: credit with the float64 gradient, mean over {samples} test samples; images: "
            "standard deviation over them (no evidence: they share one feedback); null: standard "
            "deviation under fresh feedback; clamped: F.cosine_similarity on the mean-loss "
            "gradient; ‖g‖ per sample; error: relative, of the float32 gradient against float64; "
            "undef: samples without a cosine.",
            (1, 0, 0, 0),
        ),
        style="dim",
    )


def _show_methods(out: Console, rows: Sequence[MethodRow], level: float) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("method", overflow="fold")
    for heading in ("accuracy", f"{percent(level)} seeds", "frozen blocks", "gain"):
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


def show_findings(out: Console, findings: Sequence[Finding]) -> None:
    """Print what decided in full sentences, and what passed in one line with its numbers."""
    silent = ("note", "unmeasured")  # what was not tried and decides nothing
    told = [f for f in findings if f.status != "pass" and (f.severity, f.status) != silent]
    for finding in sorted(told, key=lambda f: f.severity == "note"):
        mark, style = _MARK[finding.status] if finding.severity != "note" else ("·", "dim")
        line = Text.assemble(
            (f"{mark} {finding.check}", style), f": {finding.evidence}. {finding.consequence}"
        )
        out.print(Padding(line, (0, 0, 0, 2), expand=False))
    # A check that had nothing to compare (BP's credit is the gradient) is not worth a word.
    passed = [
        _numbers(f)
        for f in findings
        if f.status == "pass" and f.severity != "note" and f.value is not None
    ]
    if passed:
        mark, style = _MARK["pass"]
        line = Text.assemble((f"{mark} passed", style), f": {', '.join(passed)}")
        out.print(Padding(line, (0, 0, 0, 2), expand=False))


def _numbers(finding: Finding) -> str:
    """A check and how far it was from its limit."""
    if not finding.value and not finding.threshold:
        return finding.check
    return f"{finding.check} ({finding.value:.2g}, limit {finding.threshold:g})"


def _show_contrasts(out: Console, contrasts: Sequence[Contrast]) -> None:
    for rule, penalty in dict.fromkeys((c.rule, c.penalty) for c in contrasts):
        of_pair = [c for c in contrasts if (c.rule, c.penalty) == (rule, penalty)]
        out.print()
        out.print(Text(_headline(rule, penalty, of_pair), style="bold"))
        for c in of_pair:
            change = f"h{c.state}: {c.without:+.2f} → {c.with_penalty:+.2f}"
            if c.difference.low is None or c.difference.high is None:
                extent = "one seed, no interval"
            else:
                over = f"{percent(c.difference.level)} over {c.difference.n} seeds"
                extent = f"{over} {_range(c.difference)}"
                extent += "" if c.clear else ", not clear of 0"
            out.print(f"  {change}, difference {c.difference.estimate:+.2f} ({extent})")


def _headline(rule: str, penalty: float, contrasts: Sequence[Contrast]) -> str:
    """Where the interval over seeds shows a change, and in which direction."""
    if all(c.difference.low is None for c in contrasts):
        return f"{rule}: the penalty {shortest(penalty)} changes the credit in this one seed"
    raised = [c.state for c in contrasts if c.clear and c.difference.estimate > 0]
    lowered = [c.state for c in contrasts if c.clear and c.difference.estimate < 0]
    changes = [
        f"{verb} the credit at {places(states)}"
        for verb, states in (("raises", raised), ("lowers", lowered))
        if states
    ]
    told = " and ".join(changes) if changes else "does not clearly change the credit anywhere"
    return f"{rule}: the penalty {shortest(penalty)} {told}"


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


def _seeds(method: Method) -> str:
    """`3 seeds`, or `2 of 3 seeds` where one diverged."""
    all_, left = len(method.runs), len(method.completed)
    noun = "seed" if all_ == 1 else "seeds"
    return f"{all_} {noun}" if left == all_ else f"{left} of {all_} {noun}"
