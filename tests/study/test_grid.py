"""Lists make a grid, groups keep grids apart."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import MODEL, config, trials

from faeval.core.errors import InputError
from faeval.study.plan import plan

quick = settings(deadline=None, max_examples=30, derandomize=True, database=None)


@quick
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "data": st.sampled_from([["digits", "digit-sums"], ["digits"]]),
            "labels": st.sampled_from([["true", "random"], ["permuted"]]),
            "reading_feedback": st.just(["trained", "fresh"]),
            "epochs": st.sampled_from([[1, 2, 3], [2]]),
            "trainable_blocks": st.sampled_from([[1, 2], [2]]),
            "recipe": st.just({"learning_rate": [1e-3, 1e-2]}),
        },
    )
)
def test_every_combination_is_planned_once(keys):
    planned = plan(config(**keys))
    lists = [v["learning_rate"] if isinstance(v, dict) else v for v in keys.values()]
    points = len(list(product(*lists)))
    assert len(planned.methods) == points * 2
    assert len({m.rule for m in planned.methods}) == len(planned.methods)
    assert len({t.id for m in planned.methods for t in m.trials}) == len(planned.methods)
    varied = {key for m in planned.methods for key in m.varied}
    names = {
        "reading_feedback": "feedback",
        "trainable_blocks": "blocks",
        "recipe": "learning_rate",
    }
    assert varied == {names.get(k, k) for k, v in keys.items() if k == "recipe" or len(v) > 1}


def test_a_grid_of_one_is_the_study_itself():
    plain = [t.id for t in trials()]
    for same in ({"data": ["digits"]}, {"labels": ["true"]}, {"epochs": [2]}, {"model": [MODEL]}):
        assert [t.id for t in trials(**same)] == plain, same
    assert [m.rule for m in plan(config(epochs=[2])).methods] == ["bp", "dfa"]


def test_options_of_models_rules_and_recipes_may_be_lists():
    planned = plan(
        config(
            model=MODEL | {"depth": [2, 3]},
            rules=[{"name": "dfa", "scale": [1.0, 2.0]}],
            recipe={"batch_size": [64, 128]},
        )
    )
    assert [m.rule for m in planned.methods][:2] == [
        "dfa depth=2 batch_size=64", "dfa(scale=2.0) depth=2 batch_size=64",
    ]  # fmt: skip
    assert len(planned.methods) == 8
    assert {m.trials[0].trainable_blocks for m in planned.methods} == {2, 3}  # all blocks of each


def test_a_list_of_models_is_told_by_name_and_options():
    deep = MODEL | {"depth": 3}
    planned = plan(config(model=[MODEL, deep], rules=["dfa"]))
    assert len({m.rule for m in planned.methods}) == 2
    assert all("resmlp" in m.rule for m in planned.methods)


def test_a_list_that_is_one_value_makes_no_grid():
    planned = plan(config(rules=["dfa"], recipe={"course": [0, 1]}))
    (method,) = planned.methods
    assert method.trials[0].recipe.course == (0, 1)
    several = plan(config(rules=["dfa"], recipe={"course": [[0], [1]]}))
    assert len(several.methods) == 2


def test_groups_keep_unequal_grids_apart():
    planned = plan(
        config(
            rules=["dfa"],
            groups={
                "shallow": {"model": MODEL, "penalties": [0.0, 0.1]},
                "deep": {"model": MODEL | {"depth": 3}, "seeds": [1, 2, 3]},
            },
        )
    )
    assert [(m.rule, m.penalty, len(m.trials)) for m in planned.methods] == [
        ("dfa shallow", 0.0, 1),
        ("dfa shallow", 0.1, 1),
        ("dfa deep", 0.0, 3),
    ]
    assert {m.trials[0].model["depth"] for m in planned.methods if "deep" in m.rule} == {3}
    # Controls are shared over the penalties of a group.
    assert len(planned.trials) == 2 + 1 + 3 + 3


def test_every_method_of_a_grid_has_the_control_of_its_own_setting():
    planned = plan(config(epochs=[1, 2], labels=["true", "random"], penalties=[0.0, 0.1]))
    for method in planned.methods:
        for trial, control in zip(method.trials, method.controls, strict=True):
            changes = {"trainable_blocks": 0, "penalty": 0.0, "rule": {"name": "bp"}}
            assert control == trial.model_copy(update=changes)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"data": []}, ["data"]),
        ({"data": ["digits", "digit"]}, ["'digit'", "did you mean 'digits'"]),
        ({"labels": ["true", "true"]}, ["'true' twice"]),
        ({"labels": ["tru"]}, ["labels", "tru"]),
        ({"trainable_blocks": 3}, ["trainable_blocks from 0 to 2", "3"]),
        ({"trainable_blocks": -1}, ["trainable_blocks", "-1"]),
        ({"rules": [{"name": "dfa", "scale": [1.0, 1.0]}]}, ["each rule once"]),
        ({"epochs": None, "recipe": {"epochs": [1, -1]}}, ["epochs", "-1"]),
        ({"groups": {"a": {"sedes": [1]}}}, ["'sedes'", "group 'a'", "did you mean 'seeds'"]),
        ({"groups": {"a": {"thresholds": {}}}}, ["'thresholds'", "group 'a'"]),
        ({"groups": {"a": {"seeds": []}}}, ["seeds"]),
        ({"tune": {"learning_rates": [0.1]}}, ["learning_rates"]),
        ({"tune": {"learning_rates": [0.1, 0.2], "validation": 1.0}}, ["validation", "1.0"]),
        ({"tune": {"rates": [0.1, 0.2]}}, ["'rates'", "learning_rates"]),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(keys, words):
    with pytest.raises(InputError) as caught:
        plan(config(**keys))
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line
