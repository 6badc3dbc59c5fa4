"""A figure: a Vega-Lite specification, its numbers in words, and the one visual language.

Colour says what is measured, shape and dash say it again (for print, for grey, for the
colour-blind); methods are told apart by panels, or by shape and dash within one colour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

Spec = dict[str, Any]
Row = dict[str, Any]

LIGHT = {
    "paper": "#ffffff", "ink": "#1c2127", "muted": "#57606a", "grid": "#d9dee4",
    "state": "#0066a6", "credit": "#b84a00", "reference": "#00735a", "null": "#8b949e",
    "practice": "#6f3fb0",
}  # fmt: skip
DARK = {
    "paper": "#11161c", "ink": "#e8eaed", "muted": "#a9b2bc", "grid": "#333c47",
    "state": "#5bb5ec", "credit": "#f39457", "reference": "#35cba1", "null": "#8b949e",
    "practice": "#b9a2ff",
}  # fmt: skip

SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left",
          "triangle-right")  # fmt: skip
DASHES = ((1, 0), (7, 3), (2, 2), (8, 2, 2, 2), (4, 2), (12, 3), (1, 3), (10, 2, 2, 2, 2, 2))


@dataclass(frozen=True)
class Series:
    """One entry of a legend: a name, and how it looks."""

    name: str
    colour: str
    shape: str
    dash: tuple[int, ...]
    opacity: float = 1.0


STATE = Series("state ‖h‖", "state", "circle", (1, 0))
CREDIT = Series("credit ‖a‖", "credit", "square", (7, 3))
REFERENCE = Series("reference ‖g‖", "reference", "triangle-up", (2, 2))
SENSITIVITY = Series("sensitivity ‖g‖·‖h‖", "ink", "diamond", (8, 2, 2, 2))
TRUE = Series("credit, true cosine", "credit", "square", (1, 0))
CLAMPED = Series("credit, clamped cosine", "practice", "cross", (4, 3))
TRAINED = Series("trained blocks", "ink", "circle", (1, 0))
FROZEN = Series("frozen blocks", "muted", "triangle-down", (2, 2))


def alike(names: Sequence[str], colour: str, *, fade: bool = False) -> tuple[Series, ...]:
    """Series of one quantity, told apart by shape and dash; with `fade` they are bare lines,
    the last the darkest."""
    last = max(1, len(names) - 1)
    return tuple(
        Series(name, colour, "" if fade else SHAPES[i % len(SHAPES)], DASHES[i % len(DASHES)],
               round(0.35 + 0.65 * i / last, 3) if fade else 1.0)
        for i, name in enumerate(names)
    )  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A chart, and all that stands in for it where it cannot be seen.

    id        anchor and file name
    title     what is shown, of which method
    caption   how to read it
    spec      Vega-Lite, without width; colours by name: `$credit`
    series    what its legend tells apart, by the field `by` of its data
    alt       the figure in words, with its numbers
    headings, rows  its numbers as text cells
    """

    id: str
    title: str
    caption: str
    spec: Spec
    series: tuple[Series, ...]
    by: str
    alt: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def coloured(value: Any, colours: Mapping[str, str]) -> Any:
    """The specification with every `$name` replaced by a colour."""
    if isinstance(value, dict):
        return {k: coloured(v, colours) for k, v in value.items()}
    if isinstance(value, list):
        return [coloured(v, colours) for v in value]
    if isinstance(value, str) and value.startswith("$"):
        return colours[value[1:]]
    return value


def config(font_size: float = 12) -> Spec:
    """What all figures share."""
    text = {"labelColor": "$ink", "titleColor": "$ink", "aria": False}
    title = {"color": "$ink", "fontSize": font_size, "fontWeight": "bold", "anchor": "start"}
    return {
        "background": "transparent",
        "font": "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif",
        # The numbers stand in words and in a table beside each figure.
        "aria": False, "mark": {"aria": False}, "title": {**title, "aria": False},
        "view": {"stroke": None},
        "axis": {
            **text, "labelFontSize": font_size, "titleFontSize": font_size,
            "titleFontWeight": "normal", "gridColor": "$grid", "domainColor": "$muted",
            "tickColor": "$muted", "labelOverlap": True,
        },
        "axisX": {"grid": False, "labelAngle": 0},
        "legend": {
            **text, "labelFontSize": font_size, "orient": "top", "direction": "horizontal",
            "columns": 2, "title": None, "symbolStrokeWidth": 2, "labelLimit": 400,
        },
        "line": {"strokeWidth": 2},
        "point": {"size": 55, "filled": True, "opacity": 1},
    }  # fmt: skip


def scales(series: Sequence[Series], by: str) -> Spec:
    """Colour, shape, dash and opacity of the series, in one legend."""

    def channel(values: list[Any]) -> Spec:
        scale = {"domain": [one.name for one in series], "range": values}
        return {"field": by, "type": "nominal", "scale": scale, "title": None}

    return {
        "color": channel([f"${one.colour}" for one in series]),
        "shape": channel([one.shape for one in series]),
        "strokeDash": channel([list(one.dash) for one in series]),
        "opacity": {**channel([one.opacity for one in series]), "type": "ordinal"},
    }


HIDDEN: Spec = {"name": "hidden", "value": []}  # names of the series that a reader left out


def visible(by: str) -> list[Spec]:
    """The transform that leaves out hidden series."""
    return [{"filter": f"indexof(hidden, datum['{by}']) < 0"}]


def logarithmic(values: Sequence[float], title: str) -> Spec:
    """An axis over powers of ten, or 1–2–5 within two of them, that just holds the values > 0."""
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    steps = (1,) if log10(max(values) / min(values)) > 1.5 else (1, 2, 5)
    every = max(1, (high - low) // 6) if steps == (1,) else 1
    ticks = [m * 10.0**k for k in range(low, high + every, every) for m in steps]
    under = [t for t in ticks if t <= min(values) * (1 + 1e-9)]
    over = [t for t in ticks if t >= max(values) * (1 - 1e-9)]
    domain = [under[-1], max(over[0], 2 * under[-1])]
    kept = [t for t in ticks if domain[0] <= t <= domain[1]]
    text = "datum.value >= 0.01 && datum.value < 10000 ? format(datum.value, '~g')"
    return {
        "type": "quantitative", "title": title,
        "scale": {"type": "log", "domain": domain, "nice": False},
        "axis": {"values": kept, "labelExpr": f"{text} : format(datum.value, '.0e')"},
    }  # fmt: skip


def tooltip(**titles: str) -> list[Spec]:
    """Fields shown on hover, as text, under their titles."""
    return [{"field": name, "type": "nominal", "title": title} for name, title in titles.items()]


def rounded(value: float | None) -> float | None:
    """Five digits are more than any screen shows."""
    return None if value is None else float(f"{value:.5g}")
