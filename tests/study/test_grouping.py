"""Methods and controls from records alone, against those of the plan that made them."""

import random

import pytest
from small import config

from faeval.core.errors import InputError
from faeval.records.schema import Divergence, TrialRecord
from faeval.study.audit import audit
from faeval.study.grouping import grouped
from faeval.study.plan import plan
from faeval.study.tuning import setting_names
from faeval.verdict.judge import judge_all
from faeval.verdict.method import Thresholds


def record(trial, accuracy: float = 0.5, *, diverged: bool = False) -> TrialRecord:
    return TrialRecord(
        trial=trial,
        status="diverged" if diverged else "completed",
        divergence=Divergence(epoch=1, layer=None) if diverged else None,
        accuracy=None if diverged else accuracy,
        layers=[],
        history=[],
        data_fingerprint="f00d",
        device="cpu",
        versions={},
        seconds=1.0,
    )


def records_of(**keys) -> tuple:
    planned = plan(config(**keys))
    return planned, [record(t, i / 100) for i, t in enumerate(planned.trials)]


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"seeds": [1, 2, 3], "penalties": [0.0, 0.01, 0.1]},
        {"rules": ["bp", {"name": "dfa", "scale": 2.0}, "dfa"], "seeds": [5, 6]},
    ],
)
def test_records_alone_give_the_judgement_of_the_plan(keys):
    planned, records = records_of(**keys)
    by_plan = audit(planned, {r.trial.id: r for r in records})
    groups = grouped(records)
    assert judge_all([g.method for g in groups], Thresholds()) == by_plan
    for group in groups:
        assert [r.trial.seed for r in group.records] == [run.seed for run in group.method.runs]
        assert {r.trial.seed for r in group.controls} == {r.trial.seed for r in group.records}


@pytest.mark.parametrize(
    "keys",
    [
        {"groups": {"wide": {"model": {"name": "resmlp", "width": 8}}, "usual": {}}},
        {"groups": {"one": {}, "again": {}, "random": {"labels": "random"}}},
        {"groups": {"a": {"rules": ["dfa"], "penalties": [0.0, 0.1]}, "b": {"rules": "bp"}}},
        {"groups": {"deep": {"model": {"name": "resmlp", "depth": [2, 3]}}, "rest": {}}},
        {"model": ["resmlp", "student"], "data": "digits"},
        {"model": [{"name": "resmlp", "width": 8}, {"name": "student", "width": [4, 8]}]},
        {"reading_feedback": ["trained", "fresh"], "recipe": ["default", "published"]},
    ],
    ids=["groups", "shared", "rules", "grid in a group", "models", "options", "fields"],
)
def test_a_method_bears_the_name_that_its_plan_gave_it(keys):
    """A bug: reports named the methods of groups, and of several models, by their fields."""
    planned, records = records_of(**keys)
    groups = grouped(records, setting_names(planned))
    assert judge_all([g.method for g in groups], Thresholds()) == audit(
        planned, {r.trial.id: r for r in records}
    )
    assert [(g.plain, g.varied) for g in groups] == [(m.plain, m.varied) for m in planned.methods]
    names = [g.method.name for g in groups]
    assert len(set(names)) == len(names)


def test_a_method_in_two_groups_is_one_and_bears_both_names():
    planned, _ = records_of(groups={"one": {}, "two": {}, "other": {"seeds": [9]}}, rules=["dfa"])
    assert [m.rule for m in planned.methods] == ["dfa one, two", "dfa other"]


def test_a_method_named_twice_in_one_grid_is_refused():
    with pytest.raises(InputError, match="each method once, got 'dfa resmlp depth=4' twice"):
        records_of(model=["resmlp", {"name": "resmlp", "depth": 4}], rules=["dfa"])


def test_a_shuffled_folder_gives_the_same_methods():
    _, records = records_of(seeds=[1, 2], penalties=[0.0, 0.01])
    shuffled = random.Random(1).sample(records, len(records))

    def plain(some):
        return {g.method.name: {(r.seed, r.accuracy, r.control) for r in g.method.runs}
                for g in grouped(some)}  # fmt: skip

    assert plain(shuffled) == plain(records)


def test_a_control_serves_its_own_seed_only():
    _, records = records_of(seeds=[1, 2])
    lost = [r for r in records if not (r.trial.trainable_blocks == 0 and r.trial.seed == 2)]
    for group in grouped(lost):
        assert [run.control is None for run in group.method.runs] == [False, True]
    for group in grouped([r for r in records if r.trial.trainable_blocks]):
        assert all(run.control is None for run in group.method.runs)


def test_settings_of_one_rule_get_names_of_their_own():
    _, slow = records_of(rules=["dfa"], recipe={"name": "default", "learning_rate": 1e-3})
    _, fast = records_of(rules=["dfa"], recipe={"name": "default", "learning_rate": 5e-3})
    groups = grouped([*slow, *fast])
    assert [g.method.name for g in groups] == ["dfa learning_rate=0.001", "dfa learning_rate=0.005"]
    assert [g.plain for g in groups] == ["dfa", "dfa"]
    assert [len(g.controls) for g in groups] == [1, 1]


def test_rungs_of_a_depth_ladder_are_no_methods():
    planned, records = records_of(rules=["dfa"])
    full = planned.methods[0].trials[0]
    rungs = [
        record(full.model_copy(update={"trainable_blocks": k}), accuracy)
        for k, accuracy in enumerate([0.8, 0.9])
    ]
    (group,) = grouped([*records, *rungs])
    assert {k: [r.accuracy for r in v] for k, v in group.partial.items()} == {0: [0.8], 1: [0.9]}
    assert [r.accuracy for r in group.controls] == [records[-1].accuracy]


def test_trials_on_held_out_data_are_no_methods():
    planned, records = records_of(rules=["dfa"])
    trial = planned.methods[0].trials[0]
    recipe = trial.recipe.model_copy(update={"validation": 0.1})
    tuning = record(trial.model_copy(update={"recipe": recipe}), 0.99)
    assert grouped([*records, tuning]) == grouped(records)


def test_a_control_tuned_apart_is_found_at_its_own_rate():
    _, records = records_of(rules=["dfa"])
    moved = records[-1].trial.recipe.model_copy(update={"learning_rate": 0.5})
    control = record(records[-1].trial.model_copy(update={"recipe": moved}), 0.25)
    (group,) = grouped([*records[:-1], control])
    assert [run.control for run in group.method.runs] == [0.25]


def test_diverged_seeds_stay_runs():
    planned, _ = records_of(rules=["dfa"], seeds=[1, 2])
    (group,) = grouped([record(t, diverged=True) for t in planned.methods[0].trials])
    assert [run.divergence for run in group.method.runs] == ["epoch 1, loss"] * 2


def test_a_rule_that_is_not_installed_is_named():
    _, records = records_of(rules=["dfa"])
    strange = records[0].trial.model_copy(update={"rule": {"name": "unheard-of"}})
    with pytest.raises(InputError, match="unheard-of"):
        grouped([record(strange)])
