"""Run the trials of a study side by side, each in its own folder, and follow them."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faeval.core.errors import InputError
from faeval.core.trial import Trial
from faeval.records.progress import Progress
from faeval.records.schema import TrialRecord
from faeval.records.store import read_json, write_json
from faeval.train.trial import run_trial

SECONDS_BETWEEN_LOOKS = 0.2
GRACE = 3.0  # seconds in which an orphan may reach the end of its epoch and save


@dataclass(frozen=True)
class Outcome:
    """Records by trial id, and what kept the other trials from having one."""

    records: dict[str, TrialRecord]
    failures: dict[str, Exception]


def claim(out: Path, trials: Sequence[Trial], fingerprint: str) -> None:
    """Make `out` the folder of this plan, or of this plan with more trials than before (further
    seeds, say); InputError if it is that of another plan, which is left as it is."""
    (out / "trials").mkdir(exist_ok=True)
    mine = {"data_fingerprint": fingerprint, "trials": {t.id: _plain(t) for t in trials}}
    path = out / "plan.json"
    theirs = read_json(path) if path.exists() else {**mine, "trials": {}}
    if theirs == mine:
        return
    if difference := _difference(theirs, mine):
        raise InputError(
            f"the plan that {out} was made for ({difference}), or one with more trials",
            "another one",
            "give another folder with --out DIR, or repeat the first command",
        )
    write_json(path, mine)


def execute(
    trials: Sequence[Trial],
    out: Path,
    *,
    data_dir: Path | None,
    device: str,
    workers: int,
    follow: Callable[[Sequence[Progress]], None] = lambda _: None,
) -> Outcome:
    """Train what has no record yet, `workers` trials at a time with one thread each.

    A trial that fails takes no other with it. Where a worker dies, the trials it may have
    taken along are run once more, one by one; whatever was finished stays finished. `follow`
    is called several times a second.
    """
    outcome = Outcome({}, {})

    def attempt(some: Sequence[Trial], at_once: int) -> list[Trial]:
        return _round(some, trials, outcome, out, data_dir, device, at_once, follow)

    # One dying worker breaks its whole pool: each suspect gets a pool of its own.
    for suspect in attempt(trials, workers):
        for trial in attempt([suspect], 1):
            outcome.failures[trial.id] = RuntimeError("its worker died twice (out of memory?)")
    return outcome


def _round(
    pending: Sequence[Trial],
    trials: Sequence[Trial],
    outcome: Outcome,
    out: Path,
    data_dir: Path | None,
    device: str,
    workers: int,
    follow: Callable[[Sequence[Progress]], None],
) -> list[Trial]:
    """One pool; returns the trials whose worker died."""
    untrained = [t for t in pending if not _finished(t, out, outcome)]
    if not untrained:
        follow(_look(trials, (), out, outcome))
        return []
    # Imported here: a study that is finished needs no workers.
    from joblib.externals.loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(
        max_workers=min(workers, len(untrained)),
        initializer=_prepare_worker,
        initargs=(os.getpid(),),
        env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    lost: list[Trial] = []
    try:
        futures: dict[Future[Any], Trial] = {
            pool.submit(_work, t, _folder(t, out), data_dir, device, os.getpid()): t
            for t in untrained
        }
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
            for future in done:
                trial = futures[future]
                error = future.exception()
                if error is None:
                    outcome.records[trial.id] = future.result()
                elif isinstance(error, BrokenProcessPool):
                    lost.append(trial)
                elif isinstance(error, Exception):
                    outcome.failures[trial.id] = error
                else:
                    raise error
            running = [futures[f] for f in waiting if f.running()]
            follow(_look(trials, running, out, outcome))
    finally:
        # Checkpoints are on disk, and every write is atomic: nothing is lost by the kill.
        pool.shutdown(wait=True, kill_workers=True)
    return lost


def _prepare_worker(parent: int) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    # One thread per trial: sums are then added in one order, so that bits do not depend
    # on how many trials run side by side.
    torch.set_num_threads(1)


def _work(
    trial: Trial, folder: Path, data_dir: Path | None, device: str, parent: int
) -> TrialRecord | None:
    """Train one trial. A worker whose parent was killed saves what it has and ends: nobody would
    fetch its results, and the study that goes on would find it training."""

    def orphaned() -> bool:
        return os.getppid() != parent

    if orphaned():
        os._exit(1)
    record = run_trial(trial, folder, data_dir=data_dir, device=device, stop=orphaned)
    if orphaned():
        os._exit(1)
    return record


def _die_with(parent: int) -> None:
    """End this worker soon after its parent, whatever it is at: an idle one would wait for ever.
    Writes are atomic, so that any moment will do."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    time.sleep(GRACE)
    os._exit(1)


def _finished(trial: Trial, out: Path, outcome: Outcome) -> bool:
    path = _folder(trial, out) / "record.json"
    if not path.exists():
        return False
    try:
        outcome.records[trial.id] = TrialRecord.load(path)
    except InputError as error:
        outcome.failures[trial.id] = error
    return True


def _look(
    trials: Sequence[Trial], running: Sequence[Trial], out: Path, outcome: Outcome
) -> list[Progress]:
    active = {t.id for t in running}

    def progress(trial: Trial) -> Progress:
        if trial.id in outcome.records:
            return Progress(trial, "finished", trial.recipe.epochs)
        if trial.id in outcome.failures:
            return Progress(trial, "failed", trial.recipe.epochs)
        log = _folder(trial, out) / "log.jsonl"
        epochs = log.read_bytes().count(b"\n") if log.exists() else 0
        return Progress(trial, "running" if trial.id in active else "waiting", epochs)

    return [progress(trial) for trial in trials]


def _folder(trial: Trial, out: Path) -> Path:
    return out / "trials" / trial.id


def _plain(trial: Trial) -> dict[str, Any]:
    return trial.model_dump(mode="json")


def _difference(theirs: Any, mine: dict[str, Any]) -> str | None:
    """In words, the first thing that the older plan has and this one has not."""
    try:
        older, newer = theirs["trials"], mine["trials"]
        for key in (
            "data",
            "model",
            "recipe",
            "rule",
            "penalty",
            "seed",
            "trainable_blocks",
            "labels",
        ):
            here = {str(trial[key]) for trial in newer.values()}
            missing = {str(trial[key]) for trial in older.values()} - here
            if missing:
                return f"{key} {', '.join(sorted(missing))}"
        if theirs["data_fingerprint"] != mine["data_fingerprint"]:
            return f"data with fingerprint {theirs['data_fingerprint']}"
        if any(newer.get(name) != trial for name, trial in older.items()):
            return f"{len(older)} trials"
    except (TypeError, KeyError, AttributeError):
        return "a file that is damaged or of another version of faeval"
    return None
