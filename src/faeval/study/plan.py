"""What a study trains: from a few keys to the full list of trials. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from faeval.core import spec
from faeval.core.errors import InputError, unknown
from faeval.core.spec import Spec, from_validation
from faeval.core.trial import Trial
from faeval.data import DATA
from faeval.models import MODELS
from faeval.rules import RULES
from faeval.train.recipe import named_recipe
from faeval.verdict.method import Thresholds


class StudyConfig(BaseModel):
    """The keys of a study file; each has a flag of `faeval audit` or stays at its default.

    data        name of a data set
    model       name, or mapping with `name` and options; what is left out is the default
    rules       names, or mappings with `name` and options
    labels      of the training data: true, permuted or random (a control)
    reading_feedback  trained, or fresh (a control)
    penalties   λ of the penalty on block outputs; every rule runs with each
    seeds       every method runs with each
    recipe      name, or mapping with `name` and changed fields
    epochs      shorthand for the recipe's epochs
    thresholds  where checks flag
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = "digit-sums"
    model: str | Spec = "resmlp"
    rules: Annotated[list[str | Spec], Field(min_length=1)] = ["bp", "dfa"]
    penalties: Annotated[
        list[Annotated[float, Field(ge=0, allow_inf_nan=False)]], Field(min_length=1)
    ] = [0.0, 0.01]
    seeds: Annotated[list[Annotated[int, Field(strict=True)]], Field(min_length=1)] = [42, 123, 456]
    labels: Literal["true", "permuted", "random"] = "true"
    reading_feedback: Literal["trained", "fresh"] = "trained"
    recipe: str | Spec = "default"
    epochs: Annotated[int, Field(ge=0, strict=True)] | None = None
    thresholds: Thresholds = Thresholds()

    @field_validator("penalties", "seeds")
    @classmethod
    def _no_repeats(cls, values: list[Any]) -> list[Any]:
        for i, value in enumerate(values):
            if value in values[:i]:
                raise InputError("each value once", f"{value!r} twice", "remove one")
        return values

    @classmethod
    def parse(cls, keys: Mapping[str, Any]) -> "StudyConfig":
        """A study from plain data; InputError names the first key or value that is wrong."""
        _known(keys, cls.model_fields, "study key")
        if isinstance(keys.get("thresholds"), Mapping):
            _known(keys["thresholds"], Thresholds.model_fields, "threshold")
        try:
            return cls.model_validate(dict(keys))
        except ValidationError as error:
            raise from_validation(error, "the study") from None


@dataclass(frozen=True)
class PlannedMethod:
    """One method of a study: its trials by seed, each beside its frozen-blocks control."""

    rule: str
    penalty: float
    trials: tuple[Trial, ...]
    controls: tuple[Trial, ...]
    exact: bool


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
    """All trials of `config`: rules × penalties × seeds, and a frozen-blocks control for each
    rule and seed. Raises InputError before anything is trained.

    The control differs from its method in nothing but the training of the blocks; the penalty
    speaks of blocks only, so that one control serves every penalty of a rule.
    """
    model = _model_spec(config)
    depth = spec.build(MODELS, model).depth
    recipe, changes = named_recipe(config.recipe)
    if config.epochs is not None:
        changes["epochs"] = config.epochs
    methods: list[PlannedMethod] = []
    seen: list[Spec] = []
    for given in config.rules:
        rule = spec.build(RULES, given)
        rule_spec = spec.describe(RULES, rule)
        if rule_spec in seen:
            raise InputError(
                "each rule once", f"{spec.label(RULES, rule_spec)!r} twice", "remove one"
            )
        seen.append(rule_spec)
        resolved = recipe.resolve(exact=rule.claims.exact, changes=changes)

        def trials(
            penalty: float, trainable: int, rule_spec: Spec = rule_spec, resolved: Any = resolved
        ) -> tuple[Trial, ...]:
            return tuple(
                Trial(
                    data=config.data,
                    model=model,
                    rule=rule_spec,
                    penalty=penalty,
                    trainable_blocks=trainable,
                    labels=config.labels,
                    reading_feedback=config.reading_feedback,
                    recipe=resolved,
                    seed=seed,
                )
                for seed in config.seeds
            )

        methods += [
            PlannedMethod(
                spec.label(RULES, rule_spec),
                penalty,
                trials(penalty, depth),
                trials(0.0, 0),
                rule.claims.exact,
            )
            for penalty in config.penalties
        ]
    return Plan(config, tuple(methods))


def _model_spec(config: StudyConfig) -> Spec:
    source = DATA[config.data]
    given = {"name": config.model} if isinstance(config.model, str) else dict(config.model)
    if given.get("name", "resmlp") == "resmlp":
        given = {"name": "resmlp", "width": source.width, **given}
    return spec.describe(MODELS, spec.build(MODELS, given))


def _known(keys: Mapping[str, Any], fields: Mapping[str, Any], kind: str) -> None:
    for key in keys:
        if key not in fields:
            raise unknown(kind, str(key), fields)
