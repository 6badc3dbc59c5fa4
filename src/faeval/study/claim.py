"""A folder belongs to one plan, which may grow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faeval.core.errors import InputError
from faeval.core.trial import Trial
from faeval.records.store import read_json, write_json
from faeval.study.grid import Varied
from faeval.verdict.method import Thresholds


def claim(
    out: Path,
    trials: Sequence[Trial],
    fingerprint: str,
    thresholds: Thresholds | None = None,
    names: Mapping[str, Varied] | None = None,
) -> None:
    """Make `out` the folder of this plan, or of this plan with more trials than before (further
    seeds, say); InputError if it is that of another plan, which is left as it is. The thresholds,
    and the names of settings by trial id, may change with every command: the last ones are kept,
    for those who judge the folder later."""
    (out / "trials").mkdir(exist_ok=True)
    mine = {
        "data_fingerprint": fingerprint,
        "thresholds": (thresholds or Thresholds()).model_dump(),
        "names": dict(names or {}),
        "trials": {t.id: _plain(t) for t in trials},
    }
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
