"""The same records whatever runs the trials; one lost worker costs no other trial anything."""

import json
import os
import signal
from contextlib import suppress
from importlib.util import find_spec

import pytest
from small import ENGINES, checkpoints, unruly_trial

from faeval.core.errors import InputError
from faeval.records.events import Events, read_events
from faeval.study.engines import job_script, resolve_engine
from faeval.study.execute import execute
from faeval.train.trial import run_trial

NEEDS_JOBQUEUE = pytest.mark.skipif(
    find_spec("dask_jobqueue") is None, reason="dask-jobqueue is not installed (extra: slurm)"
)


def plain(record) -> dict:
    """A record without its times."""
    content = record.model_dump(mode="json", exclude={"seconds"})
    for epoch in content["history"]:
        epoch.pop("seconds")
    return content


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_a_lost_worker_and_an_error_leave_the_same_records_on_every_engine(name, unruly, tmp_path):
    """One trial kills its worker once, one raises, one behaves."""
    dying, wrong, good = (unruly_trial(w, unruly) for w in ("die once", "raise", "behave"))
    outcome = execute(
        [dying, wrong, good], tmp_path / "out", data_dir=None, device="cpu", workers=2, engine=name
    )
    assert set(outcome.records) == {dying.id, good.id}
    assert set(outcome.failures) == {wrong.id}
    assert str(outcome.failures[wrong.id]) == "as told"
    for trial in (dying, good):
        here = run_trial(trial, tmp_path / "here" / "trials" / trial.id, data_dir=None,
                         device="cpu")  # fmt: skip
        assert here is not None
        assert plain(outcome.records[trial.id]) == plain(here)
    assert checkpoints(tmp_path / "out") == checkpoints(tmp_path / "here")

    events = read_events(tmp_path / "out" / "events.jsonl")
    told = [(e["event"], e.get("trial")) for e in events]
    assert told[0] == ("begun", None)
    assert told[-1] == ("ended", None)
    assert (events[-1]["finished"], events[-1]["failed"]) == (2, 1)
    assert told.count(("lost", dying.id)) == 1
    assert told.count(("started", dying.id)) == 2
    if name != "loky":  # whose pool breaks with what is in flight
        assert told.count(("started", good.id)) == told.count(("started", wrong.id)) == 1
    assert told.count(("finished", good.id)) == told.count(("finished", dying.id)) == 1
    (failed,) = [e for e in events if e["event"] == "failed"]
    assert failed["cause"] == "ArithmeticError: as told"


@pytest.mark.slow
@pytest.mark.parametrize(("retries", "times"), [(0, 1), (2, 3)])
def test_retries_are_bounded(retries, times, unruly, tmp_path):
    (unruly / "die once-0-0").touch()  # what dies waits for one that dies once
    deadly = unruly_trial("die", unruly)
    outcome = execute([deadly], tmp_path, data_dir=None, device="cpu", workers=1, retries=retries)
    assert outcome.records == {}
    assert "its worker died" in str(outcome.failures[deadly.id])
    lost = [e for e in read_events(tmp_path / "events.jsonl") if e["event"] == "lost"]
    assert len(lost) == times


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("dusk", ["'dusk'", "did you mean 'dask'"]),
        ({"cluster": "slurm"}, ["engine", "dask, loky, ray"]),
        ({"name": "loky", "jobs": 3}, ["'jobs'"]),
        # A bug: it was rehearsed, and failed when its workers were to start.
        ({"name": "dask", "cluster": "slrum"}, ["dask cluster", "did you mean 'slurm'"]),
    ],
)
def test_an_unknown_engine_is_refused(given, words):
    with pytest.raises(InputError) as caught:
        resolve_engine(given)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("given", "package", "extra"),
    [
        ("dask", "distributed", "dask"),
        ("ray", "ray", "ray"),
        pytest.param(
            {"name": "dask", "cluster": "slurm"}, "dask_jobqueue", "slurm",
            marks=pytest.mark.skipif(find_spec("distributed") is None, reason="needs dask"),
        ),
    ],
)  # fmt: skip
def test_an_absent_package_is_asked_for_by_its_extra(given, package, extra, monkeypatch):
    def absent(name):
        if name == package:
            raise ImportError(name)

    monkeypatch.setattr("faeval.study.engines.import_module", absent)
    with pytest.raises(InputError, match=rf"pip install 'faeval\[{extra}\]'"):
        resolve_engine(given)


@NEEDS_JOBQUEUE
def test_the_job_that_slurm_would_get():
    """One thread, one trial at a time, with the directives asked for."""
    script = job_script(
        {
            "name": "dask", "cluster": "slurm", "queue": "gpu", "account": "lab",
            "memory": "8GB", "walltime": "02:00:00", "job_extra_directives": ["--gres=gpu:1"],
        },
        workers=4,
    )  # fmt: skip
    assert script is not None
    lines = script.splitlines()
    assert lines[0].startswith("#!")
    for directive in (
        "-J faeval", "-p gpu", "-A lab", "-n 1", "--cpus-per-task=1", "--mem=8G", "-t 02:00:00",
        "--gres=gpu:1",
    ):  # fmt: skip
        assert f"#SBATCH {directive}" in lines
    assert "export OMP_NUM_THREADS=1" in lines
    (worker,) = [line for line in lines if "dask_worker" in line or "dask worker" in line]
    assert "--nthreads 1" in worker
    assert job_script("loky", 4) is None
    assert job_script("dask", 4) is None


def test_events_are_lines_of_json(tmp_path):
    path = tmp_path / "events.jsonl"
    assert read_events(path) == []
    Events(path).tell("begun", trials=2)
    with path.open("a") as file:
        file.write('{"event": "sta')  # torn
    (event,) = read_events(path)
    assert (event["event"], event["trials"]) == ("begun", 2)
    assert json.loads(path.read_text().splitlines()[0]) == event


SBATCH = """\
#!/bin/sh
# A cluster of one machine without a queue: the job is a process group of its own.
cp "$1" "$JOBS.$$"
setsid sh "$JOBS.$$" >/dev/null 2>&1 &
echo $! >> "$JOBS"
echo "Submitted batch job $!"
"""


@pytest.mark.slow
@NEEDS_JOBQUEUE
def test_jobs_that_are_gone_are_submitted_anew(unruly, tmp_path, monkeypatch):
    """As at a walltime: all jobs end in mid-study, and nobody else would train what is left."""
    commands, jobs = tmp_path / "commands", tmp_path / "jobs"
    commands.mkdir()
    for name, script in (("sbatch", SBATCH), ("scancel", '#!/bin/sh\nkill -- "-$1"\n')):
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    monkeypatch.setenv("JOBS", str(jobs))

    def end_all_jobs() -> None:
        for job in map(int, jobs.read_text().split()):
            with suppress(ProcessLookupError):
                os.killpg(job, signal.SIGKILL)

    def walltime(_) -> None:
        if list(unruly.iterdir()) and len(jobs.read_text().split()) == 1:
            end_all_jobs()

    some = [unruly_trial("behave", unruly, seed=i) for i in range(3)]
    long = some[0].recipe.model_copy(update={"epochs": 400, "course": "none"})
    some[0] = some[0].model_copy(update={"recipe": long})
    try:
        outcome = execute(
            some, tmp_path / "out", data_dir=None, device="cpu", workers=1, retries=2,
            engine={"name": "dask", "cluster": "slurm", "memory": "1GB"}, follow=walltime,
        )  # fmt: skip
    finally:
        end_all_jobs()
    assert len(jobs.read_text().split()) >= 2
    assert set(outcome.records) == {trial.id for trial in some}
