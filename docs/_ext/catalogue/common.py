"""What the pages of all kinds are made of."""

import dataclasses
import inspect
import json
import re
import textwrap
from dataclasses import dataclass
from typing import Any

from docstrings import fields, inline, parse, rst
from pydantic import TypeAdapter

TYPES = {"number": "a number", "integer": "a whole number", "boolean": "true or false"}
BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}


@dataclass(frozen=True)
class Page:
    """One page: where it lies in its kind's folder, what it is called, and its first sentence."""

    slug: str
    title: str
    summary: str
    body: list[str]

    @property
    def text(self) -> str:
        """The page as reStructuredText."""
        return "\n".join([*heading(self.title, "="), inline(self.summary), "", *self.body])


def heading(text: str, underline: str = "-") -> list[str]:
    """A heading; its underline has room for wide characters."""
    return [text, underline * (len(text) + 4), ""]


def code(language: str, text: str) -> list[str]:
    """A block of code."""
    return [f".. code-block:: {language}", "", *textwrap.indent(text, "   ").splitlines(), ""]


def table(header: list[str], rows: list[list[str]], widths: str = "auto") -> list[str]:
    """A table of cells in reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in [header, *rows]:
        for i, cell in enumerate(row):
            lines.append(f"   {'* -' if i == 0 else '  -'} {cell}".rstrip())
    return [*lines, ""]


def summary(cls: type, *, alone: bool) -> str:
    """The first sentence of the module where the class has it to itself, else of the class."""
    if alone:
        return (inspect.getdoc(inspect.getmodule(cls)) or "").partition("\n\n")[0]
    return re.split(r"[:.]\s", inspect.getdoc(cls) or "")[0] + "."


def equation(cls: type) -> list[str]:
    """The docstring without the lines that explain options, which stand below."""
    options = {field.name for field in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
    blocks = [
        block
        for block in parse(inspect.getdoc(cls) or "")
        if not {name for name, _ in getattr(block, "rows", ())} & options
    ]
    return rst(blocks, equation=True)


def options(cls: type) -> list[str]:
    """Every field of a configuration with its default, what it may be, and what it is."""
    explained = fields(inspect.getdoc(cls) or "")
    shapes = TypeAdapter(cls).json_schema().get("properties", {})
    lines: list[str] = []
    for field in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType]
        default = json.dumps(field.default)
        lines += [f"``{field.name}`` : default ``{default}``", ""]
        told = explained.get(field.name, "")
        allowed = _allowed(shapes.get(field.name, {}))
        text = "; ".join(part.rstrip(".") for part in (told, allowed) if part)
        lines[-1] = f"   {inline(text or 'as above')}."
        lines.append("")
    return lines or ["None.", ""]


def yaml_of(name: str, cls: type) -> str:
    """The configuration with every option at its default, for a study file."""
    chosen = [
        f"{field.name}: {json.dumps(field.default)}"
        for field in dataclasses.fields(cls)  # pyright: ignore[reportArgumentType]
    ]
    return "{" + ", ".join([f"name: {name}", *chosen]) + "}"


def _allowed(shape: dict[str, Any]) -> str:
    if "enum" in shape:
        return "one of " + ", ".join(f"`{value}`" for value in shape["enum"])
    bounds = [f"{sign} {shape[key]:g}" for key, sign in BOUNDS.items() if key in shape]
    kind = TYPES.get(shape.get("type", ""), "")
    return " ".join(filter(None, (kind, " and ".join(bounds))))
