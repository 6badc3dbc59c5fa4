"""That a reading sees what reaches the parameters: the rule as it is written, or something else."""

import pytest
import torch
from torch import Tensor

from faeval.core.random import generator
from faeval.models import ResMLP, Staged
from faeval.rules import RULES, Rule
from faeval.train import updates as module
from faeval.train.step import teach
from faeval.train.updates import updates

N = 20


def network(*, residual: bool = True) -> Staged:
    return ResMLP(width=10, depth=3, w2_std=0.3, residual=residual).build(
        (2, 3), 4, generator(0, "weights")
    )


def batch() -> tuple[Tensor, Tensor]:
    draw = generator(0, "batch")
    return torch.randn(N, 2, 3, generator=draw), torch.randint(4, (N,), generator=draw)


def read(rule: Rule, model: Staged, credit_at: str = "output") -> list[module.Update]:
    feedback = rule.init(model, generator(0, "feedback"))
    return updates(model, rule, feedback, *batch(), credit_at)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("credit_at", ["output", "input"])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("name", ["bp", "dfa", "fa", "fa_layer", "dfa_layer", "kolen_pollack"])
def test_an_update_is_its_closed_form_to_float32(name, residual, credit_at):
    for update in read(RULES[name](), network(residual=residual), credit_at):
        assert update.error is not None
        assert update.error < 1e-5
        assert update.cosine is not None


def test_backpropagation_alone_has_cosine_one():
    assert [u.cosine for u in read(RULES["bp"](), network())] == pytest.approx([1.0] * 4)
    assert all(abs(u.cosine or 0) < 0.9 for u in read(RULES["dfa"](), network()))


def test_a_rule_without_credit_teaches_nothing_as_it_says():
    assert read(RULES["shallow"](), network()) == [module.Update(None, 0.0)] * 4


def taught_by(change):
    """`teach` with its credits changed."""

    def other(trace, credits, **options):
        teach(trace, credits and change(list(credits)), **options)

    return other


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda a: [2 * c for c in a], 0.5),
        (lambda a: [c / N for c in a], 1 - 1 / N),
        (lambda a: [-c for c in a], 2.0),
        (lambda a: [torch.zeros_like(c) for c in a], 1.0),
    ],
    ids=["twice", "over N again", "uphill", "nothing"],
)
def test_an_update_by_something_else_shows_its_distance(change, expected, monkeypatch):
    """‖cu − u‖ / max(‖cu‖, ‖u‖) is |c − 1| / max(|c|, 1)."""
    monkeypatch.setattr(module, "teach", taught_by(change))
    assert [u.error for u in read(RULES["dfa"](), network())] == pytest.approx([expected] * 4)


def test_credits_of_the_wrong_states_show(monkeypatch):
    monkeypatch.setattr(module, "teach", taught_by(lambda a: [a[1], a[0], *a[2:]]))
    errors = [u.error or 0.0 for u in read(RULES["dfa"](), network())]
    assert min(errors[:2]) > 0.5
    assert max(errors[2:]) < 1e-5


def test_what_is_not_finite_has_no_distance():
    model = network()
    with torch.no_grad():
        model.stem[1].weight[0, 0] = torch.inf
    assert all(u.error is None for u in read(RULES["dfa"](), model))


def test_the_model_stays_as_it_was():
    model = network()
    model.freeze_blocks(1)
    before = {name: (p.clone(), p.requires_grad) for name, p in model.named_parameters()}
    read(RULES["dfa"](), model)
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name][0])
        assert p.requires_grad == before[name][1]
        assert p.grad is None
