"""Trials side by side: none takes another with it, none is trained twice."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from filelock import FileLock
from small import checkpoints, everything, trials, unruly_trial

from faeval.core.errors import InputError
from faeval.records.schema import TrialRecord
from faeval.study.execute import Outcome, execute


def run(some, out: Path, workers: int = 2, **options) -> Outcome:
    (out / "trials").mkdir(parents=True, exist_ok=True)
    return execute(some, out, data_dir=None, device="cpu", workers=workers, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[list, Path, Outcome]:
    """A study that two workers finished; made once for all processes of pytest."""
    base = tmp_path_factory.getbasetemp()
    # Processes of one run share it; without them, the parent would outlive the run.
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished-study"
    some = trials()
    with FileLock(f"{out}.lock"):
        outcome = run(some, out)
    return some, out, outcome


def test_every_trial_leaves_its_files_and_a_record_that_loads(finished):
    some, out, outcome = finished
    assert outcome.failures == {}
    assert set(outcome.records) == {t.id for t in some}
    for trial in some:
        folder = out / "trials" / trial.id
        names = {p.name for p in folder.iterdir()} - {".lock"}
        assert names == {
            "trial.json", "log.jsonl", "course.jsonl", "checkpoint.safetensors", "record.json",
        }  # fmt: skip
        record = TrialRecord.load(folder / "record.json")
        assert record == outcome.records[trial.id]
        assert record.trial == trial
        assert (record.status, len(record.layers), len(record.history)) == ("completed", 3, 2)
        assert len((folder / "log.jsonl").read_text().splitlines()) == 2


def test_what_is_finished_is_not_touched_again(finished):
    some, out, outcome = finished
    before = everything(out)
    seen = []
    again = run(some, out, follow=lambda progress: seen.append(list(progress)))
    assert again == outcome
    assert everything(out) == before
    assert [p.status for p in seen[-1]] == ["finished"] * len(some)


@pytest.mark.slow
def test_one_that_fails_takes_no_other_with_it(finished, tmp_path):
    """Beside a trial that was finished before, and two that one worker trains to the bits
    that two workers gave them."""
    some, out, theirs = finished
    old, broken, *missing = some
    folder = tmp_path / "trials" / old.id
    shutil.copytree(out / "trials" / old.id, folder)
    damaged = tmp_path / "trials" / broken.id / "checkpoint.safetensors"
    damaged.parent.mkdir()
    damaged.write_bytes(b"no tensors at all")
    before, seen = everything(folder), []
    outcome = run(some, tmp_path, workers=1, follow=lambda now: seen.append(list(now)))

    (error,) = outcome.failures.values()
    assert set(outcome.failures) == {broken.id}
    assert isinstance(error, InputError)
    assert str(damaged) in str(error)
    assert damaged.read_bytes() == b"no tensors at all"  # for its owner to look at
    assert set(outcome.records) == {t.id for t in some} - {broken.id}
    assert everything(folder) == before

    expected, got = checkpoints(out), checkpoints(tmp_path)
    for trial in missing:
        assert got[trial.id] == expected[trial.id]
        mine, other = outcome.records[trial.id], theirs.records[trial.id]
        assert (mine.layers, mine.accuracy) == (other.layers, other.accuracy)
        assert [e.loss for e in mine.history] == [e.loss for e in other.history]

    assert all([p.trial for p in look] == some for look in seen)
    totals = [sum(p.epochs for p in look) for look in seen]
    assert totals == sorted(totals)
    status = {p.trial.id: p.status for p in seen[-1]}
    assert status.pop(broken.id) == "failed"
    assert set(status.values()) == {"finished"}


@pytest.mark.slow
def test_a_damaged_record_is_one_failure_and_not_the_end(finished, tmp_path):
    """What `claim` and the other trials say is not affected by one bad file."""
    some, _, _ = finished
    folder = tmp_path / "trials" / some[0].id
    folder.mkdir(parents=True)
    (folder / "record.json").write_text('{"schema_version": 1, "trial"')
    outcome = run(some, tmp_path, workers=1)
    assert set(outcome.failures) == {some[0].id}
    assert isinstance(outcome.failures[some[0].id], InputError)
    assert len(outcome.records) == len(some) - 1


def test_a_record_of_another_schema_is_refused_by_name(finished, tmp_path):
    some, out, _ = finished
    content = json.loads((out / "trials" / some[0].id / "record.json").read_text())
    path = tmp_path / "record.json"
    path.write_text(json.dumps(content | {"schema_version": 2}))
    with pytest.raises(InputError, match=r"schema version 1 .* version 2"):
        TrialRecord.load(path)


@pytest.mark.slow
def test_an_interruption_leaves_no_worker_and_nothing_half_done(unruly, tmp_path):
    some = [
        trial.model_copy(update={"data": "specks"})
        for trial in trials(epochs=4, recipe={"probe_images": 0})
    ]
    out = tmp_path / "out"

    def interrupt(progress) -> None:
        if any(p.status == "finished" for p in progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(some, out, workers=1, follow=interrupt)
    assert workers_of_this_process() == set()
    done = {p.parent.name for p in (out / "trials").glob("*/record.json")}
    assert done
    outcome = run(some, out, workers=1)
    assert set(outcome.records) == {t.id for t in some}
    assert not list(out.rglob(".*.*.*"))  # temporary names


# --- workers that die ------------------------------------------------------------------


def workers_of_this_process() -> set[int]:
    """Children that are Python workers of a pool (not the resource tracker), from /proc."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            command = (entry / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == os.getpid() and state != "Z" and b"popen_loky" in command:
            found.add(int(entry.name))
    return found


@pytest.mark.slow
def test_workers_killed_at_work_are_survived(finished, tmp_path):
    """SIGKILL for both workers in mid-training: what they had is run once more."""
    some, out, _ = finished
    slow = trials(epochs=60, recipe={"probe_images": 0})[:1]
    killed = set()

    def kill_once(progress) -> None:
        if not killed and progress[0].status == "running" and progress[0].epochs:
            for pid in workers_of_this_process():
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)

    outcome = run([*slow, some[1]], tmp_path, follow=kill_once)
    assert killed
    assert outcome.failures == {}
    assert set(outcome.records) == {slow[0].id, some[1].id}
    assert checkpoints(tmp_path)[some[1].id] == checkpoints(out)[some[1].id]
    assert [e.epoch for e in outcome.records[slow[0].id].history] == list(range(1, 61))
    assert workers_of_this_process() == set()


@pytest.mark.slow
def test_a_trial_that_kills_its_worker_fails_alone(unruly, tmp_path):
    """It takes those beside it along in the first round, and none in the second. A rule that
    raises fails with its own words; told nothing, it trains like any other."""
    deadly, wrong = unruly_trial("die", unruly), unruly_trial("raise", unruly)
    good = [unruly_trial("die once", unruly), unruly_trial("behave", unruly)]
    outcome = run([deadly, good[0], wrong, good[1]], tmp_path / "out")
    assert set(outcome.records) == {t.id for t in good}
    assert set(outcome.failures) == {deadly.id, wrong.id}
    assert "died" in str(outcome.failures[deadly.id])
    assert isinstance(outcome.failures[wrong.id], ArithmeticError)
    assert str(outcome.failures[wrong.id]) == "as told"
