"""The plan: everything that must be trained, once, before anything is."""

import itertools
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import MODEL, config, trials

from faeval.core.errors import InputError
from faeval.study.plan import StudyConfig, plan

quick = settings(deadline=None, max_examples=40, derandomize=True, database=None)

studies = st.fixed_dictionaries(
    {
        "rules": st.lists(
            st.sampled_from(["bp", "dfa", {"name": "dfa", "scale": 2.0}]),
            min_size=1, unique_by=str,
        ),
        "penalties": st.lists(st.sampled_from([0.0, 1e-4, 0.01, 1.0]), min_size=1, unique=True),
        "seeds": st.lists(st.integers(0, 2**31), min_size=1, max_size=4, unique=True),
    }
)  # fmt: skip


@quick
@given(studies)
def test_a_plan_is_complete_and_has_nothing_twice(keys):
    planned = plan(config(**keys))
    rules, penalties, seeds = (len(keys[k]) for k in ("rules", "penalties", "seeds"))
    assert len(planned.methods) == rules * penalties
    # One control for each seed, shared over rules and penalties.
    assert len(planned.trials) == rules * penalties * seeds + seeds
    ids = [t.id for t in planned.trials]
    assert len(set(ids)) == len(ids)
    methods = [(m.rule, m.penalty) for m in planned.methods]
    assert len(set(methods)) == len(methods)
    for method in planned.methods:
        assert [t.seed for t in method.trials] == keys["seeds"]
        assert {t.penalty for t in method.trials} == {method.penalty}
        assert {t.trainable_blocks for t in method.trials} == {2}


@quick
@given(studies)
def test_a_control_is_the_network_with_frozen_blocks_taught_by_the_gradient(keys):
    for method in plan(config(**keys)).methods:
        for trial, control in zip(method.trials, method.controls, strict=True):
            assert (control.trainable_blocks, control.penalty) == (0, 0.0)
            assert control.rule == {"name": "bp"}
            assert control == trial.model_copy(
                update={"trainable_blocks": 0, "penalty": 0.0, "rule": {"name": "bp"}}
            )


def test_one_control_serves_every_rule_and_penalty_of_a_recipe():
    planned = plan(config(rules=["bp", "dfa", "fa"], penalties=[0.0, 0.01], seeds=[1, 2]))
    assert all(m.controls == planned.methods[0].controls for m in planned.methods)
    apart = plan(config(rules=["bp", "dfa", "fa"], recipe="published"))
    assert [m.controls == apart.methods[0].controls for m in apart.methods] == [True, False, False]


@quick
@given(studies, st.randoms(use_true_random=False))
def test_order_changes_no_id(keys, random):
    shuffled = {}
    for key, values in random.sample(list(keys.items()), len(keys)):
        turned = [
            dict(random.sample(list(v.items()), len(v))) if isinstance(v, dict) else v
            for v in values
        ]
        shuffled[key] = random.sample(turned, len(turned))
    assert {t.id for t in trials(**keys)} == {t.id for t in trials(**shuffled)}


def test_methods_come_before_controls():
    blocks = [t.trainable_blocks for t in trials(penalties=[0.0, 0.01], seeds=[1, 2])]
    assert blocks == [2] * 8 + [0] * 2


def test_ids_are_pinned():
    """An id that moves orphans every folder on disk: raise the schema version then."""
    assert sorted(t.id for t in trials()) == PINNED


PINNED = ["bp-0-s1-d01ef37a", "bp-0-s1-f3486c8a", "dfa-0-s1-3f2be7ea"]


def test_ids_are_the_same_in_another_process():
    code = (
        "from faeval.study.plan import *\n"
        f"c = StudyConfig.parse({{'data': 'digits', 'model': {MODEL!r}, 'penalties': [0.0],"
        " 'seeds': [1], 'epochs': 2})\n"
        "print(*sorted(t.id for t in plan(c).trials))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split() == PINNED


def test_every_key_that_decides_the_outcome_changes_every_id():
    base = {t.id for t in trials()}
    for change in (
        {"data": "digit-sums"},
        {"model": MODEL | {"width": 9}},
        {"model": MODEL | {"terminal_norm": False}},
        {"epochs": 3},
        {"recipe": {"batch_size": 64}},
        {"recipe": {"credit_at": "input"}},
        {"seeds": [2]},
        {"labels": "permuted"},
        {"labels": "random"},
    ):
        assert not base & {t.id for t in trials(**change)}, change
    fresh = trials(reading_feedback="fresh")
    assert {t.trainable_blocks for t in fresh if t.id in base} == {0}  # controls: BP has none


def test_spelling_out_a_default_changes_no_id():
    base = [t.id for t in trials()]
    for same in (
        {"rules": [{"name": "bp"}, {"name": "dfa", "scale": 1.0}]},
        {"model": MODEL | {"residual": True, "w2_std": 0.01}},
        {"recipe": {"name": "default", "batch_size": 128}},
        {"penalties": [0]},
        {"epochs": None, "recipe": {"epochs": 2}},
    ):
        assert [t.id for t in trials(**same)] == base, same


def test_the_plan_of_the_defaults():
    planned = plan(StudyConfig())
    assert [(m.rule, m.penalty) for m in planned.methods] == list(
        itertools.product(["bp", "dfa"], [0.0, 0.01])
    )
    assert [m.exact for m in planned.methods] == [True, True, False, False]
    assert len(planned.trials) == 2 * 2 * 3 + 3
    assert {t.model["width"] for t in planned.trials} == {128}


def test_a_recipe_may_ask_for_other_learning_rates_by_rule():
    methods = plan(config(recipe="published")).methods
    rates = {m.rule: {t.recipe.learning_rate for t in (*m.trials, *m.controls)} for m in methods}
    assert rates == {"bp": {1e-3}, "dfa": {5e-3}}
    same = trials(recipe={"name": "published", "learning_rate": 0.5})
    assert {t.recipe.learning_rate for t in same} == {0.5}
    assert {t.recipe.epochs for t in trials(recipe="published")} == {2}  # epochs win


def test_a_model_without_a_name_is_the_default_one():
    assert [t.id for t in trials(model={"width": 8, "depth": 2})] == [t.id for t in trials()]


def test_options_of_a_rule_are_in_its_name():
    named = plan(config(rules=["dfa", {"name": "dfa", "scale": 2.0}])).methods
    assert [m.rule for m in named] == ["dfa", "dfa(scale=2.0)"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"seeds": [1, 2, 1]}, ["1 twice"]),
        ({"rules": ["dfa", "bp", "dfa"]}, ["each rule once", "'dfa' twice"]),
        ({"rules": ["dfa", {"name": "dfa"}]}, ["each rule once", "'dfa' twice"]),
        ({"rules": ["dfa", {"name": "dfa", "scale": 1.0}]}, ["each rule once", "'dfa' twice"]),
        ({"rules": [{"name": "dfa", "scale": 1}, "bp", "dfa"]}, ["each rule once", "'dfa' twice"]),
        (
            {"rules": [{"name": "dfa", "scale": 2}, {"scale": 2.0, "name": "dfa"}]},
            ["each rule once", "'dfa(scale=2.0)' twice"],
        ),
        ({"penalties": [0, 0.0]}, ["0.0 twice"]),
        ({"penalties": [0.01, 0.01]}, ["0.01 twice"]),
        ({"seeds": []}, ["seeds"]),
        ({"rules": []}, ["rules"]),
        ({"penalties": []}, ["penalties"]),
        ({"penalties": [-1.0]}, ["penalties", "-1.0"]),
        ({"penalties": [float("inf")]}, ["penalties", "inf"]),
        ({"seeds": [1.5]}, ["seeds", "1.5"]),
        ({"seeds": [True]}, ["seeds", "True"]),
        ({"seeds": "1,2"}, ["seeds", "1,2"]),
        ({"epochs": -1}, ["epochs", "-1"]),
        ({"epochs": 1.5}, ["epochs", "1.5"]),
        ({"rules": ["dfo"]}, ["'dfo'", "did you mean 'dfa'"]),
        ({"rules": [{"name": "dfa", "scales": 1.0}]}, ["'scales'", "did you mean 'scale'"]),
        ({"rules": [{"name": "dfa", "scale": 0}]}, ["scale", "0"]),
        ({"rules": [{"scale": 1.0}]}, ["name"]),
        ({"data": "digit"}, ["'digit'", "did you mean 'digits'"]),
        ({"model": "resmpl"}, ["'resmpl'", "did you mean 'resmlp'"]),
        ({"model": MODEL | {"depht": 2}}, ["'depht'", "did you mean 'depth'"]),
        ({"model": MODEL | {"depth": 0}}, ["depth", "0"]),
        ({"model": MODEL | {"depth": "two"}}, ["depth", "two"]),
        ({"recipe": "publishd"}, ["'publishd'", "did you mean 'published'"]),
        ({"recipe": {"epoch": 3}}, ["'epoch'", "did you mean 'epochs'"]),
        ({"recipe": {"learning_rate": float("nan")}}, ["learning_rate", "nan"]),
        ({"recipe": {"name": 3}}, ["recipe", "3"]),
        ({"thresholds": {"grwth": 1}}, ["'grwth'", "did you mean 'growth'"]),
        ({"thresholds": {"level": 95}}, ["level", "95"]),
        ({"sedes": [1]}, ["'sedes'", "did you mean 'seeds'"]),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(keys, words):
    """Before anything is trained; repeated values would pass as further evidence."""
    with pytest.raises(InputError) as caught:
        plan(config(**keys))
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line


@pytest.mark.parametrize("close", [[0.01, 0.010000001], [1e-20, 0.0]])
def test_methods_of_a_plan_have_names_of_their_own(close):
    """Findings are kept by method name: two methods of one name would share theirs."""
    from faeval.verdict.method import Method

    planned = plan(config(penalties=close))
    names = [Method(m.rule, m.penalty, ()).name for m in planned.methods]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"epochs": "many"}, "a valid 'epochs' of the study (input should be a valid integer), "),
        ({"labels": "wrong"}, "a valid 'labels' of the study (input should be 'true', 'permuted'"),
        ({"tune": 3}, "a valid 'tune' of the study (input should be a mapping), got 3"),
        ({"trainable_blocks": [1, -1]}, "'trainable_blocks.1' of the study (input should be g"),
    ],
)
def test_a_wrong_value_is_told_in_words_of_the_study_file(keys, told):
    with pytest.raises(InputError) as caught:
        StudyConfig.parse(keys)
    assert told in str(caught.value)
