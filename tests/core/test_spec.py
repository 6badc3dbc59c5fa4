"""Configured objects as plain data, and a trial's identity."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from faeval.core import spec
from faeval.core.errors import InputError
from faeval.core.registry import Registry
from faeval.core.trial import Recipe, Trial

TOOLS: Registry = Registry("tool")


@TOOLS.register("saw")
@dataclass(frozen=True)
class Saw:
    teeth: Annotated[int, Field(ge=1)] = 10
    length: float = 0.5
    sharp: bool = True

    def __post_init__(self) -> None:
        if self.length > 100:
            raise InputError("a saw of at most 100", str(self.length), "take a shorter one")


@TOOLS.register("axe")
@dataclass(frozen=True)
class Axe:
    weight: float


def test_names_and_mappings_are_built():
    assert spec.build(TOOLS, "saw") == Saw()
    assert spec.build(TOOLS, {"name": "saw"}) == Saw()
    assert spec.build(TOOLS, {"name": "saw", "teeth": 3, "sharp": False}) == Saw(3, 0.5, False)
    options = {"name": "saw", "teeth": 3}
    spec.build(TOOLS, options)
    assert options == {"name": "saw", "teeth": 3}  # the caller's mapping is left alone


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"name": "saw", "teath": 3}, r"a known option of tool 'saw'.*did you mean 'teeth'"),
        ({"name": "saw", "name2": 3}, r"a known option of tool 'saw', got 'name2'"),
        ("swa", "a known tool, got 'swa'; did you mean 'saw'"),
        ({"teeth": 3}, r"a tool as a name or a mapping .*got \{'teeth': 3\}; .*\{name: axe\}"),
        ({"name": 3}, "a tool as a name or a mapping"),
        ({"name": "saw", "teeth": "many"}, "a valid 'teeth' of tool 'saw'.*got 'many'"),
        ({"name": "saw", "teeth": 0}, "'teeth' of tool 'saw' .*greater than or equal to 1.*got 0"),
        ({"name": "saw", "teeth": 1.5}, "'teeth' of tool 'saw'.*got 1.5"),
        ({"name": "saw", "length": None}, "'length' of tool 'saw'.*got None"),
        ({"name": "axe"}, "'weight' of tool 'axe'"),
        ({"name": "saw", "length": 101}, "a saw of at most 100, got 101.*; take a shorter one"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line(given, match):
    with pytest.raises(InputError, match=match) as caught:
        spec.build(TOOLS, given)
    assert "\n" not in str(caught.value)


def test_a_long_value_is_not_told_at_length():
    with pytest.raises(InputError) as caught:
        spec.build(TOOLS, {"name": "saw", "teeth": "x" * 10_000})
    assert len(str(caught.value)) < 300


def test_a_description_spells_out_every_option():
    plain = {"name": "saw", "teeth": 3, "length": 0.5, "sharp": True}
    assert spec.describe(TOOLS, Saw(3)) == plain
    assert spec.build(TOOLS, plain) == Saw(3)


def test_what_is_not_registered_has_no_description():
    class Hammer:
        pass

    with pytest.raises(InputError, match="a tool whose class is registered, got Hammer"):
        spec.describe(TOOLS, Hammer())


@pytest.mark.parametrize(
    ("given", "label"),
    [
        (Saw(), "saw"),
        (Saw(3), "saw(teeth=3)"),
        (Saw(3, sharp=False), "saw(teeth=3, sharp=False)"),
    ],
)
def test_a_label_tells_what_differs_from_the_defaults(given, label):
    assert spec.label(TOOLS, spec.describe(TOOLS, given)) == label


def test_a_label_of_a_name_alone_and_of_an_option_without_default():
    assert spec.label(TOOLS, {"name": "saw"}) == "saw"
    assert spec.label(TOOLS, {"name": "axe", "weight": 2.0}) == "axe(weight=2.0)"


def test_the_first_mistake_of_a_report_is_told():
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(dict[str, list[int]]).validate_python({"a": [1, "x", "y"]})
    error = spec.from_validation(caught.value, "the file")
    assert str(error).startswith("expected a valid 'a.1' of the file")
    assert "got 'x'" in str(error)


# --- trials --------------------------------------------------------------------------------


def trial(**changes) -> Trial:
    fields = {
        "data": "digits", "model": {"name": "resmlp", "depth": 2}, "rule": {"name": "dfa"},
        "penalty": 0.01, "trainable_blocks": 2, "recipe": Recipe(), "seed": 3,
    }  # fmt: skip
    return Trial(**(fields | changes))


CHANGES = [
    {"data": "cifar10"},
    {"model": {"name": "resmlp", "depth": 3}},
    {"rule": {"name": "dfa", "scale": 2.0}},
    {"penalty": 0.02},
    {"trainable_blocks": 1},
    {"recipe": Recipe(epochs=7)},
    {"recipe": Recipe(credit_at="input")},
    {"recipe": Recipe(augment=False)},
    {"seed": 4},
]


def test_the_id_of_a_trial_is_pinned():
    """A study's folders are found by it: a change here trains every study again."""
    assert trial().id == "dfa-0.01-s3-ea417fae"


def test_every_field_of_a_trial_enters_its_id():
    ids = [trial().id, *(trial(**change).id for change in CHANGES)]
    assert len(set(ids)) == len(ids)


def test_the_order_of_keys_does_not_enter_the_id():
    assert trial(model={"depth": 2, "name": "resmlp"}).id == trial().id
    assert trial(penalty=0).id == trial(penalty=0.0).id
    again = Trial.model_validate_json(trial().model_dump_json())
    assert again == trial()
    assert again.id == trial().id


@pytest.mark.parametrize(
    "changes",
    [
        {"penalty": -1},
        {"penalty": float("nan")},
        {"penalty": float("inf")},
        {"trainable_blocks": -1},
        {"seed": 1.5},
        {"surplus": 1},
        {"recipe": {"learning_rate": 0}},
        {"recipe": {"learning_rate": float("inf")}},
        {"recipe": {"epochs": -1}},
        {"recipe": {"batch_size": 0}},
        {"recipe": {"weight_decay": -0.1}},
        {"recipe": {"credit_at": "both"}},
        {"recipe": {"reading_images": 0}},
        {"recipe": {"surplus": 1}},
    ],
)
def test_a_trial_out_of_range_is_refused(changes):
    with pytest.raises(ValidationError):
        trial(**changes)


def test_a_trial_cannot_be_changed():
    with pytest.raises(ValidationError):
        trial().seed = 1
    with pytest.raises(ValidationError):
        trial().recipe.epochs = 1
