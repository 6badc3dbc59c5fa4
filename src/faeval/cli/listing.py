"""`faeval list`: what can be named at the command line and in a study file."""

import dataclasses
import inspect
import json
import re
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from faeval.core.errors import unknown
from faeval.data import DATA
from faeval.models import MODELS
from faeval.report.terminal import console
from faeval.rules import RULES
from faeval.train.recipe import RECIPES

# Claims that follow from the others.
_TECHNICAL = ("end_to_end", "exact", "gaussian_in", "direct", "teaches")
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
        width = max(len(name) for name in rows)
        for name, row in rows.items():
            details = dict(row)
            _line(out, name, str(details.pop("about")), width)
            for key, value in details.items():
                if value != {}:
                    _line(out, "", f"· {key.replace('_', ' ')}: {_cell(value)}", width)
        out.print()
    return 0


def _line(out: Console, name: str, text: str, width: int) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=width + 2)
    grid.add_column(overflow="fold")
    grid.add_row(f"  {name}", text)
    out.print(grid)


def _rules() -> Rows:
    return {
        name: {
            "about": _headline(cls, of_its_own=_alone(cls)),
            **{k: v for k, v in dataclasses.asdict(cls().claims).items() if k not in _TECHNICAL},
            "options": _options(cls),
        }
        for name, cls in RULES.items()
    }


def _models() -> Rows:
    return {
        name: {"about": _headline(cls), "options": _options(cls)} for name, cls in MODELS.items()
    }


def _data() -> Rows:
    return {name: {"about": source.description} for name, source in DATA.items()}


def _recipes() -> Rows:
    return {name: {"about": recipe.description} for name, recipe in RECIPES.items()}


_KINDS = {"rules": _rules, "models": _models, "data": _data, "recipes": _recipes}


def _headline(cls: type, *, of_its_own: bool = True) -> str:
    """The first line of the module, or of the class where it shares the module with others."""
    if of_its_own:
        return (inspect.getdoc(inspect.getmodule(cls)) or "").partition("\n")[0]
    return re.split(r"[:.]\s", inspect.getdoc(cls) or "")[0]


def _alone(cls: type) -> bool:
    return sum(other.__module__ == cls.__module__ for _, other in RULES.items()) == 1


def _options(cls: type) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(cls)}


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(f"{key}={default}" for key, default in value.items())
    return str(value)
