"""A study file that trains the trials of a folder again. Pure."""

from collections.abc import Sequence

import yaml

from faeval.core.errors import InputError
from faeval.core.spec import build, describe
from faeval.core.trial import Trial
from faeval.models import MODELS
from faeval.rules import RULES
from faeval.study.config import StudyConfig
from faeval.study.plan import plan
from faeval.train.recipe import RECIPES


def study_file(trials: Sequence[Trial]) -> str | None:
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


def _today(trial: Trial) -> Trial:
    """The trial with the options that its rule and model have gained since, at their defaults."""
    rule = describe(RULES, build(RULES, trial.rule))
    model = describe(MODELS, build(MODELS, trial.model))
    return trial.model_copy(update={"rule": rule, "model": model})
