"""Run the notebooks beside this file and write what their cells show into them.

    python docs/notebooks/execute.py

Cells run in order in one namespace, without a Jupyter kernel: so do the tests, which compare what
comes out with what is written. A notebook therefore holds plain Python only.
"""

import ast
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
Cell = dict[str, Any]


def execute(notebook: dict[str, Any]) -> list[list[Cell]]:
    """The outputs of each code cell: what it prints, and the value of a last expression."""
    names: dict[str, Any] = {"__name__": "__main__"}
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"
    try:
        with torch.random.fork_rng():
            return [
                _run("".join(cell["source"]), names, number)
                for number, cell in enumerate(code_cells(notebook), 1)
            ]
    finally:
        os.environ["PATH"] = path


def code_cells(notebook: dict[str, Any]) -> list[Cell]:
    """The cells that run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _run(source: str, names: dict[str, Any], number: int) -> list[Cell]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
    outputs: list[Cell] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
    if value is not None:
        shown = {"text/plain": str(value)}
        if hasattr(value, "_repr_html_"):
            shown["text/html"] = value._repr_html_()
        outputs.append(
            {
                "output_type": "execute_result",
                "execution_count": number,
                "metadata": {},
                "data": shown,
            }
        )
    return outputs


def main() -> None:
    """Execute every notebook and save it with its outputs."""
    for path in sorted(HERE.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        found = execute(notebook)
        for number, (cell, outputs) in enumerate(
            zip(code_cells(notebook), found, strict=True), start=1
        ):
            cell["outputs"], cell["execution_count"] = outputs, number
        text = json.dumps(notebook, indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
        print(path.name)


if __name__ == "__main__":
    main()
