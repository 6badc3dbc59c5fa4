"""`faeval compare`: studies against the first of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from faeval.core.errors import InputError
from faeval.report.terminal import console
from faeval.study.compare import finals, grouped, judged, obstacles
from faeval.study.folder import names_of, plan_of, records_of
from faeval.verdict.comparison import Comparison, Difference, compare
from faeval.verdict.finding import percent
from faeval.verdict.method import Thresholds


def run_compare(studies: Sequence[Path], *, as_json: bool) -> int:
    """Print how each study after the first differs from it; the exit code."""
    if len(studies) < 2:
        raise InputError("two or more study folders", str(len(studies)), "write faeval compare A B")
    thresholds = Thresholds()
    records = [finals(records_of(study)) for study in studies]
    for study, found in zip(studies, records, strict=True):
        if not found:
            raise InputError(
                f"trials of {study} that met the test data",
                "only some that chose a learning rate",
                "finish the study first",
            )
    verdicts = [
        judged(grouped(found, names_of(plan_of(study))), thresholds)
        for study, found in zip(studies, records, strict=True)
    ]
    told = []
    for study, found, judgement in zip(studies[1:], records[1:], verdicts[1:], strict=True):
        comparison = compare(verdicts[0], judgement, thresholds.level)
        warnings = obstacles(records[0], found)
        told.append(
            {"first": str(studies[0]), "second": str(study), "warnings": warnings}
            | asdict(comparison)
        )
        if not as_json:
            _show(console(), f"{studies[0]} → {study}", comparison, warnings, thresholds.level)
    if as_json:
        print(json.dumps(told, allow_nan=False))
    return 0


def _show(
    screen: Console, title: str, comparison: Comparison, warnings: Sequence[str], level: float
) -> None:
    screen.print(Text(title, style="bold"))
    for warning in warnings:
        screen.print(Text(f"! not the same {warning}", style="yellow"))
    if comparison.differences:
        screen.print()
        screen.print(_table(comparison.differences, level))
    for turn in comparison.turns:
        screen.print()
        screen.print(Text(f"{turn.method}: {turn.first} → {turn.second}", style="bold"))
        for before, after in turn.findings:
            screen.print(Text(f"  {after.check}: {before.status} → {after.status}"))
            screen.print(Text(f"    before: {before.evidence}"))
            screen.print(Text(f"    after:  {after.evidence}"))
    if comparison.differences and not comparison.turns:
        screen.print("\nNo verdict changed.")
    for which, names in (("first", comparison.only_first), ("second", comparison.only_second)):
        if names:
            screen.print(f"\nOnly in the {which}: {', '.join(names)}")
    screen.print()


def _table(differences: Sequence[Difference], level: float) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("method", overflow="fold")
    for heading in ("quantity", "first", "second", "difference", f"{percent(level)} seeds", "q"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("by", no_wrap=True)
    named = None
    for d in differences:
        low, high = d.difference.low, d.difference.high
        table.add_row(
            "" if d.method == named else d.method,
            d.quantity,
            f"{d.first:+.3f}",
            f"{d.second:+.3f}",
            f"{d.difference.estimate:+.3f}",
            "" if low is None or high is None else f"{low:+.3f} to {high:+.3f}",
            "" if d.q is None else f"{d.q:.2g}",
            "seed" if d.paired else "mean",
        )
        named = d.method
    return table
