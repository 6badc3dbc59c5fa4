"""A grid: every combination of the values that a study's keys hold. Pure."""

import itertools
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from faeval.core import spec
from faeval.core.spec import Spec
from faeval.core.trial import Recipe
from faeval.data import DATA
from faeval.models import MODELS
from faeval.rules import RULES
from faeval.study.config import Labels, ReadingFeedback, StudyConfig
from faeval.train.recipe import NamedRecipe, named_recipe

Varied = dict[str, Any]
"""The keys in which the points of a grid differ, with the values of one point."""


@dataclass(frozen=True)
class Setting:
    """One point of a grid, but for rule, penalty and seed."""

    data: str
    model: Spec
    recipe: NamedRecipe
    changes: dict[str, Any]
    trainable_blocks: int
    labels: Labels
    reading_feedback: ReadingFeedback
    varied: Varied


def settings(config: StudyConfig) -> Iterator[Setting]:
    """The points of the grid of `config`, the last keys running fastest; raises InputError."""
    for data, model, recipe, epochs, blocks, labels, feedback in itertools.product(
        _axis("data", config.data),
        _choices("model", config.model, MODELS),
        _choices("recipe", _tuned(config), None),
        _axis("epochs", config.epochs),
        _axis("blocks", config.trainable_blocks),
        _axis("labels", config.labels),
        _axis("feedback", config.reading_feedback),
    ):
        described = model_spec(model[0], data[0])
        named, changes = named_recipe(recipe[0])
        if epochs[0] is not None:
            changes["epochs"] = epochs[0]
        depth = spec.build(MODELS, described).depth
        points = (data, model, recipe, epochs, blocks, labels, feedback)
        yield Setting(
            data[0],
            described,
            named,
            changes,
            depth if blocks[0] is None else blocks[0],
            labels[0],
            feedback[0],
            {key: value for _, varied in points for key, value in varied.items()},
        )


def rules_of(config: StudyConfig) -> list[Spec]:
    """Every rule of `config` with its options, lists of options spelled out."""
    return [given for given, _ in _choices("rule", config.rules, RULES)]


def model_spec(given: str | Spec, data: str) -> Spec:
    """A model with every option spelled out; the published one has the width that the reference
    runs had on `data`."""
    source = DATA[data]
    options = {"name": given} if isinstance(given, str) else dict(given)
    if options.get("name", "resmlp") == "resmlp":
        options = {"name": "resmlp", "width": source.width, **options}
    return spec.describe(MODELS, spec.build(MODELS, options))


def _tuned(config: StudyConfig) -> Any:
    """The recipe, with the learning rates and the held-out data of `tune` where there is one."""
    if config.tune is None:
        return config.recipe
    tried = config.tune.model_dump()
    tried["learning_rate"] = tried.pop("learning_rates")

    def with_rates(recipe: str | Spec) -> Spec:
        return ({"name": recipe} if isinstance(recipe, str) else dict(recipe)) | tried

    recipe = config.recipe
    return [with_rates(r) for r in recipe] if isinstance(recipe, list) else with_rates(recipe)


def _axis(key: str, value: Any) -> list[tuple[Any, Varied]]:
    values = value if isinstance(value, list) else [value]
    return [(v, {key: v} if len(values) > 1 else {}) for v in values]


def _choices(key: str, value: Any, registry: Any) -> list[tuple[Any, Varied]]:
    """What a name, a mapping with options, or a list of these stands for, lists of options
    spelled out; with `key` where there are several, and the options that are lists."""
    found = []
    for given, several in _axis(key, value):
        if isinstance(given, str):
            found.append((given, several))
            continue
        free = [
            k for k, v in given.items() if isinstance(v, list) and not _is_value(k, given, registry)
        ]
        named = {key: given.get("name", "default")} if several else {}
        for combination in itertools.product(*(given[k] for k in free)):
            chosen = dict(zip(free, combination, strict=True))
            fixed = {k: v for k, v in given.items() if k not in ("name", *free)} if several else {}
            found.append((dict(given) | chosen, named | fixed | chosen))
    return found


def _is_value(option: str, given: Mapping[str, Any], registry: Any) -> bool:
    """Whether a list is itself a value of this option, not a choice of several."""
    if any(isinstance(v, list) for v in given[option]):
        return False
    cls = Recipe if registry is None else registry[given["name"]] if "name" in given else None
    hint = typing.get_type_hints(cls).get(option) if cls else None
    kinds = (hint, *typing.get_args(hint))
    return any(typing.get_origin(kind) in (tuple, list) or kind in (tuple, list) for kind in kinds)
