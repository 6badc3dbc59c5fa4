"""Where the trials of a study stand, and how long the rest will take."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faeval.core.trial import Trial
from faeval.records.log import read_log


@dataclass(frozen=True)
class Standing:
    """One trial: what is on disk of it, and the seconds it still needs (None: nothing like it
    was timed)."""

    trial: Trial
    status: Literal["finished", "begun", "to train"]
    epochs: int
    seconds_left: float | None


def standings(trials: Sequence[Trial], out: Path) -> list[Standing]:
    """One for each trial, by what lies in the study folder `out`, which need not exist.

    An epoch is expected to take as long as those of the trials with the same data, model and rule
    did so far (and, like it, with frozen blocks or without).
    """
    folders = [out / "trials" / trial.id for trial in trials]
    logs = [read_log(folder / "log.jsonl") for folder in folders]
    timed: dict[str, list[float]] = {}
    for trial, log in zip(trials, logs, strict=True):
        timed.setdefault(_kind(trial), []).extend(epoch.seconds for epoch in log)

    def standing(trial: Trial, folder: Path, done: int) -> Standing:
        if (folder / "record.json").exists():
            return Standing(trial, "finished", done, 0.0)
        seconds = timed[_kind(trial)]
        left = trial.recipe.epochs - done
        expected = left * sum(seconds) / len(seconds) if seconds else None
        return Standing(trial, "begun" if done else "to train", done, expected)

    return [
        standing(trial, folder, len(log))
        for trial, folder, log in zip(trials, folders, logs, strict=True)
    ]


def _kind(trial: Trial) -> str:
    return repr((trial.data, trial.model, trial.rule, trial.trainable_blocks == 0))
