"""The code of the README and the docs runs as it stands and prints what it says."""

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import shown_commands
from shown_commands import TEXTS

ROOT = Path(__file__).resolve().parents[1]
OWN_RULE = "add-your-own-rule"
TRAINERS = "trainers-and-trackers"  # its code: tests/integrations/test_page.py
NUMBER = re.compile(r"[-+±]?\d+(?:\.\d+)?(?:e[-+]\d+)?")

# A block of Python, and the output that the page shows before any other block.
EXAMPLE = re.compile(r"```python\n(.*?)```(?:(?:(?!```).)*?```text\n(.*?)```)?", re.DOTALL)
CODE = [
    pytest.param(code, shown, id=f"{name}-{i}")
    for name, text in TEXTS.items()
    if name not in (OWN_RULE, TRAINERS) and not name.startswith("notebooks/")
    for i, (code, shown) in enumerate(EXAMPLE.findall(text))
]
# What the audit prints, and the end of one that takes 14 minutes and CIFAR-10.
*AUDITED, LONG = [
    shown
    for shown in shown_commands.blocks_in(TEXTS["README"], "text")
    if shown not in {param.values[1] for param in CODE}
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


def test_every_output_is_compared():
    """Here, or by test_the_readme_shows_what_the_audit_prints."""
    shown = {text for page in TEXTS.values() for text in shown_commands.blocks_in(page, "text")}
    assert shown == {param.values[1] for param in CODE} - {""} | {*AUDITED, LONG}
    assert len(AUDITED) == 2
    assert "dfa λ=0.01     0.372" in LONG


def test_the_readme_shows_what_the_audit_prints(tmp_path, monkeypatch, capsys):
    """From the records of the audit in the docs, whose command is the README's."""
    shown_commands.start_with_nothing(tmp_path, monkeypatch)
    made_by = (shown_commands.STUDIES / "digit-sums" / "command.txt").read_text().strip()
    assert made_by == "faeval audit --out digit-sums"
    shown_commands.run(made_by, "")
    printed = " ".join(capsys.readouterr().out.split())
    for text in AUDITED:
        assert " ".join(text.split()) in printed


# --- Whatever else is shown ------------------------------------------------------------

BUILT = "tests/test_site.py, where a warning of Sphinx is an error"
JUDGED_BY = {
    "python": "test_code_runs_and_prints_what_is_shown; test_notebooks.py; integrations",
    "text": "test_every_output_is_compared",
    "sh": "tests/test_shown_commands.py",
    "yaml": "test_the_study_files_that_are_shown_can_be_planned",
    "toml": "shown_commands.install",
    "{eval-rst}": BUILT,
    "{literalinclude}": BUILT,
    "{toctree}": BUILT,
    "{methods}": BUILT,
    "{published-figures}": BUILT,
    "{example-reports}": BUILT,
}


def test_every_language_has_somebody_who_judges_it():
    shown = {language for text in TEXTS.values() for language, _ in shown_commands.blocks(text)}
    assert shown == JUDGED_BY.keys()


YAML = [
    pytest.param(content, id=f"{name}-{i}")
    for name, text in TEXTS.items()
    for i, content in enumerate(shown_commands.blocks_in(text, "yaml"))
]


@pytest.mark.parametrize("content", YAML)
def test_the_study_files_that_are_shown_can_be_planned(content):
    import yaml

    from faeval.cli.keys import Execution
    from faeval.study.engines import resolve_engine
    from faeval.study.plan import StudyConfig, plan

    keys = yaml.safe_load(content)
    where = {key: keys.pop(key) for key in Execution.model_fields if key in keys}
    execution = Execution.model_validate(where)
    assert plan(StudyConfig.parse(keys)).trials
    if isinstance(execution.engine, dict):
        package = {"dask": "distributed", "ray": "ray"}[execution.engine["name"]]
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
        resolve_engine(execution.engine)


@pytest.mark.slow
def test_the_rule_of_the_docs_is_listed_read_and_held_to_its_claims(tmp_path):
    """The page's files, installed as an installer leaves them, in a process of its own."""
    page = TEXTS[OWN_RULE]
    _, small_study = shown_commands.blocks_in(page, "python")
    seen, tests = shown_commands.blocks_in(page, "sh")
    shown_commands.install(page, tmp_path)

    # One process does it all, for imports take most of the time.
    listing = shlex.split(seen.splitlines()[0])[1:]
    script = f"""
import sys, pytest
from faeval.cli import app
app({listing}, result_action="return_value")
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
