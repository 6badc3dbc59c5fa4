"""Every command that a page shows runs, as a reader would type it; what would train for minutes is
rehearsed, and says why."""

import re
import runpy
import shlex
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from faeval import RULES
from faeval.study import engines

sys.path.insert(0, str(Path(__file__).parent))
import shown_commands
from shown_commands import TEXTS

ROOT = Path(__file__).resolve().parents[1]

TYPED = [(name, command) for name, text in TEXTS.items() for command in shown_commands.typed(text)]
# The studies of the docs, and the commands that made them; their files stand on the pages.
MADE_BY = {
    path.parent.name: path.read_text(encoding="utf-8").strip()
    for path in sorted(ROOT.glob("docs/studies/*/command.txt"))
}
COMMANDS = {
    f"{name}: {command}": (name, command)
    for name, command in [*TYPED, *MADE_BY.items()]
    if command.startswith("faeval ")
}
OTHERS = {command: name for name, command in TYPED if not command.startswith("faeval ")}
PUBLISHED = " ".join([
    "faeval audit --recipe published --data cifar10 --data-dir DIR",
    "--rules bp,dfa --penalties 0,0.01",
])  # fmt: skip
ALL_RULES = next(c for page, c in TYPED if page == "rules-on-cifar10" and "drtp" in c)

# What would train for minutes is rehearsed: planned, its data read, its models built and its
# feedback drawn, nothing trained.
REHEARSED = {
    "README: faeval study NAME": "five studies; docs/studies/cifar10-penalty-sweep runs one",
    "studies: faeval study NAME": "as in the README",
    "studies: faeval audit STUDY.yaml": "63 trials, of up to 8 blocks",
    "studies: faeval study learning-rate rates.yaml": "30 trials on CIFAR-10",
    "cluster: faeval audit study.yaml": "hands its trials to SLURM",
    f"published-table: {PUBLISHED} --seeds 42": "the README's, which trains there",
    f"notebooks/reproduce-the-published-table: {PUBLISHED} --seeds 42":
        "the README's, which trains there",
    "add-your-own-rule: faeval audit --data digits --rules orthogonal_dfa --penalties 0.01 "
    "--seeds 42 --epochs 5": "the Python of the page trains this rule",
    "notebooks/add-a-rule: faeval audit --rules bp,dfa,skip": "the notebook trains this rule",
}  # fmt: skip

# What runs with other flags than those that are shown.
ONE_EPOCH = "--epochs 1 --seeds 42 --workers 1"
CHANGED = {
    "README: faeval audit": ONE_EPOCH,
    f"README: {PUBLISHED}": ONE_EPOCH,
    "index: faeval audit --rules bp,fa,dfa,kolen_pollack --penalties 0 --epochs 5": ONE_EPOCH,
    # Trained in the README; here it goes on with the finished trials of the docs.
    "index: faeval audit": "--out digit-sums",
    f"rules-on-cifar10: {ALL_RULES}": "--out cifar10-rules",
    "studies: faeval study penalty-sweep sweep.yaml":
        "--data-dir DIR --out cifar10-penalty-sweep",
    # Only the name of the data is shown.
    "studies: faeval study learning-rate rates.yaml": "--data-dir DIR",
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line_takes_what_is_shown(name):
    shown_commands.parse(COMMANDS[name][1])


def test_a_wrong_command_would_be_noticed():
    from cyclopts import CycloptsError

    page = "```sh\nfaeval audit \\\n  --rule bp  # a comment\n```"
    (command,) = shown_commands.typed(page)
    with pytest.raises(CycloptsError):
        shown_commands.parse(command)


def test_every_exception_is_one_from_what_is_shown():
    """A command that is in neither table runs as it stands."""
    assert REHEARSED.keys() | CHANGED.keys() | SAID.keys() | {WITH_WORKERS} <= COMMANDS.keys()


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Somebody who starts with nothing."""
    shown_commands.start_with_nothing(tmp_path, monkeypatch)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes the rules of a page known to this process and to its workers."""

    def install(page: str) -> None:
        folder = tmp_path / "installed"
        shown_commands.install(page, folder)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONPATH", str(folder))
        list(RULES)
        monkeypatch.setattr(RULES, "_entries", dict(RULES._entries))
        monkeypatch.setattr(RULES, "_broken", {})
        monkeypatch.setattr(RULES, "_discovered", False)
        assert not RULES.broken

    return install


TRAINING = {name.partition(": ")[0] for name, flags in CHANGED.items() if flags is ONE_EPOCH}
WITH_COMMANDS = [
    pytest.param(page, marks=pytest.mark.slow if page in TRAINING else [])
    for page in dict.fromkeys(page for page, _ in COMMANDS.values())
]


def shown_on(page: str) -> list[tuple[str, str]]:
    """The commands of a page, one for every name that a placeholder stands for; by their names."""
    from faeval.study.ready import READY

    return [
        (name, command.replace("study NAME", f"study {ready}"))
        for name, (where, command) in COMMANDS.items()
        if where == page
        for ready in (READY if "study NAME" in command else [""])
    ]


WITH_WORKERS = "README: faeval audit"


# What a page says of the output of a command.
SAID = {
    "cluster: faeval audit study.yaml --dry-run": "#SBATCH",
    "add-your-own-rule: faeval list rules": "  orthogonal_dfa ",
}
FROM_THE_DOCS = re.compile("--out (digit-sums|sums|cifar10-)")
ALL_FINISHED = re.compile(r"^(\d+) of \1 trials already finished", re.M)


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_the_commands_of_a_page_run_in_turn(page, reader, installed, capsys, monkeypatch):
    """In one folder, as a reader types them; those that made a study of the docs made this one."""
    text = TEXTS.get(page) or "\n".join(TEXTS.values())
    if page in TEXTS and shown_commands.blocks_in(text, "toml"):
        installed(text)
    for name, command in shown_on(page):
        if name != WITH_WORKERS:
            monkeypatch.setitem(engines._ENGINES, "loky", (shown_commands.worker_here, ()))
        flags = CHANGED.get(name, "") + (" --dry-run" if name in REHEARSED else "")
        try:
            shown_commands.run(command, text, flags)
        except Exception as error:
            error.add_note(name)
            raise
        out, err = capsys.readouterr()
        assert SAID.get(name, "\n") in out, name
        if FROM_THE_DOCS.search(f"{command} {flags}"):
            assert ALL_FINISHED.search(err), name


# --- Commands that are not ours --------------------------------------------------------


def installs(*arguments: str) -> None:
    """`pip install`, which the CI runs: the file of constraints and the extras are there."""
    command, *rest = arguments
    assert command == "install"
    if "-c" in rest:
        assert (ROOT / rest.pop(rest.index("-c") + 1)).is_file()
    (what,) = (word for word in rest if not word.startswith("-"))
    extra = re.fullmatch(r"(?:\.|faeval)(?:\[(\w+)\])?", what)
    assert extra, what
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extra[1] is None or extra[1] in project["optional-dependencies"]


def selects(*arguments: str) -> None:
    """`pytest`, which is running: the files are there, and so is the marker."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    markers = [line.partition(":")[0] for line in options["markers"]]
    for flag, value in pairwise(["", *arguments]):
        if flag == "-m":
            assert value.removeprefix("not ") in markers
        elif flag != "-k" and not value.startswith("-"):
            assert (ROOT / value).exists(), value


def script(path: str) -> None:
    """A benchmark of minutes: it is there, and finds what it imports."""
    assert runpy.run_path(str(ROOT / path), run_name="shown")["main"]


def builds(source: str, target: str) -> None:
    """The site, which tests/test_site.py builds from this folder."""
    assert source == "docs"
    assert target == "docs/_build"
    assert '"docs", "site"' in (ROOT / "tests" / "test_site.py").read_text()


ACCOUNTED = {"pip": installs, "pytest": selects, "python": script, "sphinx-build": builds}


@pytest.mark.parametrize("command", OTHERS)
def test_what_is_not_a_command_of_ours_is_accounted_for(command):
    program, *arguments = shlex.split(command)
    ACCOUNTED[program](*arguments)


def test_the_tests_are_run_as_the_readme_says():
    assert "pip install -c constraints.txt '.[dev]' && pytest" in TEXTS["README"]
    assert "\npip install -c constraints.txt '.[dev]' && pytest\n" in (ROOT / ".ci/run").read_text()
