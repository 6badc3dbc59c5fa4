"""What lies in the folder of a study."""

import gc
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from faeval.core.errors import InputError
from faeval.core.reading import Reading
from faeval.core.spec import from_validation
from faeval.core.trial import Trial
from faeval.records.events import read_events
from faeval.records.log import read_course
from faeval.records.schema import TrialRecord
from faeval.records.store import read_json
from faeval.study.grid import Varied
from faeval.verdict.method import Thresholds

PLAN = "plan.json"


def has_record(out: Path, trial: Trial) -> bool:
    """Whether a trial of the study in `out` is finished."""
    return (out / "trials" / trial.id / "record.json").exists()


def records_of(out: Path) -> list[TrialRecord]:
    """Every record in the study folder `out`, by the names of their trials. Raises InputError
    where there is none, or a damaged one."""
    paths = sorted(out.glob("trials/*/record.json"))
    if not paths:
        raise InputError(
            "the folder of a study with finished trials", f"{out}, which has none", "check the path"
        )
    # Nothing that a record is made of refers back to it: looking for cycles among thousands of
    # them takes as long as reading them.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return [TrialRecord.load(path) for path in paths]
    finally:
        if collecting:
            gc.enable()


def plan_of(out: Path) -> dict[str, Any]:
    """What the study in `out` keeps of its plan, as `claim` wrote it; empty where there is none."""
    path = out / PLAN
    return read_json(path) if path.exists() else {}


def thresholds_of(plan: Mapping[str, Any], out: Path) -> Thresholds:
    """Those that the study in `out` was last judged by; the defaults where `plan`, its plan, does
    not say."""
    try:
        return Thresholds.model_validate(plan.get("thresholds", {}))
    except ValidationError as error:
        raise from_validation(error, f"the thresholds in {out / PLAN}") from None


def names_of(plan: Mapping[str, Any]) -> dict[str, Varied]:
    """What a plan calls the setting of each trial: its group, and what varies in the grid. Empty
    in a folder from before this was kept."""
    return plan.get("names", {})


def commands_of(out: Path) -> list[tuple[datetime, str]]:
    """The commands that trained something of the study in `out`, as they were typed, and when
    (UTC); none in a folder from before they were kept."""
    return [
        (datetime.fromtimestamp(event["time"], UTC), str(event["line"]))
        for event in read_events(out / "events.jsonl")
        if event["event"] == "command"
    ]


def courses_of(
    out: Path, records: "dict[str, TrialRecord]"
) -> dict[str, Sequence[tuple[int, Sequence[Reading]]]]:
    """The readings in training of each trial that has some, with those of its record last."""
    found = {}
    for name, record in records.items():
        course = [(c.epoch, c.layers) for c in read_course(out / "trials" / name / "course.jsonl")]
        if course:
            end = [(record.trial.recipe.epochs, record.layers)] if record.layers else []
            found[name] = [*course, *end]
    return found
