"""What cannot be trained is told before anything is."""

import pytest
import torch
from small import MODEL, config

from faeval.core.errors import InputError
from faeval.data import Dataset, Split, load
from faeval.rules import RULES
from faeval.study.check import check
from faeval.study.plan import plan
from faeval.train.holdout import held_out


@pytest.fixture(scope="module")
def digits() -> dict[str, Dataset]:
    return {"digits": load("digits")}


def test_a_plan_that_can_be_trained_passes(digits):
    check(plan(config(trainable_blocks=[0, 1, 2], labels=["true", "random", "permuted"])), digits)


def test_every_combination_is_built_once(digits, monkeypatch):
    built = []
    original = RULES["dfa"].init

    def counted(self, model, generator):
        built.append(len(model.blocks))
        return original(self, model, generator)

    monkeypatch.setattr(RULES["dfa"], "init", counted)
    check(plan(config(model=MODEL | {"depth": [2, 3]}, seeds=[1, 2, 3], epochs=[1, 2])), digits)
    assert sorted(built) == [2, 3]


def test_a_rule_that_refuses_a_model_is_told_before_anything_is_trained(digits, monkeypatch):
    def refuse(self, model, generator):
        raise InputError("a model with five blocks", str(len(model.blocks)), "add some")

    monkeypatch.setattr(RULES["dfa"], "init", refuse)
    check(plan(config(rules=["bp"])), digits)
    with pytest.raises(InputError, match="five blocks, got 2"):
        check(plan(config(rules=["bp", "dfa"])), digits)


def test_the_credit_of_the_input_cannot_teach_where_states_change_their_shape():
    """A CNN with the published recipe failed in its first step."""
    images = torch.zeros((4, 1, 8, 8), dtype=torch.uint8)
    split = Split(images, torch.tensor([0, 1, 0, 1]))
    tiny = Dataset(
        name="digits", train=split, test=split, classes=2, fingerprint="0",
        mean=torch.zeros(1), std=torch.ones(1),
    )  # fmt: skip
    keys = {"model": {"name": "cnn", "width": 2}, "recipe": "published", "trainable_blocks": 2}
    check(plan(config(**keys, rules=["bp", "fa_layer"])), {"digits": tiny})
    with pytest.raises(InputError, match=r"\(2, 4, 4\), .*credit_at: output"):
        check(plan(config(**keys, rules=["dfa"])), {"digits": tiny})


def test_a_validation_split_that_leaves_nothing_is_refused():
    split = Split(torch.rand(2, 3), torch.tensor([0, 1]))
    tiny = Dataset(
        name="tiny", train=split, test=split, classes=2, fingerprint="0",
        mean=torch.zeros(3), std=torch.ones(3),
    )  # fmt: skip
    assert len(held_out(tiny, 0.5).train) == 1
    with pytest.raises(InputError, match="leaves some of 2"):
        held_out(tiny, 0.9)


def test_held_out_samples_are_never_trained_on(digits):
    whole = digits["digits"]
    assert held_out(whole, 0.0) is whole
    part = held_out(whole, 0.1)
    assert (len(part.test), len(part.train)) == (144, 1437 - 144)
    rows = torch.cat([part.train.x, part.test.x])
    order = [tuple(r) for r in rows.tolist()]
    assert sorted(order) == sorted(tuple(r) for r in whole.train.x.tolist())
    assert torch.equal(held_out(whole, 0.1).test.x, part.test.x)
    assert part.fingerprint == whole.fingerprint
    assert part.mean is whole.mean


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda credits: credits[:-1], "3 credits of rule 'dfa', one per state, got 2"),
        (
            lambda credits: [*credits[:-1], credits[-1][:, :3]],
            r"h2 of shape \(2, 8\), got \(2, 3",
        ),
        (lambda credits: [None, *credits[1:]], "h0 of shape .*, got NoneType"),
        (lambda credits: credits[7], "'dfa' for two samples, got IndexError: list index"),
    ],
)
def test_credits_of_a_wrong_shape_are_told_before_anything_is_trained(
    digits, monkeypatch, wrong, told
):
    original = RULES["dfa"].credit
    monkeypatch.setattr(RULES["dfa"], "credit", lambda *args: wrong(original(*args)))
    with pytest.raises(InputError, match=told):
        check(plan(config(rules=["bp", "dfa"])), digits)
