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
    logs = {t.id: read_log(out / "trials" / t.id / "log.jsonl") for t in trials}
    timed: dict[str, list[float]] = {}
    for trial in trials:
        timed.setdefault(_kind(trial), []).extend(epoch.seconds for epoch in logs[trial.id])

    def standing(trial: Trial) -> Standing:
        done = len(logs[trial.id])
        if (out / "trials" / trial.id / "record.json").exists():
            return Standing(trial, "finished", done, 0.0)
        seconds = timed[_kind(trial)]
        left = trial.recipe.epochs - done
        expected = left * sum(seconds) / len(seconds) if seconds else None
        return Standing(trial, "begun" if done else "to train", done, expected)

    return [standing(trial) for trial in trials]


def _kind(trial: Trial) -> str:
    return repr((trial.data, trial.model, trial.rule, trial.trainable_blocks == 0))
