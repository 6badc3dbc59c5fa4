"""What a study as a whole says, on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from faeval.verdict.finding import NOTED, Finding

_STYLE = {"pass": "green", "flag": "red", "unmeasured": "yellow"}


def show_conclusions(out: Console, findings: Sequence[Finding]) -> None:
    """Print the findings of a study in full, those that passed too: they are its answer."""
    for finding in findings:
        style = "bold" if finding.mark == NOTED else _STYLE[finding.status]
        line = Text.assemble(
            (f"{finding.mark} {finding.method}, {finding.check}", style),
            f": {finding.evidence}. {finding.consequence}",
        )
        out.print()
        out.print(Padding(line, (0, 0, 0, 0), expand=False))
