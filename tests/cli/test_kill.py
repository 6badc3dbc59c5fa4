"""A study that is killed again and again ends in the bits of one that never was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from command import MODEL, environment

EPOCHS, PATIENCE = 7, 10.0
STUDY = f"""\
data: specks
model: {MODEL}
rules: [bp, dfa]
penalties: [0.01]
seeds: [1]
epochs: {EPOCHS}
recipe: {{batch_size: 16}}
"""

# As large as digits, and there without scikit-learn, which every new process would import.
DATA = """\
import torch

from faeval.data import Dataset, Source, Split


def specks(data_dir=None):
    draw = torch.Generator().manual_seed(0)

    def split(samples):
        x = torch.rand(samples, 64, generator=draw)
        return Split(x, torch.randint(10, (samples,), generator=draw))

    return Dataset(
        name="specks", train=split(1437), test=split(360), classes=10, fingerprint="f00d",
        mean=torch.zeros(64), std=torch.ones(64),
    )


SPECKS = Source("random samples", specks)
"""


@pytest.fixture(autouse=True)
def specks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set, installed for new processes."""
    info = tmp_path / "site" / "specks-1.dist-info"
    info.mkdir(parents=True)
    (info.parent / "specks.py").write_text(DATA)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: specks\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[faeval.data_sets]\nspecks = specks:SPECKS\n")
    monkeypatch.setenv("PYTHONPATH", str(info.parent), prepend=os.pathsep)


@dataclass
class Running:
    """`faeval audit` in a session of its own."""

    out: Path
    workers: int = 2
    process: subprocess.Popen = field(init=False)
    logs: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.logs = epochs_logged(self.out)
        command = [sys.executable, "-c", "from faeval.cli import main; main()", "audit"]
        study = self.out.with_suffix(".yaml")
        study.write_text(STUDY)
        self.process = subprocess.Popen(
            [*command, study, "--out", self.out, "--workers", str(self.workers), "--json"],
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )

    def wait_for_epochs(self, count: int) -> None:
        """Until `count` epochs were trained since the start. A trial that goes on first drops
        from its log what came after its checkpoint."""
        deadline, trained = time.monotonic() + 60, 0
        while self.process.poll() is None and trained < count:
            assert time.monotonic() < deadline, "no epoch was trained in a minute"
            time.sleep(0.01)
            before, self.logs = self.logs, epochs_logged(self.out)
            trained += sum(max(0, n - before.get(name, 0)) for name, n in self.logs.items())

    def kill(self, *, group: bool) -> None:
        if group:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.communicate() if group else self.process.wait()

    def clean_up(self) -> None:
        for pid in session(self.process.pid):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()


@contextmanager
def running(out: Path, workers: int = 2) -> Iterator[Running]:
    it = Running(out, workers)
    try:
        yield it
    finally:
        it.clean_up()


def session(leader: int) -> dict[int, str]:
    """Living processes of a session and their command lines, from /proc."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, _, _, sid = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it ended while we looked
        if int(sid) == leader and state != "Z":
            found[int(entry.name)] = command
    return found


def epochs_logged(out: Path) -> dict[str, int]:
    """Lines in the log of each trial."""
    return {
        log.parent.name: log.read_bytes().count(b"\n")
        for log in (out / "trials").glob("*/log.jsonl")
    }


def position(folder: Path) -> int:
    """The epoch of a checkpoint."""
    from faeval.records.store import read_tensors

    path = folder / "checkpoint.safetensors"
    return read_tensors(path)[1]["epoch"] if path.exists() else 0


def without_seconds(record: dict) -> dict:
    history = [{k: v for k, v in e.items() if k != "seconds"} for e in record["history"]]
    return {k: v for k, v in record.items() if k != "seconds"} | {"history": history}


def results(out: Path) -> dict[str, tuple[bytes, dict]]:
    return {
        folder.name: (
            (folder / "checkpoint.safetensors").read_bytes(),
            without_seconds(json.loads((folder / "record.json").read_text())),
        )
        for folder in (out / "trials").iterdir()
    }


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_killed_at_five_moments_it_ends_in_the_same_bytes(tmp_path):
    with running(tmp_path / "reference", workers=1) as whole:  # trains beside what is killed
        kill_five_times_and_go_on(tmp_path / "killed")
        assert whole.process.wait(timeout=120) == 0, whole.process.stderr.read()
    expected, got = results(tmp_path / "reference"), results(tmp_path / "killed")
    assert len(expected) == 3
    assert set(got) == set(expected)
    for name, (checkpoint, record) in expected.items():
        assert got[name][1] == record, name
        assert got[name][0] == checkpoint, name
        assert [e["epoch"] for e in got[name][1]["history"]] == list(range(1, EPOCHS + 1))
    plans = [(tmp_path / name / "plan.json").read_bytes() for name in ("reference", "killed")]
    assert plans[0] == plans[1]


def kill_five_times_and_go_on(out: Path) -> None:
    """Parent alone (the next run then meets the orphans at work), or all its processes."""
    draw = random.Random(20260621)
    middle, positions = 0, set()
    orphans: list[Running] = []
    try:
        for kill in range(5):
            group = kill % 2 == 0
            # One kill at any moment at all, start-up included; the others in mid-training.
            epochs = 0 if kill == 2 else draw.randint(1, 4)
            delay = draw.uniform(0.1, 3) if kill == 2 else draw.uniform(0, 0.2)
            print(f"kill {kill}: after {epochs} epochs and {delay:.3f} s, group {group}")
            one = Running(out, workers=2 if kill == 0 else 1)
            orphans.append(one)
            one.wait_for_epochs(epochs)
            time.sleep(delay)
            one.kill(group=group)
            folders = list((out / "trials").glob("*"))
            unfinished = [f for f in folders if not (f / "record.json").exists()]
            print(f"  unfinished: {[(f.name, position(f)) for f in unfinished]}")
            middle += bool(unfinished)
            positions.update(position(f) for f in unfinished)
    finally:
        for one in orphans:
            one.clean_up()

    # A later run must not trip over what a kill in mid-write leaves.
    for folder in (out / "trials").iterdir():
        (folder / ".checkpoint.safetensors.torn1234").write_bytes(b"half")
        (folder / ".record.json.torn1234").write_bytes(b"{")
        if not (folder / "record.json").exists() and (folder / "log.jsonl").exists():
            with (folder / "log.jsonl").open("a") as log:
                log.write('{"epoch": 99, "lo')
    with running(out, workers=1) as last:
        assert last.process.wait(timeout=120) == 0, last.process.stderr.read()

    assert middle >= 3, "the kills came too late to interrupt anything"
    assert positions & set(range(1, EPOCHS)), "no trial was resumed in mid-training"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_workers_do_not_outlive_a_parent_that_was_killed_alone(tmp_path):
    """They save what they have and go: in mid-epoch checkpoints, and then in `ps`."""
    out = tmp_path / "study"
    with running(out) as study:
        study.wait_for_epochs(1)
        study.kill(group=False)
        deadline = time.monotonic() + PATIENCE
        while (left := session(study.process.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
        saved = [position(folder) for folder in (out / "trials").iterdir()]
        logged = epochs_logged(out)
        time.sleep(0.5)
        assert epochs_logged(out) == logged, "an orphan is still training"
        assert any(0 < epoch < EPOCHS for epoch in saved), "nothing was saved on the way out"
        workers = [command for command in left.values() if "popen_loky" in command]
        assert not workers, f"{len(workers)} workers still there after {PATIENCE:.0f} s"
        assert not left, left
