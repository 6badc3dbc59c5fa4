"""Sign-symmetric rules against BP, a literal backward pass and the cosines known for them."""

import math

import pytest
import torch
from rule_nets import CLASSES, batch, double, feedback_of, network
from torch import nn

from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.models import CNN, Staged
from faeval.rules import BP, BRSF, FRSF, USF
from faeval.rules.transposes import replaceable_layers
from faeval.train.adamw import AdamW
from faeval.train.step import step, teach

THREE = pytest.mark.parametrize("rule", [USF(), FRSF(), BRSF()], ids=["usf", "frsf", "brsf"])


def images() -> tuple[Staged, torch.Tensor, torch.Tensor]:
    model = CNN(width=4, depth=2).build((3, 8, 8), CLASSES, generator(0, "weights"))
    return model.eval(), *batch(shape=(3, 8, 8))


def vectors(**kind: bool) -> tuple[Staged, torch.Tensor, torch.Tensor]:
    return network(**kind), *batch()


def chain(width: int = 7, depth: int = 2) -> Staged:
    """Linear layers, nothing else."""
    layers = [nn.Linear(6, width), *(nn.Linear(width, width) for _ in range(depth))]
    stem, *blocks = [*layers, nn.Linear(width, CLASSES)]
    draw = generator(0, "chain")
    with torch.no_grad():
        for layer in (stem, *blocks):
            layer.weight.normal_(generator=draw)
    shapes = [(width,)] * (depth + 1)
    return Staged(
        stem, blocks[:-1], blocks[-1], state_shapes=shapes, classes=CLASSES, residual=False
    )


@THREE
@pytest.mark.parametrize(
    "made", [vectors, lambda: vectors(residual=False), lambda: vectors(norm=False), images]
)
def test_it_is_bp_where_the_weights_have_the_magnitudes_of_the_feedback(rule, made):
    model, x, y = made()
    model, x = model.double(), x.double()
    feedback = double(feedback_of(rule, model))
    with torch.no_grad():
        for weight, B in rule.matrices(model, feedback).items():
            weight.copy_(B)
    results = []
    for taught_by in (rule, BP()):
        model.zero_grad()
        trace = taught_by.run(model, feedback, x, y)
        results.append([*taught_by.credit(trace, feedback)])
        teach(trace, None)
        results[-1] += [p.grad.clone() for p in model.parameters()]
    for ours, theirs in zip(*results, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


@THREE
def test_credit_goes_back_through_magnitudes_times_signs(rule):
    """A literal backward pass through linear layers, with weights of any size and sign."""
    model, (x, y) = chain().double(), batch()
    feedback, draw = double(feedback_of(rule, model)), generator(1, "weights")
    layers = replaceable_layers(model)
    seen = []
    for factor in (torch.ones, torch.rand, torch.randn):  # as it is, rescaled, with other signs
        with torch.no_grad():
            for layer in layers.values():
                how = {} if factor is torch.ones else {"generator": draw}
                layer.weight.mul_(factor(layer.weight.shape, dtype=torch.float64, **how))
        trace = rule.run(model, feedback, x.double(), y)
        credits, a = rule.credit(trace, feedback), trace.error
        for name, state in [("head", 2), ("blocks.1", 1), ("blocks.0", 0)]:
            M = feedback[f"M.{name}"]
            a = a @ torch.where(layers[name].weight > 0, M, -M)
            torch.testing.assert_close(credits[state], a, rtol=1e-12, atol=1e-14)
        seen.append(torch.cat([B.flatten() for B in rule.matrices(model, feedback).values()]))
    assert torch.equal(seen[1], seen[0])
    assert not torch.equal(seen[2], seen[0])


@THREE
def test_a_weight_of_zero_carries_nothing_back(rule):
    model = chain()
    with torch.no_grad():
        model.blocks[0].weight[2, 3] = 0.0
    B = rule.matrices(model, feedback_of(rule, model))[model.blocks[0].weight]
    assert B[2, 3] == 0
    assert B.count_nonzero() == B.numel() - 1


@pytest.mark.parametrize(
    ("rule", "expected"),
    [(USF(), (2 / math.pi) ** 0.5), (FRSF(), (2 / math.pi) ** 0.5 * 3**0.5 / 2)],
    ids=["usf", "frsf"],
)
def test_its_cosine_with_a_gaussian_matrix_is_the_known_one(rule, expected):
    """E|w|·E m / √(E w² · E m²) over 160,000 entries, to five standard errors (below 0.7/400)."""
    model = chain(width=400, depth=1)
    W = model.blocks[0].weight
    B = rule.matrices(model, feedback_of(rule, model))[W]
    cosine = torch.cosine_similarity(B.flatten(), W.flatten(), dim=0).item()
    assert cosine == pytest.approx(expected, abs=5 * 0.7 / 400)


@THREE
def test_the_magnitudes_have_the_size_of_the_default_initialisation(rule):
    model = network(width=200)
    feedback = feedback_of(rule, model)
    for name, layer in replaceable_layers(model).items():
        M, n = feedback[f"M.{name}"], layer.weight.shape[1]
        rms = M.square().mean().sqrt().item() * (3 * n) ** 0.5
        assert M.min() >= 0
        # sd of the mean square of U(0, 1): 2/√45, relative to 1/3, of the root half of it
        assert rms == pytest.approx(1, abs=1e-6 + 5 * (M.numel() > 1) / (5 * M.numel()) ** 0.5)


@THREE
def test_magnitudes_are_redrawn_for_every_batch_as_claimed(rule):
    model, x, y = vectors()
    feedback, kept = feedback_of(rule, model), []
    optimizer = AdamW(dict(model.named_parameters()), weight_decay=0.0)
    for seed in (1, 2, 1):
        g = generator(seed, "update")
        step(model, rule, feedback, optimizer, x, y, learning_rate=1e-3, generator=g)
        kept.append({name: M.clone() for name, M in feedback.items()})
    for name, M in feedback_of(rule, model).items():
        first, second, third = (k[name] for k in kept)
        assert torch.equal(first, third)
        redrawn = isinstance(rule, BRSF)
        assert torch.equal(first, second) != redrawn
        assert torch.equal(first, M) != redrawn
        assert (first >= 0).all()


@THREE
def test_fresh_feedback_for_the_null_knows_no_sign_of_the_weights(rule):
    """400 draws of B for one layer: their mean cosine with W is 0, while that of init is not."""
    model, draw = chain(), generator(0, "fresh")
    W = model.blocks[1].weight

    def cosine(feedback) -> float:
        B = rule.matrices(model, feedback)[W]
        return torch.cosine_similarity(B.flatten(), W.flatten(), dim=0).item()

    fresh = [cosine(rule.fresh(model, draw)) for _ in range(400)]
    assert abs(sum(fresh) / 400) < 5 * W.numel() ** -0.5 / 400**0.5
    assert cosine(rule.init(model, draw)) > 0.5


@THREE
def test_blocks_without_weights_are_refused(rule):
    model = Staged(
        nn.Linear(6, 7), [nn.Tanh()], nn.Linear(7, 3), state_shapes=[(7,), (7,)], classes=3
    )
    with pytest.raises(InputError, match="whose blocks hold linear or convolutional layers"):
        rule.init(model, generator(0, "feedback"))
