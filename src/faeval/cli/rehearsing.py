"""`--dry-run`: what a study would train, and how long that may take."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from faeval.data import Dataset
from faeval.report.progress import counted, duration
from faeval.report.terminal import console
from faeval.study.engines import job_script
from faeval.study.forecast import Standing, standings
from faeval.study.plan import Plan


def rehearse(
    planned: Plan,
    datasets: Mapping[str, Dataset],
    out: Path,
    engine: str | Mapping[str, Any],
    workers: int,
    *,
    as_json: bool,
) -> int:
    """Print what is trained on, and every trial of the plan with what lies in `out` of it; the exit
    code."""
    found = standings(planned.trials, out)
    script = job_script(engine, workers)
    unknown = sum(s.seconds_left is None for s in found)
    seconds = sum(s.seconds_left or 0.0 for s in found) / workers
    if as_json:
        content = {
            "out": str(out),
            "data": {name: dataset.summary for name, dataset in datasets.items()},
            "trials": [_row(s) for s in found],
            "seconds_left": None if unknown else seconds,
            "untimed": unknown,
            "job_script": script,
        }
        print(json.dumps(content))
        return 0
    screen = console()
    for name, dataset in datasets.items():
        screen.print(f"{name}: {dataset.summary}", soft_wrap=True)
    screen.print()
    table = Table(box=None, pad_edge=False)
    for heading in ("trial", "blocks", "status", "epochs", "time left"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "trial" else "right")
    for s in found:
        blocks = "frozen" if not s.trial.trainable_blocks else str(s.trial.trainable_blocks)
        left = "unknown" if s.seconds_left is None else duration(s.seconds_left)
        epochs = f"{s.epochs}/{s.trial.recipe.epochs}"
        table.add_row(s.trial.id, blocks, s.status, epochs, left if s.status != "finished" else "")
    screen.print(table)
    counts = [
        f"{n} {status}"
        for status in ("finished", "begun", "to train")
        if (n := sum(s.status == status for s in found))
    ]
    told = f"\n{len(found)} trials: {', '.join(counts)}"
    left = sum(s.status != "finished" for s in found)
    if timed := left - unknown:
        some = f" for {timed} of {left}" if unknown else ""
        told += f"; about {duration(seconds)}{some} on {counted(workers, 'worker')}"
    if unknown:
        told += f"; {unknown} cannot be estimated: nothing like them was timed in this folder"
    screen.print(told, soft_wrap=True)
    if planned.config.tune is not None:
        finals = len(planned.trials) // len(planned.config.tune.learning_rates)
        screen.print(
            f"These choose the learning rates; up to {finals} final trials follow, on all training "
            "data.",
            soft_wrap=True,
        )
    screen.print(f"Folder: {out}", soft_wrap=True)
    if script is not None:
        screen.print(f"\nEach of {workers} workers would be submitted as\n")
        print(script)
    return 0


def _row(standing: Standing) -> dict[str, Any]:
    return {
        "id": standing.trial.id,
        "status": standing.status,
        "epochs": standing.epochs,
        "seconds_left": standing.seconds_left,
        "trial": standing.trial.model_dump(mode="json"),
    }
