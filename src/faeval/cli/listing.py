"""`faeval list`: what can be named at the command line and in a study file."""

import dataclasses
import inspect
import json
import re
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from faeval.core.errors import InputError, unknown
from faeval.core.registry import Registry
from faeval.data import DATA
from faeval.models import MODELS
from faeval.report.terminal import console
from faeval.rules import RULES, Rule
from faeval.train.recipe import RECIPES

# Claims that follow from the others.
_TECHNICAL = ("end_to_end", "exact", "gaussian_in", "direct", "teaches")
# Told on lines of their own; the other claims are words that fit into one.
_LONG = ("equals_bp", "options")
Rows = dict[str, dict[str, Any]]


def run_list(kind: str | None, *, as_json: bool) -> int:
    """Print one kind, or all; the exit code."""
    if kind is not None and kind not in _KINDS:
        raise unknown("kind of things to list", kind, _KINDS)
    listing = {k: rows() for k, rows in _KINDS.items() if kind in (None, k)}
    if as_json:
        print(json.dumps(listing))
        return 0
    out = console()
    for title, rows in listing.items():
        out.print(Text(title, style="bold"))
        width = max(map(len, rows), default=0)
        for name, row in rows.items():
            details = {k: _detail(k, v) for k, v in row.items() if v != {}}
            long = [details.pop(key) for key in _LONG if key in details]
            _line(out, name, str(row["about"]), width)
            del details["about"]
            for text in [", ".join(details.values()), *long]:
                if text:
                    _line(out, "", f"· {text}", width)
        out.print()
    return 0


def _line(out: Console, name: str, text: str, width: int) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=width + 2)
    grid.add_column(overflow="fold")
    grid.add_row(f"  {name}", text)
    out.print(grid)


def _rules() -> Rows:
    return {name: _rule(cls) for name, cls in RULES.items()} | _broken(RULES)


def _rule(cls: type[Rule]) -> dict[str, Any]:
    try:
        claims = dataclasses.asdict(cls().claims)
    except InputError as error:  # of another package: the others are listed all the same
        return {"about": f"cannot be used: {error}"}
    return {
        "about": _headline(cls, of_its_own=_alone(cls)),
        **{k: v for k, v in claims.items() if k not in _TECHNICAL},
        "options": _options(cls),
    }


def _models() -> Rows:
    return {
        name: {"about": _headline(cls), "options": _options(cls)} for name, cls in MODELS.items()
    } | _broken(MODELS)


def _data() -> Rows:
    return {name: {"about": source.description} for name, source in DATA.items()} | _broken(DATA)


def _recipes() -> Rows:
    named = {name: {"about": recipe.description} for name, recipe in RECIPES.items()}
    return named | _broken(RECIPES)


def _broken(registry: Registry[Any]) -> Rows:
    return {n: {"about": f"cannot be imported: {why}"} for n, why in registry.broken.items()}


_KINDS = {"rules": _rules, "models": _models, "data": _data, "recipes": _recipes}


def _headline(cls: type, *, of_its_own: bool = True) -> str:
    """The first line of the module, or of the class where it shares the module with others."""
    if of_its_own:
        return (inspect.getdoc(inspect.getmodule(cls)) or "").partition("\n")[0]
    # The dots of "i.i.d. M" end no sentence.
    paragraph = " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())
    return re.split(r"(?<!\.\w)[:.](?:\s|$)", paragraph)[0]


def _alone(cls: type) -> bool:
    return sum(other.__module__ == cls.__module__ for _, other in RULES.items()) == 1


def _options(cls: type) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(cls)}


def _detail(key: str, value: Any) -> str:
    name = key.replace("_", " ")
    if value is True:
        return name
    if value is False:
        value = "no"
    if isinstance(value, dict):
        value = " ".join(f"{option}={default}" for option, default in value.items())
    return f"{name}: {value}"
