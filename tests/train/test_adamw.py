"""AdamW against its algorithm, entry by entry, and against torch's own."""

import math

import pytest
import torch
from torch import Tensor, nn

from faeval.core.random import generator
from faeval.train.adamw import AdamW

SHAPES = {"w": (4, 3), "b": (5,), "scalar": ()}


def parameters(dtype: torch.dtype = torch.float32) -> dict[str, nn.Parameter]:
    draw = generator(0, "parameters")
    return {
        name: nn.Parameter(torch.randn(shape, generator=draw, dtype=dtype))
        for name, shape in SHAPES.items()
    }


def gradients(steps: int, dtype: torch.dtype = torch.float32) -> list[dict[str, Tensor]]:
    """From tiny to large, with a zero in between."""
    draw = generator(1, "gradients")
    scales = [10.0 ** (t % 7 - 6) * (t % 5 != 3) for t in range(steps)]
    return [
        {n: s * torch.randn(shape, generator=draw, dtype=dtype) for n, shape in SHAPES.items()}
        for s in scales
    ]


def rates(steps: int) -> list[float]:
    return [0.1 * (1 + math.cos(math.pi * t / steps)) / 2 for t in range(steps)]


@pytest.mark.parametrize("decay", [0.0, 0.01, 0.5])
def test_bits_are_those_of_torch(decay):
    ours, theirs = parameters(), parameters()
    optimizer = AdamW(ours, decay)
    twin = torch.optim.AdamW(theirs.values(), weight_decay=decay, fused=True)
    for rate, found in zip(rates(12), gradients(12), strict=True):
        for name, g in found.items():
            ours[name].grad, theirs[name].grad = g.clone(), g.clone()
        optimizer.step(rate)
        twin.param_groups[0]["lr"] = rate
        twin.step()
        for name, p in ours.items():
            assert torch.equal(p, theirs[name])
            moments = twin.state[theirs[name]]
            for moment in ("exp_avg", "exp_avg_sq"):
                assert torch.equal(optimizer.moments[f"{moment}.{name}"], moments[moment])
    assert optimizer.steps.item() == 12


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_it_is_algorithm_2_of_its_paper(decay):
    """In float64, one number at a time."""
    ours = parameters(torch.float64)
    numbers = {n: p.detach().clone().flatten().tolist() for n, p in ours.items()}
    m = {n: [0.0] * len(v) for n, v in numbers.items()}
    v = {n: [0.0] * len(w) for n, w in numbers.items()}
    optimizer = AdamW(ours, decay)
    for t, (rate, found) in enumerate(
        zip(rates(9), gradients(9, torch.float64), strict=True), start=1
    ):
        for name, tensor in found.items():
            ours[name].grad = tensor.clone()
            for i, g in enumerate(tensor.flatten().tolist()):
                m[name][i] = 0.9 * m[name][i] + 0.1 * g
                v[name][i] = 0.999 * v[name][i] + 0.001 * g * g
                unit = m[name][i] / (1 - 0.9**t) / ((v[name][i] / (1 - 0.999**t)) ** 0.5 + 1e-8)
                numbers[name][i] -= rate * (unit + decay * numbers[name][i])
        optimizer.step(rate)
    for name, p in ours.items():
        assert p.detach().flatten().tolist() == pytest.approx(numbers[name], rel=1e-9)


def test_a_parameter_without_a_gradient_stays_as_it_is():
    ours = parameters()
    before = {n: p.detach().clone() for n, p in ours.items()}
    optimizer = AdamW(ours, weight_decay=0.5)
    ours["w"].grad = torch.ones(4, 3)
    optimizer.step(0.1)
    assert torch.equal(ours["b"], before["b"])
    assert not optimizer.moments["exp_avg.b"].any()
    assert not torch.equal(ours["w"], before["w"])
    optimizer.zero_grad()
    assert all(p.grad is None for p in ours.values())
