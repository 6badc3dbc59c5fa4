"""Notebooks as pages, with the outputs that are saved in them: nothing is run in a build.

The tests run the notebooks and compare what comes out with what is saved. A cell becomes Markdown:
its own, or a block of code followed by its outputs.
"""

import json
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


class NotebookParser(MystParser):
    """Parses `.ipynb` by way of Markdown."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Fill the document with the notebook's cells."""
        cells = json.loads(inputstring)["cells"]
        super().parse("\n\n".join(map(markdown, cells)), document)


def markdown(cell: dict[str, Any]) -> str:
    """A cell as Markdown."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    return "\n\n".join([_fenced("python", source), *map(_output, cell["outputs"])])


def _output(output: dict[str, Any]) -> str:
    """Tables as they show themselves in a notebook, else text."""
    if output["output_type"] == "stream":
        return _fenced("text", output["text"])
    data = output["data"]
    if "text/html" in data:
        return _fenced("{raw} html", f"<div class='output'>{data['text/html']}</div>")
    return _fenced("text", data["text/plain"])


def _fenced(language: str, text: str) -> str:
    return f"```````{language}\n{text.rstrip()}\n```````"


def setup(app: Sphinx) -> dict[str, bool]:
    """Take `.ipynb` as a source; after myst_parser, which it builds on."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
