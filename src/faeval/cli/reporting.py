"""`faeval report` and `faeval plot`: from the records of a folder to what people read."""

import inspect
from collections.abc import Sequence
from pathlib import Path

import yaml

from faeval.core.errors import InputError, unknown
from faeval.core.spec import build, describe, label
from faeval.core.trial import Trial
from faeval.models import MODELS
from faeval.records.schema import TrialRecord
from faeval.records.store import make_folder, read_json, write_bytes
from faeval.report.figures import WIDTHS, paper_figures
from faeval.report.html import report
from faeval.report.material import Material, Member, RuleFacts
from faeval.report.paper import (
    appendix,
    csv_files,
    references,
    tables_latex,
    tables_markdown,
)
from faeval.rules import RULES
from faeval.study.config import StudyConfig
from faeval.study.folder import courses_of, thresholds_of
from faeval.study.grouping import grouped
from faeval.study.plan import plan
from faeval.train.recipe import RECIPES
from faeval.verdict.judge import judge_all

FORMATS = ("html", "md", "tex", "csv", "bib")


def run_report(study: Path, *, out: Path | None, formats: Sequence[str]) -> int:
    """Write the report and what a paper takes from it, beside each other; the exit code."""
    for name in formats:
        if name not in FORMATS:
            raise unknown("format of a report", name, FORMATS)
    material = material_of(study)
    page = out or study / "report.html"
    make_folder(page.parent)
    texts: dict[Path, str] = {}
    if "html" in formats:
        texts[page] = report(material)
    if "md" in formats:
        texts[page.with_name("tables.md")] = tables_markdown(material)
        texts[page.with_name("appendix.md")] = appendix(material)
    if "tex" in formats:
        texts[page.with_name("tables.tex")] = tables_latex(material)
    if "csv" in formats:
        texts |= {page.with_name(name): text for name, text in csv_files(material).items()}
    if "bib" in formats:
        texts[page.with_name("references.bib")] = references(material)
    for path, text in texts.items():
        write_bytes(path, text.encode())
    print(*texts, sep="\n")
    return 0


def run_plot(study: Path, *, out: Path | None) -> int:
    """Write every figure as PDF and SVG, as wide as one column and as two; the exit code."""
    material = material_of(study)
    folder = out or study / "figures"
    make_folder(folder)
    for width in WIDTHS:
        for name, content in paper_figures(material, width):
            write_bytes(folder / name, content)
            print(folder / name)
    return 0


def material_of(study: Path) -> Material:
    """The judged study in a folder, by its records alone.

    Raises InputError for a folder without records, and for one whose rules are not known here.
    """
    planned = list(read_json(study / "plan.json")["trials"]) if _has_plan(study) else []
    found = {p.parent.name: TrialRecord.load(p) for p in study.glob("trials/*/record.json")}
    if not found:
        raise InputError(
            f"a study with finished trials in {study}",
            "no trials/*/record.json",
            "give the folder that faeval audit printed, or train it to the end",
        )
    order = [name for name in planned if name in found]
    records = [found[name] for name in [*order, *sorted(found.keys() - set(order))]]
    thresholds = thresholds_of(study)
    groups = grouped(records)
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
    used = {str(r.trial.rule["name"]): r.trial.rule for r in records}
    return Material(
        title=_title([r.trial for g in groups for r in g.records]),
        judgement=judgement,
        thresholds=thresholds,
        members=members,
        courses=courses_of(study, found),
        tuning=tuple(r for r in records if r.trial.recipe.validation),
        rules={name: _facts(rule) for name, rule in used.items()},
        missing=tuple(name for name in planned if name not in found),
        recipe=_study_file([r.trial for r in records]),
    )


def _has_plan(study: Path) -> bool:
    if not study.is_dir():
        raise InputError("the folder of a study", str(study), "check the path")
    return (study / "plan.json").exists()


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


def _today(trial: Trial) -> Trial:
    """The trial with the options that its rule and model have gained since, at their defaults."""
    rule = describe(RULES, build(RULES, trial.rule))
    model = describe(MODELS, build(MODELS, trial.model))
    return trial.model_copy(update={"rule": rule, "model": model})


def _study_file(trials: Sequence[Trial]) -> str | None:
    """A study file whose plan holds these very trials; None where one grid does not."""
    final = [t for t in trials if not t.recipe.validation and t.trainable_blocks]
    first = final[0]
    shared = {"data": first.data, "model": first.model, "labels": first.labels,
              "reading_feedback": first.reading_feedback}  # fmt: skip
    rules = [rule for i, rule in enumerate(t.rule for t in final)
             if rule not in [t.rule for t in final[:i]]]  # fmt: skip
    recipes = [t.recipe.model_dump() for t in final]
    for name in RECIPES:
        usual = RECIPES[name].resolve(exact=False, changes={}).model_dump()
        changes = {
            key: recipes[0][key]
            for key, default in usual.items()
            if key in recipes[0]
            and recipes[0][key] != default
            and all(r[key] == recipes[0][key] for r in recipes)
        }
        keys = {
            **{key: value for key, value in shared.items() if value not in ("true", "trained")},
            "rules": rules,
            "penalties": list(dict.fromkeys(t.penalty for t in final)),
            "seeds": list(dict.fromkeys(t.seed for t in final)),
            "recipe": {"name": name, **changes} if changes else name,
        }
        try:
            planned = {t.id for t in plan(StudyConfig.parse(keys)).trials}
        except InputError:
            continue
        if planned >= {_today(t).id for t in trials}:
            return yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)
    return None
