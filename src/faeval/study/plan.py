"""What a study trains: from a few keys to the full list of trials. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from faeval.core import spec
from faeval.core.errors import InputError
from faeval.core.spec import Spec
from faeval.core.trial import Trial, shortest
from faeval.models import MODELS
from faeval.rules import BP, RULES
from faeval.study.config import StudyConfig
from faeval.study.grid import Setting, Varied, rules_of, settings

__all__ = ["Plan", "PlannedMethod", "StudyConfig", "plan"]


@dataclass(frozen=True)
class PlannedMethod:
    """One method of a study: its trials by seed, each beside its control (see `control_of`).

    `rule` is told apart from those of other settings: `dfa depth=8`; `plain` and `varied` are
    its two parts.
    """

    rule: str
    penalty: float
    trials: tuple[Trial, ...]
    controls: tuple[Trial, ...]
    exact: bool
    plain: str
    varied: Varied


@dataclass(frozen=True)
class Plan:
    """The methods of a study in the order asked for, and what it takes to judge them."""

    config: StudyConfig
    methods: tuple[PlannedMethod, ...]

    @property
    def trials(self) -> list[Trial]:
        """Every trial once, methods before controls, so that news comes early."""
        wanted = [t for m in self.methods for t in m.trials]
        wanted += [t for m in self.methods for t in m.controls]
        return list({trial.id: trial for trial in wanted}.values())


def plan(config: StudyConfig) -> Plan:
    """All trials of `config`: the grid of its settings × rules × penalties × seeds, and their
    frozen-blocks controls. Raises InputError before anything is trained. Where learning rates are
    tuned, these are the trials that choose them. A method that stands in several groups is one,
    and bears all their names.
    """
    methods: dict[tuple[str, ...], PlannedMethod] = {}
    for group, grid in config.grids():
        for setting in settings(grid):
            varied = {"group": group, **setting.varied} if group is not None else setting.varied
            for method in _methods(grid, setting, varied):
                key = tuple(sorted(trial.id for trial in method.trials))
                methods[key] = _of_both(methods[key], method) if key in methods else method
    return Plan(config, tuple(methods.values()))


def _of_both(first: PlannedMethod, again: PlannedMethod) -> PlannedMethod:
    if first.varied.get("group") == again.varied.get("group"):
        raise InputError("each method once", f"{again.rule!r} twice", "remove one")
    varied = first.varied | {"group": f"{first.varied['group']}, {again.varied['group']}"}
    return replace(first, rule=named(first.plain, varied), varied=varied)


def _methods(config: StudyConfig, setting: Setting, varied: Varied) -> Iterator[PlannedMethod]:
    depth = spec.build(MODELS, setting.model).depth
    if setting.trainable_blocks > depth:
        raise InputError(
            f"trainable_blocks from 0 to {depth}, the depth of the model",
            str(setting.trainable_blocks),
            "choose a number in range",
        )
    seen: list[Spec] = []
    for given in rules_of(config):
        rule = spec.build(RULES, given)
        rule_spec = spec.describe(RULES, rule)
        if rule_spec in seen:
            raise InputError(
                "each rule once", f"{spec.label(RULES, rule_spec)!r} twice", "remove one"
            )
        seen.append(rule_spec)
        recipe = setting.recipe.resolve(exact=rule.claims.exact, changes=setting.changes)
        first = Trial(
            data=setting.data,
            model=setting.model,
            rule=rule_spec,
            trainable_blocks=setting.trainable_blocks,
            labels=setting.labels,
            reading_feedback=setting.reading_feedback,
            recipe=recipe,
            seed=0,
        )
        plain = spec.label(RULES, rule_spec)
        for penalty in config.penalties:
            yield PlannedMethod(
                named(plain, varied),
                penalty,
                tuple(_changed(first, seed=s, penalty=penalty) for s in config.seeds),
                tuple(control_of(_changed(first, seed=s)) for s in config.seeds),
                rule.claims.exact,
                plain,
                varied,
            )


def control_of(trial: Trial) -> Trial:
    """What stem and head reach without any trained block: the same data, model, recipe and seed,
    blocks frozen as they were drawn, the rest taught by the true gradient. One control serves
    every rule and penalty, and no rule is flattered by a stem that it teaches badly."""
    return _changed(
        trial,
        rule=spec.describe(RULES, BP()),
        penalty=0.0,
        trainable_blocks=0,
        reading_feedback="trained",
    )


def _changed(trial: Trial, **fields: Any) -> Trial:
    return trial.model_copy(update=fields)


def named(plain: str, varied: Varied) -> str:
    """A rule in one setting of a grid: `dfa depth=8`; just `dfa` where nothing varies."""
    words = [plain]
    for key, value in varied.items():
        text = shortest(value) if isinstance(value, float) else str(value)
        words.append(text if key in ("group", "data", "model", "recipe") else f"{key}={text}")
    return " ".join(words)
