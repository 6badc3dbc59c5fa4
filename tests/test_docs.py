"""The code of the README and the docs runs as it stands and prints what it says."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NUMBER = re.compile(r"[-+±]?\d+(?:\.\d+)?(?:e[-+]\d+)?")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


CODE = [
    pytest.param(code, id=f"{page.stem}-{i}")
    for page in PAGES
    for i, code in enumerate(blocks(page, "python"))
]


def run(code: str) -> None:
    with torch.random.fork_rng():
        exec(compile(code, "a page", "exec"), {})


@pytest.mark.parametrize("code", CODE)
def test_code_runs(code, capsys):
    if "biotorch" in code and find_spec("biotorch") is None:
        pytest.skip("biotorch is not installed")
    run(code)
    printed = capsys.readouterr().out
    assert "caution" in printed or "refuse" in printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_first_example_prints_what_is_shown(page, capsys):
    run(blocks(page, "python")[0])
    printed = capsys.readouterr().out
    shown = next(text for text in blocks(page, "text") if text.startswith("my DFA"))
    # Words to the letter; p-values of 1e-100 move with the last bit, cosines do not.
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split()
    ours, theirs = (re.findall(r"[-+]\d\.\d{3}", text) for text in (printed, shown))
    assert [float(v) for v in ours] == pytest.approx([float(v) for v in theirs], abs=0.011)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_study_files_that_are_shown_can_be_planned(page):
    import textwrap

    import yaml

    from faeval.study.plan import StudyConfig, plan

    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        assert plan(StudyConfig.parse(yaml.safe_load(textwrap.dedent(block)))).trials
