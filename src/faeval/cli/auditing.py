"""`faeval audit`: from keys to a judged study."""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faeval.cli.device import resolve_device
from faeval.core.errors import InputError, unknown
from faeval.core.spec import from_validation
from faeval.data import load
from faeval.records.store import make_folder
from faeval.report.progress import progress
from faeval.report.terminal import console, legend, show_study
from faeval.report.view import as_json as study_as_json
from faeval.study.audit import audit
from faeval.study.execute import Outcome, claim, execute
from faeval.study.plan import Plan, StudyConfig, plan
from faeval.verdict.judge import Judgement


class Execution(BaseModel):
    """The keys that say where and how a study runs; they do not change what it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path | None = None
    workers: Annotated[int, Field(ge=1, strict=True)] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    out: Path | None = None


EXIT_CODES = {"caution": 3, "refuse": 4}


def run_audit(
    study: Path | None, flags: Mapping[str, Any], *, as_json: bool, fail_on: str | None
) -> int:
    """Train what is missing, judge, print; the exit code. `flags` win over the study file."""
    if fail_on is not None and fail_on not in EXIT_CODES:
        raise unknown("verdict to fail on", fail_on, EXIT_CODES)
    execution, config = _split((_read_yaml(study) if study else {}) | dict(flags))
    device = resolve_device(execution.device)
    planned = plan(config)
    data_dir = execution.data_dir.absolute() if execution.data_dir else None
    fingerprint = load(config.data, data_dir).fingerprint
    trials = planned.trials
    out = execution.out or _default_folder(planned, fingerprint)
    make_folder(out)
    claim(out, trials, fingerprint)
    with progress(console(stderr=True)) as follow:
        outcome = execute(
            trials,
            out,
            data_dir=data_dir,
            device=device,
            workers=execution.workers or _default_workers(device),
            follow=follow,
        )
    judgement = audit(planned, outcome.records)
    if as_json:
        records = [outcome.records[t.id] for t in trials if t.id in outcome.records]
        print(json.dumps(study_as_json(records, judgement), allow_nan=False))
    else:
        screen = console()
        show_study(screen, _heading(planned), judgement, config.thresholds.level)
        if any(record.layers for record in outcome.records.values()):
            samples = next(r.layers[0].samples for r in outcome.records.values() if r.layers)
            legend(screen, samples)
        screen.print(f"\nRecords and checkpoints: {out}", soft_wrap=True)
    return _failures(outcome) or _verdict_code(judgement, fail_on)


def _split(keys: dict[str, Any]) -> tuple[Execution, StudyConfig]:
    for key in keys:
        if key not in {*Execution.model_fields, *StudyConfig.model_fields}:
            raise unknown(
                "study key", str(key), [*Execution.model_fields, *StudyConfig.model_fields]
            )
    where = {key: value for key, value in keys.items() if key in Execution.model_fields}
    what = {key: value for key, value in keys.items() if key not in where}
    try:
        return Execution.model_validate(where), StudyConfig.parse(what)
    except ValidationError as error:
        raise from_validation(error, "the study") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        keys = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(
            "a study file that can be read", f"{path} ({error.strerror})", "check the path"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"YAML in {path}", " ".join(str(error).split()), "mend the syntax"
        ) from None
    if not isinstance(keys, dict):
        raise InputError(
            f"a mapping of keys in {path}", type(keys).__name__, "write for example: seeds: [1, 2]"
        )
    return keys


def _default_folder(planned: Plan, fingerprint: str) -> Path:
    content = "/".join([fingerprint, *sorted(trial.id for trial in planned.trials)])
    digest = hashlib.blake2b(content.encode(), digest_size=4).hexdigest()
    return Path("faeval-studies") / f"{planned.config.data}-{digest}"


def _default_workers(device: str) -> int:
    if device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _heading(planned: Plan) -> str:
    trial = planned.trials[0]
    options = " ".join(f"{key}={value}" for key, value in trial.model.items() if key != "name")
    recipe = planned.config.recipe
    name = recipe if isinstance(recipe, str) else recipe.get("name", "default")
    return (
        f"{trial.data} · {trial.model['name']} {options} · recipe {name}, "
        f"{trial.recipe.epochs} epochs, credit at {trial.recipe.credit_at}"
    )


def _verdict_code(judgement: Judgement, fail_on: str | None) -> int:
    worst = max((EXIT_CODES.get(v.verdict, 0) for v in judgement.verdicts), default=0)
    return worst if fail_on is not None and worst >= EXIT_CODES[fail_on] else 0


def _failures(outcome: Outcome) -> int:
    for trial_id, error in outcome.failures.items():
        line = " ".join(f"{error}".split()) or type(error).__name__
        print(f"faeval: trial {trial_id} failed: {line}", file=sys.stderr)
    if not outcome.failures:
        return 0
    return 2 if all(isinstance(e, InputError) for e in outcome.failures.values()) else 1
