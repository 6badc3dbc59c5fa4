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
data: digits
model: {MODEL}
rules: [bp, dfa]
penalties: [0.01]
seeds: [1]
epochs: {EPOCHS}
recipe: {{batch_size: 8}}
"""


@dataclass
class Running:
    """`faeval audit` in a session of its own."""

    out: Path
    workers: int = 2
    process: subprocess.Popen = field(init=False)
    lines: int = field(init=False)

    def __post_init__(self) -> None:
        self.lines = epochs_logged(self.out)
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
        """Until `count` more epochs are in the logs than at the start."""
        deadline = time.monotonic() + 60
        while self.process.poll() is None and epochs_logged(self.out) < self.lines + count:
            assert time.monotonic() < deadline, "no epoch was trained in a minute"
            time.sleep(0.01)

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


def epochs_logged(out: Path) -> int:
    total = 0
    for log in (out / "trials").glob("*/log.jsonl"):
        try:
            total += log.read_bytes().count(b"\n")
        except FileNotFoundError:  # being replaced
            continue
    return total


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


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_killed_at_five_moments_it_ends_in_the_same_bytes(tmp_path):
    """Parent alone (the next run then meets the orphans at work), or all its processes."""
    with running(tmp_path / "reference") as whole:
        assert whole.process.wait(timeout=120) == 0, whole.process.stderr.read()
    expected = results(tmp_path / "reference")
    assert len(expected) == 4

    out, draw = tmp_path / "killed", random.Random(20260621)
    middle, positions = 0, set()
    orphans: list[Running] = []
    try:
        for kill in range(5):
            group = kill % 2 == 0
            # One kill at any moment at all, start-up included; the others in mid-training.
            epochs = 0 if kill == 2 else draw.randint(1, 4)
            delay = draw.uniform(0.1, 3) if kill == 2 else draw.uniform(0, 0.3)
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
    got = results(out)
    assert set(got) == set(expected)
    for name, (checkpoint, record) in expected.items():
        assert got[name][1] == record, name
        assert got[name][0] == checkpoint, name
        assert [e["epoch"] for e in got[name][1]["history"]] == list(range(1, EPOCHS + 1))
    assert (out / "plan.json").read_bytes() == (tmp_path / "reference/plan.json").read_bytes()


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
