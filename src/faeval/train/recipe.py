"""Named recipes: how BP and the other rules are trained when they are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from faeval.core.errors import InputError, unknown
from faeval.core.registry import Registry
from faeval.core.spec import from_validation
from faeval.core.trial import Recipe


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe for local rules, and what differs for exact ones (BP)."""

    description: str
    local: Recipe
    bp_learning_rate: float

    def resolve(self, *, exact: bool, changes: Mapping[str, Any]) -> Recipe:
        """The recipe of one rule with `changes` to its fields; InputError on a bad one."""
        fields = dict(self.local)
        if exact:
            fields["learning_rate"] = self.bp_learning_rate
        for key in changes:
            if key not in fields:
                raise unknown("recipe key", key, [*fields, "name"])
        try:
            return Recipe.model_validate(fields | dict(changes))
        except ValidationError as error:
            raise from_validation(error, "the recipe") from None


RECIPES: Registry[NamedRecipe] = Registry("recipe")

RECIPES.register("default")(
    NamedRecipe(
        "20 epochs, learning rate 5e-3 for every rule, blocks taught by their output's credit",
        Recipe(),
        bp_learning_rate=5e-3,
    )
)
RECIPES.register("published")(
    NamedRecipe(
        "arXiv 2606.21126: 30 epochs, learning rate 5e-3 for local rules and 1e-3 for BP, "
        "blocks taught by their input's credit",
        Recipe(epochs=30, credit_at="input"),
        bp_learning_rate=1e-3,
    )
)


def named_recipe(value: str | Mapping[str, Any]) -> tuple[NamedRecipe, dict[str, Any]]:
    """A recipe and the changes to it, from a name or a mapping `{name: …, epochs: …}`."""
    changes = {"name": value} if isinstance(value, str) else dict(value)
    name = changes.pop("name", "default")
    if not isinstance(name, str):
        raise InputError("a recipe name", repr(name), "write for example recipe: published")
    return RECIPES[name], changes
