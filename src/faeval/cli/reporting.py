"""`faeval report` and `faeval plot`: from the records of a folder to what people read."""

import sys
from collections.abc import Sequence
from pathlib import Path

from faeval.core.errors import unknown
from faeval.records.store import make_folder, write_bytes
from faeval.report.figures import WIDTHS, paper_figures
from faeval.report.html import report
from faeval.report.material import Material
from faeval.report.paper import (
    appendix,
    csv_files,
    references,
    tables_latex,
    tables_markdown,
)
from faeval.study.opening import open_study

FORMATS = ("html", "md", "tex", "csv", "bib")


def run_report(study: Path, *, out: Path | None, formats: Sequence[str]) -> int:
    """Write the report and what a paper takes from it, beside each other; the exit code."""
    for name in formats:
        if name not in FORMATS:
            raise unknown("format of a report", name, FORMATS)
    material = _opened(study)
    place = out or study
    # A folder unless it bears the ending of a page: `--out paper` is not a file named paper.
    page = place if place.suffix in (".html", ".htm") else place / "report.html"
    make_folder(page.parent)
    texts: dict[Path, str] = {}
    if "html" in formats:
        texts[page] = report(material)
    if "md" in formats:
        texts[page.with_name("tables.md")] = tables_markdown(material)
        texts[page.with_name("appendix.md")] = appendix(material)
    if "tex" in formats:
        texts[page.with_name("tables.tex")] = tables_latex(material)
    if "csv" in formats:
        texts |= {page.with_name(name): text for name, text in csv_files(material).items()}
    if "bib" in formats:
        texts[page.with_name("references.bib")] = references(material)
    for path, text in texts.items():
        write_bytes(path, text.encode())
    print(*texts, sep="\n")
    return 0


def run_plot(study: Path, *, out: Path | None) -> int:
    """Write every figure as PDF and SVG, as wide as one column and as two; the exit code."""
    material = _opened(study)
    folder = out or study / "figures"
    make_folder(folder)
    for width in WIDTHS:
        for name, content in paper_figures(material, width):
            write_bytes(folder / name, content)
            print(folder / name)
    return 0


def _opened(study: Path) -> Material:
    """The study, and a line on stderr where it is not complete."""
    material = open_study(study)
    if material.gap is not None:
        print(
            f"faeval: warning: {material.gap}; to finish, repeat the command that made the study",
            file=sys.stderr,
        )
    return material
