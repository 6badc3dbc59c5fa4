"""Workers killed at random moments: no trial is lost, none is trained twice, none is touched."""

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from small import ENGINES, checkpoints, everything, unruly_trial

from faeval.core.trial import Trial
from faeval.records.events import read_events
from faeval.study.execute import execute

KILLS, TRIALS, EPOCHS = 3, 4, 60


def some_trials(notes: Path) -> list[Trial]:
    """Each notes under a name of its own which process trains it."""
    trials = [unruly_trial(f"trial {i}", notes, seed=i) for i in range(TRIALS)]
    recipe = trials[0].recipe.model_copy(
        update={"epochs": EPOCHS, "batch_size": 8, "course": "none"}
    )
    return [trial.model_copy(update={"recipe": recipe}) for trial in trials]


def descends(pid: int) -> bool:
    """Whether this is a living process that this one, or one of its own, has started."""
    while pid > 1:
        try:
            state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            return False
        if state == "Z":
            return False
        if int(parent) == os.getpid():
            return True
        pid = int(parent)
    return False


class Killer(threading.Thread):
    """Sends SIGKILL to a worker at work, at `KILLS` moments that a seed draws, and keeps what
    the finished trials were at each of them."""

    def __init__(self, trials: list[Trial], out: Path, notes: Path, seed: str) -> None:
        super().__init__(daemon=True)
        self.trials, self.out, self.notes = trials, out, notes
        self.draw, self.over = random.Random(seed), threading.Event()
        self.killed: list[int] = []
        self.finished: dict[str, dict[str, tuple[int, bytes]]] = {}

    def run(self) -> None:
        while len(self.killed) < KILLS and not self.over.is_set():
            self.over.wait(self.draw.uniform(0, 0.5))
            while not (working := self.at_work()) and not self.over.is_set():
                self.over.wait(0.01)
            for folder in (path.parent for path in self.out.glob("trials/*/record.json")):
                self.finished.setdefault(folder.name, everything(folder))
            if working:
                pid = self.draw.choice(working)
                os.kill(pid, signal.SIGKILL)
                self.killed.append(pid)

    def at_work(self) -> list[int]:
        left = {
            str(trial.rule["what"])
            for trial in self.trials
            if not (self.out / "trials" / trial.id / "record.json").exists()
        }
        asked = [note.name.split("-") for note in sorted(self.notes.iterdir())]
        pids = {int(pid) for what, pid, _ in asked if what in left}
        return sorted(pid for pid in pids - set(self.killed) if descends(pid))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("name", ENGINES)
def test_workers_killed_at_random_moments_leave_what_an_undisturbed_study_leaves(
    name, unruly, tmp_path
):
    trials, out, whole = some_trials(unruly), tmp_path / "out", tmp_path / "whole"
    killer = Killer(trials, out, unruly, seed=name)
    killer.start()
    started = time.time()
    outcome = execute(
        trials, out, data_dir=None, device="cpu", workers=2, engine=name, retries=KILLS + 1
    )
    killer.over.set()
    killer.join()
    events = read_events(out / "events.jsonl")
    for e in events:  # told by pytest where something below fails
        print(f"{e['time'] - started:6.2f}", *(e.get(k, "") for k in ("event", "trial", "cause")))

    assert len(killer.killed) == KILLS
    assert outcome.failures == {}
    assert set(outcome.records) == {trial.id for trial in trials}
    assert any(e["event"] == "lost" for e in events)
    finished = [e["trial"] for e in events if e["event"] == "finished"]
    assert sorted(finished) == sorted(outcome.records)
    for trial_id, files in killer.finished.items():
        assert everything(out / "trials" / trial_id) == files, "a finished trial was touched"
    for record in outcome.records.values():
        assert [epoch.epoch for epoch in record.history] == list(range(1, EPOCHS + 1))

    undisturbed = execute(trials, whole, data_dir=None, device="cpu", workers=2)
    assert set(undisturbed.records) == set(outcome.records)
    assert checkpoints(out) == checkpoints(whole)
    for trial_id, record in undisturbed.records.items():
        assert outcome.records[trial_id].layers == record.layers
        assert outcome.records[trial_id].accuracy == record.accuracy
