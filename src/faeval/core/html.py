"""Numbers and sentences as small pieces of HTML, for notebooks: no colour, so that they are
legible on any background, and everything escaped."""

from collections.abc import Iterable, Sequence
from html import escape

NONE = "–"
RIGHT = ' style="text-align:right"'
LEFT = ' style="text-align:left"'


def signed(value: float | None) -> str:
    """A cosine: `+0.034`."""
    return NONE if value is None else f"{value:+.3f}"


def magnitude(value: float | None) -> str:
    """A positive number of any size: `2.02`, `1.7e-06`."""
    if value is None:
        return NONE
    return f"{value:.2f}" if 0.1 <= value < 1000 else f"{value:.1e}"


def paragraph(text: str, *, bold: str = "") -> str:
    """A paragraph that starts with `bold`."""
    start = f"<strong>{escape(bold)}</strong>" if bold else ""
    return f"<p{LEFT}>{start}{escape(text)}</p>"


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
    numeric: Sequence[bool] | None = None,
) -> str:
    """A table whose first column names the rows; `numeric` columns (default: all but the
    first) stand to the right."""
    right = numeric or [False] + [True] * (len(headings) - 1)

    def cell(kind: str, scope: str, text: str, is_right: bool) -> str:
        return f"<{kind}{scope}{RIGHT if is_right else LEFT}>{escape(text)}</{kind}>"

    lines = ["<table>"]
    if caption:
        lines.append(f'<caption style="text-align:left">{escape(caption)}</caption>')
    head = [cell("th", ' scope="col"', h, r) for h, r in zip(headings, right, strict=True)]
    lines.append(f"<thead><tr>{''.join(head)}</tr></thead><tbody>")
    for first, *others in rows:
        cells = [cell("th", ' scope="row"', first, right[0])]
        cells += [cell("td", "", text, r) for text, r in zip(others, right[1:], strict=True)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def folded(summary: str, inside: str) -> str:
    """HTML that opens on a click; `inside` is HTML already."""
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"
