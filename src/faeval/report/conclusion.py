"""What a study as a whole says, on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from faeval.verdict.finding import NOTED, Finding

_MARK = {"pass": ("✓", "green"), "flag": ("✗", "red"), "unmeasured": ("?", "yellow")}


def show_conclusions(out: Console, findings: Sequence[Finding]) -> None:
    """Print the findings of a study in full, those that passed too: they are its answer."""
    for finding in findings:
        noted = finding.severity == "note" and finding.status != "pass"
        mark, style = (NOTED, "bold") if noted else _MARK[finding.status]
        line = Text.assemble(
            (f"{mark} {finding.method}, {finding.check}", style),
            f": {finding.evidence}. {finding.consequence}",
        )
        out.print()
        out.print(Padding(line, (0, 0, 0, 0), expand=False))
