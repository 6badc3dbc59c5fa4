"""A page for every check, and what it said of the studies that are part of these docs.

Names, severities, thresholds and consequences are read from the source of the checks: a check
states them where it reports, and nowhere else.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from docstrings import definitions, fields, inline, parse, rst
from examples import Example

from catalogue.common import Page, heading
from faeval import Thresholds
from faeval.verdict.checks import CHECKS
from faeval.verdict.finding import Check

WEIGHT = {
    "note": "nothing, for it is told and never decides.",
    "caution": "the verdict is at most `caution`.",
    "refuse": "the verdict is `refuse`.",
}


@dataclass
class Facts:
    """What the source of one check says of it."""

    name: str = ""
    severities: list[str] = field(default_factory=list)
    thresholds: list[str] = field(default_factory=list)
    good: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


def pages(examples: list[Example]) -> list[Page]:
    """One page per check, in the order in which they are told."""
    return [_page(check, examples) for check in CHECKS]


def _page(check: Check, examples: list[Example]) -> Page:
    facts = read(check)
    first, _, rest = (inspect.getdoc(check) or "").partition("\n\n")
    explained = fields(inspect.getdoc(Thresholds) or "")
    limits = [
        (f"{name}: {getattr(Thresholds(), name):g}", explained[name]) for name in facts.thresholds
    ]
    return Page(
        re.sub(r"[^a-z]+", "-", facts.name),
        facts.name,
        first,
        [
            *rst(parse(rest)),
            *heading("Thresholds"),
            *(definitions(limits) or ["None: the check asks a question of yes or no.", ""]),
            *(["Change them under ``thresholds`` of a study file.", ""] if limits else []),
            *heading("What follows"),
            *_follows(facts),
            *_examples(facts.name, examples),
            *heading("Source"),
            inline(_source(inspect.getdoc(check) or "")),
            "",
        ],
    )


def _source(docstring: str) -> str:
    found = re.search(r"arXiv [\d.]+\d", docstring)
    return f"{found[0]}." if found else "A check of this package."


def _follows(facts: Facts) -> list[str]:
    worst = max(facts.severities, key=list(WEIGHT).index)
    graded = "" if len(facts.severities) == 1 else " Where that is not sure: at most `caution`."
    lines = [f"Where it flags: {inline(WEIGHT[worst] + graded)}", ""]
    lines += [f"- {inline(text)}" for text in facts.bad]
    lines += ["", "Where it passes:", ""]
    lines += [f"- {inline(text)}" for text in facts.good]
    if "note" not in facts.severities:
        lines += ["", inline("Where it could not be made, the verdict is at most `caution`.")]
    return [*lines, ""]


def _examples(name: str, examples: list[Example]) -> list[str]:
    lines: list[str] = []
    for example in examples:
        found = [row for row in example.rows("findings.csv") if row["check"] == name]
        if found:
            lines += [f".. rubric:: On {example.name}", ""]
            for row in found:
                told = f"{row['evidence']}. {row['consequence']}"
                told = inline(told[:1].upper() + told[1:])
                lines += [f"``{row['method']}`` : {row['status']}", f"   {told}", ""]
    return [*heading("What it said"), *lines] if lines else []


def read(check: Check) -> Facts:
    """The facts of a check, from its source and that of the helpers in its file."""
    facts = Facts()
    scope = vars(inspect.getmodule(check))
    for node in _nodes(check, set()):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "thresholds":
            facts.thresholds.append(node.attr)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called == "Reporter":
            facts.name = next(_texts(node.args[1], scope))
            facts.severities += [t for t in _texts(node.args[2], scope) if t in WEIGHT]
        elif called.endswith(".settled"):
            facts.good += _texts(node.args[1], scope)
        elif called.endswith(".refuted"):
            facts.bad += _texts(node.args[1], scope)
        elif called.endswith((".at_most", ".at_least")):
            facts.good += _texts(node.args[3], scope)
            facts.bad += _texts(node.args[4], scope)
    for values in (facts.severities, facts.thresholds, facts.good, facts.bad):
        values[:] = filter(None, dict.fromkeys(values))
    return facts


def _nodes(function: object, seen: set[object]) -> Iterator[ast.AST]:
    """The syntax of a function and of those that it calls in its own module, each once."""
    seen.add(function)
    scope = vars(inspect.getmodule(function))
    for node in ast.walk(ast.parse(inspect.getsource(function))):  # pyright: ignore[reportArgumentType]
        yield node
        if isinstance(node, ast.Name):
            other = scope.get(node.id)
            home = getattr(other, "__module__", "")
            if inspect.isfunction(other) and home == scope["__name__"] and other not in seen:
                yield from _nodes(other, seen)


def _texts(node: ast.AST, scope: dict[str, Any]) -> Iterator[str]:
    """The sentences of an expression: an f-string with … for what it fills in, a constant of the
    module by its value, both sides of a choice."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name) and isinstance(scope.get(node.id), str):
        yield scope[node.id]
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body, scope)
        yield from _texts(node.orelse, scope)
