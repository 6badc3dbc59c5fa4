"""The keys of a study file: what is trained, in every combination."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from faeval.core.errors import InputError, unknown
from faeval.core.spec import Spec, from_validation
from faeval.verdict.method import Thresholds

Labels = Literal["true", "permuted", "random"]
ReadingFeedback = Literal["trained", "fresh"]
Count = Annotated[int, Field(ge=0, strict=True)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Tuning(BaseModel):
    """How the learning rate of every method, and of every control, is chosen.

    learning_rates  those that are tried; the best mean accuracy over the seeds wins
    validation      fraction of the training data on which they are compared
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rates: Annotated[list[Rate], Field(min_length=2)]
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1


class StudyConfig(BaseModel):
    """The keys of a study file; each has a flag of `faeval audit` or stays at its default.

    Every key may hold a list, and so may every option of a model, a rule or a recipe: the study
    is the grid of them all. A single rule, penalty or seed needs no list.

    data        name of a data set
    model       name, or mapping with `name` and options; what is left out is the default
    rules       names, or mappings with `name` and options
    trainable_blocks  how many blocks learn, counted from the head; all of them by default
    labels      of the training data: true, permuted or random (a control)
    reading_feedback  trained, or fresh (a control)
    penalties   λ of the penalty on block outputs; every rule runs with each
    seeds       every method runs with each
    recipe      name, or mapping with `name` and changed fields
    epochs      shorthand for the recipe's epochs
    tune        learning rates among which each method, and its control, gets its best one
    groups      grids of their own: names, each with the keys that it changes
    thresholds  where checks flag
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str | Annotated[list[str], Field(min_length=1)] = "digit-sums"
    model: str | Spec | Annotated[list[str | Spec], Field(min_length=1)] = "resmlp"
    rules: Annotated[list[str | Spec], Field(min_length=1)] = ["bp", "dfa"]
    trainable_blocks: Count | Annotated[list[Count], Field(min_length=1)] | None = None
    penalties: Annotated[
        list[Annotated[float, Field(ge=0, allow_inf_nan=False)]], Field(min_length=1)
    ] = [0.0, 0.01]
    seeds: Annotated[list[Annotated[int, Field(strict=True)]], Field(min_length=1)] = [42, 123, 456]
    labels: Labels | Annotated[list[Labels], Field(min_length=1)] = "true"
    reading_feedback: ReadingFeedback | Annotated[list[ReadingFeedback], Field(min_length=1)] = (
        "trained"
    )
    recipe: str | Spec | Annotated[list[str | Spec], Field(min_length=1)] = "default"
    epochs: Count | Annotated[list[Count], Field(min_length=1)] | None = None
    tune: Tuning | None = None
    groups: dict[str, dict[str, Any]] = {}
    thresholds: Thresholds = Thresholds()

    @field_validator("rules", "penalties", "seeds", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, given: Any) -> Any:
        return [given] if isinstance(given, str | int | float | dict) else given

    @field_validator("labels", mode="before")
    @classmethod
    def _yaml_takes_true_for_a_boolean(cls, given: Any) -> Any:
        if isinstance(given, list):
            return ["true" if value is True else value for value in given]
        return "true" if given is True else given

    @field_validator("data", "trainable_blocks", "penalties", "seeds", "labels", "epochs")
    @classmethod
    def _no_repeats(cls, values: Any) -> Any:
        if isinstance(values, list):
            for i, value in enumerate(values):
                if value in values[:i]:
                    raise InputError("each value once", f"{value!r} twice", "remove one")
        return values

    @classmethod
    def parse(cls, keys: Mapping[str, Any]) -> "StudyConfig":
        """A study from plain data; InputError names the first key or value that is wrong."""
        _known(keys, cls.model_fields, "study key")
        for key, model, kind in (
            ("thresholds", Thresholds, "threshold"),
            ("tune", Tuning, "key of tune"),
        ):
            if isinstance(keys.get(key), Mapping):
                _known(keys[key], model.model_fields, kind)
        try:
            return cls.model_validate(dict(keys))
        except ValidationError as error:
            raise from_validation(error, "the study") from None

    def grids(self) -> Iterator[tuple[str | None, "StudyConfig"]]:
        """The groups by name, each with its own values for what it changes; without groups the
        study itself, which then has no name. Raises InputError for a key that a group has not."""
        if not self.groups:
            yield None, self
            return
        common = self.model_dump(exclude={"groups", "thresholds"}, exclude_unset=True)
        fields = [key for key in type(self).model_fields if key not in ("groups", "thresholds")]
        for name, keys in self.groups.items():
            _known(keys, dict.fromkeys(fields), f"key of group {name!r}")
            yield name, StudyConfig.parse(common | keys)


def _known(keys: Mapping[str, Any], fields: Mapping[str, Any], kind: str) -> None:
    for key in keys:
        if key not in fields:
            raise unknown(kind, str(key), fields)
