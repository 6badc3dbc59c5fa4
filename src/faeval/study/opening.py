"""A study from its folder: judged anew, by its records alone."""

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faeval.core.errors import InputError
from faeval.core.spec import build, label
from faeval.core.trial import Trial
from faeval.models import MODELS
from faeval.records.schema import TrialRecord
from faeval.report.material import Material, Member, RuleFacts
from faeval.rules import RULES
from faeval.study.again import study_file
from faeval.study.conclusions import conclude
from faeval.study.folder import (
    commands_of,
    courses_of,
    names_of,
    plan_of,
    records_of,
    thresholds_of,
)
from faeval.study.grouping import RATE, apart_from, grouped
from faeval.verdict.judge import judge_all


def open_study(folder: str | os.PathLike[str]) -> Material:
    """The study in `folder`, as `faeval audit` left it: what was measured and what follows from it.

    In a notebook it shows itself as the terminal would. `.judgement` holds the verdicts, findings
    and methods, `.conclusions` what the study as a whole says, `.records` every trial, and
    `.to_frame()` makes every reading a row of a pandas frame. Nothing is trained, and torch reads
    no checkpoint; thresholds are those that the study was last judged by.

    Raises InputError for a folder that is not there, that holds no finished trial of a method, or
    a damaged record, and where a rule or a model of its trials is not registered here.
    """
    study = Path(folder)
    if not study.is_dir():
        raise InputError("the folder of a study", str(study), "check the path")
    plan = plan_of(study)
    planned = plan["trials"] if plan else {}
    found = {record.trial.id: record for record in records_of(study)}
    order = [name for name in planned if name in found]
    records = [found[name] for name in [*order, *sorted(found.keys() - set(order))]]
    thresholds = thresholds_of(plan, study)
    groups = grouped(records, names_of(plan))
    if not groups:
        raise InputError(
            f"a method whose blocks are all trained in {study}",
            "controls or tuning trials only",
            "train the study to the end with the command that made it",
        )
    judgement = judge_all([g.method for g in groups], thresholds)
    members = tuple(
        Member(g.method, verdict, g.plain, g.records, g.controls, g.partial)
        for g, verdict in zip(groups, judgement.verdicts, strict=True)
    )
    courses = courses_of(study, found)
    whole = conclude(groups, records, courses, thresholds)
    used = {str(r.trial.rule["name"]): r.trial.rule for r in records}
    return Material(
        title=_title([r.trial for g in groups for r in g.records]),
        judgement=judgement,
        thresholds=thresholds,
        members=members,
        courses=courses,
        tuning=tuple(r for r in records if r.trial.recipe.validation),
        rules={name: _facts(rule) for name, rule in used.items()},
        missing=tuple(
            name for name in planned if name not in found.keys() | _unchosen(planned, records)
        ),
        recipe=study_file([r.trial for r in records]),
        conclusions=whole.findings,
        curves=whole.curves,
        onsets=whole.onsets,
        commands=tuple(f"{at:%Y-%m-%d %H:%M} UTC: {line}" for at, line in commands_of(study)),
    )


def _unchosen(planned: Mapping[str, Any], records: Sequence[TrialRecord]) -> set[str]:
    """The final trials at learning rates that were tried and not chosen: they were never due."""
    final = [r.trial for r in records if not r.trial.recipe.validation]
    if len(final) == len(records):
        return set()
    trained = {(t.seed, apart_from(t, RATE)) for t in final}
    trials = [Trial.model_validate(t) for t in planned.values()]
    return {
        t.id for t in trials if not t.recipe.validation and (t.seed, apart_from(t, RATE)) in trained
    }


def _title(trials: Sequence[Trial]) -> str:
    texts = (
        [t.data for t in trials],
        [label(MODELS, t.model) for t in trials],
        [f"{t.recipe.epochs} epochs" for t in trials],
        [f"credit at {t.recipe.credit_at}" for t in trials],
    )
    several = [", ".join(dict.fromkeys(values)) for values in texts]
    return " · ".join(text if len(text) <= 120 else f"{text[:117]}…" for text in several)


def _facts(rule: dict[str, object]) -> RuleFacts:
    configured = build(RULES, rule)
    claims = configured.claims
    formula = " ".join((inspect.getdoc(type(configured)) or "").partition("\n\n")[0].split())
    return RuleFacts(formula, claims.granularity, claims.feedback, claims.transports_weights)
