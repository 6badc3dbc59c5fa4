"""Kolen–Pollack: the decay law in closed form, and feedback that turns into the weights."""

import pytest
import torch
from rule_nets import CLASSES, batch, double, feedback_of, network
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.models import CNN, Staged
from faeval.rules import BP, Feedback, KolenPollack
from faeval.rules.transposes import replaceable_layers
from faeval.train.adamw import AdamW
from faeval.train.step import step

RULE = KolenPollack()


def trained(
    model: Staged, feedback: Feedback, x: Tensor, y: Tensor, rates: list[float], decay: float
) -> None:
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = AdamW(trainable, decay)
    for rate in rates:
        step(model, RULE, feedback, optimizer, x, y, learning_rate=rate, penalty=1e-3)


def differences(model: Staged, feedback: Feedback) -> dict[str, Tensor]:
    layers = replaceable_layers(model)
    return {n: layer.weight.detach() - feedback[f"B.{n}"] for n, layer in layers.items()}


def images() -> tuple[Staged, Tensor, Tensor]:
    model = CNN(width=4, depth=2).build((3, 8, 8), CLASSES, generator(0, "weights"))
    return model, *batch(shape=(3, 8, 8))


@pytest.mark.parametrize("made", [lambda: (network(), *batch()), images], ids=["mlp", "cnn"])
def test_the_difference_decays_by_the_law(made):
    """W_T − B_T = (W_0 − B_0) Π_t (1 − η_t wd), whatever the data: 60 steps in float64."""
    model, x, y = made()
    model, feedback = model.double(), double(feedback_of(RULE, model))
    start = differences(model, feedback)
    weights = {n: layer.weight.clone() for n, layer in replaceable_layers(model).items()}
    rates = [0.02 * (1 - t / 60) for t in range(60)]
    trained(model, feedback, x.double(), y, rates, decay=1.5)
    law = torch.tensor([1 - rate * 1.5 for rate in rates], dtype=torch.float64).prod()
    for name, difference in differences(model, feedback).items():
        torch.testing.assert_close(difference, start[name] * law, rtol=1e-9, atol=1e-12)
        moved = replaceable_layers(model)[name].weight - law * weights[name]
        assert moved.abs().max() > 0.05  # it has learned beside


def test_feedback_turns_into_the_weights():
    """Softmax regression on a random teacher, 300 steps with strong decay: Π (1 − η wd) = 0.05."""
    model, draw = network(width=24), generator(1, "teacher")
    x = torch.randn(256, 6, generator=draw)
    y = (x @ torch.randn(6, CLASSES, generator=draw)).argmax(-1)
    feedback = feedback_of(RULE, model)

    def cosines() -> list[float]:
        return [
            F.cosine_similarity(layer.weight.flatten(), feedback[f"B.{n}"].flatten(), dim=0).item()
            for n, layer in replaceable_layers(model).items()
        ]

    assert max(map(abs, cosines())) < 0.4
    trained(model, feedback, x, y, [5e-3] * 300, decay=2.0)
    assert min(cosines()) > 0.9
    exact, ours = BP().run(model, {}, x, y), RULE.run(model, feedback, x, y)
    for a, g in zip(RULE.credit(ours, feedback), BP().credit(exact, {}), strict=True):
        assert F.cosine_similarity(a, g).mean() > 0.9
    assert (ours.logits.argmax(-1) == y).float().mean() > 0.9


def test_feedback_of_frozen_layers_stays():
    model, (x, y) = network(), batch()
    model.freeze_blocks(1)
    feedback = feedback_of(RULE, model)
    start = {name: b.clone() for name, b in feedback.items()}
    trained(model, feedback, x, y, [1e-2] * 3, decay=0.1)
    for name, b in feedback.items():
        frozen = "blocks.0." in name or "blocks.1." in name
        assert torch.equal(b, start[name]) == frozen, name


def test_the_backward_pass_uses_b():
    """B = W is BP; and with B instead, a literal product."""
    model, (x, y) = network().double(), batch()
    x, feedback = x.double(), double(feedback_of(RULE, model))
    trace = RULE.run(model, feedback, x, y)
    norm, _ = model.head
    h = trace.states[-1].detach().requires_grad_()
    literal = torch.autograd.grad(norm(h), h, trace.error @ feedback["B.head.1"])[0]
    torch.testing.assert_close(RULE.credit(trace, feedback)[-1], literal, rtol=1e-12, atol=1e-14)
    for name, layer in replaceable_layers(model).items():
        feedback[f"B.{name}"] = layer.weight.detach().clone()
    credits = RULE.credit(RULE.run(model, feedback, x, y), feedback)
    for a, g in zip(credits, BP().credit(BP().run(model, {}, x, y), {}), strict=True):
        torch.testing.assert_close(a, g, rtol=1e-12, atol=1e-14)


def test_blocks_without_weights_are_refused():
    model = Staged(
        nn.Linear(6, 7), [nn.Tanh()], nn.Linear(7, 3), state_shapes=[(7,), (7,)], classes=3
    )
    with pytest.raises(InputError, match="whose blocks hold linear or convolutional layers"):
        RULE.init(model, generator(0, "feedback"))
