"""Progress of a running study: bars on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from faeval.records.progress import Progress

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
    """One line for every trial that ends."""

    def __init__(self, out: Console) -> None:
        self.out = out
        self.told: set[str] | None = None

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


class _Bars:
    """A bar over all epochs of all trials, and one for each trial that is running."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.total: TaskID | None = None
        self.running: dict[str, TaskID] = {}

    def __call__(self, trials: Sequence[Progress]) -> None:
        done = sum(p.epochs for p in trials)
        ended = sum(p.status in ("finished", "failed") for p in trials)
        title = f"trials {ended}/{len(trials)}"
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


def _name(p: Progress) -> str:
    return p.trial.id + ("" if p.trial.trainable_blocks else " (frozen blocks)")
