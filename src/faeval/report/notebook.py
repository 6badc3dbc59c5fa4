"""What the terminal prints, as HTML for a notebook: the same words, numbers and order."""

import io
from collections.abc import Sequence
from html import escape
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from faeval.core.html import LEFT, table
from faeval.report.conclusion import show_conclusions
from faeval.report.terminal import PLAIN_WIDTH, show_study
from faeval.verdict.finding import Finding
from faeval.verdict.judge import Judgement


class Page(Console):
    """A console that keeps what is printed on it as HTML instead: tables as tables, lines as
    paragraphs. Whatever prints on a terminal can print here."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO(), width=PLAIN_WIDTH, highlight=False)
        self._parts: list[str] = []

    def print(self, *objects: Any, **options: Any) -> None:
        """Keep `objects`; how a terminal would lay them out does not matter here."""
        self._parts += [self._html(thing) for thing in objects]

    @property
    def html(self) -> str:
        """All that was printed, in one element."""
        return "\n".join(["<div>", *self._parts, "</div>"])

    def _html(self, thing: Any) -> str:
        if isinstance(thing, Padding):
            return self._html(thing.renderable)
        if isinstance(thing, Table):
            return self._table(thing)
        if isinstance(thing, str | Text):
            return f"<p{LEFT}>{self._line(thing)}</p>"
        raise TypeError(f"no HTML for {type(thing).__name__}")

    def _table(self, drawn: Table) -> str:
        return table(
            [_plain(column.header) for column in drawn.columns],
            zip(
                *([_plain(cell) for cell in column.cells] for column in drawn.columns), strict=True
            ),
            caption=_plain(drawn.title or ""),
            numeric=[column.justify == "right" for column in drawn.columns],
        )

    def _line(self, line: str | Text) -> str:
        pieces = []
        for segment in (Text(line) if isinstance(line, str) else line).render(self, end=""):
            text = escape(segment.text.strip("\n"))
            bold = segment.style is not None and segment.style.bold
            pieces.append(f"<strong>{text}</strong>" if bold else text)
        return "".join(pieces)


def study_html(
    heading: str, judgement: Judgement, level: float, conclusions: Sequence[Finding] = ()
) -> str:
    """A judged study as `faeval audit` prints it."""
    page = Page()
    show_study(page, heading, judgement, level)
    show_conclusions(page, conclusions)
    return page.html


def _plain(cell: Any) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)
