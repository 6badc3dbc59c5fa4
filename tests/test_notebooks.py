"""The worked notebooks run, and show what is written in them."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from faeval import RULES

NOTEBOOKS = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
NUMBER = re.compile(r"[-+±]?\d+(?:\.\d+)?(?:e[-+]\d+)?")
COSINE = re.compile(r"[-+]\d\.\d{2,3}(?![\d.e])")

_spec = importlib.util.spec_from_file_location("execute", NOTEBOOKS / "execute.py")
assert _spec
assert _spec.loader
notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(notebooks)


def test_there_are_three():
    assert len(PATHS) == 3


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_shows_what_is_written_in_it(path, monkeypatch):
    list(RULES)
    monkeypatch.setattr(RULES, "_entries", dict(RULES._entries))  # the added rule goes again
    notebook = json.loads(path.read_text(encoding="utf-8"))
    found = notebooks.execute(notebook)
    for cell, outputs in zip(notebooks.code_cells(notebook), found, strict=True):
        assert [o["output_type"] for o in outputs] == [o["output_type"] for o in cell["outputs"]]
        for ours, theirs in zip(map(text, outputs), map(text, cell["outputs"]), strict=True):
            # Words to the letter; other hardware may move a number in its last digits.
            assert NUMBER.sub("#", ours).split() == NUMBER.sub("#", theirs).split()
            new, old = ([float(v) for v in COSINE.findall(t)] for t in (ours, theirs))
            assert new == pytest.approx(old, abs=0.05)


def text(output):
    if output["output_type"] == "stream":
        return output["text"]
    assert output["data"].keys() <= {"text/plain", "text/html"}
    return output["data"]["text/plain"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_is_a_notebook(path):
    """The form of nbformat 4.5, and nothing that a kernel alone could run."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in ids)
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        assert isinstance(cell["source"], list)
    for number, cell in enumerate(notebooks.code_cells(notebook), 1):
        assert cell["execution_count"] == number, "run docs/notebooks/execute.py"
        assert not any(line.startswith(("!", "%")) for line in cell["source"])
