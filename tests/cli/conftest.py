"""The command in this process, a small study file, and one finished study."""

import json
import os
import shutil
from pathlib import Path

import pytest
from command import SMALL, Call, process
from filelock import FileLock


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd) -> Call:
    for name in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return Call(monkeypatch, capfd)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A study file that trains in a second."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> tuple[Path, dict]:
    """The folder and the JSON of a study finished by a process of its own; made once."""
    base = tmp_path_factory.getbasetemp()
    # Processes of one run share it; without them, the parent would outlive the run.
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    out, kept, study = (root / f"cli-study{end}" for end in ("", ".json", ".yaml"))
    with FileLock(f"{out}.lock"):
        if not kept.exists():
            study.write_text(SMALL)
            done = process("audit", study, "--out", out, "--json")
            assert done.code == 0, done.err
            kept.write_text(json.dumps([done.out, done.err]))
    stdout, stderr = json.loads(kept.read_text())
    return out, {"out": stdout, "err": stderr, "study": study}


@pytest.fixture
def trial(finished, tmp_path) -> Path:
    """A copy of the folder of its DFA trial."""
    out, _ = finished
    (source,) = (out / "trials").glob("dfa-0.01-*")
    folder = tmp_path / source.name
    shutil.copytree(source, folder)
    return folder
