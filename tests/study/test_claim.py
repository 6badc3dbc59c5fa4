"""A folder belongs to one plan."""

import json

import pytest
from small import MODEL, everything, trials

from faeval.core.errors import InputError
from faeval.study.execute import claim


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
        ({"penalties": [0.1]}, ["penalty 0.0"]),
        ({"seeds": [1, 2]}, ["seed 1"]),
        ({"seeds": [2]}, ["seed 1"]),
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
    with pytest.raises(InputError, match=f"{len(some)} trials"):
        claim(tmp_path, some[1:], "f00d")


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
