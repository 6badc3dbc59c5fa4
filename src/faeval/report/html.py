"""The report: one HTML file that holds everything it needs."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from faeval._version import __version__
from faeval.report.comparisons import accuracy_figure, ladder_figure, penalty_figures, rate_figure
from faeval.report.course import credit_figure, time_figure
from faeval.report.figure import DARK, LIGHT, Figure, coloured, config
from faeval.report.layers import cosine_domain, cosine_figure, image_figure, norm_figure
from faeval.report.material import Material, Member, slug
from faeval.report.paper import tables
from faeval.report.provenance import counts, provenance
from faeval.report.reasons import common_practice, gist, lesson, what_would_change
from faeval.report.tables import TEXT, Table, finding_table
from faeval.report.view import changes, legend, method_rows, passed, state_rows, told
from faeval.report.wording import accuracy, gain, seeds
from faeval.verdict.finding import Finding

MARKS = {"trust": "✓", "caution": "!", "refuse": "✗"}
_VERDICTS = {  # text of a verdict, dark enough on light paper and light enough on dark
    "light": {"trust": "#1a6b34", "caution": "#8a5300", "refuse": "#b3202c"},
    "dark": {"trust": "#62c880", "caution": "#e9b44c", "refuse": "#ff8a86"},
}
_SHAPES = {  # of a legend's entries, in a box of 30 × 12
    "circle": "M15 2a4 4 0 1 0 .01 0z", "square": "M11 2h8v8h-8z",
    "triangle-up": "M15 1.5l5 9h-10z", "triangle-down": "M15 10.5l5-9h-10z",
    "diamond": "M15 .5l5 5.5-5 5.5-5-5.5z", "triangle-left": "M10 6l9-5v10z",
    "triangle-right": "M20 6l-9-5v10z",
    "cross": "M13.2 1h3.6v3.2h3.2v3.6h-3.2v3.2h-3.6v-3.2h-3.2v-3.6h3.2z",
}  # fmt: skip


_CONTROLS = (
    "Controls: one fresh draw of feedback should read within twice the null; update: cosine of "
    "what the rule gives to the parameters of the stage before with what backpropagation would, "
    "and its distance from its own closed form, which should be rounding alone."
)


@dataclass(frozen=True)
class Block:
    """Figures and tables on one method, or on all where it has no name."""

    name: str
    figures: Sequence[Figure]
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Part:
    """A section of figures: what they come to, in words, and what could not be drawn."""

    id: str
    name: str
    about: str
    blocks: Sequence[Block]
    absent: Sequence[str] = ()
    findings: Sequence[Finding] = ()


def report(material: Material) -> str:
    """The report on a judged study, as the text of an HTML file that fetches nothing."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    level = material.thresholds.level
    rows = method_rows(material.judgement, level)
    parts = _parts(material)
    overview = accuracy_figure(material)
    figures = [f for part in parts for block in part.blocks for f in block.figures]
    figures += [overview] if overview else []
    names = {name: f"var(--{name})" for name in LIGHT}
    specs = {"config": config(), "figures": {f.id: f.spec for f in figures}}
    environment = Environment(
        loader=PackageLoader("faeval.report", "page"), autoescape=True, trim_blocks=True
    )
    return environment.get_template("page.html.j2").render(
        title=material.title,
        counts=counts(material),
        tally=[(w, n) for w in MARKS if (n := sum(row.verdict == w for row in rows))],
        marks=MARKS,
        finding_mark=_finding_mark,
        shapes=_SHAPES,
        sections=[("verdicts", "Verdicts"), ("methods", "Methods"),
                  *((part.id, part.name) for part in parts), ("checks", "Every check"),
                  ("provenance", "Provenance")],
        accounts=[_account(material, member, i) for i, member in enumerate(material.members)],
        changes=changes(material.judgement.contrasts),
        conclusions=[(f, next(p.id for p in parts if f in p.findings))
                     for f in material.conclusions],
        methods=tables(material)["methods"],
        text_columns=TEXT,
        accuracy=overview,
        parts=parts,
        findings=[finding_table(m.name, material.judgement.findings_on(m.name))
                  for m in material.members],
        provenance=provenance(material),
        recipe=material.recipe,
        missing=material.missing,
        version=__version__,
        palette=Markup(_palette()),
        style=Markup(_asset("style.css")),
        script=Markup(_asset("page.js")),
        specs=Markup(_inert(json.dumps(coloured(specs, names), separators=(",", ":"),
                                            ensure_ascii=False, allow_nan=False))),
        bundle=Markup(_bundle()),
    )  # fmt: skip


def method_figures(material: Material) -> dict[str, list[Figure]]:
    """The figures of each kind, one per method that has it."""
    domain = cosine_domain(material.members, material.thresholds.level)
    limits = material.thresholds
    return {
        "cosine": _some(cosine_figure(m, limits, domain) for m in material.members),
        "norms": _some(norm_figure(m, limits) for m in material.members),
        "images": _some(image_figure(m, domain) for m in material.members),
        "time": _some(time_figure(m, limits) for m in material.members),
        "course": _some(credit_figure(m, material.courses, limits) for m in material.members),
    }


def _parts(material: Material) -> list[Part]:
    members = material.members
    by_kind = {
        kind: {f.id.removeprefix(f"{kind}-"): f for f in some}
        for kind, some in method_figures(material).items()
    }

    def figures(member: Member, *kinds: str) -> list[Figure]:
        return _some(by_kind[kind].get(member.slug) for kind in kinds)

    sweeps = penalty_figures(material)
    ladder, rates = ladder_figure(material), rate_figure(material)
    shown = tables(material)

    def tables_of(*labels: str) -> list[Table]:
        return [shown[label] for label in labels if label in shown]

    return [
        Part(
            "layers", "Layer by layer", f"{legend(_samples(material))} {_CONTROLS}",
            [Block(m.name, figures(m, "cosine", "norms"), _unread(m),
                   tables_of(f"states-{m.slug}", f"controls-{m.slug}"))
             for m in members],
        ),
        Part(
            "images", "From image to image",
            "How far a layer's cosine is one number, and how far a mixture.",
            [Block("", _some(f for m in members for f in figures(m, "images")))],
            _lacking("quantiles over images", members, by_kind["images"]),
        ),
        Part(
            "time", "Over training", "What the last epoch does not show.",
            [Block(m.name, figures(m, "time", "course"), (), tables_of(f"onsets-{m.slug}"))
             for m in members if figures(m, "time", "course") or m.name in material.onsets],
            [*_lacking("norms of at least two epochs", members, by_kind["time"]),
             *_lacking("readings in training", members, by_kind["course"])],
            [f for f in material.conclusions if f.check == "early epochs"],
        ),
        Part(
            "varied", "What the study varied", "Penalty, learning rate and trainable blocks.",
            [Block("", _some([rates]), (), tables_of(*(f"rates-{slug(c.name)}"
                                                      for c in material.curves))),
             Block("", _some([*sweeps, ladder]))],
            [line for line, there in (
                ("The penalty was not varied within any rule.", sweeps),
                ("The learning rate was not varied within any rule.", rates),
                ("No trial trains some of the blocks: there is no depth ladder.", ladder),
            ) if not there],
            [f for f in material.conclusions if f.check != "early epochs"],
        ),
    ]  # fmt: skip


def _account(material: Material, member: Member, place: int) -> dict[str, Any]:
    """What the card of a method says."""
    level = material.thresholds.level
    rows = method_rows(material.judgement, level)
    row = rows[place]
    findings = material.judgement.findings_on(member.name)
    states = state_rows(member.method, level)
    practice = common_practice(row, rows, states, member.method.credit_is_gradient)
    return {
        "name": member.name, "slug": member.slug, "verdict": row.verdict,
        "because": ", ".join(row.reasons), "gist": gist(member.verdict, findings),
        "score": row.score, "accuracy": accuracy(row.accuracy),
        "control": row.control and accuracy(row.control),
        "gain": gain(row.gain, row.score), "seeds": seeds(member.method),
        "told": told(findings), "passed": passed(findings),
        "change": what_would_change(member.verdict, findings),
        "practice": practice, "lesson": lesson(member.verdict, practice),
    }  # fmt: skip


def _finding_mark(finding: Finding) -> str:
    if finding.severity == "note":
        return "·"
    return {"pass": "✓", "flag": "✗", "unmeasured": "?"}[finding.status]


def _unread(member: Member) -> list[str]:
    if not member.method.completed:
        return ["Every seed diverged: nothing was read."]
    if member.method.credit_is_gradient:
        return [
            "The credit is the gradient itself: its cosine is 1 and no evidence, and not drawn."
        ]
    return []


def _lacking(what: str, members: Sequence[Member], drawn: Iterable[str]) -> list[str]:
    slugs = set(drawn)
    names = [m.name for m in members if m.slug not in slugs and not m.method.credit_is_gradient]
    exact = [m.name for m in members if m.slug not in slugs and m.method.credit_is_gradient]
    lines = [f"Not drawn, for want of {what}: {', '.join(names)}."] if names else []
    if exact:
        lines.append(f"No cosine drawn, for the credit is the gradient: {', '.join(exact)}.")
    return lines


def _samples(material: Material) -> int:
    read = [r.layers[0].samples for m in material.members for r in m.records if r.layers]
    return read[0] if read else 0


def _some(figures: Iterable[Figure | None]) -> list[Figure]:
    return [f for f in figures if f is not None]


def _palette() -> str:
    def variables(colours: dict[str, str]) -> str:
        return " ".join(f"--{name}: {colour};" for name, colour in colours.items())

    light, dark = (variables(a | b) for a, b in ((LIGHT, _VERDICTS["light"]),
                                                 (DARK, _VERDICTS["dark"])))  # fmt: skip
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    )


def _asset(name: str) -> str:
    return (files("faeval.report") / "page" / name).read_text(encoding="utf-8")


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace(
        "</script", "<\\/script"
    )


def _inert(text: str) -> str:
    """JSON that cannot end the script element around it."""
    return text.replace("<", "\\u003c")
