"""A folder belongs to one plan."""

import json

import pytest
from small import MODEL, everything, trials

from faeval.core.errors import InputError
from faeval.study.claim import claim
from faeval.study.folder import plan_of, thresholds_of
from faeval.verdict.method import Thresholds


def test_a_folder_takes_its_plan_again_and_leaves_it_alone(tmp_path):
    mine = trials(seeds=[1, 2], penalties=[0.0, 0.01])
    claim(tmp_path, mine, "f00d")
    assert (tmp_path / "trials").is_dir()
    before = everything(tmp_path)
    assert set(before) == {"plan.json"}
    claim(tmp_path, mine, "f00d")
    claim(tmp_path, list(reversed(mine)), "f00d")
    assert everything(tmp_path) == before


def test_plan_json_tells_every_trial_in_full(tmp_path):
    mine = trials(seeds=[1, 2])
    claim(tmp_path, mine, "f00d")
    content = json.loads((tmp_path / "plan.json").read_text())
    assert content["data_fingerprint"] == "f00d"
    assert content["trials"] == {t.id: t.model_dump(mode="json") for t in mine}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"data": "digit-sums"}, ["data digits"]),
        ({"model": MODEL | {"width": 9}}, ["model", "'width': 8"]),
        ({"epochs": 3}, ["recipe", "'epochs': 2"]),
        ({"rules": ["bp"]}, ["rule", "dfa"]),
        # No penalty is lost: the frozen-blocks controls have 0.
        ({"penalties": [0.1]}, ["(3 trials)"]),
        ({"seeds": [2]}, ["seed 1"]),
        ({"seeds": [2, 3], "rules": ["bp", "dfa"]}, ["seed 1"]),
        ({"seeds": [1, 2], "epochs": 3}, ["recipe", "'epochs': 2"]),
    ],
)
def test_another_plan_is_refused_and_the_difference_named(tmp_path, keys, words):
    claim(tmp_path, trials(), "f00d")
    before = everything(tmp_path)
    with pytest.raises(InputError) as caught:
        claim(tmp_path, trials(**keys), "f00d")
    for word in words:
        assert word in str(caught.value)
    assert "--out" in str(caught.value)
    assert everything(tmp_path) == before


def test_a_plan_without_one_of_two_penalties_is_refused_by_its_name(tmp_path):
    claim(tmp_path, trials(penalties=[0.0, 0.01]), "f00d")
    before = everything(tmp_path)
    with pytest.raises(InputError, match=r"penalty 0\.01\)"):
        claim(tmp_path, trials(penalties=[0.0, 0.1], seeds=[1, 2]), "f00d")
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "more",
    [
        {"seeds": [1, 2, 3]},
        {"seeds": [2, 1]},
        {"rules": [{"name": "dfa", "scale": 2.0}, "dfa", "bp"]},
        {"penalties": [0.01, 0.0]},
        {"seeds": [1, 2], "penalties": [0.0, 0.5], "rules": ["dfa", "bp"]},
    ],
)
def test_a_folder_may_be_extended_by_a_plan_that_holds_all_of_its_trials(tmp_path, more):
    claim(tmp_path, trials(), "f00d")
    larger = trials(**more)
    assert {t.id for t in larger} > {t.id for t in trials()}
    claim(tmp_path, larger, "f00d")
    content = json.loads((tmp_path / "plan.json").read_text())
    assert content == {
        "data_fingerprint": "f00d",
        "thresholds": Thresholds().model_dump(),
        "names": {},
        "trials": {t.id: t.model_dump(mode="json") for t in larger},
    }
    assert set(everything(tmp_path)) == {"plan.json"}
    # From now on it is the folder of the larger plan.
    before = everything(tmp_path)
    with pytest.raises(InputError):
        claim(tmp_path, trials(), "f00d")
    assert everything(tmp_path) == before


def test_an_extension_on_other_data_is_refused(tmp_path):
    claim(tmp_path, trials(), "f00d")
    before = everything(tmp_path)
    with pytest.raises(InputError, match="fingerprint f00d"):
        claim(tmp_path, trials(seeds=[1, 2]), "beef")
    assert everything(tmp_path) == before


def test_other_data_under_the_same_name_are_refused(tmp_path):
    claim(tmp_path, trials(), "f00d")
    before = everything(tmp_path)
    with pytest.raises(InputError, match="fingerprint f00d"):
        claim(tmp_path, trials(), "beef")
    assert everything(tmp_path) == before


def test_a_difference_between_few_trials_only_is_named_too(tmp_path):
    """The same values in every field, combined otherwise: only the count differs."""
    some = trials(seeds=[1, 2], penalties=[0.0, 0.01])
    claim(tmp_path, some, "f00d")
    before = everything(tmp_path)
    with pytest.raises(InputError, match=rf"\({len(some)} trials\)"):
        claim(tmp_path, some[1:], "f00d")
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"trials": {}}',
        '{"data_fingerprint": "f00d", "trials": []}',
        '{"data_fingerprint": "f00d", "trials": {"x": 3}}',
    ],
)
def test_a_damaged_plan_is_told_in_one_line_and_kept(tmp_path, content):
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(InputError) as caught:
        claim(tmp_path, trials(), "f00d")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "plan.json").read_text() == content


def test_thresholds_are_kept_for_those_who_judge_later(tmp_path):
    claim(tmp_path, trials(), "f00d", Thresholds(depth_gain=0.05))
    assert thresholds_of(plan_of(tmp_path), tmp_path) == Thresholds(depth_gain=0.05)
    claim(tmp_path, trials(seeds=[1, 2]), "f00d", Thresholds(growth=9.0))
    assert thresholds_of(plan_of(tmp_path), tmp_path) == Thresholds(growth=9.0)
    nowhere = tmp_path / "nowhere"
    assert thresholds_of(plan_of(nowhere), nowhere) == Thresholds()
