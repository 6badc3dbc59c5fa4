"""Progress of a running study: bars on a terminal, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from faeval.records.progress import Progress

SECONDS_BETWEEN_LINES = 60.0
Follow = Callable[[Sequence[Progress]], None]


@contextmanager
def progress(out: Console) -> Iterator[Follow]:
    """A function that shows where the trials stand, each time it is called."""
    if not out.is_terminal:
        yield _Lines(out)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=out, transient=True) as bars:
        yield _Bars(bars)


class _Lines:
    """One line for every trial that ends, and every minute one of where the others are."""

    def __init__(self, out: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.out, self.clock = out, clock
        self.told: set[str] | None = None
        self.spoke_at = clock()
        self.paces: dict[str, _Pace] = {}

    def __call__(self, trials: Sequence[Progress]) -> None:
        ended = {p.trial.id: p for p in trials if p.status in ("finished", "failed")}
        if self.told is None:
            # What was finished before this run is old news, told in one line.
            self.told = {id for id, p in ended.items() if p.status == "finished"}
            if self.told:
                self.out.print(f"{len(self.told)} of {len(trials)} trials already finished")
        for id in ended.keys() - self.told:
            self.told.add(id)
            self.out.print(f"{len(self.told)}/{len(trials)} {_name(ended[id])} {ended[id].status}")
            self.spoke_at = self.clock()
        now = self.clock()
        running = [p for p in trials if p.status == "running"]
        for p in running:
            self.paces.setdefault(p.trial.id, _Pace(p.epochs, now))
        if running and now - self.spoke_at >= SECONDS_BETWEEN_LINES:
            self.spoke_at = now
            self.out.print(_counts(trials))
            for p in running:
                self.out.print(f"  {_name(p)} {self.paces[p.trial.id].told(p, now)}")


class _Pace:
    """How fast a trial trains, from where it stood when it was first seen running."""

    def __init__(self, epochs: int, at: float) -> None:
        self.epochs, self.at = epochs, at

    def told(self, p: Progress, now: float) -> str:
        text = f"{p.epochs}/{p.trial.recipe.epochs} epochs"
        if p.epochs > self.epochs:
            pace = (now - self.at) / (p.epochs - self.epochs)
            text += f", {duration((p.trial.recipe.epochs - p.epochs) * pace)} left"
        return text


class _Bars:
    """A bar over all epochs of all trials, and one for each trial that is running."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.total: TaskID | None = None
        self.running: dict[str, TaskID] = {}

    def __call__(self, trials: Sequence[Progress]) -> None:
        done = sum(p.epochs for p in trials)
        title = _counts(trials)
        if self.total is None:
            self.total = self.bars.add_task(
                title, total=sum(p.trial.recipe.epochs for p in trials), completed=done
            )
        self.bars.update(self.total, description=title, completed=done)
        running = {p.trial.id: p for p in trials if p.status == "running" and p.epochs}
        for id in self.running.keys() - running.keys():
            self.bars.remove_task(self.running.pop(id))
        for id, p in running.items():
            if id not in self.running:
                self.running[id] = self.bars.add_task(f"  {_name(p)}", total=p.trial.recipe.epochs)
            self.bars.update(self.running[id], completed=p.epochs)


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3 h 05 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def counted(number: int, noun: str) -> str:
    """`1 worker`, `12 trials`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _counts(trials: Sequence[Progress]) -> str:
    """`trials: 3 finished, 2 running, 1 failed, 6 left`."""
    count = Counter("left" if p.status == "waiting" else p.status for p in trials)
    kinds = ("finished", "running", "failed", "left")
    return "trials: " + ", ".join(f"{count[kind]} {kind}" for kind in kinds)


def _name(p: Progress) -> str:
    return p.trial.id + ("" if p.trial.trainable_blocks else " (frozen blocks)")
