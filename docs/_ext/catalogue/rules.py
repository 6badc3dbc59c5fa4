"""A page for every registered rule, those of other packages too."""

import dataclasses
import inspect
import re

from docstrings import fields, inline, parse, rst

from catalogue.common import Page, code, equation, heading, options, summary, table, yaml_of
from faeval import RULES, Claims, Rule
from faeval.report.bibliography import ENTRIES, keys


def pages() -> list[Page]:
    """One page per rule, in the order of their names."""
    modules = [cls.__module__ for _, cls in RULES.items()]
    return [
        Page(name, name, summary(cls, alone=modules.count(cls.__module__) == 1), _body(name, cls))
        for name, cls in RULES.items()
    ]


def _body(name: str, cls: type[Rule]) -> list[str]:
    beside = "" if name == "bp" else "bp, "
    names = f"{beside}{name}".replace(" ", "")
    return [
        *heading("Equation"),
        *equation(cls),
        *_family(cls),
        *heading("Options"),
        *options(cls),
        *heading("What it claims"),
        "The contract tests hold every rule to these.",
        "",
        *_claims(cls),
        *heading("Run it"),
        "Beside backpropagation, on embedded data:",
        "",
        *code("sh", f"faeval audit --data digits --rules {names} --epochs 5 --seeds 42"),
        "In a study file, with its options:",
        "",
        *code(
            "yaml",
            f"data: digit-sums\nrules: [{'' if name == 'bp' else 'bp, '}{yaml_of(name, cls)}]",
        ),
        f"In Python: ``faeval.RULES[{name!r}]()``, the class ``{cls.__name__}``.",
        "",
        *heading("Source"),
        *_source(name),
    ]


def _family(cls: type[Rule]) -> list[str]:
    """What a rule has from a class that it shares with others."""
    shared = [base for base in cls.__mro__[1:] if issubclass(base, Rule) and base is not Rule]
    lines: list[str] = []
    for base in shared:
        lines += [f".. rubric:: Shared with its family, ``{base.__name__}``", ""]
        lines += rst(parse(inspect.getdoc(base) or ""))
    return lines


def _claims(cls: type[Rule]) -> list[str]:
    meaning = fields(inspect.getdoc(Claims) or "")
    rows = [
        [f"``{name}``", _cell(value), inline(meaning.get(name, ""))]
        for name, value in dataclasses.asdict(cls().claims).items()
    ]
    return table(["claim", "value", "what is meant"], rows, "18 30 52")


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return inline("–" if value is None else str(value))


def _source(name: str) -> list[str]:
    found = keys(name)
    if found is None:
        return ["A rule of another package: cite where it was published.", ""]
    if not found:
        return ["A control of this package: there is no paper to cite.", ""]
    lines: list[str] = []
    for key in found:
        lines += [f"- {inline(citation(ENTRIES[key]))}"]
    return [*lines, "", *code("bibtex", "\n\n".join(ENTRIES[key] for key in found))]


def citation(entry: str) -> str:
    """A BibTeX entry as a line to read: authors, title, where, year, and where to find it."""
    found = {k: _plain(v) for k, v in re.findall(r"(\w+)\s*=\s*\{(.*?)\}(?:,\n|\n\})", entry, re.S)}
    names = [name.partition(",")[0] for name in found.get("author", "").split(" and ")]
    authors = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    where = found.get("journal") or found.get("booktitle") or ""
    address = found.get("doi") or (f"arXiv {found['eprint']}" if "eprint" in found else "")
    parts = (authors, found["title"], where, found["year"], address)
    return ". ".join(part for part in parts if part) + "."


def _plain(value: str) -> str:
    value = value.replace(r"{\o}", "ø").replace("{", "").replace("}", "")
    return " ".join(value.split())
