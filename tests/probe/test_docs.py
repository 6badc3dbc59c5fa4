"""The code of docs/measure-your-own-model.md runs as it stands and prints what it says."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

DOC = Path(__file__).resolve().parents[2] / "docs" / "measure-your-own-model.md"
BLOCKS = re.findall(r"```(python|text)\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
CODE = [text for kind, text in BLOCKS if kind == "python"]
(OUTPUT,) = [text for kind, text in BLOCKS if kind == "text"]
NUMBER = re.compile(r"[-+±]?\d+(?:\.\d+)?(?:e[-+]\d+)?")


@pytest.mark.parametrize("code", CODE, ids=lambda code: f"line-{len(code)}")
def test_code_runs(code, capsys):
    if "biotorch" in code and find_spec("biotorch") is None:
        pytest.skip("biotorch is not installed")
    with torch.random.fork_rng():
        exec(compile(code, str(DOC), "exec"), {})
    printed = capsys.readouterr().out
    assert "caution" in printed or "refuse" in printed


def test_the_first_prints_the_table_that_is_shown(capsys):
    with torch.random.fork_rng():
        exec(compile(CODE[0], str(DOC), "exec"), {})
    printed, shown = (text.split("verdict:")[0] for text in (capsys.readouterr().out, OUTPUT))
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split()
    # Cosines to their printed digits; p-values of 1e-100 move with the last bit.
    ours, theirs = (re.findall(r"[-+]\d\.\d{3}", text) for text in (printed, shown))
    assert [float(v) for v in ours] == pytest.approx([float(v) for v in theirs], abs=0.011)
