"""The code of the README and the docs runs as it stands and prints what it says."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import shown_commands

ROOT = Path(__file__).resolve().parents[1]
OWN_RULE = ROOT / "docs" / "add-your-own-rule.md"
TRAINERS = ROOT / "docs" / "trainers-and-trackers.md"  # see tests/integrations/test_page.py
PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").glob("*.md")) - {OWN_RULE, TRAINERS})]
NUMBER = re.compile(r"[-+±]?\d+(?:\.\d+)?(?:e[-+]\d+)?")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def markdown(path: Path) -> str:
    """A page, or the prose of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


# A block of Python, and the output that the page shows before any other block.
EXAMPLE = re.compile(r"```python\n(.*?)```(?:(?:(?!```).)*?```text\n(.*?)```)?", re.DOTALL)
CODE = [
    pytest.param(code, shown, id=f"{page.stem}-{i}")
    for page in PAGES
    for i, (code, shown) in enumerate(EXAMPLE.findall(page.read_text(encoding="utf-8")))
]


def run(code: str) -> None:
    with torch.random.fork_rng():
        exec(compile(code, "a page", "exec"), {})


@pytest.mark.parametrize(("code", "shown"), CODE)
def test_code_runs_and_prints_what_is_shown(code, shown, capsys):
    if "biotorch" in code and find_spec("biotorch") is None:
        pytest.skip("biotorch is not installed")
    run(code)
    printed = capsys.readouterr().out
    if not shown:
        assert "caution" in printed or "refuse" in printed
        return
    # Words to the letter; p-values of 1e-100 move with the last bit, cosines do not.
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split()
    ours, theirs = (re.findall(r"[-+]\d\.\d{3}", text) for text in (printed, shown))
    assert [float(v) for v in ours] == pytest.approx([float(v) for v in theirs], abs=0.011)


def test_every_output_of_the_measurements_is_compared():
    shown = {param.id for param in CODE if param.values[1]}
    assert shown >= {
        "README-0", "measure-your-own-model-0",
        "reading-a-verdict-0", "reading-a-verdict-1", "studies-0",
    }  # fmt: skip


COMMANDS = [
    pytest.param(command, id=f"{path.stem}: {command}")
    for path in (*PAGES, OWN_RULE, TRAINERS, *sorted(ROOT.glob("docs/notebooks/*.ipynb")))
    for command in shown_commands.of_markdown(markdown(path))
] + [
    pytest.param(path.read_text(encoding="utf-8").strip(), id=path.parent.name)
    for path in sorted(ROOT.glob("docs/studies/*/command.txt"))
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_takes_what_is_shown(command):
    shown_commands.parse(command)


def test_a_wrong_command_would_be_noticed():
    from cyclopts import CycloptsError

    page = "```sh\nfaeval audit \\\n  --rule bp  # a comment\n```"
    (command,) = shown_commands.of_markdown(page)
    with pytest.raises(CycloptsError):
        shown_commands.parse(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_study_files_that_are_shown_can_be_planned(page):
    import textwrap

    import yaml

    from faeval.cli.keys import Execution
    from faeval.study.plan import StudyConfig, plan

    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        keys = yaml.safe_load(textwrap.dedent(block))
        where = {key: keys.pop(key) for key in Execution.model_fields if key in keys}
        assert Execution.model_validate(where)
        assert plan(StudyConfig.parse(keys)).trials


@pytest.mark.slow
def test_the_rule_of_the_docs_is_listed_audited_and_held_to_its_claims(tmp_path):
    """The page's files, installed as an installer leaves them, and its commands in turn."""
    rule, small_study = blocks(OWN_RULE, "python")
    (project,) = blocks(OWN_RULE, "toml")
    seen, tests = blocks(OWN_RULE, "sh")
    package = tomllib.loads(project)["project"]
    (tmp_path / "orthogonal_dfa.py").write_text(rule, encoding="utf-8")
    installed = tmp_path / "orthogonal_dfa-0.1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Name: {package['name']}\nVersion: 0.1\n")
    points = package["entry-points"]["faeval.rules"]
    (installed / "entry_points.txt").write_text(
        "[faeval.rules]\n" + "".join(f"{name} = {where}\n" for name, where in points.items())
    )

    # One process does it all, for imports take most of the time; the audit is only rehearsed,
    # since the Python example trains.
    listing, rehearsal = (shlex.split(line)[1:] for line in seen.splitlines())
    script = f"""
import sys, pytest
from faeval.cli import app
app({listing}, result_action="return_value")
app({[*rehearsal, "--dry-run"]}, result_action="return_value")
{small_study}
sys.exit(pytest.main({["-n", "0", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]} + [
    {str(ROOT)!r} + "/" + a if a.endswith(".py") else a for a in {shlex.split(tests)[1:]}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for told in (
        r"^  orthogonal_dfa +Direct feedback alignment with orthonormal columns",
        r"^orthogonal_dfa\(scale=0.5\) λ=0.01 (trust|caution|refuse)",
        r"\[100%\]",
    ):
        assert re.search(told, done.stdout, re.M), done.stdout
