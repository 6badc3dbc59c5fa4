"""Weight mirror: mean, variance and direction of what it learns, in closed form."""

from typing import Any

import pytest
import torch
from rule_nets import CLASSES, feedback_of
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.models import Staged
from faeval.rules import Feedback, WeightMirror
from faeval.rules.transposes import replaceable_layers


def layered(block: nn.Module, shape: tuple[int, ...], draw: torch.Generator) -> Staged:
    """A model whose one block is `block`, with Gaussian weights."""
    head = nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES))
    head(torch.zeros(1, *shape))
    model = Staged(nn.Identity(), [block], head, state_shapes=[shape, shape], classes=CLASSES)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(generator=draw)
    return model


def linear(width: int) -> Staged:
    return layered(nn.Linear(width, width), (width,), generator(0, "weights"))


def convolutional(**how: int) -> Staged:
    return layered(nn.Conv2d(4, 4, 3, **how), (4, 6, 6), generator(0, "weights"))


def mirror(
    rule: WeightMirror,
    model: Staged,
    feedback: Feedback,
    steps: int,
    draw: torch.Generator | None = None,
) -> Feedback:
    """`steps` mirrorings of a network at rest."""
    draw = draw or generator(0, "update")
    nothing: Any = None  # the mirror looks at no batch
    for _ in range(steps):
        rule.update(model, nothing, feedback, learning_rate=0, weight_decay=0, generator=draw)
    return feedback


def cosine(a: Tensor, b: Tensor) -> float:
    return F.cosine_similarity(a.detach().flatten(), b.detach().flatten(), dim=0).item()


def test_one_step_is_the_mean_of_outer_products():
    """rate = 1: B is (1/K) Σ y xᵀ of the very noise drawn, without the bias."""
    rule, model = WeightMirror(rate=1.0, samples=5), linear(6)
    block = model.blocks[0]
    feedback = mirror(rule, model, feedback_of(rule, model), 1)
    x = torch.randn(5, 6, generator=generator(0, "update"))
    y = block(x) - block.bias
    literal = torch.stack([torch.outer(y[k], x[k]) for k in range(5)]).mean(0)
    torch.testing.assert_close(feedback["B.blocks.0"], literal, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "how",
    [{"padding": 1}, {"padding": 2, "dilation": 2}, {"padding": 1, "groups": 2}],
    ids=["plain", "dilated", "grouped"],
)
def test_a_convolution_is_the_matrix_over_its_patches(how):
    """A literal sum over patches, each the receptive field of one output."""
    rule, model = WeightMirror(rate=1.0, samples=5), convolutional(**how)
    conv = model.blocks[0]
    feedback = mirror(rule, model, feedback_of(rule, model), 1)
    groups = how.get("groups", 1)
    x = torch.randn(5, 4 // groups, 3, 3, generator=generator(0, "update"))
    literal = torch.zeros_like(conv.weight)
    for out in range(4):
        for patch in x:
            y = (conv.weight[out] * patch).sum()
            literal[out] += y * patch / 5
    torch.testing.assert_close(feedback["B.blocks.0"], literal.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "model", [linear(40), convolutional(padding=1, groups=2)], ids=["linear", "conv"]
)
def test_mean_and_variance_of_one_mirroring(model):
    """Over 2,000 draws: mean W, variance (‖w_i‖² + W_ij²)/K, for every entry at once."""
    rule, draws, K = WeightMirror(rate=1.0, samples=3), 2_000, 3
    W = model.blocks[0].weight.detach().flatten(1)
    feedback, draw = feedback_of(rule, model), generator(0, "update")
    total, squares = torch.zeros_like(W), torch.zeros_like(W)
    for _ in range(draws):
        B = mirror(rule, model, feedback, 1, draw)["B.blocks.0"].flatten(1)
        total, squares = total + B, squares + B.square()
    variance = (W.square().sum(1, keepdim=True) + W.square()) / K
    z = (total / draws - W) / (variance / draws).sqrt()
    assert z.abs().max() < 5
    ratio = (squares / draws - (total / draws).square()) / variance
    assert ratio.mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("rule", [WeightMirror(), WeightMirror(rate=0.1, samples=256)])
def test_feedback_turns_into_the_weights_within_the_documented_steps(rule):
    """3/r steps: direction and norm, against (1 + r(n+1)/((2−r)K))^−½, and above 0.95."""
    n = 128
    model = linear(n)
    W = model.blocks[0].weight
    feedback = feedback_of(rule, model)
    feedback["B.blocks.0"].normal_(generator=generator(1, "start"))
    assert abs(cosine(feedback["B.blocks.0"], W)) < 0.1
    steps = round(3 / rule.rate)
    mirror(rule, model, feedback, steps)
    B, left = feedback["B.blocks.0"], (1 - rule.rate) ** steps
    noise = rule.rate / (2 - rule.rate) * (n + 1) / rule.samples * (1 - left**2)
    norm = ((1 - left) ** 2 + left**2 + noise) ** 0.5  # W, the start and the noise: orthogonal
    assert (B.norm() / W.norm()).item() == pytest.approx(norm, rel=0.02)
    assert cosine(B, W) == pytest.approx((1 - left) / norm, abs=0.01)
    assert cosine(B, W) > 0.95
    mirror(rule, model, feedback, 3 * steps)
    final = (1 + rule.rate * (n + 1) / ((2 - rule.rate) * rule.samples)) ** -0.5
    assert cosine(B, W) == pytest.approx(final, abs=0.005)


def test_it_learns_of_the_weights_by_what_passes_them_alone():
    """A layer whose forward is secretly that of other weights: B becomes those."""
    rule, model = WeightMirror(), linear(16)
    other = torch.randn(16, 16, generator=generator(1, "other"))
    W = model.blocks[0].weight

    class Deceived(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is F.linear and args[1] is W:
                args = (args[0], other, *args[2:])
            return func(*args, **(kwargs or {}))

    feedback = feedback_of(rule, model)
    with Deceived():
        mirror(rule, model, feedback, 200)
    assert cosine(feedback["B.blocks.0"], other) > 0.95
    assert abs(cosine(feedback["B.blocks.0"], W)) < 0.3


def test_frozen_layers_are_mirrored_too():
    rule, model = WeightMirror(rate=0.1, samples=64), linear(16)
    model.freeze_blocks(0)
    feedback = mirror(rule, model, feedback_of(rule, model), 60)
    cosines = [
        cosine(feedback[f"B.{name}"], layer.weight)
        for name, layer in replaceable_layers(model).items()
    ]
    assert min(cosines) > 0.95
    x, y = torch.randn(3, 16, generator=generator(0, "x")), torch.tensor([0, 1, 2])
    said = rule.diagnostics(model, rule.run(model, feedback, x, y), feedback)
    assert [d.value for d in said] == pytest.approx([min(cosines), max(cosines)], abs=1e-6)
    assert not any(d.exceeded for d in said)


def test_blocks_without_weights_are_refused():
    model = Staged(
        nn.Linear(6, 7), [nn.Tanh()], nn.Linear(7, 3), state_shapes=[(7,), (7,)], classes=3
    )
    with pytest.raises(InputError, match="whose blocks hold linear or convolutional layers"):
        WeightMirror().init(model, generator(0, "feedback"))
