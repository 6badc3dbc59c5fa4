"""The study on a terminal: a table per method, then the verdicts with their reasons."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from faeval.core.reading import Reading
from faeval.report import view
from faeval.report.tables import GAIN_INTERVAL, TEXT, method_table, state_table
from faeval.report.view import (
    MethodRow,
    StateRow,
    changes,
    method_rows,
    passed,
    state_rows,
    told,
)
from faeval.report.wording import magnitude as _magnitude
from faeval.report.wording import seeds
from faeval.report.wording import signed as _signed
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
        show_states(out, f"{method.name}, {seeds(method)}", state_rows(method, level), level)
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
    content = state_table(title, rows, level)
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, title_style="bold")
    for heading in content.headings:
        numeric = heading not in TEXT
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=numeric)
    for row in content.rows:
        table.add_row(*row)
    out.print()
    out.print(table)


def show_probes(out: Console, readings: Sequence[Reading]) -> None:
    """Print what the credit does to the loss and to the parameters, for one trial."""
    probed = [(r, r.probes) for r in readings if r.probes is not None]
    if not probed:
        return
    correlations = _table(
        "What the credit predicts", ("ρ", "±step", "+step", "g ±", "g +", "random ±", "random +")
    )
    effects = _table(
        "What the credit does",
        ("nudge", "of best", "update", "its error", "‖a‖/‖g‖", "‖g‖‖h‖", "drift"),
    )
    for r, p in probed:
        correlations.add_row(
            f"h{r.state}",
            _signed(p.rho),
            _signed(p.rho_finite),
            _signed(p.rho_one_sided),
            _signed(p.rho_gradient),
            _signed(p.rho_gradient_one_sided),
            _signed(p.rho_random),
            _signed(p.rho_random_one_sided),
        )
        share = p.nudge / p.nudge_gradient if p.nudge is not None and p.nudge_gradient else None
        effects.add_row(
            f"h{r.state}",
            "–" if p.nudge is None else f"{p.nudge:+.1e}",
            "–" if share is None else f"{share:.0%}",
            _signed(r.update_cosine),
            _magnitude(r.update_error),
            _magnitude(r.credit_ratio),
            _magnitude(r.sensitivity),
            _signed(r.direction.coherence if r.direction else None),
        )
    p = probed[0][1]
    for table in (correlations, effects):
        out.print()
        out.print(table)
    out.print(
        Padding(
            f"ρ: correlation of ⟨a, v⟩ with the change of the loss along {p.directions} random v "
            f"for each of {p.images} samples, exact; ±step: for a step of {p.step:g}·‖h‖ to both "
            "sides; +step: for a step ahead alone, where curvature shows; g and random: the same "
            "of two controls, the true gradient and a random vector; nudge: change of the loss for "
            "such a step along −a, and its share of what −g achieves; update: cosine of the "
            "parameter update of the stage before with the true one, and its distance from its own "
            "closed form; drift: coherence of the gradients.",
            (1, 0, 0, 0),
        ),
        style="dim",
    )


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, title_style="bold")
    table.add_column("state")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def legend(out: Console, samples: int) -> None:
    """Print how to read the columns of `show_states`."""
    out.print(Padding(view.legend(samples), (1, 0, 0, 0)), style="dim")


def _show_methods(out: Console, rows: Sequence[MethodRow], level: float) -> None:
    content = method_table(rows, level).without(GAIN_INTERVAL)  # too wide here: the finding has it
    table = Table(box=None, pad_edge=False)
    for heading in content.headings:
        numeric = heading not in TEXT
        table.add_column(
            heading,
            justify="right" if numeric else "left",
            no_wrap=numeric,
            overflow="fold" if heading == "method" else "ellipsis",
        )
    for row, cells in zip(rows, content.rows, strict=True):
        name, *numbers, verdict, because = cells
        styled = Text(verdict, style=_STYLE[row.verdict])
        table.add_row(Text(name, style="bold"), *numbers, styled, because)
    out.print()
    out.print(table)


def show_findings(out: Console, findings: Sequence[Finding]) -> None:
    """Print what decided in full sentences, and what passed in one line with its numbers."""
    for finding in told(findings):
        mark, style = _MARK[finding.status] if finding.severity != "note" else ("·", "dim")
        line = Text.assemble(
            (f"{mark} {finding.check}", style), f": {finding.evidence}. {finding.consequence}"
        )
        out.print(Padding(line, (0, 0, 0, 2), expand=False))
    if well := passed(findings):
        mark, style = _MARK["pass"]
        line = Text.assemble((f"{mark} passed", style), f": {', '.join(well)}")
        out.print(Padding(line, (0, 0, 0, 2), expand=False))


def _show_contrasts(out: Console, contrasts: Sequence[Contrast]) -> None:
    for change in changes(contrasts):
        out.print()
        out.print(Text(change.headline, style="bold"))
        for line in change.lines:
            out.print(f"  {line}")
