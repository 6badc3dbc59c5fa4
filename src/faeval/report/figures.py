"""Figures for a paper: PDF and SVG, as wide as one column or two, without a browser."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from faeval.report.comparisons import accuracy_figure, ladder_figure, penalty_figures, rate_figure
from faeval.report.figure import HIDDEN, LIGHT, Figure, Spec, coloured, config
from faeval.report.html import method_figures
from faeval.report.material import Material

WIDTHS = {"single": 89.0, "double": 183.0}  # mm: the columns of most journals
_POINT = 25.4 / 72  # mm; one pixel of a specification is one point on paper
_PANEL = 200  # points: no panel with its axis is narrower
_SMALLER = 0.55  # marks and heights of paper against those of a screen


def paper_figures(material: Material, width: str) -> Iterator[tuple[str, bytes]]:
    """File names and contents; the same figure of several methods makes the panels of a file."""
    import vl_convert

    total = WIDTHS[width] / _POINT
    for name, panels in _kinds(material).items():
        columns = max(1, min(len(panels), int(total // _PANEL)))
        inner = total / columns - 60
        # Labels differ in width: draw, see what is left of the column, and draw again.
        first = vl_convert.vegalite_to_svg(_panelled(panels, columns, inner))
        svg = vl_convert.vegalite_to_svg(
            _panelled(panels, columns, inner + (total - _width(first)) / columns)
        )
        yield f"{name}-{width}.svg", svg.encode()
        yield f"{name}-{width}.pdf", vl_convert.svg_to_pdf(svg)


def _kinds(material: Material) -> dict[str, Sequence[Figure]]:
    found: dict[str, Sequence[Figure]] = dict(method_figures(material))
    single = [accuracy_figure(material), rate_figure(material), ladder_figure(material)]
    found |= {f.id: [f] for f in [*penalty_figures(material), *single] if f}
    return {name: panels for name, panels in found.items() if panels}


def _panelled(panels: Sequence[Figure], columns: int, width: float) -> Spec:
    """Panels side by side, each `width` points without its axis."""
    looks = config(7.5)
    looks["font"] = "DejaVu Sans, Liberation Sans, Arial, sans-serif"
    looks["legend"]["symbolSize"] = 40
    drawn = [
        {
            **_smaller(figure.spec),
            "width": round(width, 1),
            "height": round(_SMALLER * figure.spec["height"]),
            **({"title": figure.title.partition(":")[0]} if len(panels) > 1 else {}),
        }
        for figure in panels
    ]
    whole: Spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "params": [HIDDEN],
        "padding": 2,
        "config": {**_smaller(looks), "background": "white"},
    }
    if len(panels) == 1:
        whole |= drawn[0]
    else:
        shared = {"color": "shared", "shape": "shared", "strokeDash": "shared"}
        whole |= {"columns": columns, "spacing": 12, "concat": drawn, "resolve": {"legend": shared}}
    return coloured(whole, LIGHT)


def _smaller(value: Any) -> Any:
    """The same with points and strokes for print."""
    if isinstance(value, list):
        return [_smaller(v) for v in value]
    if not isinstance(value, dict):
        return value
    return {
        k: _SMALLER * v if k in ("size", "strokeWidth") and isinstance(v, int | float)
        else v if k == "values" else _smaller(v)
        for k, v in value.items()
    }  # fmt: skip


def _width(svg: str) -> float:
    found = re.search(r'<svg[^>]*?\bwidth="([\d.]+)"', svg)
    assert found, "an SVG states its width"
    return float(found[1])
