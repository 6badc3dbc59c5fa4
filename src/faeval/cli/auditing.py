"""`faeval audit`: from keys to a judged study."""

import hashlib
import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from faeval._version import __version__
from faeval.cli.device import resolve_device
from faeval.cli.keys import Execution, read_keys
from faeval.cli.rehearsing import rehearse
from faeval.core.errors import InputError, unknown
from faeval.core.trial import Trial
from faeval.data import load
from faeval.records.events import Events
from faeval.records.store import make_folder
from faeval.report.conclusion import show_conclusions
from faeval.report.progress import counted, progress
from faeval.report.terminal import console, legend, show_study
from faeval.report.view import as_json as study_as_json
from faeval.study.check import check
from faeval.study.claim import claim
from faeval.study.engines import resolve_engine
from faeval.study.execute import Outcome, execute
from faeval.study.folder import courses_of, has_record
from faeval.study.forecast import standings
from faeval.study.plan import Plan, plan
from faeval.study.ready import ReadyStudy
from faeval.study.results import Results
from faeval.study.tuning import candidates, setting_names, tuned
from faeval.verdict.finding import Finding
from faeval.verdict.judge import Judgement

EXIT_CODES = {"caution": 3, "refuse": 4}


def run_audit(
    study: Path | None,
    flags: Mapping[str, Any],
    *,
    as_json: bool,
    fail_on: str | None,
    dry_run: bool = False,
    ready: ReadyStudy | None = None,
) -> int:
    """Train what is missing, judge, print; the exit code. `flags` win over the study file, which
    wins over the keys of a ready-made study. With `dry_run` nothing is trained or written."""
    if fail_on is not None and fail_on not in EXIT_CODES:
        raise unknown("verdict to fail on", fail_on, EXIT_CODES)
    execution, config = read_keys(study, flags, ready.keys if ready else {})
    device = resolve_device(execution.device)
    resolve_engine(execution.engine)
    planned = plan(ready.complete(config) if ready else config)
    data_dir = execution.data_dir.absolute() if execution.data_dir else None
    names = list(dict.fromkeys(trial.data for trial in planned.trials))
    datasets = {name: load(name, data_dir) for name in names}
    check(planned, datasets)
    prints = {name: dataset.fingerprint for name, dataset in datasets.items()}
    fingerprint = (
        prints[names[0]] if len(names) == 1 else " ".join(f"{k}={v}" for k, v in prints.items())
    )
    out = execution.out or _default_folder(planned, fingerprint)
    workers = execution.workers or _default_workers(device)
    if dry_run:
        return rehearse(planned, datasets, out, execution.engine, workers, as_json=as_json)
    make_folder(out)
    thresholds = planned.config.thresholds
    claim(out, candidates(planned), fingerprint, thresholds, setting_names(planned))
    results, outcome = _train(planned, out, execution, data_dir, device, workers)
    judgement = results.judgement()
    asked = ready.conclude(results) if ready else []
    findings = results.headroom() + results.rate_findings() + asked
    if as_json:
        print(json.dumps(_as_json(results, judgement, findings), allow_nan=False))
    else:
        _show(results, judgement, findings, out)
    return _failures(outcome) or _verdict_code(judgement, fail_on)


def _train(
    planned: Plan,
    out: Path,
    execution: Execution,
    data_dir: Path | None,
    device: str,
    workers: int,
) -> tuple[Results, Outcome]:
    """The study once it is trained; where learning rates are tuned, in two rounds."""

    told = False

    def train(trials: list[Trial]) -> Outcome:
        nonlocal told
        if not told and any(not has_record(out, trial) for trial in trials):
            line = shlex.join(["faeval", *sys.argv[1:]])
            Events(out / "events.jsonl").tell("command", line=line, version=__version__)
            told = True
            # Workers take seconds to start, and say nothing until a trial ends.
            print(
                f"{counted(len(trials), 'trial')} on {counted(workers, 'worker')}, folder {out}",
                file=sys.stderr,
                flush=True,
            )
        try:
            with progress(console(stderr=True)) as follow:
                return execute(
                    trials,
                    out,
                    data_dir=data_dir,
                    device=device,
                    workers=workers,
                    engine=execution.engine,
                    retries=execution.retries,
                    follow=follow,
                )
        except KeyboardInterrupt:
            count = Counter(standing.status for standing in standings(trials, out))
            told_so_far = f"{count['finished']} of {len(trials)} finished, {count['begun']} begun"
            raise KeyboardInterrupt(told_so_far) from None

    trials, outcome, curves = planned.trials, train(planned.trials), ()
    if planned.config.tune is not None:
        planned, curves = tuned(planned, outcome.records)
        trials, final = [*trials, *planned.trials], train(planned.trials)
        outcome = Outcome(outcome.records | final.records, outcome.failures | final.failures)
    records = {t.id: outcome.records[t.id] for t in trials if t.id in outcome.records}
    return Results(planned, records, courses_of(out, records), curves), outcome


def _as_json(results: Results, judgement: Judgement, findings: list[Finding]) -> dict[str, Any]:
    content = study_as_json(list(results.records.values()), judgement)
    onsets = {name: [asdict(o) for o in found] for name, found in results.onsets().items()}
    return content | {
        "study_findings": [asdict(finding) for finding in findings],
        "learning_rates": [asdict(curve) for curve in results.curves],
        "onsets": onsets,
    }


def _show(results: Results, judgement: Judgement, findings: list[Finding], out: Path) -> None:
    screen = console()
    show_study(screen, _heading(results.plan), judgement, results.thresholds.level)
    read = next((r for r in results.records.values() if r.layers), None)
    if read is not None:
        legend(screen, read.layers[0].samples)
    show_conclusions(screen, findings)
    screen.print(f"\nRecords and checkpoints: {out}", soft_wrap=True)


def _default_folder(planned: Plan, fingerprint: str) -> Path:
    content = "/".join([fingerprint, *sorted(trial.id for trial in planned.trials)])
    digest = hashlib.blake2b(content.encode(), digest_size=4).hexdigest()
    names = "+".join(dict.fromkeys(trial.data for trial in planned.trials))
    return Path("faeval-studies") / f"{names}-{digest}"


def _default_workers(device: str) -> int:
    if device == "cuda":
        import torch

        return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _heading(planned: Plan) -> str:
    def told(values: list[str]) -> str:
        return " or ".join(dict.fromkeys(values))

    trials = planned.trials
    models = [
        " ".join([t.model["name"], *(f"{k}={v}" for k, v in t.model.items() if k != "name")])
        for t in trials
    ]
    grids = [grid.recipe for _, grid in planned.config.grids()]
    recipes = [r for recipe in grids for r in (recipe if isinstance(recipe, list) else [recipe])]
    names = [r if isinstance(r, str) else r.get("name", "default") for r in recipes]
    return (
        f"{told([t.data for t in trials])} · {told(models)} · recipe {told(names)}, "
        f"{told([str(t.recipe.epochs) for t in trials])} epochs, credit at "
        f"{told([t.recipe.credit_at for t in trials])}"
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
