"""Run the trials of a study side by side, each in its own folder, and follow them."""

import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faeval.core.errors import InputError
from faeval.core.trial import Trial
from faeval.records.events import Events
from faeval.records.progress import Progress
from faeval.records.schema import TrialRecord
from faeval.study.engines import SECONDS_BETWEEN_LOOKS, Engine, Pool, resolve_engine
from faeval.train.trial import run_trial

Follow = Callable[[Sequence[Progress]], None]


@dataclass(frozen=True)
class Outcome:
    """Records by trial id, and what kept the other trials from having one."""

    records: dict[str, TrialRecord] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)


def execute(
    trials: Sequence[Trial],
    out: Path,
    *,
    data_dir: Path | None,
    device: str,
    workers: int,
    engine: str | Mapping[str, Any] = "loky",
    retries: int = 1,
    follow: Follow = lambda _: None,
) -> Outcome:
    """Train what has no record yet, `workers` trials at a time with one thread each.

    A trial that fails takes no other with it. Where a worker dies or runs out of memory, the
    trials it may have taken along are run again, one at a time, each at most `retries` times;
    whatever was finished stays finished. `follow` is called several times a second. What happens is
    told in `out`/events.jsonl too. Raises InputError for an engine that is not there, or cannot
    start.
    """
    make_pool, options = resolve_engine(engine)
    run = _Run(trials, out.absolute(), data_dir, device, make_pool, options, follow)
    untrained = [t for t in trials if not run.finished(t)]
    run.look(())
    if not untrained:
        return run.outcome
    (run.out / "trials").mkdir(parents=True, exist_ok=True)
    run.events.tell("begun", trials=len(trials), untrained=len(untrained), workers=workers)
    try:
        suspects: list[Trial] = []
        while untrained:
            lost, untrained = run.round(untrained, workers)
            suspects += lost
        left = {trial.id: retries for trial in suspects}
        while suspects:
            for trial in (t for t in suspects if not left[t.id]):
                died = f"its worker died {_times(retries + 1)} (out of memory?)"
                run.failed(trial, RuntimeError(died))
            lost, untried = run.round([t for t in suspects if left[t.id]], 1)
            for trial in lost:
                left[trial.id] -= 1
            suspects = untried + lost
    except BaseException:
        run.events.tell("interrupted")
        raise
    run.look(())
    counts = {"finished": len(run.outcome.records), "failed": len(run.outcome.failures)}
    run.events.tell("ended", **counts)
    return run.outcome


@dataclass
class _Run:
    trials: Sequence[Trial]
    out: Path
    data_dir: Path | None
    device: str
    make_pool: Engine
    options: dict[str, Any]
    follow: Follow
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def events(self) -> Events:
        return Events(self.out / "events.jsonl")

    def round(self, pending: Sequence[Trial], workers: int) -> tuple[list[Trial], list[Trial]]:
        """One pool; returns the trials whose worker died, and those that were not begun since
        the pool broke."""
        waiting = [t for t in pending if not self._finished_before(t)]
        lost: list[Trial] = []
        flying: dict[Future[Any], tuple[Trial, int]] = {}
        slots = list(range(min(workers, len(waiting))))[::-1]
        if not waiting:
            return [], []
        with self.make_pool(len(slots), self.options) as pool:
            while flying or (waiting and not (pool.breaks and lost)):
                while waiting and slots and not (pool.breaks and lost):
                    trial, slot = waiting.pop(0), slots.pop()
                    flying[self._submit(pool, trial, slot)] = trial, slot
                    self.events.tell("started", trial=trial.id)
                done, _ = wait(flying, SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
                for future in done:
                    trial, slot = flying.pop(future)
                    slots.append(slot)
                    if self._came_to_grief(trial, future):
                        lost.append(trial)
                self.look([trial for trial, _ in flying.values()])
        return lost, waiting

    def finished(self, trial: Trial) -> bool:
        """Whether the trial has a record on disk, which is then part of the outcome."""
        path = self._folder(trial) / "record.json"
        if not path.exists():
            return False
        try:
            self.outcome.records[trial.id] = TrialRecord.load(path)
        except InputError as error:
            self.failed(trial, error)
        return True

    def _finished_before(self, trial: Trial) -> bool:
        """The same of a trial whose worker may have died with the record written and untold."""
        if not (finished := self.finished(trial)):
            return False
        if record := self.outcome.records.get(trial.id):
            self._tell_finished(record)
        return finished

    def failed(self, trial: Trial, error: Exception) -> None:
        """Write down what kept a trial from having a record."""
        self.outcome.failures[trial.id] = error
        self.events.tell("failed", trial=trial.id, cause=f"{type(error).__name__}: {error}")

    def look(self, running: Sequence[Trial]) -> None:
        """Tell `follow` where every trial stands."""
        active = {t.id for t in running}

        def progress(trial: Trial) -> Progress:
            if trial.id in self.outcome.records:
                return Progress(trial, "finished", trial.recipe.epochs)
            if trial.id in self.outcome.failures:
                return Progress(trial, "failed", trial.recipe.epochs)
            log = self._folder(trial) / "log.jsonl"
            epochs = log.read_bytes().count(b"\n") if log.exists() else 0
            return Progress(trial, "running" if trial.id in active else "waiting", epochs)

        self.follow([progress(trial) for trial in self.trials])

    def _submit(self, pool: Pool, trial: Trial, slot: int) -> "Future[Any]":
        device = f"cuda:{slot}" if self.device == "cuda" and pool.shares else self.device
        folder = self._folder(trial)
        return pool.submit(train_one, trial, folder, self.data_dir, device, pool.parent)

    def _came_to_grief(self, trial: Trial, future: "Future[Any]") -> bool:
        """Take in what a future brought; True where the trial is to be run again, alone."""
        lost = future.exception()
        if lost is not None and not isinstance(lost, Exception):
            raise lost
        result = lost or future.result()
        if isinstance(result, TrialRecord):
            self.outcome.records[trial.id] = result
            self._tell_finished(result)
            return False
        if lost is None and not _out_of_memory(result):
            self.failed(trial, result)
            return False
        self.events.tell("lost", trial=trial.id, cause=f"{type(result).__name__}: {result}"[:500])
        return True

    def _tell_finished(self, record: TrialRecord) -> None:
        self.events.tell("finished", trial=record.trial.id, seconds=round(record.seconds, 3))

    def _folder(self, trial: Trial) -> Path:
        return self.out / "trials" / trial.id


def train_one(
    trial: Trial, folder: Path, data_dir: Path | None, device: str, parent: int | None
) -> TrialRecord | Exception | None:
    """Train one trial in a worker; what goes wrong is an answer too, so that a future raises only
    where the worker itself was lost.

    A worker whose `parent` was killed saves what it has and ends: nobody would fetch its results,
    and the study that goes on would find it training.
    """
    import torch

    # One thread per trial: sums are then added in one order, so that bits do not depend
    # on how many trials run side by side.
    torch.set_num_threads(1)

    def orphaned() -> bool:
        return parent is not None and os.getppid() != parent

    if orphaned():
        os._exit(1)
    try:
        answer = run_trial(trial, folder, data_dir=data_dir, device=device, stop=orphaned)
    except Exception as error:
        answer = _portable(error)
    if orphaned():
        os._exit(1)
    return answer


def _portable(error: Exception) -> Exception:
    """The error itself where it survives the way home."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _out_of_memory(error: Any) -> bool:
    words = ("out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(w in str(error).lower() for w in words)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
