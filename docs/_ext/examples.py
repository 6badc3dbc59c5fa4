"""The studies that are part of these docs: `studies/NAME` holds the records of one, and the build
writes its report as `faeval report` does.

`{example-reports}` lists them. What it says of a study is read from the files of its report.
"""

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from faeval.cli.reporting import FORMATS, run_report

COMMAND = "command.txt"  # beside the records: the command that made them
SHOWN = ("report.html", "tables.md", "tables.tex", "appendix.md", "references.bib",
         "methods.csv", "states.csv", "findings.csv")  # fmt: skip


@dataclass(frozen=True)
class Example:
    """A study of these docs, and the folder of the site that holds its report."""

    name: str
    records: Path
    report: Path

    @property
    def command(self) -> str:
        """The command that made it; nothing where nobody wrote it down."""
        path = self.records / COMMAND
        return path.read_text(encoding="utf-8").strip() if path.exists() else ""

    @property
    def title(self) -> str:
        """Data, model, epochs, as the report has them."""
        first = (self.report / "appendix.md").read_text(encoding="utf-8").partition("\n")[0]
        return first.partition(": ")[2]

    def rows(self, name: str) -> list[dict[str, str]]:
        """The rows of one of the CSV files beside the report."""
        with (self.report / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def examples_of(app: Sphinx) -> list[Example]:
    """The studies of these docs, by name."""
    return [
        Example(plan.parent.name, plan.parent, Path(app.outdir) / "reports" / plan.parent.name)
        for plan in sorted(Path(app.srcdir).glob("studies/*/plan.json"))
    ]


def write_reports(app: Sphinx) -> None:
    """What `faeval report` writes, into the site."""
    for example in examples_of(app):
        with contextlib.redirect_stdout(io.StringIO()):
            run_report(example.records, out=example.report / "report.html", formats=FORMATS)


class ExampleReports(SphinxDirective):
    """A section for every example: what it is, the commands that made it, its report."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        lines: list[str] = []
        for example in examples_of(self.env.app):
            made = example.command or "faeval audit study.yaml --out STUDY"
            lines += [f"## {example.name}", "", f"{example.title}. Made by", "", "```sh", made]
            lines += [f"faeval report {_out(made)}", "```", "", *_verdicts(example), ""]
            lines += [" · ".join(self._link(example, name) for name in SHOWN), ""]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)

    def _link(self, example: Example, name: str) -> str:
        page = self.env.app.builder.get_target_uri(self.env.docname)
        target = f"reports/{example.name}/{name}"
        return f"<a href='{os.path.relpath(target, os.path.dirname(page) or '.')}'>{name}</a>"


def _verdicts(example: Example) -> list[str]:
    rows = [
        (row["method"], number(row["accuracy"], ".3f"), row["verdict"], row["because_of"])
        for row in example.rows("methods.csv")
    ]
    return table(["method", "accuracy", "verdict", "because of"], rows)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def number(text: str, form: str) -> str:
    """A cell of a CSV file, formatted; a dash where it is empty."""
    return format(float(text), form) if text else "–"


def _out(command: str) -> str:
    words = command.split()
    return words[words.index("--out") + 1] if "--out" in words else "STUDY"


def setup(app: Sphinx) -> dict[str, bool]:
    """Join the build, before the pages that quote the reports."""
    app.add_directive("example-reports", ExampleReports)
    app.connect("builder-inited", write_reports, priority=500)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
