"""Small networks, batches and feedback for the tests of the rules."""

import torch
from torch import Tensor
from torch.nn import functional as F

from faeval.core.random import generator
from faeval.models import ResMLP, Staged
from faeval.rules import Feedback, Rule

FEATURES, WIDTH, DEPTH, CLASSES, SAMPLES = 6, 12, 3, 5, 9


def network(
    *, residual: bool = True, norm: bool = True, width: int = WIDTH, depth: int = DEPTH
) -> Staged:
    config = ResMLP(width=width, depth=depth, residual=residual, terminal_norm=norm, w2_std=0.3)
    return config.build((FEATURES,), CLASSES, generator(0, "weights"))


def batch(samples: int = SAMPLES, shape: tuple[int, ...] = (FEATURES,)) -> tuple[Tensor, Tensor]:
    draw = generator(0, "batch")
    return (
        torch.randn(samples, *shape, generator=draw),
        torch.randint(CLASSES, (samples,), generator=draw),
    )


def feedback_of(rule: Rule, model: Staged, seed: int = 0) -> Feedback:
    return rule.init(model, generator(seed, "feedback"))


def double(feedback: Feedback) -> Feedback:
    return {name: b.double() for name, b in feedback.items()}


def literal_gradients(model: Staged, x: Tensor, y: Tensor) -> list[Tensor]:
    """∂ℓ_n/∂h_l by one backward pass per sample and state, from the modules alone."""
    rows = []
    for n in range(len(x)):
        h = model.stem(x[n : n + 1])
        states = [h]
        for block, residual in zip(model.blocks, model.residual, strict=True):
            h = h + block(h) if residual else block(h)
            states.append(h)
        loss = F.cross_entropy(model.head(h), y[n : n + 1])
        rows.append(torch.autograd.grad(loss, states))
    return [torch.cat(parts) for parts in zip(*rows, strict=True)]
