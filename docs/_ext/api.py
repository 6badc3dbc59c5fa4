"""The Python API from the docstrings: autodoc reads them, in the form that faeval writes them."""

from typing import Any

from docstrings import parse, rst
from sphinx.application import Sphinx


def process(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Put a docstring of faeval into reStructuredText, in place."""
    lines[:] = rst(parse("\n".join(lines)))


def setup(app: Sphinx) -> dict[str, bool]:
    """Join autodoc."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
